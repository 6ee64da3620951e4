-- Grain: one row per rule, currency, team and driver; team NULL is what no team is known for.
-- Purpose: how much of a pool's shared cost each driver of its key sent to each team. Six places: for reading, not booking.
WITH parts AS (
    SELECT
        x_RuleId AS rule,
        BillingCurrency,
        x_Team AS team,
        CAST(AllocatedMethodDetails AS VARCHAR) AS details,
        CAST(sum(EffectiveCost) AS DECIMAL(18, 6)) AS cost
    FROM allocation.charges
    WHERE
        x_BillingPeriod BETWEEN $first_period AND $last_period
        AND x_Component = 'shared'
        AND x_RuleId IS NOT NULL
        AND AllocatedMethodDetails IS NOT NULL
    GROUP BY x_RuleId, BillingCurrency, x_Team, CAST(AllocatedMethodDetails AS VARCHAR)
),

numbered AS (
    SELECT
        row_number() OVER () AS part,
        rule,
        BillingCurrency,
        team,
        cost,
        from_json(details, '{"Elements":[{"x_Driver":"VARCHAR","AllocatedRatio":"DECIMAL(19,18)"}]}').Elements AS elements
    FROM parts
),

elements AS (
    SELECT
        part,
        rule,
        BillingCurrency,
        team,
        cost,
        unnest(elements) AS element
    FROM numbered
),

ratios AS (
    SELECT
        rule,
        BillingCurrency,
        team,
        element.x_Driver AS driver,
        CAST(cost * element.AllocatedRatio AS DECIMAL(38, 18)) AS cost_by_ratio,
        sum(element.AllocatedRatio) OVER (PARTITION BY part) AS part_ratio
    FROM elements
    WHERE element.x_Driver IS NOT NULL
)

SELECT
    rule,
    BillingCurrency AS currency,
    team,
    driver,
    CAST(sum(ratio(cost_by_ratio, part_ratio)) AS DECIMAL(38, 6)) AS cost
FROM ratios
GROUP BY rule, BillingCurrency, team, driver
ORDER BY rule, BillingCurrency, team NULLS LAST, driver
