-- Grain: one row for each line of an Azure cost delivery that can't become a charge.
-- Purpose: the line, whole, and why; a delivery with such a line is refused by its control totals.
WITH delivered_lines AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

reports AS MATERIALIZED (
    SELECT
        coalesce(
            bool_or(starts_with(x_SourceFile, 'amortised/')) AND bool_or(NOT starts_with(x_SourceFile, 'amortised/')), false
        ) AS is_pair
    FROM delivered_lines
),

lines AS NOT MATERIALIZED (
    SELECT
        x_SourceFile,
        x_SourceRow,
        starts_with(x_SourceFile, 'amortised/') AS is_amortised,
        charge_type,
        azure_cost_is_of_commitment(
            charge_type,
            pricing_model,
            consumed_service,
            coalesce(benefit_id, nullif(reservation_id, '00000000-0000-0000-0000-000000000000'))
        ) AS is_of_commitment,
        coalesce(
            billing_account_id, billing_profile_id, nullif(subscription_id, '00000000-0000-0000-0000-000000000000')
        ) AS billing_account,
        billing_currency AS currency,
        cost_in_billing_currency AS cost,
        charge_date
    FROM delivered_lines
),

-- Found first, without the lines' text: the whole lines are read only where there is one to show.
rejected AS (
    SELECT
        x_SourceFile,
        x_SourceRow,
        azure_cost_rejection(
            azure_cost_treatment(is_amortised, is_pair, charge_type, is_of_commitment, cost),
            charge_type,
            is_of_commitment,
            billing_account,
            currency,
            cost,
            charge_date
        ) AS reason
    FROM lines
    CROSS JOIN reports
    WHERE reason IS NOT NULL
)

SELECT
    delivered_lines.x_SourceFile AS source_file,
    delivered_lines.x_SourceRow AS source_row,
    delivered_lines.charge_type AS line_item_type,
    rejected.reason,
    CAST(to_json(delivered_lines) AS VARCHAR) AS row_json
FROM delivered_lines
JOIN rejected
    ON delivered_lines.x_SourceFile = rejected.x_SourceFile AND delivered_lines.x_SourceRow = rejected.x_SourceRow
ORDER BY source_file, source_row
