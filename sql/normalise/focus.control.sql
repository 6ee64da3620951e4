-- Grain: one row for each currency of a file in FOCUS.
-- Purpose: what its charges must add up to, from the delivered columns alone (docs/sources/focus.md): nothing here reads the
-- normalisation, so that a fault in it shows as a difference. Billed and effective cost are summed as they stand.
WITH amounts AS (
    SELECT
        upper(BillingCurrency) AS currency,
        BilledCost AS billed,
        EffectiveCost AS effective,
        lower(trim(ChargeCategory)) = 'usage' AND CommitmentDiscountId IS NOT NULL AS is_covered,
        ListCost AS list,
        exact_product(ListUnitPrice, PricingQuantity) AS list_by_price,
        ContractedCost AS contracted,
        exact_product(ContractedUnitPrice, PricingQuantity) AS contracted_by_price,
        BillingAccountId IS NULL
        OR BillingCurrency IS NULL
        OR BillingPeriodStart IS NULL
        OR BilledCost IS NULL
        OR EffectiveCost IS NULL
        OR ChargeCategory IS NULL
        OR lower(trim(ChargeCategory)) NOT IN ('usage', 'purchase', 'tax', 'credit', 'adjustment')
        OR ChargePeriodStart IS NULL
        OR ChargePeriodEnd IS NULL
        OR ChargePeriodEnd < ChargePeriodStart
        OR (
            InvoiceIssuerName IS NULL AND ProviderName IS NULL AND ServiceProviderName IS NULL AND PublisherName IS NULL
        ) AS is_rejected
    FROM delivered
),

costs AS (
    SELECT
        currency,
        is_rejected,
        billed,
        effective,
        CASE
            WHEN contracted IS NOT NULL THEN contracted
            WHEN contracted_by_price IS NOT NULL THEN contracted_by_price
            WHEN is_covered THEN effective
            ELSE billed
        END AS contracted,
        list,
        list_by_price
    FROM amounts
)

SELECT
    currency AS BillingCurrency,
    count(*) AS rows_delivered,
    0 AS rows_netted,
    count(*) FILTER (WHERE is_rejected) AS rows_rejected,
    0 AS rows_added,
    CAST(coalesce(sum(billed), 0) AS DECIMAL(38, 18)) AS billed_control,
    CAST(coalesce(sum(effective), 0) AS DECIMAL(38, 18)) AS effective_control,
    CAST(coalesce(sum(coalesce(list, list_by_price, contracted)), 0) AS DECIMAL(38, 18)) AS list_control,
    CAST(coalesce(sum(contracted), 0) AS DECIMAL(38, 18)) AS contracted_control
FROM costs
GROUP BY currency
ORDER BY currency
