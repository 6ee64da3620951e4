-- Grain: one row per billing period, day, currency, the dimensions, component, charge category, provider and source.
-- Purpose: what each team, product, feature, model, environment, customer and cost centre used, day by day.
WITH totals AS (
    SELECT
        period,
        day,
        BillingCurrency,
        team,
        product,
        feature,
        model,
        environment,
        customer,
        cost_center,
        dimensions,
        component,
        charge_category,
        provider,
        source_name,
        key_quality,
        BilledCost,
        EffectiveCost,
        ListCost,
        ContractedCost
    FROM allocation.totals
    WHERE period = $billing_period
),

ranked AS (
    SELECT
        *,
        CASE key_quality WHEN 'estimated' THEN 3 WHEN 'proxy' THEN 2 WHEN 'exact' THEN 1 END AS quality_rank
    FROM totals
),

summed AS (
    SELECT
        period,
        day,
        BillingCurrency,
        team,
        product,
        feature,
        model,
        environment,
        customer,
        cost_center,
        dimensions,
        component,
        charge_category,
        provider,
        source_name,
        SUM(BilledCost) AS BilledCost,
        SUM(EffectiveCost) AS EffectiveCost,
        SUM(ListCost) AS ListCost,
        SUM(ContractedCost) AS ContractedCost,
        MAX(quality_rank) AS worst_quality_rank
    FROM ranked
    GROUP BY
        period,
        day,
        BillingCurrency,
        team,
        product,
        feature,
        model,
        environment,
        customer,
        cost_center,
        dimensions,
        component,
        charge_category,
        provider,
        source_name
)

SELECT
    period AS billing_period,
    day,
    BillingCurrency,
    team,
    product,
    feature,
    model,
    environment,
    customer,
    cost_center,
    dimensions,
    component,
    charge_category,
    provider,
    source_name,
    CAST(BilledCost AS DECIMAL(38, 18)) AS BilledCost,
    CAST(EffectiveCost AS DECIMAL(38, 18)) AS EffectiveCost,
    CAST(ListCost AS DECIMAL(38, 18)) AS ListCost,
    CAST(ContractedCost AS DECIMAL(38, 18)) AS ContractedCost,
    CASE worst_quality_rank WHEN 3 THEN 'estimated' WHEN 2 THEN 'proxy' WHEN 1 THEN 'exact' END AS key_quality
FROM summed
ORDER BY
    billing_period,
    day,
    BillingCurrency,
    team NULLS FIRST,
    product NULLS FIRST,
    feature NULLS FIRST,
    model NULLS FIRST,
    environment NULLS FIRST,
    customer NULLS FIRST,
    cost_center NULLS FIRST,
    dimensions NULLS FIRST,
    component,
    charge_category,
    provider,
    source_name
