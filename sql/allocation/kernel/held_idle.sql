-- Grain: one row per window and target that held hours it did not use, where the rule gives held idle to its holder.
-- `idle_hours` are raw; `idle_share` of 10^18 is scaled down with held where the window is over-committed.
WITH hours AS (
    SELECT window_id, rule_number, has_capacity, capacity, available, held, over_committed FROM split.hours
),

rules AS (
    SELECT rule_number, idle_held FROM split.rules
),

held AS (
    SELECT window_id, target, held, active FROM split.held
),

unused AS (
    SELECT
        held.window_id,
        held.target,
        held.held - held.active AS idle_hours,
        hours.capacity,
        CASE WHEN hours.over_committed THEN hours.available ELSE 1::HUGEINT END AS scale_available,
        CASE WHEN hours.over_committed THEN hours.held ELSE 1::HUGEINT END AS scale_held,
        hours.over_committed
    FROM held
    INNER JOIN hours ON held.window_id = hours.window_id
    INNER JOIN rules ON hours.rule_number = rules.rule_number
    WHERE
        rules.idle_held = 'holder'
        AND hours.has_capacity
        AND held.held > held.active
)

SELECT
    window_id,
    target,
    idle_hours,
    CASE
        WHEN over_committed THEN share_floor(scale_available, idle_hours, scale_held, capacity)
        ELSE share_floor(1::HUGEINT, idle_hours, capacity, 1::HUGEINT)
    END AS idle_share
FROM unused
