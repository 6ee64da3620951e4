-- Grain: one row per month of use, metric, value of its dimension and currency; dimension 'all', value '' is the total.
-- Purpose: cost per million tokens, per 1,000 successful requests and per held GPU-hour, with and without idle.
WITH amounts AS (
    SELECT
        period,
        metric,
        dimension,
        value,
        BillingCurrency,
        numerator_with_idle,
        numerator_without_idle,
        units,
        units_failed,
        CASE key_quality WHEN 'estimated' THEN 3 WHEN 'proxy' THEN 2 WHEN 'exact' THEN 1 END AS quality_rank
    FROM showback.unit_cost_amounts
),

costs AS (
    SELECT
        period,
        metric,
        dimension,
        value,
        BillingCurrency,
        CAST(SUM(numerator_with_idle) AS DECIMAL(38, 18)) AS numerator_with_idle,
        CAST(SUM(numerator_without_idle) AS DECIMAL(38, 18)) AS numerator_without_idle,
        MAX(quality_rank) AS worst_quality_rank
    FROM amounts
    WHERE BillingCurrency IS NOT NULL
    GROUP BY period, metric, dimension, value, BillingCurrency
),

counts AS (
    SELECT
        period,
        metric,
        dimension,
        value,
        CAST(SUM(units) AS DECIMAL(38, 18)) AS units,
        CAST(SUM(units_failed) AS DECIMAL(38, 18)) AS units_failed
    FROM amounts
    WHERE BillingCurrency IS NULL
    GROUP BY period, metric, dimension, value
),

-- Full, because both a model that cost something and served nothing, and one that served and has no cost, are findings.
by_value AS (
    SELECT
        COALESCE(costs.period, counts.period) AS period,
        COALESCE(costs.metric, counts.metric) AS metric,
        COALESCE(costs.dimension, counts.dimension) AS dimension,
        COALESCE(costs.value, counts.value) AS value,
        costs.BillingCurrency,
        costs.numerator_with_idle,
        costs.numerator_without_idle,
        COALESCE(counts.units, 0) AS units,
        counts.units_failed,
        costs.worst_quality_rank
    FROM costs
    FULL OUTER JOIN counts
        ON costs.period = counts.period
        AND costs.metric = counts.metric
        AND costs.dimension = counts.dimension
        AND costs.value = counts.value
),

-- The total relates only what has both a cost and units: anything else would shift it without being a unit cost.
in_all AS (
    SELECT
        period,
        metric,
        'all' AS dimension,
        '' AS value,
        BillingCurrency,
        SUM(numerator_with_idle) AS numerator_with_idle,
        SUM(numerator_without_idle) AS numerator_without_idle,
        SUM(units) AS units,
        SUM(units_failed) AS units_failed,
        MAX(worst_quality_rank) AS worst_quality_rank
    FROM by_value
    WHERE units > 0 AND BillingCurrency IS NOT NULL
    GROUP BY period, metric, BillingCurrency
),

values_and_total AS (
    SELECT
        period,
        metric,
        dimension,
        value,
        BillingCurrency,
        numerator_with_idle,
        numerator_without_idle,
        units,
        units_failed,
        worst_quality_rank
    FROM by_value
    UNION ALL
    SELECT
        period,
        metric,
        dimension,
        value,
        BillingCurrency,
        numerator_with_idle,
        numerator_without_idle,
        units,
        units_failed,
        worst_quality_rank
    FROM in_all
)

SELECT
    period,
    metric,
    dimension,
    value,
    BillingCurrency,
    CAST(numerator_with_idle AS DECIMAL(38, 18)) AS numerator_with_idle,
    CAST(numerator_without_idle AS DECIMAL(38, 18)) AS numerator_without_idle,
    CAST(units AS DECIMAL(38, 18)) AS units,
    CAST(units_failed AS DECIMAL(38, 18)) AS units_failed,
    ratio(numerator_with_idle, units) AS unit_cost_with_idle,
    ratio(numerator_without_idle, units) AS unit_cost_without_idle,
    CASE worst_quality_rank WHEN 3 THEN 'estimated' WHEN 2 THEN 'proxy' WHEN 1 THEN 'exact' END AS key_quality
FROM values_and_total
