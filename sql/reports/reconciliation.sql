-- Grain: one row per billing period, source and currency.
-- Purpose: what was delivered, what became of it, and what is left over (Δ) on the way to the allocation: nothing.
WITH reconciliation AS (
    SELECT * FROM quality.reconciliation WHERE billing_period BETWEEN $first_period AND $last_period
)

SELECT
    billing_period AS period,
    source_name AS source,
    BillingCurrency AS currency,
    rows_delivered AS delivered,
    rows_netted AS netted,
    rows_added AS added,
    billed_control AS billed,
    effective_control AS effective,
    abs(difference_rows) + abs(difference_rows_charges) AS "Δ rows",
    abs(difference_billed_charges) + abs(difference_billed_allocated) AS "Δ billed",
    abs(difference_effective_charges) + abs(difference_effective_allocated) AS "Δ effective",
    abs(difference_list_charges) + abs(difference_list_allocated) AS "Δ list",
    abs(difference_contracted_charges) + abs(difference_contracted_allocated) AS "Δ contracted"
FROM reconciliation
ORDER BY billing_period, source_name, BillingCurrency
