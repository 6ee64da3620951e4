-- Grain: one row per window: how well its key is measured (CONTRACTS.md §4.9).
WITH entries_in_use AS (
    SELECT window_id, rule_number, use, is_fallback, reads_late FROM split.entries_in_use
),

rules AS (
    SELECT rule_number, on_zero_weight FROM split.rules
),

listed_targets AS (
    SELECT DISTINCT window_id FROM split.listed_targets
)

SELECT
    entries_in_use.window_id,
    CASE
        WHEN bool_or(
            entries_in_use.reads_late
            OR (
                entries_in_use.use = 'zero'
                AND rules.on_zero_weight = 'even'
                AND listed_targets.window_id IS NOT NULL
            )
        ) THEN 'estimated'
        WHEN bool_or(entries_in_use.is_fallback) THEN 'proxy'
        ELSE 'exact'
    END AS quality
FROM entries_in_use
INNER JOIN rules ON entries_in_use.rule_number = rules.rule_number
LEFT JOIN listed_targets ON entries_in_use.window_id = listed_targets.window_id
GROUP BY entries_in_use.window_id
