-- Grain: one row per window and part: FOCUS AllocatedMethodDetails. A target's part of the key has an Element for each
-- blend entry that lists it; any other part has one. Their ratios sum to the part's share, over the window to 1.
WITH vector AS (
    SELECT window_id, part_number, target, component, share_through - share_before AS share FROM split.vector
),

key_parts AS (
    SELECT window_id, share FROM split.key_parts
),

key_entries AS (
    SELECT window_id, entry_number, weight, driver, target, value, share FROM split.key
),

windows AS (
    SELECT window_id, rule_number FROM split.windows
),

driver_units AS (
    SELECT rule_number, driver, unit, multiplier, divisor FROM split.driver_units
),

entries AS (
    SELECT
        vector.window_id,
        vector.part_number,
        vector.share AS part_share,
        key_entries.entry_number,
        key_entries.weight,
        key_entries.driver,
        key_entries.value,
        key_entries.entry_number = max(key_entries.entry_number) OVER part AS is_last,
        (key_parts.share * sum(key_entries.share) OVER part_so_far) // 1000000000000000000::HUGEINT AS share_through
    FROM vector
    INNER JOIN key_entries ON vector.window_id = key_entries.window_id AND vector.target = key_entries.target
    INNER JOIN key_parts ON vector.window_id = key_parts.window_id
    WHERE vector.component = 'shared'
    WINDOW
        part AS (PARTITION BY vector.window_id, vector.part_number),
        part_so_far AS (
            PARTITION BY vector.window_id, vector.part_number
            ORDER BY key_entries.entry_number
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
),

ratios AS (
    SELECT
        *,
        CASE WHEN is_last THEN part_share ELSE share_through END
        - coalesce(lag(share_through) OVER (PARTITION BY window_id, part_number ORDER BY entry_number), 0) AS ratio
    FROM entries
),

quantities AS (
    SELECT
        ratios.*,
        driver_units.unit,
        number_of_units(
            (ratios.value // driver_units.divisor) * driver_units.multiplier
            + ((ratios.value % driver_units.divisor) * driver_units.multiplier) // driver_units.divisor
        ) AS quantity
    FROM ratios
    INNER JOIN windows ON ratios.window_id = windows.window_id
    LEFT JOIN driver_units ON windows.rule_number = driver_units.rule_number AND ratios.driver = driver_units.driver
),

elements AS (
    SELECT
        window_id,
        part_number,
        entry_number,
        '{"AllocatedRatio":'
        || decimal_text(CAST(ratio AS DECIMAL(19,0)) * CAST('0.000000000000000001' AS DECIMAL(18,18)))
        || coalesce(',"UsageUnit":"' || unit || '","UsageQuantity":' || decimal_text(quantity), '')
        || ',"x_Driver":"' || driver
        || '","x_Weight":' || decimal_text(CAST(weight AS DECIMAL(18,0)) * CAST('0.000001' AS DECIMAL(7,6)))
        || '}' AS element
    FROM quantities
    UNION ALL
    SELECT
        window_id,
        part_number,
        0 AS entry_number,
        '{"AllocatedRatio":'
        || decimal_text(CAST(share AS DECIMAL(19,0)) * CAST('0.000000000000000001' AS DECIMAL(18,18)))
        || '}' AS element
    FROM vector
    WHERE component <> 'shared'
)

SELECT
    window_id,
    part_number,
    '{"Elements":[' || string_agg(element, ',' ORDER BY entry_number) || ']}' AS details
FROM elements
GROUP BY window_id, part_number
