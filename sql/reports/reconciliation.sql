-- Grain: one row per source, billing period and currency.
-- Purpose: what was delivered, what became of it, and what is left over, which should be nothing.
WITH reconciliation AS (
    SELECT * FROM quality.reconciliation WHERE billing_period BETWEEN $first_period AND $last_period
)

SELECT
    billing_period,
    source_name,
    BillingCurrency,
    rows_delivered,
    rows_mapped,
    rows_netted,
    rows_added,
    billed_control,
    effective_control,
    difference_rows + difference_rows_charges AS difference_rows,
    difference_billed_charges,
    difference_billed_allocated,
    difference_effective_charges,
    difference_effective_allocated,
    difference_list_charges,
    difference_list_allocated,
    difference_contracted_charges,
    difference_contracted_allocated
FROM reconciliation
ORDER BY billing_period, source_name, BillingCurrency
