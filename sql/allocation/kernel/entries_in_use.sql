-- Grain: one row per window and blend entry: the driver that stands for it (NULL: none), its total, and whether it is
-- live, zero or missing (CONTRACTS.md §4.7). `reads_late`: a driver read on the way is late.
WITH windows AS (
    SELECT window_id, rule_number FROM split.windows
),

entries AS (
    SELECT rule_number, entry_number, weight, preference, driver FROM split.entries
),

driver_states AS (
    SELECT window_id, driver, state FROM split.driver_states
),

totals AS (
    SELECT window_id, driver, sum(value) AS total FROM split.weighed_values GROUP BY window_id, driver
),

candidates AS (
    SELECT
        windows.window_id,
        windows.rule_number,
        entries.entry_number,
        entries.weight,
        entries.preference,
        entries.driver,
        coalesce(totals.total, 0) AS total,
        coalesce(driver_states.state = 'late', false) AS is_late,
        coalesce(driver_states.state, 'missing') = 'missing'
        OR (driver_states.state = 'late' AND coalesce(totals.total, 0) = 0) AS is_missing
    FROM windows
    INNER JOIN entries ON windows.rule_number = entries.rule_number
    LEFT JOIN driver_states
        ON windows.window_id = driver_states.window_id AND entries.driver = driver_states.driver
    LEFT JOIN totals
        ON windows.window_id = totals.window_id AND entries.driver = totals.driver
),

standing AS (
    SELECT
        *,
        min(preference) FILTER (WHERE NOT is_missing) OVER (PARTITION BY window_id, entry_number) AS stands
    FROM candidates
)

SELECT
    window_id,
    rule_number,
    entry_number,
    weight,
    max(driver) FILTER (WHERE preference = stands) AS driver,
    coalesce(max(total) FILTER (WHERE preference = stands), 0) AS total,
    CASE
        WHEN max(stands) IS NULL THEN 'missing'
        WHEN max(total) FILTER (WHERE preference = stands) = 0 THEN 'zero'
        ELSE 'live'
    END AS use,
    coalesce(max(stands) > 0, false) AS is_fallback,
    bool_or(is_late AND (stands IS NULL OR preference <= stands)) AS reads_late
FROM standing
GROUP BY window_id, rule_number, entry_number, weight
