-- Grain: one row per window: what the key divides, of 10^18: all that is neither gap, idle nor held idle. With gap: in_key
-- it keeps the gap.
WITH hours AS (
    SELECT window_id, rule_number, gap_share, idle_share FROM split.hours
),

rules AS (
    SELECT rule_number, gap FROM split.rules
),

held_idle AS (
    SELECT window_id, sum(idle_share) AS idle_share FROM split.held_idle GROUP BY window_id
)

SELECT
    hours.window_id,
    1000000000000000000::HUGEINT
    - CASE rules.gap WHEN 'own_line' THEN hours.gap_share ELSE 0 END
    - hours.idle_share
    - coalesce(held_idle.idle_share, 0) AS share
FROM hours
INNER JOIN rules ON hours.rule_number = rules.rule_number
LEFT JOIN held_idle ON hours.window_id = held_idle.window_id
