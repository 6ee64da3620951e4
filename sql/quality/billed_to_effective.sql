-- Grain: one row per source, billing period, currency and commitment; '' is everything that is no commitment's.
-- Purpose: the bridge from the invoice (BilledCost) to what teams are charged (EffectiveCost), commitment by commitment.
WITH charges AS (
    SELECT
        x_SourceName AS source_name,
        x_BillingPeriod AS billing_period,
        BillingCurrency,
        COALESCE(CommitmentDiscountId, '') AS commitment,
        CommitmentDiscountStatus,
        ChargeCategory,
        -- Bills that came in FOCUS have their vendor's own amortisation (docs/sources/focus.md).
        COALESCE(x_SourceLineItemType LIKE 'FOCUS %', false) AS is_delivered_in_focus,
        BilledCost,
        EffectiveCost
    FROM billing.charges
    WHERE x_BillingPeriod = $billing_period
),

-- Which charges move cost between months follows from what they are, not from their amounts: a row that has an amount
-- it may not have then stays unexplained. A bill in FOCUS moves cost without a commitment too: what is prepaid under a contract,
-- or granted, is billed in one row and effective in others, and only the amounts tell which.
classified AS (
    SELECT
        source_name,
        billing_period,
        BillingCurrency,
        commitment,
        BilledCost,
        EffectiveCost,
        CASE
            WHEN commitment <> '' AND ChargeCategory = 'Usage' AND CommitmentDiscountStatus IN ('Used', 'Unused')
                THEN EffectiveCost
            WHEN commitment <> '' AND ChargeCategory = 'Purchase' THEN 0
            WHEN is_delivered_in_focus THEN GREATEST(EffectiveCost - BilledCost, 0)
            ELSE 0
        END AS released,
        CASE
            WHEN commitment <> '' AND ChargeCategory = 'Usage' AND CommitmentDiscountStatus IN ('Used', 'Unused') THEN 0
            WHEN commitment <> '' AND ChargeCategory = 'Purchase' THEN BilledCost
            WHEN is_delivered_in_focus THEN GREATEST(BilledCost - EffectiveCost, 0)
            ELSE 0
        END AS purchased
    FROM charges
),

summed AS (
    SELECT
        source_name,
        billing_period,
        BillingCurrency,
        commitment,
        CAST(SUM(BilledCost) AS DECIMAL(38, 18)) AS billed_cost,
        CAST(SUM(released) AS DECIMAL(38, 18)) AS amortisation_released,
        CAST(SUM(purchased) AS DECIMAL(38, 18)) AS commitment_purchases,
        CAST(SUM(EffectiveCost) AS DECIMAL(38, 18)) AS effective_cost
    FROM classified
    GROUP BY source_name, billing_period, BillingCurrency, commitment
)

SELECT
    source_name,
    billing_period,
    BillingCurrency,
    commitment,
    billed_cost,
    amortisation_released,
    commitment_purchases,
    effective_cost,
    CAST(billed_cost + amortisation_released - commitment_purchases - effective_cost AS DECIMAL(38, 18)) AS unexplained
FROM summed
ORDER BY source_name, billing_period, BillingCurrency, commitment
