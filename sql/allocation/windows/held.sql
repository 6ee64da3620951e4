-- Grain: one row per window and target: GPU-hours held and used, weighted by GPU model. Hours without activity telemetry
-- count as used; a target that has none at all has no activity.
WITH window_hours AS (
    SELECT window_id, rule_number, hour FROM split.window_hours
),

gpu_facts AS (
    SELECT rule_number, hour, gpu_model, target, held, active, used FROM split.gpu_facts WHERE target IS NOT NULL
),

gpu_weights AS (
    SELECT rule_number, gpu_model, weight FROM split.gpu_weights
)

SELECT
    window_hours.window_id,
    gpu_facts.target,
    sum(gpu_facts.held * gpu_weights.weight) AS held,
    CASE WHEN count(gpu_facts.active) > 0 THEN sum(gpu_facts.used * gpu_weights.weight) END AS active
FROM gpu_facts
INNER JOIN window_hours ON gpu_facts.rule_number = window_hours.rule_number AND gpu_facts.hour = window_hours.hour
INNER JOIN gpu_weights
    ON gpu_facts.rule_number = gpu_weights.rule_number
    AND gpu_facts.gpu_model IS NOT DISTINCT FROM gpu_weights.gpu_model
GROUP BY window_hours.window_id, gpu_facts.target
