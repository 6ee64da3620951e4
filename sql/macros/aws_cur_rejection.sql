-- aws_cur_rejection(...): why a CUR line can't become a charge, or NULL. A missing amount is never taken for 0: the line
-- is kept aside, and the delivery refused, until somebody knows what it costs.
CREATE OR REPLACE MACRO aws_cur_rejection(
    treatment, line_item_type, payer_account, currency, cost, plan_effective_cost, reservation_effective_cost,
    plan_commitment, plan_used, reservation_unused_upfront, reservation_unused_recurring
) AS
    CASE
        WHEN treatment IS NULL
            THEN 'line item type ' || coalesce(nullif(line_item_type, ''), '(none)') || ' has no treatment in docs/sources/aws-cur.md'
        WHEN payer_account IS NULL THEN 'bill_payer_account_id is empty'
        WHEN currency IS NULL THEN 'line_item_currency_code is empty'
        WHEN cost IS NULL THEN 'line_item_unblended_cost is empty'
        WHEN treatment = 'plan usage' AND plan_effective_cost IS NULL
            THEN 'savings_plan_savings_plan_effective_cost is empty on usage that a savings plan covers'
        WHEN treatment = 'reserved usage' AND reservation_effective_cost IS NULL
            THEN 'reservation_effective_cost is empty on usage that a reservation covers'
        WHEN treatment = 'plan fee' AND (plan_commitment IS NULL OR plan_used IS NULL)
            THEN 'savings_plan_total_commitment_to_date or savings_plan_used_commitment is empty on a recurring fee'
        WHEN treatment = 'reservation fee' AND reservation_unused_upfront IS NULL AND reservation_unused_recurring IS NULL
            THEN 'reservation_unused_amortized_upfront_fee_for_billing_period and reservation_unused_recurring_fee are '
                || 'empty on a reservation fee'
    END;
