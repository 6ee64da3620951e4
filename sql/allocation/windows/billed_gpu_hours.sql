-- Grain: one row per window and GPU model: the GPU-hours, in units of the 18th place, that machines were billed for beyond
-- what telemetry knows of, although their day is due: a coverage gap (CONTRACTS.md §4.2), never idle.
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

measured AS (
    SELECT resource_id, hour, sum(gpu_hours_capacity) AS gpu_hours
    FROM usage.gpu_hours
    WHERE resource_id IN (SELECT resource_id FROM split.pool_resources)
    GROUP BY resource_id, hour
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
            sum(exact_units(least(hours, date_diff('hour', slot_start, slot_end)))),
            CAST(date_diff('hour', slot_start, slot_end) AS HUGEINT) * 1000000000000000000::HUGEINT
        ) * gpu_count AS gpu_hours
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

measured_slots AS (
    SELECT
        slot_hours.resource_id,
        slot_hours.slot_start,
        slot_hours.slot_end,
        exact_units(sum(measured.gpu_hours)) AS gpu_hours
    FROM slot_hours
    INNER JOIN measured ON slot_hours.resource_id = measured.resource_id AND slot_hours.hour = measured.hour
    GROUP BY slot_hours.resource_id, slot_hours.slot_start, slot_hours.slot_end
),

-- A machine billed as two types within one slot has one telemetry: it fills the types one after the other.
compared AS (
    SELECT
        due.rule_number,
        due.window_start,
        due.window_end,
        due.gpu_model,
        due.gpu_hours AS billed,
        sum(due.gpu_hours) OVER types_so_far AS billed_so_far,
        coalesce(measured_slots.gpu_hours, 0) AS measured
    FROM due
    LEFT JOIN measured_slots
        ON due.resource_id = measured_slots.resource_id
        AND due.slot_start = measured_slots.slot_start
        AND due.slot_end = measured_slots.slot_end
    WINDOW types_so_far AS (
        PARTITION BY due.rule_number, due.window_start, due.window_end, due.resource_id, due.slot_start, due.slot_end
        ORDER BY due.gpu_model NULLS FIRST, due.gpu_count
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),

missing AS (
    SELECT
        rule_number,
        window_start,
        window_end,
        gpu_model,
        least(billed, billed_so_far - measured) AS gpu_hours
    FROM compared
    WHERE billed_so_far > measured
)

SELECT
    charged_windows.window_id,
    missing.rule_number,
    missing.gpu_model,
    sum(missing.gpu_hours) AS gpu_hours
FROM missing
INNER JOIN charged_windows
    ON missing.rule_number = charged_windows.rule_number
    AND missing.window_start = charged_windows.window_start
    AND missing.window_end = charged_windows.window_end
GROUP BY charged_windows.window_id, missing.rule_number, missing.gpu_model
