-- focus_allowed_value(value, allowed): the value as FOCUS spells it (`usage` is `Usage`); one that it doesn't list stands.
CREATE OR REPLACE MACRO focus_allowed_value(value, allowed) AS
    CASE
        WHEN value IS NULL OR list_contains(allowed, value) THEN value
        ELSE coalesce(list_filter(allowed, lambda known: lower(known) = lower(trim(value)))[1], value)
    END;

-- focus_charge_category(value): a ChargeCategory as FOCUS spells it.
CREATE OR REPLACE MACRO focus_charge_category(value) AS
    focus_allowed_value(value, ['Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment']);
