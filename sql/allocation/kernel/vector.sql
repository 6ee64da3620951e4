-- Grain: one row per window, target and component, in vector order: the cumulative shares of 10^18 before and through
-- the element (CONTRACTS.md §5). `reason_rank` is the first of the reasons for which the element is unallocated.
WITH hours AS (
    SELECT window_id, rule_number, gap_share, idle_share FROM split.hours
),

key_parts AS (
    SELECT window_id, share FROM split.key_parts
),

rules AS (
    SELECT rule_number, gap, idle_unheld, idle_owner FROM split.rules
),

held_idle AS (
    SELECT window_id, target, idle_share FROM split.held_idle
),

listed_targets AS (
    SELECT window_id, target, targets FROM split.listed_targets
),

key_shares AS (
    SELECT
        window_id,
        target,
        sum(share) AS share,
        min(
            CASE reason
                WHEN 'no_target' THEN 2 WHEN 'no_measurement' THEN 3 WHEN 'zero_weight' THEN 4 WHEN 'unmapped' THEN 5
            END
        ) FILTER (WHERE share > 0) AS reason_rank
    FROM split.key
    GROUP BY window_id, target
),

windows AS (
    SELECT
        key_parts.window_id,
        rules.gap,
        rules.idle_unheld,
        rules.idle_owner,
        hours.gap_share,
        hours.idle_share,
        key_parts.share AS key_part,
        listed.window_id IS NOT NULL AS lists_targets
    FROM key_parts
    INNER JOIN hours ON key_parts.window_id = hours.window_id
    INNER JOIN rules ON hours.rule_number = rules.rule_number
    LEFT JOIN (SELECT DISTINCT window_id FROM listed_targets) AS listed ON key_parts.window_id = listed.window_id
),

floors AS (
    SELECT
        windows.window_id,
        key_shares.target,
        CASE key_shares.target WHEN '__unallocated__' THEN 'unallocated' ELSE 'shared' END AS component,
        (windows.key_part * key_shares.share) // 1000000000000000000::HUGEINT AS share,
        key_shares.reason_rank
    FROM windows
    INNER JOIN key_shares ON windows.window_id = key_shares.window_id
    UNION ALL
    SELECT window_id, '__gap__' AS target, 'gap' AS component, gap_share AS share, NULL AS reason_rank
    FROM windows
    WHERE gap = 'own_line'
    UNION ALL
    SELECT
        window_id,
        target,
        'idle' AS component,
        idle_share AS share,
        CASE target WHEN '__unallocated__' THEN 5 END AS reason_rank
    FROM held_idle
    UNION ALL
    SELECT
        window_id,
        CASE WHEN idle_unheld = 'owner' THEN idle_owner ELSE '__idle__' END AS target,
        'idle' AS component,
        idle_share AS share,
        NULL AS reason_rank
    FROM windows
    WHERE idle_unheld IN ('own_line', 'owner') OR (idle_unheld = 'even' AND NOT lists_targets)
    UNION ALL
    SELECT
        windows.window_id,
        key_shares.target,
        'idle' AS component,
        (windows.idle_share * key_shares.share) // 1000000000000000000::HUGEINT AS share,
        key_shares.reason_rank
    FROM windows
    INNER JOIN key_shares ON windows.window_id = key_shares.window_id
    WHERE windows.idle_unheld = 'proportional'
    UNION ALL
    SELECT
        windows.window_id,
        listed_targets.target,
        'idle' AS component,
        windows.idle_share // listed_targets.targets AS share,
        NULL AS reason_rank
    FROM windows
    INNER JOIN listed_targets ON windows.window_id = listed_targets.window_id
    WHERE windows.idle_unheld = 'even'
),

elements AS (
    SELECT
        window_id,
        target,
        component,
        sum(share) AS share,
        min(reason_rank) FILTER (WHERE share > 0) AS reason_rank,
        CASE target WHEN '__gap__' THEN 1 WHEN '__idle__' THEN 2 WHEN '__unallocated__' THEN 3 ELSE 0 END AS order_group
    FROM floors
    GROUP BY window_id, target, component
    HAVING sum(share) > 0
),

cumulated AS (
    SELECT
        window_id,
        target,
        component,
        reason_rank,
        row_number() OVER positions AS part_number,
        count(*) OVER (PARTITION BY window_id) AS parts,
        sum(share) OVER positions AS share_through,
        sum(share) OVER positions - share AS share_before
    FROM elements
    WINDOW
        positions AS (
            PARTITION BY window_id
            ORDER BY order_group, target, component
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
)

SELECT
    window_id,
    CAST(part_number AS INTEGER) AS part_number,
    CAST(parts AS INTEGER) AS parts,
    target,
    component,
    CASE reason_rank
        WHEN 2 THEN 'no_target' WHEN 3 THEN 'no_measurement' WHEN 4 THEN 'zero_weight' WHEN 5 THEN 'unmapped'
    END AS reason,
    CAST(share_before AS BIGINT) AS share_before,
    CAST(CASE part_number WHEN parts THEN 1000000000000000000::HUGEINT ELSE share_through END AS BIGINT) AS share_through
FROM cumulated
ORDER BY window_id, part_number
