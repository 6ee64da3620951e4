-- Grain: one row per window, driver that the window's rule reads, and target: what was measured, in whole units.
WITH read_drivers AS (
    SELECT DISTINCT rule_number, driver FROM split.entries
),

window_hours AS (
    SELECT window_id, rule_number, hour FROM split.window_hours
),

gpu_facts AS (
    SELECT rule_number, hour, gpu_model, target, held, active FROM split.gpu_facts WHERE target IS NOT NULL
),

gpu_weights AS (
    SELECT rule_number, gpu_model, weight FROM split.gpu_weights
),

token_facts AS (
    SELECT rule_number, hour, target, tokens_weighted, tokens_total, requests FROM split.token_facts
),

gpu_hours AS (
    SELECT
        window_hours.window_id,
        gpu_facts.rule_number,
        gpu_facts.target,
        sum(gpu_facts.held * gpu_weights.weight) AS held,
        sum(gpu_facts.active * gpu_weights.weight) AS active
    FROM gpu_facts
    INNER JOIN window_hours ON gpu_facts.rule_number = window_hours.rule_number AND gpu_facts.hour = window_hours.hour
    INNER JOIN gpu_weights
        ON gpu_facts.rule_number = gpu_weights.rule_number
        AND gpu_facts.gpu_model IS NOT DISTINCT FROM gpu_weights.gpu_model
    GROUP BY window_hours.window_id, gpu_facts.rule_number, gpu_facts.target
),

tokens AS (
    SELECT
        window_hours.window_id,
        token_facts.rule_number,
        token_facts.target,
        sum(token_facts.tokens_weighted) AS tokens_weighted,
        sum(token_facts.tokens_total) AS tokens_total,
        sum(token_facts.requests) AS requests
    FROM token_facts
    INNER JOIN window_hours
        ON token_facts.rule_number = window_hours.rule_number AND token_facts.hour = window_hours.hour
    GROUP BY window_hours.window_id, token_facts.rule_number, token_facts.target
),

measured AS (
    SELECT window_id, rule_number, 'gpu_hours_held' AS driver, target, held AS value FROM gpu_hours
    UNION ALL
    SELECT window_id, rule_number, 'gpu_hours_active' AS driver, target, active AS value FROM gpu_hours
    UNION ALL
    SELECT window_id, rule_number, 'tokens_weighted' AS driver, target, tokens_weighted AS value FROM tokens
    UNION ALL
    SELECT window_id, rule_number, 'tokens_total' AS driver, target, tokens_total AS value FROM tokens
    UNION ALL
    SELECT window_id, rule_number, 'requests' AS driver, target, requests AS value FROM tokens
)

SELECT measured.window_id, measured.driver, measured.target, measured.value
FROM measured
SEMI JOIN read_drivers ON measured.rule_number = read_drivers.rule_number AND measured.driver = read_drivers.driver
WHERE measured.value IS NOT NULL
