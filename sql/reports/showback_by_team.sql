-- Grain: one row per currency and team; team NULL is what no team is known for.
-- Purpose: what each team used over some billing periods, and how it arrived.
WITH daily AS (
    SELECT * FROM showback.daily WHERE billing_period BETWEEN $first_period AND $last_period
)

SELECT
    BillingCurrency AS currency,
    team,
    coalesce(sum(EffectiveCost) FILTER (WHERE component = 'direct'), 0) AS direct,
    coalesce(sum(EffectiveCost) FILTER (WHERE component = 'shared'), 0) AS shared,
    coalesce(sum(EffectiveCost) FILTER (WHERE component IN ('idle', 'gap', 'commitment_unused')), 0) AS idle_or_unused,
    coalesce(sum(EffectiveCost) FILTER (WHERE component = 'overhead'), 0) AS overhead,
    coalesce(sum(EffectiveCost) FILTER (WHERE component = 'unallocated'), 0) AS unallocated,
    sum(EffectiveCost) AS effective
FROM daily
GROUP BY BillingCurrency, team
ORDER BY BillingCurrency, team NULLS LAST
