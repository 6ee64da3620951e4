-- gcp_treatment(...): what normalisation makes of a line of Google Cloud's export, by docs/sources/gcp-billing.md; NULL
-- for a cost type that the page doesn't list, which is then rejected, never guessed.
CREATE OR REPLACE MACRO gcp_treatment(cost_type, sku_description, credits, consumption_model, subscription_id) AS
    CASE cost_type
        WHEN 'regular' THEN
            CASE
                WHEN starts_with(sku_description, 'Commitment')
                    OR len(
                        list_filter(coalesce(credits, []), lambda credit: credit.type = 'FEE_UTILIZATION_OFFSET')
                    ) > 0
                    THEN 'commitment fee'
                WHEN consumption_model <> 'Default'
                    AND (subscription_id IS NOT NULL OR contains(consumption_model, 'CUD'))
                    THEN 'commitment usage'
                ELSE 'usage'
            END
        WHEN 'tax' THEN 'tax'
        WHEN 'adjustment' THEN 'adjustment'
        WHEN 'rounding_error' THEN 'rounding'
    END;

-- gcp_rejection(...): why a line can't become a charge, or NULL. A missing amount is never taken for 0: the line is
-- kept aside, and the delivery refused, until somebody knows what it costs.
CREATE OR REPLACE MACRO gcp_rejection(
    treatment, cost_type, billing_account, invoice_month, currency, cost, usage_start, credits
) AS
    CASE
        WHEN treatment IS NULL
            THEN 'cost_type ' || coalesce(cost_type, '(none)') || ' has no treatment in docs/sources/gcp-billing.md'
        WHEN billing_account IS NULL THEN 'billing_account_id is empty'
        WHEN invoice_month IS NULL THEN 'invoice.month is empty'
        WHEN currency IS NULL THEN 'currency is empty'
        WHEN cost IS NULL THEN 'cost is empty'
        WHEN usage_start IS NULL THEN 'usage_start_time is empty'
        WHEN len(list_filter(coalesce(credits, []), lambda credit: credit.amount IS NULL)) > 0
            THEN 'credits.amount is empty'
    END;
