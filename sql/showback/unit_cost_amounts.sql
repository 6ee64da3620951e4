-- Grain: one row per billing period, month of use, metric, value of its dimension and currency; currency NULL holds units.
-- Purpose: what one bill adds to the cost and the units of each month, so that showback.unit_costs can add up all bills.
WITH charged AS (
    SELECT
        period AS billing_period,
        SUBSTRING(CAST(day AS VARCHAR), 1, 7) AS period,
        BillingCurrency,
        pool,
        component,
        model,
        gpu_model,
        -- The rest of a window that nobody was charged for: idle and gap on a reserved line carry no dimension at all.
        CASE
            WHEN component IN ('idle', 'gap') AND pool IS NOT NULL
                AND COALESCE(team, product, feature, model, environment, customer, cost_center, dimensions) IS NULL
                THEN 1
            ELSE 0
        END AS is_nobodys_idle,
        CASE WHEN component IN ('idle', 'gap', 'commitment_unused') THEN 0 ELSE EffectiveCost END AS cost_in_use,
        EffectiveCost AS cost,
        CASE key_quality WHEN 'estimated' THEN 3 WHEN 'proxy' THEN 2 WHEN 'exact' THEN 1 END AS quality_rank
    FROM allocation.totals
    WHERE period = $billing_period
),

tokens AS (
    SELECT
        SUBSTRING(x_Day, 1, 7) AS period,
        model,
        tokens_input_uncached + tokens_cache_read + tokens_cache_write + tokens_output AS tokens,
        requests,
        requests_failed
    FROM usage.tokens
    WHERE model IS NOT NULL
),

gpu_hours AS (
    SELECT
        SUBSTRING(x_Day, 1, 7) AS period,
        gpu_model,
        gpu_hours_held
    FROM usage.gpu_hours
    WHERE gpu_model IS NOT NULL
),

-- Nobody's idle is spread over the models of its pool in proportion to what they used of it. Use without a model takes
-- its part too, which then is in no unit cost: else the models would pay for idle that other work is as much part of.
pool_idle AS (
    SELECT
        period,
        BillingCurrency,
        pool,
        CAST(SUM(cost) AS DECIMAL(38, 18)) AS idle,
        MAX(quality_rank) AS quality_rank
    FROM charged
    WHERE is_nobodys_idle = 1
    GROUP BY period, BillingCurrency, pool
),

pool_use AS (
    SELECT
        period,
        BillingCurrency,
        pool,
        model,
        CAST(SUM(cost) AS DECIMAL(38, 18)) AS used
    FROM charged
    WHERE component = 'shared' AND pool IS NOT NULL
    GROUP BY period, BillingCurrency, pool, model
),

pool_use_with_sign AS (
    SELECT
        *,
        SUM(used) OVER (PARTITION BY period, BillingCurrency, pool) AS pool_used
    FROM pool_use
),

pool_weights AS (
    SELECT
        period,
        BillingCurrency,
        pool,
        model,
        -- A correction takes back: in a pool whose use is negative the negative parts are the ones that weigh.
        CASE
            WHEN pool_used > 0 AND used > 0 THEN used
            WHEN pool_used < 0 AND used < 0 THEN -used
            ELSE 0
        END AS weight
    FROM pool_use_with_sign
),

