-- Grain: one row for each line of Google Cloud's billing export that can't become a charge.
-- Purpose: the line, whole, and why; a delivery with such a line is refused by its control totals.
WITH delivered_lines AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

judged AS (
    SELECT
        x_SourceFile,
        x_SourceRow,
        gcp_rejection(
            gcp_treatment(cost_type, sku_description, credits, consumption_model_description, subscription_instance_id),
            cost_type,
            billing_account_id,
            invoice_month,
            currency,
            cost,
            usage_start_time,
            credits
        ) AS reason
    FROM delivered_lines
),

-- Found first, without the lines' text: the whole lines are read only where there is one to show.
rejected AS (
    SELECT
        x_SourceFile,
        x_SourceRow,
        reason
    FROM judged
    WHERE reason IS NOT NULL
)

SELECT
    delivered_lines.x_SourceFile AS source_file,
    delivered_lines.x_SourceRow AS source_row,
    delivered_lines.cost_type AS line_item_type,
    rejected.reason,
    CAST(to_json(delivered_lines) AS VARCHAR) AS row_json
FROM delivered_lines
JOIN rejected
    ON delivered_lines.x_SourceFile = rejected.x_SourceFile AND delivered_lines.x_SourceRow = rejected.x_SourceRow
ORDER BY source_file, source_row
