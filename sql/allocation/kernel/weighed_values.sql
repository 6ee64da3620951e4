-- Grain: one row per window, driver and target: what the target weighs. Held hours weigh without the held idle that
-- went to their holder.
WITH driver_values AS (
    SELECT window_id, driver, target, value FROM split.driver_values
),

held_idle AS (
    SELECT window_id, target, idle_hours FROM split.held_idle
)

SELECT
    driver_values.window_id,
    driver_values.driver,
    driver_values.target,
    CASE
        WHEN held_idle.idle_hours IS NULL THEN driver_values.value
        ELSE greatest(driver_values.value - held_idle.idle_hours, 0::HUGEINT)
    END AS value
FROM driver_values
LEFT JOIN held_idle
    ON driver_values.driver = 'gpu_hours_held'
    AND driver_values.window_id = held_idle.window_id
    AND driver_values.target = held_idle.target
