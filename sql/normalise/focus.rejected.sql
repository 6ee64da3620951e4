-- Grain: one row for each row of a file in FOCUS that can't become a charge.
-- Purpose: the row, whole, and why; a delivery with such a row is refused by its control totals.
WITH delivered_rows AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

judged AS (
    SELECT
        x_SourceFile,
        x_SourceRow,
        focus_rejection(
            BillingAccountId, BillingCurrency, BillingPeriodStart, BilledCost, EffectiveCost, ChargeCategory,
            ChargePeriodStart, ChargePeriodEnd,
            coalesce(InvoiceIssuerName, ProviderName, ServiceProviderName, PublisherName)
        ) AS reason
    FROM delivered_rows
),

-- Found first, without the rows' text: whole rows are read only where there is one to show.
rejected AS (
    SELECT
        x_SourceFile,
        x_SourceRow,
        reason
    FROM judged
    WHERE reason IS NOT NULL
)

SELECT
    delivered_rows.x_SourceFile AS source_file,
    delivered_rows.x_SourceRow AS source_row,
    concat_ws(' ', 'FOCUS', delivered_rows.ChargeCategory, delivered_rows.ChargeSubcategory, delivered_rows.ChargeClass)
        AS line_item_type,
    rejected.reason,
    CAST(to_json(delivered_rows) AS VARCHAR) AS row_json
FROM delivered_rows
JOIN rejected
    ON delivered_rows.x_SourceFile = rejected.x_SourceFile AND delivered_rows.x_SourceRow = rejected.x_SourceRow
ORDER BY source_file, source_row
