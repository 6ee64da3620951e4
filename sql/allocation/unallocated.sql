-- Grain: one row per currency, reason, pool, rule, source, account and service. Purpose: the work list of what found no
-- target.
WITH charges AS (
    SELECT
        x_OriginChargeKey,
        BillingCurrency,
        x_UnallocatedReason AS reason,
        x_PoolId AS pool,
        x_RuleId AS rule,
        x_SourceName AS source_name,
        SubAccountId,
        ServiceName,
        BilledCost,
        EffectiveCost,
        ListCost,
        ContractedCost
    FROM allocation.charges
    WHERE x_UnallocatedReason IS NOT NULL
)

SELECT
    $billing_period AS period,
    BillingCurrency,
    reason,
    pool,
    rule,
    source_name,
    SubAccountId,
    ServiceName,
    count(DISTINCT x_OriginChargeKey) AS charges,
    CAST(sum(BilledCost) AS DECIMAL(38,18)) AS BilledCost,
    CAST(sum(EffectiveCost) AS DECIMAL(38,18)) AS EffectiveCost,
    CAST(sum(ListCost) AS DECIMAL(38,18)) AS ListCost,
    CAST(sum(ContractedCost) AS DECIMAL(38,18)) AS ContractedCost
FROM charges
GROUP BY BillingCurrency, reason, pool, rule, source_name, SubAccountId, ServiceName
ORDER BY
    BillingCurrency,
    reason,
    pool NULLS FIRST,
    rule NULLS FIRST,
    source_name,
    SubAccountId NULLS FIRST,
    ServiceName
