-- Grain: one row for each currency of Google Cloud's billing export.
-- Purpose: what its charges must add up to, from the delivered columns alone (docs/sources/gcp-billing.md): nothing
-- here reads the normalisation, so that a fault in it shows as a difference. Billed and effective cost both come to
-- cost and credits.
WITH lines AS (
    SELECT
        x_SourceFile AS source_file,
        x_SourceRow AS source_row,
        currency,
        cost_type,
        cost,
        coalesce(cost_at_list, cost) AS list_cost,
        coalesce(cost_at_effective_price_default, cost) AS contracted_cost,
        sku_description,
        subscription_instance_id AS subscription_id,
        coalesce(credits, []) AS credits,
        cost_type = 'regular'
        AND (
            sku_description LIKE 'Commitment%'
            OR list_contains(
                list_transform(coalesce(credits, []), lambda credit: credit.type), 'FEE_UTILIZATION_OFFSET'
            )
        ) AS is_fee,
        cost_type = 'regular'
        AND consumption_model_description <> 'Default'
        AND (subscription_instance_id IS NOT NULL OR consumption_model_description LIKE '%CUD%')
            AS is_at_commitment_price,
        NOT coalesce(cost_type IN ('regular', 'tax', 'adjustment', 'rounding_error'), false)
        OR billing_account_id IS NULL
        OR invoice_month IS NULL
        OR currency IS NULL
        OR cost IS NULL
        OR usage_start_time IS NULL AS is_unusable
    FROM delivered
),

line_credits AS (
    SELECT
        source_file,
        source_row,
        currency,
        cost_type,
        is_fee,
        coalesce(is_at_commitment_price AND NOT is_fee, false) AS is_at_commitment_price,
        credit.id AS credit_id,
        credit.type AS credit_type,
        credit.amount
    FROM (SELECT *, unnest(credits) AS credit FROM lines)
),

-- What a credit is: of a commitment's cover, of a fee's offset, a charge of its own, or a lower price.
judged_credits AS (
    SELECT
        *,
        CASE
            WHEN is_at_commitment_price THEN 'own'
            WHEN cost_type = 'regular' AND is_fee AND credit_type = 'FEE_UTILIZATION_OFFSET' THEN 'offset'
            WHEN cost_type = 'regular' AND NOT is_fee AND credit_type = 'COMMITTED_USAGE_DISCOUNT' THEN '(Usage)'
            WHEN cost_type = 'regular' AND NOT is_fee AND credit_type = 'COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE'
                THEN '(Spend)'
            WHEN credit_type IN (
                'COMMITTED_USAGE_DISCOUNT', 'COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE', 'FEE_UTILIZATION_OFFSET',
                'SUSTAINED_USAGE_DISCOUNT', 'DISCOUNT', 'FREE_TIER', 'SUBSCRIPTION_BENEFIT', 'RESELLER_MARGIN'
            ) THEN 'price'
            ELSE 'own'
        END AS role
    FROM line_credits
),

rejected_lines AS (
    SELECT DISTINCT source_file, source_row, currency
    FROM (
        SELECT source_file, source_row, currency FROM lines WHERE is_unusable
        UNION ALL
        SELECT source_file, source_row, currency FROM line_credits WHERE amount IS NULL
    )
),

shared_ids AS (
    SELECT subscription_id AS id FROM lines WHERE is_fee
    INTERSECT
    (
        SELECT subscription_id FROM lines WHERE is_at_commitment_price AND NOT is_fee
        UNION
        SELECT credit_id FROM judged_credits WHERE role IN ('(Usage)', '(Spend)')
    )
),

fees AS (
    SELECT
        lines.currency,
        CASE
            WHEN lines.subscription_id IN (SELECT id FROM shared_ids) THEN lines.subscription_id
            WHEN lines.sku_description LIKE '%dollar based%' OR lines.sku_description LIKE '%dollar-based%'
                OR list_contains(list_transform(lines.credits, lambda credit: credit.type), 'FEE_UTILIZATION_OFFSET')
                THEN '(Spend)'
            ELSE '(Usage)'
        END AS commitment,
        lines.cost + coalesce(lowered.amount, 0) AS fee,
        coalesce(lowered.fee_offset, 0) AS fee_offset,
        rates.rate
    FROM lines
    LEFT JOIN (
        SELECT
            source_file,
            source_row,
            sum(amount) FILTER (WHERE role = 'price') AS amount,
            sum(amount) FILTER (WHERE role = 'offset') AS fee_offset
        FROM judged_credits
        GROUP BY source_file, source_row
    ) AS lowered
        ON lines.source_file = lowered.source_file AND lines.source_row = lowered.source_row
    LEFT JOIN (
        SELECT sku_description, min(CAST(rate AS DECIMAL(8, 6))) AS rate
        FROM (SELECT DISTINCT sku_description FROM lines WHERE is_fee)
        JOIN mappings.commitment_rates ON sku_description LIKE sku_pattern AND provider = 'Google Cloud'
        GROUP BY sku_description
    ) AS rates
        ON lines.sku_description = rates.sku_description
    WHERE lines.is_fee
),

fee_totals AS (
    SELECT
        currency,
        commitment,
        count(*) AS fees,
        sum(fee) AS fee,
        sum(fee_offset) AS fee_offset,
        count(*) = count(rate) AS is_rate_known,
        CASE
            WHEN count(DISTINCT rate) <= 1 THEN CAST(min(rate) AS DOUBLE)
            WHEN min(fee) > 0 THEN CAST(sum(fee) AS DOUBLE) / sum(CAST(fee AS DOUBLE) / CAST(rate AS DOUBLE))
            ELSE CAST(max(rate) AS DOUBLE)
        END AS mean_rate,
        CASE WHEN count(DISTINCT rate) <= 1 THEN min(rate) END AS only_rate
    FROM fees
    GROUP BY currency, commitment
),

