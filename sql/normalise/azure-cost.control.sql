-- Grain: one row for each currency of an Azure cost delivery.
-- Purpose: what its charges must add up to, from the delivered columns alone (docs/sources/azure-cost.md): nothing here reads
-- the normalisation, so that a fault in it shows as a difference. Billed is all of the actual report, effective all of the
-- amortised one: two reports that don't belong together don't tie out.
WITH reports AS (
    SELECT
        count(*) FILTER (WHERE x_SourceFile LIKE 'amortised/%') > 0 AS has_amortised,
        count(*) FILTER (WHERE x_SourceFile NOT LIKE 'amortised/%') > 0 AS has_actual
    FROM delivered
),

lines AS (
    SELECT
        billing_currency AS currency,
        x_SourceFile LIKE 'amortised/%' AS is_amortised,
        has_amortised,
        has_actual,
        lower(charge_type) AS charge_type,
        charge_type ILIKE 'unused%'
        OR coalesce(replace(pricing_model, ' ', '') ILIKE 'reservation', false)
        OR coalesce(replace(pricing_model, ' ', '') ILIKE 'savingsplan', false)
        OR (
            charge_type IN ('Purchase', 'Refund')
            AND coalesce(
                consumed_service ILIKE 'microsoft.capacity' OR consumed_service ILIKE 'microsoft.billingbenefits', false
            )
        )
        OR (
            pricing_model IS NULL
            AND (
                benefit_id IS NOT NULL
                OR coalesce(reservation_id, '00000000-0000-0000-0000-000000000000') <> '00000000-0000-0000-0000-000000000000'
            )
        ) AS is_of_commitment,
        coalesce(billing_account_id, billing_profile_id, nullif(subscription_id, '00000000-0000-0000-0000-000000000000')) IS NULL
        OR charge_date IS NULL
        OR cost_in_billing_currency IS NULL
        OR NOT coalesce(regexp_full_match(billing_currency, '[A-Z][A-Z][A-Z]'), false) AS is_unidentified,
        cost_in_billing_currency AS cost,
        quantity,
        nine_places(quantity) AS short_quantity,
        CASE
            WHEN pricing_currency <> billing_currency THEN exact_product(unit_price, exchange_rate)
            ELSE unit_price
        END AS price,
        CASE
            WHEN pricing_currency <> billing_currency THEN exact_product(pay_g_price, exchange_rate)
            ELSE pay_g_price
        END AS public_price,
        payg_cost_in_billing_currency AS public_cost
    FROM delivered
    CROSS JOIN reports
),

shortened AS (
    SELECT
        *,
        nine_places(price) AS short_price,
        nine_places(public_price) AS short_public_price
    FROM lines
),

judged AS (
    SELECT
        *,
        charge_type IN ('purchase', 'refund') AND is_of_commitment AS is_commitment_purchase,
        is_unidentified
        OR charge_type IS NULL
        OR NOT (
            charge_type = 'usage'
            OR charge_type = 'unusedreservation'
            OR charge_type = 'unusedsavingsplan'
            OR charge_type = 'purchase'
            OR charge_type = 'refund'
            OR charge_type = 'roundingadjustment'
            OR charge_type = 'credit'
            OR charge_type = 'tax'
        )
        OR (is_amortised AND charge_type IN ('purchase', 'refund') AND is_of_commitment AND cost <> 0) AS is_rejected,
        coalesce(exact_product_of(price, short_price, quantity, short_quantity), cost) AS at_contract,
        coalesce(
            public_cost, exact_product_of(public_price, short_public_price, quantity, short_quantity)
        ) AS at_public
    FROM shortened
),

amounts AS (
    SELECT
        currency,
        is_rejected,
        cost,
        NOT is_amortised OR NOT has_actual AS counts_as_billed,
        is_amortised OR NOT has_amortised AS counts_as_effective,
        -- The other report has the line, or (a purchase in the amortised report) it says nothing.
        CASE
            WHEN is_commitment_purchase THEN is_amortised
            ELSE has_amortised AND NOT is_amortised
        END AS is_netted,
        charge_type LIKE 'unused%' AS is_unused,
        (charge_type = 'usage' OR (charge_type = 'purchase' AND NOT is_of_commitment)) AS is_priced,
        CASE WHEN at_public = 0 OR at_public IS NULL THEN at_contract ELSE at_public END AS list,
        at_contract AS contracted,
        is_commitment_purchase AND NOT has_amortised AS is_lone_purchase
    FROM judged
)

SELECT
    currency AS BillingCurrency,
    count(*) AS rows_delivered,
    count(*) FILTER (WHERE is_netted AND NOT is_rejected) AS rows_netted,
    count(*) FILTER (WHERE is_rejected) AS rows_rejected,
    0 AS rows_added,
    CAST(coalesce(sum(cost) FILTER (WHERE counts_as_billed), 0) AS DECIMAL(38, 18)) AS billed_control,
    CAST(coalesce(sum(cost) FILTER (WHERE counts_as_effective AND NOT is_lone_purchase), 0) AS DECIMAL(38, 18))
        AS effective_control,
    CAST(coalesce(sum(CASE WHEN is_unused THEN 0 WHEN is_priced THEN list ELSE cost END) FILTER (WHERE NOT is_netted), 0)
        AS DECIMAL(38, 18)) AS list_control,
    CAST(
        coalesce(
            sum(CASE WHEN is_unused THEN 0 WHEN is_priced THEN contracted ELSE cost END) FILTER (WHERE NOT is_netted), 0
        ) AS DECIMAL(38, 18)
    ) AS contracted_control
FROM amounts
GROUP BY currency
ORDER BY currency
