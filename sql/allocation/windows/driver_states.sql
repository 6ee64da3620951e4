-- Grain: one row per window and driver that a configured source measures: measured, late or missing (CONTRACTS.md §4.7).
-- A day is missing if it is missing from a source that feeds the pool, else late if it is late there. A window longer
-- than a day that has some of its days is late, not missing: it has values, and they are provisional.
WITH charged_windows AS (
    SELECT window_id, rule_number, window_start, window_end FROM split.charged_windows
),

drivers AS (
    SELECT DISTINCT
        rule_number,
        driver,
        CASE WHEN starts_with(driver, 'gpu_hours') THEN 'gpu_hours' ELSE 'tokens' END AS measure
    FROM split.entries
    WHERE driver <> 'named_targets'
),

relevant_sources AS (
    SELECT rule_number, measure, source_name, watermark FROM split.relevant_sources
),

deliveries AS (
    SELECT source_name, measures AS measure, CAST(x_Day AS DATE) AS day, state FROM usage.deliveries
),

window_days AS (
    SELECT
        window_id,
        rule_number,
        CAST(unnest(range(date_trunc('day', window_start), window_end, INTERVAL 1 DAY)) AS DATE) AS day
    FROM charged_windows
),

source_days AS (
    SELECT
        window_days.window_id,
        window_days.rule_number,
        relevant_sources.measure,
        window_days.day,
        coalesce(
            deliveries.state,
            -- Nothing is said of days yet to come, nor of a source's days before it was configured.
            CASE WHEN window_days.day >= CAST(relevant_sources.watermark AS DATE) THEN 'late' ELSE 'missing' END
        ) AS state
    FROM window_days
    INNER JOIN relevant_sources ON window_days.rule_number = relevant_sources.rule_number
    LEFT JOIN deliveries
        ON relevant_sources.source_name = deliveries.source_name
        AND relevant_sources.measure = deliveries.measure
        AND window_days.day = deliveries.day
),

days AS (
    SELECT
        window_id,
        rule_number,
        measure,
        day,
        CASE
            WHEN bool_or(state = 'missing') THEN 'missing'
            WHEN bool_or(state = 'late') THEN 'late'
            ELSE 'measured'
        END AS state
    FROM source_days
    GROUP BY window_id, rule_number, measure, day
),

states AS (
    SELECT
        window_id,
        rule_number,
        measure,
        CASE
            WHEN bool_and(state = 'missing') THEN 'missing'
            WHEN bool_and(state = 'measured') THEN 'measured'
            ELSE 'late'
        END AS state
    FROM days
    GROUP BY window_id, rule_number, measure
)

SELECT states.window_id, drivers.driver, states.state
FROM states
INNER JOIN drivers ON states.rule_number = drivers.rule_number AND states.measure = drivers.measure
