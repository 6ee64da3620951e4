-- Grain: one row per billing period, source and currency.
-- Purpose: the bridge from the invoice to what teams are charged, all commitments together.
WITH bridge AS (
    SELECT * FROM quality.billed_to_effective WHERE billing_period BETWEEN $first_period AND $last_period
)

SELECT
    billing_period AS period,
    source_name AS source,
    BillingCurrency AS currency,
    sum(billed_cost) AS billed,
    sum(amortisation_released) AS amortisation_released,
    -sum(commitment_purchases) AS less_commitment_purchases,
    sum(effective_cost) AS effective,
    sum(unexplained) AS unexplained
FROM bridge
GROUP BY billing_period, source_name, BillingCurrency
ORDER BY billing_period, source_name, BillingCurrency
