-- Grain: one row per window and GPU model: the GPU-hours, in units of the 18th place, that a machine was billed for and
-- telemetry knows nothing of although its day is due: a coverage gap (CONTRACTS.md §4.2), never idle.
WITH pooled_charges AS (
    SELECT
        rule_number,
        window_start,
        window_end,
        ResourceId AS resource_id,
        x_GpuModel AS gpu_model,
        x_GpuCount AS gpu_count,
        date_trunc('hour', ChargePeriodStart) AS slot_start,
        next_full_hour(ChargePeriodEnd) AS slot_end,
        ConsumedQuantity AS hours
    FROM split.pooled_charges
    WHERE
        ChargeCategory = 'Usage'
        AND ChargeClass IS NULL
        AND ResourceId IS NOT NULL
        AND x_GpuCount > 0
        AND ConsumedUnit = 'Hours'
        AND ConsumedQuantity > 0
),

charged_windows AS (
    SELECT window_id, rule_number, window_start, window_end FROM split.charged_windows
),

watermarks AS (
    SELECT rule_number, min(watermark) AS watermark
    FROM split.relevant_sources
    WHERE measure = 'gpu_hours'
    GROUP BY rule_number
),

known_hours AS (
    SELECT DISTINCT resource_id, hour
    FROM usage.gpu_hours
    WHERE resource_id IN (SELECT resource_id FROM split.pool_resources)
),

-- A machine's hour may be billed in several lines (covered in part by a commitment); no line set makes it longer.
billed AS (
    SELECT
        rule_number,
        window_start,
        window_end,
        resource_id,
        gpu_model,
        gpu_count,
        slot_start,
        slot_end,
        least(
            exact_units(sum(hours)),
            CAST(date_diff('hour', slot_start, slot_end) AS HUGEINT) * 1000000000000000000::HUGEINT
        ) AS hours
    FROM pooled_charges
    GROUP BY rule_number, window_start, window_end, resource_id, gpu_model, gpu_count, slot_start, slot_end
),

due AS (
    SELECT billed.*
    FROM billed
    INNER JOIN watermarks ON billed.rule_number = watermarks.rule_number
    WHERE billed.slot_end <= watermarks.watermark
),

slot_hours AS (
    SELECT DISTINCT
        resource_id,
        slot_start,
        slot_end,
        unnest(range(slot_start, slot_end, INTERVAL 1 HOUR)) AS hour
    FROM due
),

known_slots AS (
    SELECT DISTINCT slot_hours.resource_id, slot_hours.slot_start, slot_hours.slot_end
    FROM slot_hours
    INNER JOIN known_hours ON slot_hours.resource_id = known_hours.resource_id AND slot_hours.hour = known_hours.hour
)

SELECT
    charged_windows.window_id,
    due.rule_number,
    due.gpu_model,
    sum(due.hours * due.gpu_count) AS gpu_hours
FROM due
INNER JOIN charged_windows
    ON due.rule_number = charged_windows.rule_number
    AND due.window_start = charged_windows.window_start
    AND due.window_end = charged_windows.window_end
ANTI JOIN known_slots
    ON due.resource_id = known_slots.resource_id
    AND due.slot_start = known_slots.slot_start
    AND due.slot_end = known_slots.slot_end
GROUP BY charged_windows.window_id, due.rule_number, due.gpu_model
