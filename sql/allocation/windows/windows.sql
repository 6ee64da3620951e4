-- Grain: one row per window: its capacity and gap, weighted by GPU model; NULL where nothing is known of them.
WITH charged_windows AS (
    SELECT window_id, rule_number, window_start, window_end FROM split.charged_windows
),

window_hours AS (
    SELECT window_id, rule_number, hour FROM split.window_hours
),

gpu_facts AS (
    SELECT rule_number, hour, gpu_model, capacity, gap FROM split.gpu_facts
),

gpu_weights AS (
    SELECT rule_number, gpu_model, weight FROM split.gpu_weights
),

billed_gpu_hours AS (
    SELECT window_id, rule_number, gpu_model, gpu_hours FROM split.billed_gpu_hours
),

hours AS (
    SELECT window_hours.window_id, gpu_facts.rule_number, gpu_facts.gpu_model, gpu_facts.capacity, gpu_facts.gap
    FROM gpu_facts
    INNER JOIN window_hours ON gpu_facts.rule_number = window_hours.rule_number AND gpu_facts.hour = window_hours.hour
    UNION ALL
    SELECT window_id, rule_number, gpu_model, gpu_hours AS capacity, gpu_hours AS gap FROM billed_gpu_hours
),

weighted AS (
    SELECT
        hours.window_id,
        sum(hours.capacity * gpu_weights.weight) AS capacity,
        sum(hours.gap * gpu_weights.weight) AS gap
    FROM hours
    INNER JOIN gpu_weights
        ON hours.rule_number = gpu_weights.rule_number AND hours.gpu_model IS NOT DISTINCT FROM gpu_weights.gpu_model
    GROUP BY hours.window_id
)

SELECT
    charged_windows.window_id,
    charged_windows.rule_number,
    strftime(charged_windows.window_start, '%Y-%m-%d %H:%M') || ' to '
    || strftime(charged_windows.window_end, '%Y-%m-%d %H:%M') || ' UTC' AS window_name,
    weighted.capacity,
    weighted.gap
FROM charged_windows
LEFT JOIN weighted ON charged_windows.window_id = weighted.window_id
