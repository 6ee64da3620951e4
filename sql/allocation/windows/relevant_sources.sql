-- Grain: one row per rule, measure and source that tells whether the measure is complete: the sources that fed the pool;
-- if none did, every source of the measure.
WITH rules AS (
    SELECT rule_number FROM split.rules
),

sources AS (
    SELECT
        source_name,
        measures AS measure,
        max(watermark) AS watermark
    FROM usage.deliveries
    GROUP BY source_name, measures
),

feeding AS (
    SELECT DISTINCT rule_number, 'gpu_hours' AS measure, source_name FROM split.gpu_facts
    UNION ALL
    SELECT DISTINCT rule_number, 'tokens' AS measure, source_name FROM split.token_facts
),

candidates AS (
    SELECT
        rules.rule_number,
        sources.measure,
        sources.source_name,
        sources.watermark,
        feeding.source_name IS NOT NULL AS feeds
    FROM rules
    CROSS JOIN sources
    LEFT JOIN feeding
        ON rules.rule_number = feeding.rule_number
        AND sources.measure = feeding.measure
        AND sources.source_name = feeding.source_name
)

SELECT rule_number, measure, source_name, watermark
FROM candidates
QUALIFY feeds OR NOT bool_or(feeds) OVER (PARTITION BY rule_number, measure)
