-- Grain: one row per month of use, metric, value and currency.
-- Purpose: what a million tokens, a thousand requests and a GPU-hour cost.
WITH unit_costs AS (
    SELECT * FROM showback.unit_costs WHERE period BETWEEN $first_period AND $last_period
)

SELECT
    metric,
    dimension,
    value,
    BillingCurrency,
    period,
    units,
    unit_cost_without_idle,
    unit_cost_with_idle,
    key_quality
FROM unit_costs
WHERE unit_cost_with_idle IS NOT NULL
ORDER BY metric, dimension, value, BillingCurrency, period