usage_totals AS (
    SELECT
        currency,
        CASE WHEN subscription_id IN (SELECT id FROM shared_ids) THEN subscription_id ELSE '(Spend)' END AS commitment,
        sum(cost) AS cost
    FROM lines
    WHERE is_at_commitment_price AND NOT is_fee
    GROUP BY ALL
),

cover_credits AS (
    SELECT
        *,
        CASE WHEN credit_id IN (SELECT id FROM shared_ids) THEN credit_id ELSE role END AS commitment
    FROM judged_credits
    WHERE role IN ('(Usage)', '(Spend)')
),

cover_totals AS (
    SELECT currency, commitment, -sum(amount) AS covered FROM cover_credits GROUP BY currency, commitment
),

commitments AS (
    SELECT
        currency,
        fees,
        fee_offset + coalesce(cost, 0) AS residue,
        fee - coalesce(cost, 0) AS available,
        coalesce(covered, 0) AS covered,
        is_rate_known,
        CASE
            WHEN only_rate IS NOT NULL
                THEN CAST(coalesce(covered, 0) AS DECIMAL(30, 18)) * only_rate < fee - coalesce(cost, 0)
            ELSE CAST(coalesce(covered, 0) AS DOUBLE) * mean_rate < CAST(fee - coalesce(cost, 0) AS DOUBLE)
        END AS covers_less
    FROM fee_totals
    LEFT JOIN usage_totals USING (currency, commitment)
    LEFT JOIN cover_totals USING (currency, commitment)
),

split_lines AS (
    SELECT
        lines.currency,
        count(*) AS covers,
        any_value(lines.cost) + any_value(all_credits.amount) AS net_cost
    FROM lines
    JOIN cover_credits ON lines.source_file = cover_credits.source_file AND lines.source_row = cover_credits.source_row
    JOIN fee_totals ON cover_credits.currency = fee_totals.currency AND cover_credits.commitment = fee_totals.commitment
    JOIN (
        SELECT source_file, source_row, sum(amount) FILTER (WHERE role <> 'own') AS amount
        FROM judged_credits
        GROUP BY source_file, source_row
    ) AS all_credits
        ON lines.source_file = all_credits.source_file AND lines.source_row = all_credits.source_row
    GROUP BY lines.source_file, lines.source_row, lines.currency
),

added AS (
    SELECT currency, sum(rows) AS rows_added
    FROM (
        SELECT currency, 1 AS rows FROM judged_credits WHERE role = 'own' AND amount <> 0
        UNION ALL
        SELECT currency, covers - CASE WHEN net_cost = 0 THEN 1 ELSE 0 END FROM split_lines
        UNION ALL
        SELECT currency, fees
        FROM commitments
        WHERE
            CASE
                WHEN covered > 0 AND available > 0 THEN is_rate_known AND covers_less
                ELSE available <> 0
            END
        UNION ALL
        SELECT currency, 1 FROM commitments WHERE residue <> 0
    )
    GROUP BY currency
),

line_totals AS (
    SELECT
        lines.currency,
        count(*) AS rows_delivered,
        sum(cost) AS cost,
        sum(CASE WHEN cost_type = 'regular' THEN list_cost ELSE cost END) AS list_cost,
        sum(CASE WHEN cost_type = 'regular' THEN contracted_cost ELSE cost END) AS contracted_cost
    FROM lines
    GROUP BY lines.currency
),

credit_totals AS (
    SELECT
        currency,
        sum(amount) AS amount,
        sum(amount) FILTER (WHERE role = 'own' OR cost_type <> 'regular') AS own_amount
    FROM judged_credits
    GROUP BY currency
),

residues AS (
    SELECT currency, sum(residue) AS residue FROM commitments GROUP BY currency
),

rejected AS (
    SELECT currency, count(*) AS rows_rejected FROM rejected_lines GROUP BY currency
)

SELECT
    line_totals.currency AS BillingCurrency,
    rows_delivered,
    CAST(0 AS BIGINT) AS rows_netted,
    coalesce(rows_rejected, 0) AS rows_rejected,
    CAST(coalesce(rows_added, 0) AS BIGINT) AS rows_added,
    CAST(coalesce(cost, 0) + coalesce(amount, 0) AS DECIMAL(38, 18)) AS billed_control,
    CAST(coalesce(cost, 0) + coalesce(amount, 0) AS DECIMAL(38, 18)) AS effective_control,
    CAST(coalesce(list_cost, 0) + coalesce(own_amount, 0) + coalesce(residue, 0) AS DECIMAL(38, 18)) AS list_control,
    CAST(coalesce(contracted_cost, 0) + coalesce(own_amount, 0) + coalesce(residue, 0) AS DECIMAL(38, 18))
        AS contracted_control
FROM line_totals
LEFT JOIN credit_totals ON line_totals.currency IS NOT DISTINCT FROM credit_totals.currency
LEFT JOIN residues ON line_totals.currency IS NOT DISTINCT FROM residues.currency
LEFT JOIN rejected ON line_totals.currency IS NOT DISTINCT FROM rejected.currency
LEFT JOIN added ON line_totals.currency IS NOT DISTINCT FROM added.currency
ORDER BY BillingCurrency
