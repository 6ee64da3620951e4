-- Grain: one row per window and UTC hour of it.
SELECT
    window_id,
    rule_number,
    unnest(range(window_start, window_end, INTERVAL 1 HOUR)) AS hour
FROM split.charged_windows
