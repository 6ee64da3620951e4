-- Grain: one row for each line of an AWS Cost and Usage Report that can't become a charge.
-- Purpose: the line, whole, and why; a delivery with such a line is refused by its control totals.
WITH delivered_lines AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

judged AS (
    SELECT
        x_SourceFile,
        x_SourceRow,
        aws_cur_rejection(
            aws_cur_treatment(
                line_item_line_item_type,
                reservation_reservation_a_r_n,
                line_item_product_code,
                line_item_line_item_description
            ),
            line_item_line_item_type,
            bill_payer_account_id,
            line_item_currency_code,
            coalesce(
                line_item_net_unblended_cost,
                line_item_unblended_cost,
                CASE WHEN line_item_operation IN ('EKSPod-EC2', 'ECSTask-EC2') THEN 0 END
            ),
            coalesce(savings_plan_net_savings_plan_effective_cost, savings_plan_savings_plan_effective_cost),
            coalesce(reservation_net_effective_cost, reservation_effective_cost),
            savings_plan_total_commitment_to_date,
            savings_plan_used_commitment,
            coalesce(
                reservation_net_unused_amortized_upfront_fee_for_billing_period,
                reservation_unused_amortized_upfront_fee_for_billing_period
            ),
            coalesce(reservation_net_unused_recurring_fee, reservation_unused_recurring_fee)
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
    delivered_lines.line_item_line_item_type AS line_item_type,
    rejected.reason,
    CAST(to_json(delivered_lines) AS VARCHAR) AS row_json
FROM delivered_lines
JOIN rejected
    ON delivered_lines.x_SourceFile = rejected.x_SourceFile AND delivered_lines.x_SourceRow = rejected.x_SourceRow
ORDER BY source_file, source_row
