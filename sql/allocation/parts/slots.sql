-- Grain: one row per rule, window and set of tag conflicts: where its elements start and how many they are. Charges
-- outside every pool (rule 0) have the one element 0.
WITH placements AS (
    SELECT rule_number, conflicts, window_start, window_end FROM split.placements
),

charged_windows AS (
    SELECT window_id, rule_number, window_start, window_end FROM split.charged_windows
),

vectors AS (
    SELECT window_id, max(parts) AS parts FROM split.vector GROUP BY window_id
),

pooled AS (
    SELECT
        placements.rule_number,
        placements.conflicts,
        placements.window_start,
        placements.window_end,
        charged_windows.window_id,
        vectors.parts,
        1 + sum(vectors.parts) OVER positions - vectors.parts AS first_element
    FROM placements
    INNER JOIN charged_windows
        ON placements.rule_number = charged_windows.rule_number
        AND placements.window_start = charged_windows.window_start
        AND placements.window_end = charged_windows.window_end
    INNER JOIN vectors ON charged_windows.window_id = vectors.window_id
    WINDOW positions AS (ORDER BY charged_windows.window_id, placements.conflicts)
)

SELECT
    rule_number,
    conflicts,
    window_start,
    window_end,
    window_id,
    CAST(parts AS BIGINT) AS parts,
    CAST(first_element AS BIGINT) AS first_element
FROM pooled
UNION ALL
SELECT
    0 AS rule_number,
    '' AS conflicts,
    TIMESTAMP '1970-01-01 00:00:00' AS window_start,
    TIMESTAMP '1970-01-01 00:00:00' AS window_end,
    NULL AS window_id,
    1 AS parts,
    0 AS first_element
