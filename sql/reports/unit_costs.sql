-- Grain: one row per metric, value of its dimension, currency and month of use.
-- Purpose: what a million tokens, a thousand requests and a GPU-hour cost.
WITH unit_costs AS (
    SELECT * FROM showback.unit_costs WHERE period BETWEEN $first_period AND $last_period
)

SELECT
    metric,
    CASE dimension WHEN 'all' THEN 'all' ELSE value END AS value,
    BillingCurrency AS currency,
    period,
    unit_cost_without_idle,
    unit_cost_with_idle
FROM unit_costs
WHERE unit_cost_with_idle IS NOT NULL
ORDER BY metric, dimension DESC, value, BillingCurrency, period
