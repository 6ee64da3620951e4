-- Grain: one row for each currency of an AWS Cost and Usage Report.
-- Purpose: what its charges must add up to, from the delivered columns alone (docs/sources/aws-cur.md): nothing here reads
-- the normalisation, so that a fault in it shows as a difference. A line of an unknown type counts with its unblended cost.
WITH lines AS (
    SELECT
        line_item_currency_code AS currency,
        line_item_line_item_type AS line_type,
        line_item_line_item_type = 'Fee' AND reservation_reservation_a_r_n IS NOT NULL AS is_reservation_fee,
        line_item_line_item_type = 'Refund'
        AND line_item_product_code = 'ComputeSavingsPlans'
        AND line_item_line_item_description LIKE 'Refund for one-time fee for Savings Plan ID%' AS is_plan_refund,
        line_item_operation IN ('EKSPod-EC2', 'ECSTask-EC2') AS is_container_share,
        bill_payer_account_id IS NULL OR line_item_currency_code IS NULL AS is_unidentified,
        coalesce(line_item_net_unblended_cost, line_item_unblended_cost) AS unblended,
        pricing_public_on_demand_cost AS public_cost,
        coalesce(savings_plan_net_savings_plan_effective_cost, savings_plan_savings_plan_effective_cost) AS plan_effective,
        savings_plan_total_commitment_to_date - savings_plan_used_commitment AS plan_unused,
        coalesce(reservation_net_effective_cost, reservation_effective_cost) AS reservation_effective,
        coalesce(
            reservation_net_unused_amortized_upfront_fee_for_billing_period,
            reservation_unused_amortized_upfront_fee_for_billing_period
        ) AS unused_upfront,
        coalesce(reservation_net_unused_recurring_fee, reservation_unused_recurring_fee) AS unused_recurring
    FROM delivered
),

amounts AS (
    SELECT
        currency,
        line_type,
        unblended,
        is_unidentified
        OR (unblended IS NULL AND NOT coalesce(is_container_share, false))
        OR (line_type = 'SavingsPlanCoveredUsage' AND plan_effective IS NULL)
        OR (line_type = 'DiscountedUsage' AND reservation_effective IS NULL)
        OR (line_type = 'SavingsPlanRecurringFee' AND plan_unused IS NULL)
        OR (line_type = 'RIFee' AND unused_upfront IS NULL AND unused_recurring IS NULL)
        OR line_type IS NULL
        OR NOT (
            line_type = 'Usage'
            OR line_type = 'SavingsPlanCoveredUsage'
            OR line_type = 'SavingsPlanNegation'
            OR line_type = 'SavingsPlanRecurringFee'
            OR line_type = 'SavingsPlanUpfrontFee'
            OR line_type = 'DiscountedUsage'
            OR line_type = 'RIFee'
            OR line_type = 'Fee'
            OR line_type = 'FlatRateSubscription'
            OR line_type = 'Tax'
            OR line_type = 'Credit'
            OR line_type = 'Refund'
            OR line_type = 'EdpDiscount'
            OR line_type = 'PrivateRateDiscount'
            OR line_type = 'BundledDiscount'
            OR line_type = 'Discount'
        ) AS is_rejected,
        CASE line_type
            WHEN 'SavingsPlanRecurringFee' THEN plan_unused
            WHEN 'RIFee' THEN coalesce(unused_upfront, 0) + coalesce(unused_recurring, 0)
            ELSE 0
        END AS unused,
        CASE
            WHEN line_type = 'SavingsPlanNegation' THEN 0
            WHEN line_type = 'SavingsPlanCoveredUsage' THEN plan_effective
            WHEN line_type = 'DiscountedUsage' THEN reservation_effective
            WHEN line_type = 'SavingsPlanRecurringFee' THEN plan_unused
            WHEN line_type = 'RIFee' THEN coalesce(unused_upfront, 0) + coalesce(unused_recurring, 0)
            WHEN line_type = 'SavingsPlanUpfrontFee' OR is_reservation_fee OR is_plan_refund THEN 0
            ELSE unblended
        END AS effective,
        CASE
            WHEN line_type = 'SavingsPlanNegation' THEN 0
            WHEN line_type = 'Usage' OR line_type = 'SavingsPlanCoveredUsage' THEN coalesce(public_cost, unblended)
            WHEN line_type = 'DiscountedUsage' THEN coalesce(public_cost, reservation_effective)
            WHEN line_type LIKE '%Discount' THEN 0
            ELSE unblended
        END AS list,
        CASE
            WHEN line_type = 'SavingsPlanNegation' THEN 0
            WHEN line_type = 'DiscountedUsage' THEN coalesce(public_cost, reservation_effective)
            ELSE unblended
        END AS contracted
    FROM lines
)

SELECT
    currency AS BillingCurrency,
    count(*) AS rows_delivered,
    count(*) FILTER (WHERE line_type = 'SavingsPlanNegation' AND NOT is_rejected) AS rows_netted,
    count(*) FILTER (WHERE is_rejected) AS rows_rejected,
    count(*) FILTER (WHERE NOT is_rejected AND unused <> 0) AS rows_added,
    CAST(coalesce(sum(unblended), 0) AS DECIMAL(38, 18)) AS billed_control,
    CAST(coalesce(sum(effective), 0) AS DECIMAL(38, 18)) AS effective_control,
    CAST(coalesce(sum(list), 0) AS DECIMAL(38, 18)) AS list_control,
    CAST(coalesce(sum(contracted), 0) AS DECIMAL(38, 18)) AS contracted_control
FROM amounts
GROUP BY currency
ORDER BY currency
