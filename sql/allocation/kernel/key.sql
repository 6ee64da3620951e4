-- Grain: one row per window, blend entry and target: the entry's share of the key, one floor over 10^18 each
-- (CONTRACTS.md §5). Weights are millionths. `reason` says why a share is on __unallocated__.
WITH rules AS (
    SELECT rule_number, on_zero_weight FROM split.rules
),

entries_in_use AS (
    SELECT window_id, rule_number, entry_number, weight, driver, total, use FROM split.entries_in_use
),

weighed_values AS (
    SELECT window_id, driver, target, value FROM split.weighed_values
),

listed_targets AS (
    SELECT window_id, target, targets FROM split.listed_targets
),

entries AS (
    SELECT
        entries_in_use.*,
        rules.on_zero_weight,
        sum(weight) FILTER (WHERE use = 'live') OVER (PARTITION BY window_id) AS live_weight,
        coalesce(sum(weight) FILTER (WHERE use = 'zero') OVER (PARTITION BY window_id), 0) AS zero_weight
    FROM entries_in_use
    INNER JOIN rules ON entries_in_use.rule_number = rules.rule_number
),

live AS (
    SELECT
        entries.window_id,
        entries.entry_number,
        entries.weight,
        entries.driver,
        weighed_values.target,
        weighed_values.value,
        CASE
            WHEN entries.on_zero_weight = 'renormalise' AND entries.zero_weight > 0
                THEN share_floor(
                    CAST(entries.weight * (entries.live_weight + entries.zero_weight) AS HUGEINT),
                    weighed_values.value,
                    entries.total,
                    CAST(entries.live_weight * 1000000 AS HUGEINT)
                )
            ELSE share_floor(CAST(entries.weight AS HUGEINT), weighed_values.value, entries.total, 1000000::HUGEINT)
        END AS share,
        CASE WHEN weighed_values.target = '__unallocated__' THEN 'unmapped' END AS reason
    FROM entries
    INNER JOIN weighed_values
        ON entries.window_id = weighed_values.window_id AND entries.driver = weighed_values.driver
    WHERE entries.use = 'live'
),

evenly AS (
    SELECT
        entries.window_id,
        entries.entry_number,
        entries.weight,
        entries.driver,
        listed_targets.target,
        0::HUGEINT AS value,
        (1000000000000::HUGEINT * entries.weight) // listed_targets.targets AS share,
        CAST(NULL AS VARCHAR) AS reason
    FROM entries
    INNER JOIN listed_targets ON entries.window_id = listed_targets.window_id
    WHERE entries.use = 'zero' AND entries.on_zero_weight = 'even'
),

left_over AS (
    SELECT
        entries.window_id,
        entries.entry_number,
        entries.weight,
        entries.driver,
        '__unallocated__' AS target,
        0::HUGEINT AS value,
        1000000000000::HUGEINT * entries.weight AS share,
        CASE
            WHEN entries.use = 'missing' THEN 'no_measurement'
            WHEN entries.on_zero_weight = 'even' THEN 'no_target'
            ELSE 'zero_weight'
        END AS reason
    FROM entries
    WHERE
        entries.use = 'missing'
        OR (
            entries.use = 'zero'
            AND CASE entries.on_zero_weight
                WHEN 'renormalise' THEN entries.live_weight IS NULL
                WHEN 'even' THEN entries.window_id NOT IN (SELECT window_id FROM listed_targets)
                ELSE true
            END
        )
)

SELECT window_id, entry_number, weight, driver, target, value, share, reason FROM live
UNION ALL
SELECT window_id, entry_number, weight, driver, target, value, share, reason FROM evenly
UNION ALL
SELECT window_id, entry_number, weight, driver, target, value, share, reason FROM left_over
