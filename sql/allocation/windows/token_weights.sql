-- Grain: one row per model: what a token of each class weighs, in units of the 12th place. Model * is for all others.
WITH weights AS (
    SELECT
        model,
        token_class,
        CAST(CAST(weight AS DECIMAL(20,12)) * CAST(1000000000000 AS DECIMAL(13,0)) AS HUGEINT) AS weight
    FROM mappings.token_weights
),

others AS (
    SELECT token_class, weight FROM weights WHERE model = '*'
),

models AS (
    SELECT DISTINCT model FROM weights
),

complete AS (
    SELECT models.model, others.token_class, coalesce(weights.weight, others.weight) AS weight
    FROM models
    CROSS JOIN others
    LEFT JOIN weights ON models.model = weights.model AND others.token_class = weights.token_class
)

SELECT
    model,
    max(weight) FILTER (WHERE token_class = 'input_uncached') AS input_uncached,
    max(weight) FILTER (WHERE token_class = 'cache_read') AS cache_read,
    max(weight) FILTER (WHERE token_class = 'cache_write') AS cache_write,
    max(weight) FILTER (WHERE token_class = 'output') AS output
FROM complete
GROUP BY model