pool_weights_so_far AS (
    SELECT
        period,
        BillingCurrency,
        pool,
        model,
        CAST(
            SUM(weight) OVER (
                PARTITION BY period, BillingCurrency, pool
                ORDER BY model ASC NULLS FIRST
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS DECIMAL(38, 18)
        ) AS weight_so_far,
        CAST(SUM(weight) OVER (PARTITION BY period, BillingCurrency, pool) AS DECIMAL(38, 18)) AS weight_in_all
    FROM pool_weights
),

-- Idle times a cumulative share, exact: whole units times 18 places, then the rest times 18 places, rounded.
idle_shares AS (
    SELECT
        weights.period,
        weights.BillingCurrency,
        weights.pool,
        weights.model,
        pool_idle.quality_rank,
        CAST(pool_idle.idle AS DECIMAL(18, 0)) AS idle_whole,
        CAST(pool_idle.idle - CAST(pool_idle.idle AS DECIMAL(18, 0)) AS DECIMAL(18, 18)) AS idle_rest,
        CAST(ratio(weights.weight_so_far, weights.weight_in_all) AS DECIMAL(19, 18)) AS share_so_far
    FROM pool_weights_so_far AS weights
    INNER JOIN pool_idle
        ON weights.period = pool_idle.period
        AND weights.BillingCurrency = pool_idle.BillingCurrency
        AND weights.pool = pool_idle.pool
    WHERE weights.weight_in_all > 0
),

idle_so_far AS (
    SELECT
        period,
        BillingCurrency,
        pool,
        model,
        quality_rank,
        CAST(
            CAST(idle_whole * share_so_far AS DECIMAL(38, 18)) + CAST(idle_rest * share_so_far AS DECIMAL(38, 18))
            AS DECIMAL(38, 18)
        ) AS idle_so_far
    FROM idle_shares
),

idle_parts AS (
    SELECT
        period,
        BillingCurrency,
        model,
        quality_rank,
        idle_so_far
        - COALESCE(
            LAG(idle_so_far) OVER (PARTITION BY period, BillingCurrency, pool ORDER BY model ASC NULLS FIRST), 0
        ) AS idle
    FROM idle_so_far
),

model_costs AS (
    SELECT
        period,
        BillingCurrency,
        model,
        cost AS cost_with_idle,
        cost_in_use AS cost_without_idle,
        quality_rank
    FROM charged
    WHERE model IS NOT NULL
    UNION ALL
    SELECT
        period,
        BillingCurrency,
        model,
        idle AS cost_with_idle,
        CAST(0 AS DECIMAL(38, 18)) AS cost_without_idle,
        quality_rank
    FROM idle_parts
    WHERE model IS NOT NULL
),

entries AS (
    SELECT
        period,
        'cost_per_million_tokens' AS metric,
        'model' AS dimension,
        model AS value,
        BillingCurrency,
        cost_with_idle,
        cost_without_idle,
        CAST(NULL AS DECIMAL(38, 18)) AS units,
        CAST(NULL AS DECIMAL(38, 18)) AS units_failed,
        quality_rank
    FROM model_costs
    UNION ALL
    SELECT
        period,
        'cost_per_1000_requests' AS metric,
        'model' AS dimension,
        model AS value,
        BillingCurrency,
        cost_with_idle,
        cost_without_idle,
        CAST(NULL AS DECIMAL(38, 18)) AS units,
        CAST(NULL AS DECIMAL(38, 18)) AS units_failed,
        quality_rank
    FROM model_costs
    UNION ALL
    SELECT
        period,
        'cost_per_gpu_hour' AS metric,
        'gpu_model' AS dimension,
        gpu_model AS value,
        BillingCurrency,
        cost AS cost_with_idle,
        cost_in_use AS cost_without_idle,
        CAST(NULL AS DECIMAL(38, 18)) AS units,
        CAST(NULL AS DECIMAL(38, 18)) AS units_failed,
        quality_rank
    FROM charged
    WHERE gpu_model IS NOT NULL
    UNION ALL
    SELECT
        period,
        'cost_per_million_tokens' AS metric,
        'model' AS dimension,
        model AS value,
        CAST(NULL AS VARCHAR) AS BillingCurrency,
        CAST(NULL AS DECIMAL(38, 18)) AS cost_with_idle,
        CAST(NULL AS DECIMAL(38, 18)) AS cost_without_idle,
        CAST(CAST(tokens AS DECIMAL(20, 0)) * CAST('0.000001' AS DECIMAL(7, 6)) AS DECIMAL(38, 18)) AS units,
        CAST(NULL AS DECIMAL(38, 18)) AS units_failed,
        CAST(NULL AS INTEGER) AS quality_rank
    FROM tokens
    UNION ALL
    SELECT
        period,
        'cost_per_1000_requests' AS metric,
        'model' AS dimension,
        model AS value,
        CAST(NULL AS VARCHAR) AS BillingCurrency,
        CAST(NULL AS DECIMAL(38, 18)) AS cost_with_idle,
        CAST(NULL AS DECIMAL(38, 18)) AS cost_without_idle,
        CAST(CAST(requests - requests_failed AS DECIMAL(20, 0)) * CAST('0.001' AS DECIMAL(4, 3)) AS DECIMAL(38, 18))
            AS units,
        CAST(CAST(requests_failed AS DECIMAL(20, 0)) * CAST('0.001' AS DECIMAL(4, 3)) AS DECIMAL(38, 18))
            AS units_failed,
        CAST(NULL AS INTEGER) AS quality_rank
    FROM tokens
    UNION ALL
    SELECT
        period,
        'cost_per_gpu_hour' AS metric,
        'gpu_model' AS dimension,
        gpu_model AS value,
        CAST(NULL AS VARCHAR) AS BillingCurrency,
        CAST(NULL AS DECIMAL(38, 18)) AS cost_with_idle,
        CAST(NULL AS DECIMAL(38, 18)) AS cost_without_idle,
        gpu_hours_held AS units,
        CAST(NULL AS DECIMAL(38, 18)) AS units_failed,
        CAST(NULL AS INTEGER) AS quality_rank
    FROM gpu_hours
),

summed AS (
    SELECT
        period,
        metric,
        dimension,
        value,
        BillingCurrency,
        CAST(SUM(cost_with_idle) AS DECIMAL(38, 18)) AS numerator_with_idle,
        CAST(SUM(cost_without_idle) AS DECIMAL(38, 18)) AS numerator_without_idle,
        CAST(SUM(units) AS DECIMAL(38, 18)) AS units,
        CAST(SUM(units_failed) AS DECIMAL(38, 18)) AS units_failed,
        MAX(quality_rank) AS worst_quality_rank
    FROM entries
    GROUP BY period, metric, dimension, value, BillingCurrency
)

SELECT
    $billing_period AS billing_period,
    period,
    metric,
    dimension,
    value,
    BillingCurrency,
    numerator_with_idle,
    numerator_without_idle,
    units,
    units_failed,
    CASE worst_quality_rank WHEN 3 THEN 'estimated' WHEN 2 THEN 'proxy' WHEN 1 THEN 'exact' END AS key_quality
FROM summed
ORDER BY period, metric, dimension, value, BillingCurrency NULLS FIRST
