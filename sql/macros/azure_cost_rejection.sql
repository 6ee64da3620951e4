-- azure_cost_rejection(...): why a line of an Azure export can't become a charge, or NULL. A missing amount is never taken
-- for 0: the line is kept aside, and the delivery refused, until somebody knows what it costs.
CREATE OR REPLACE MACRO azure_cost_rejection(
    treatment, charge_type, is_of_commitment, billing_account, currency, cost, charge_date
) AS
    CASE
        WHEN treatment IS NULL AND lower(charge_type) IN ('purchase', 'refund') AND is_of_commitment
            THEN 'a commitment''s purchase or refund has a cost in the amortised report, whose use bears it already'
        WHEN treatment IS NULL
            THEN 'charge type ' || coalesce(charge_type, '(none)') || ' has no treatment in docs/sources/azure-cost.md'
        WHEN cost IS NULL THEN 'the cost in billing currency is empty'
        WHEN charge_date IS NULL THEN 'the date is empty'
        WHEN currency IS NULL THEN 'the billing currency is empty'
        WHEN NOT regexp_full_match(currency, '[A-Z]{3}') THEN 'the billing currency ' || currency || ' is no three-letter code'
        WHEN billing_account IS NULL THEN 'the line names no billing account, billing profile or subscription'
    END;
