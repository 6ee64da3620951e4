-- focus_rejection(...): why a row of a FOCUS file can't become a charge, or NULL. A missing amount is never taken for 0.
CREATE OR REPLACE MACRO focus_rejection(
    billing_account, currency, period_start, billed_cost, effective_cost, charge_category, charge_start, charge_end, company
) AS
    CASE
        WHEN charge_category IS NULL THEN 'ChargeCategory is empty'
        WHEN focus_charge_category(charge_category) NOT IN ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment')
            THEN 'ChargeCategory is ' || charge_category || ', which FOCUS doesn''t know'
        WHEN billing_account IS NULL THEN 'BillingAccountId is empty'
        WHEN currency IS NULL THEN 'BillingCurrency is empty'
        WHEN period_start IS NULL THEN 'BillingPeriodStart is empty'
        WHEN billed_cost IS NULL THEN 'BilledCost is empty'
        WHEN effective_cost IS NULL THEN 'EffectiveCost is empty'
        WHEN charge_start IS NULL THEN 'ChargePeriodStart is empty'
        WHEN charge_end IS NULL THEN 'ChargePeriodEnd is empty'
        WHEN charge_end < charge_start THEN 'ChargePeriodEnd is before ChargePeriodStart'
        WHEN company IS NULL
            THEN 'InvoiceIssuerName, ProviderName, ServiceProviderName and PublisherName are all empty: nobody sends the bill'
    END;
