-- Grain: one row per rule and window that pooled charges lie in; the number follows from the content alone.
WITH windows AS (
    SELECT DISTINCT rule_number, window_start, window_end FROM split.placements
)

SELECT
    row_number() OVER (ORDER BY rule_number, window_start, window_end) AS window_id,
    rule_number,
    window_start,
    window_end
FROM windows
