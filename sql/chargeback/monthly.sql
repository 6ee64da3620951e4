-- Grain: one row per billing period, cost centre, currency and component; cost centre NULL is what nobody owns.
-- Purpose: what each cost centre is charged for the period, exact and to the cent, and how well it was measured.
WITH totals AS (
    SELECT
        period,
        cost_center,
        BillingCurrency,
        component,
        state,
        key_quality,
        BilledCost,
        EffectiveCost
    FROM allocation.totals
    WHERE period = $billing_period
),

weighed AS (
    SELECT
        period,
        cost_center,
        BillingCurrency,
        component,
        BilledCost,
        EffectiveCost,
        ABS(EffectiveCost) AS size,
        CASE WHEN key_quality IS NULL OR key_quality = 'exact' THEN ABS(EffectiveCost) ELSE 0 END AS size_exact,
        CASE WHEN key_quality = 'proxy' THEN ABS(EffectiveCost) ELSE 0 END AS size_proxy,
        CASE state WHEN 'showback' THEN 1 WHEN 'shadow' THEN 2 ELSE 3 END AS state_rank
    FROM totals
),

summed AS (
    SELECT
        period,
        cost_center,
        BillingCurrency,
        component,
        CAST(SUM(EffectiveCost) AS DECIMAL(38, 18)) AS amount,
        CAST(SUM(BilledCost) AS DECIMAL(38, 18)) AS billed_amount,
        CAST(SUM(size) AS DECIMAL(38, 18)) AS size,
        CAST(SUM(size_exact) AS DECIMAL(38, 18)) AS size_exact,
        CAST(SUM(size_exact) + SUM(size_proxy) AS DECIMAL(38, 18)) AS size_exact_or_proxy,
        MIN(state_rank) AS weakest_state_rank
    FROM weighed
    GROUP BY period, cost_center, BillingCurrency, component
),

-- Cents by largest remainder, from the top down: the period's rounded total to cost centres, then each cost centre's
-- cents to its components. A floor is the rounded amount, less a cent where rounding went up.
cost_centers AS (
    SELECT
        period,
        cost_center,
        BillingCurrency,
        CAST(SUM(amount) AS DECIMAL(38, 18)) AS amount
    FROM summed
    GROUP BY period, cost_center, BillingCurrency
),

cost_center_floors AS (
    SELECT
        period,
        cost_center,
        BillingCurrency,
        amount,
        CAST(
            CAST(amount AS DECIMAL(38, 2))
            - CASE WHEN CAST(amount AS DECIMAL(38, 2)) > amount THEN CAST('0.01' AS DECIMAL(3, 2)) ELSE 0 END
            AS DECIMAL(38, 2)
        ) AS cents_floor
    FROM cost_centers
),

cost_center_ranks AS (
    SELECT
        period,
        cost_center,
        BillingCurrency,
        cents_floor,
        CAST(CAST(SUM(amount) OVER (PARTITION BY period, BillingCurrency) AS DECIMAL(38, 18)) AS DECIMAL(38, 2))
        - SUM(cents_floor) OVER (PARTITION BY period, BillingCurrency) AS cents_left,
        ROW_NUMBER() OVER (
            PARTITION BY period, BillingCurrency
            ORDER BY amount - cents_floor DESC, cost_center ASC NULLS FIRST
        ) AS place
    FROM cost_center_floors
),

cost_center_cents AS (
    SELECT
        period,
        cost_center,
        BillingCurrency,
        cents_floor
        + CASE
            WHEN CAST(place AS DECIMAL(18, 0)) * CAST('0.01' AS DECIMAL(3, 2)) <= cents_left
                THEN CAST('0.01' AS DECIMAL(3, 2))
            ELSE 0
        END AS cents
    FROM cost_center_ranks
),

component_floors AS (
    SELECT
        summed.*,
        cost_center_cents.cents AS cost_center_cents,
        CAST(
            CAST(summed.amount AS DECIMAL(38, 2))
            - CASE
                WHEN CAST(summed.amount AS DECIMAL(38, 2)) > summed.amount THEN CAST('0.01' AS DECIMAL(3, 2))
                ELSE 0
            END
            AS DECIMAL(38, 2)
        ) AS cents_floor
    FROM summed
    INNER JOIN cost_center_cents
        ON summed.period = cost_center_cents.period
        AND summed.BillingCurrency = cost_center_cents.BillingCurrency
        AND summed.cost_center IS NOT DISTINCT FROM cost_center_cents.cost_center
),

component_ranks AS (
    SELECT
        *,
        cost_center_cents - SUM(cents_floor) OVER (PARTITION BY period, BillingCurrency, cost_center) AS cents_left,
        ROW_NUMBER() OVER (
            PARTITION BY period, BillingCurrency, cost_center
            ORDER BY amount - cents_floor DESC, component ASC
        ) AS place
    FROM component_floors
)

SELECT
    period AS billing_period,
    cost_center,
    BillingCurrency,
    component,
    amount,
    CAST(
        cents_floor
        + CASE
            WHEN CAST(place AS DECIMAL(18, 0)) * CAST('0.01' AS DECIMAL(3, 2)) <= cents_left
                THEN CAST('0.01' AS DECIMAL(3, 2))
            ELSE 0
        END
        AS DECIMAL(38, 2)
    ) AS amount_to_the_cent,
    billed_amount,
    ratio(size_exact, size) AS share_exact,
    CAST(ratio(size_exact_or_proxy, size) - ratio(size_exact, size) AS DECIMAL(38, 18)) AS share_proxy,
    CAST(1 - ratio(size_exact_or_proxy, size) AS DECIMAL(38, 18)) AS share_estimated,
    CASE weakest_state_rank WHEN 1 THEN 'showback' WHEN 2 THEN 'shadow' WHEN 3 THEN 'chargeback' END AS state
FROM component_ranks
ORDER BY billing_period, cost_center NULLS FIRST, BillingCurrency, component
