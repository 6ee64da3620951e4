-- Grain: one row per window. What of a window's capacity is gap and what is unheld idle, as shares of 10^18
-- (CONTRACTS.md §4.2 to §4.4, §5). Capacity 0 or unknown has neither.
WITH windows AS (
    SELECT window_id, rule_number, capacity, gap FROM split.windows
),

held AS (
    SELECT window_id, target, held FROM split.held
),

held_totals AS (
    SELECT window_id, sum(held) AS held FROM held GROUP BY window_id
),

capacities AS (
    SELECT
        windows.window_id,
        windows.rule_number,
        coalesce(windows.capacity, 0) > 0 AS has_capacity,
        greatest(coalesce(windows.capacity, 0), 1::HUGEINT) AS capacity,
        CASE WHEN windows.capacity > 0 THEN coalesce(windows.gap, 0) ELSE 0::HUGEINT END AS gap,
        coalesce(held_totals.held, 0) AS held
    FROM windows
    LEFT JOIN held_totals USING (window_id)
),

available AS (
    SELECT *, capacity - gap AS available FROM capacities
),

gaps AS (
    SELECT *, share_floor(1::HUGEINT, gap, capacity, 1::HUGEINT) AS gap_share FROM available
)

SELECT
    window_id,
    rule_number,
    has_capacity,
    capacity,
    available,
    held,
    has_capacity AND held > available AS over_committed,
    gap_share,
    CASE
        WHEN NOT has_capacity THEN 0::HUGEINT
        -- Not the floor of the idle hours: the vector has no other element that the rest of the floors belongs to.
        WHEN held = 0 THEN 1000000000000000000::HUGEINT - gap_share
        ELSE share_floor(1::HUGEINT, greatest(available - held, 0::HUGEINT), capacity, 1::HUGEINT)
    END AS idle_share
FROM gaps
