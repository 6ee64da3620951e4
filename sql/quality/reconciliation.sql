-- Grain: one row per source, billing period and currency.
-- Purpose: what the delivery says, what became charges and what the allocation put somewhere, side by side.
WITH control AS (
    SELECT
        source_name,
        BillingCurrency,
        source_version,
        rows_delivered,
        rows_mapped,
        rows_netted,
        rows_rejected,
        rows_claimed,
        rows_added,
        billed_control,
        effective_control,
        list_control,
        contracted_control,
        billed_claimed,
        effective_claimed,
        list_claimed,
        contracted_claimed
    FROM quality.control
    WHERE billing_period = $billing_period
),

charges AS (
    SELECT
        x_SourceName AS source_name,
        BillingCurrency,
        x_SourceVersion AS source_version,
        BilledCost,
        EffectiveCost,
        ListCost,
        ContractedCost
    FROM billing.charges
    WHERE x_BillingPeriod = $billing_period
),

allocated AS (
    SELECT
        source_name,
        BillingCurrency,
        BilledCost,
        EffectiveCost,
        ListCost,
        ContractedCost
    FROM allocation.totals
    WHERE period = $billing_period
),

accepted AS (
    SELECT
        source_name,
        BillingCurrency,
        CASE WHEN cost_column = 'BilledCost' THEN amount END AS billed,
        CASE WHEN cost_column = 'EffectiveCost' THEN amount END AS effective,
        CASE WHEN cost_column = 'ListCost' THEN amount END AS list,
        CASE WHEN cost_column = 'ContractedCost' THEN amount END AS contracted
    FROM configuration.accepted_differences
    WHERE billing_period = $billing_period
),

-- The sides are stacked and summed rather than joined: a key that one side lacks shows up instead of vanishing.
control_sums AS (
    SELECT
        source_name,
        BillingCurrency,
        MAX(source_version) AS source_version,
        SUM(rows_delivered) AS rows_delivered,
        SUM(rows_mapped) AS rows_mapped,
        SUM(rows_netted) AS rows_netted,
        SUM(rows_rejected) AS rows_rejected,
        SUM(rows_claimed) AS rows_claimed,
        SUM(rows_added) AS rows_added,
        SUM(billed_control) AS billed_control,
        SUM(effective_control) AS effective_control,
        SUM(list_control) AS list_control,
        SUM(contracted_control) AS contracted_control,
        SUM(billed_claimed) AS billed_claimed,
        SUM(effective_claimed) AS effective_claimed,
        SUM(list_claimed) AS list_claimed,
        SUM(contracted_claimed) AS contracted_claimed
    FROM control
    GROUP BY source_name, BillingCurrency
),

charge_sums AS (
    SELECT
        source_name,
        BillingCurrency,
        MAX(source_version) AS charges_version,
        COUNT(*) AS rows_charges,
        SUM(BilledCost) AS billed_charges,
        SUM(EffectiveCost) AS effective_charges,
        SUM(ListCost) AS list_charges,
        SUM(ContractedCost) AS contracted_charges
    FROM charges
    GROUP BY source_name, BillingCurrency
),

allocated_sums AS (
    SELECT
        source_name,
        BillingCurrency,
        SUM(BilledCost) AS billed_allocated,
        SUM(EffectiveCost) AS effective_allocated,
        SUM(ListCost) AS list_allocated,
        SUM(ContractedCost) AS contracted_allocated
    FROM allocated
    GROUP BY source_name, BillingCurrency
),

accepted_sums AS (
    SELECT
        source_name,
        BillingCurrency,
        SUM(billed) AS billed_accepted,
        SUM(effective) AS effective_accepted,
        SUM(list) AS list_accepted,
        SUM(contracted) AS contracted_accepted
    FROM accepted
    GROUP BY source_name, BillingCurrency
),

sides AS (
    SELECT
        source_name, BillingCurrency, source_version, CAST(NULL AS VARCHAR) AS charges_version,
        rows_delivered, rows_mapped, rows_netted, rows_rejected, rows_claimed, rows_added, 0 AS rows_charges,
        billed_control, billed_claimed, 0 AS billed_charges, 0 AS billed_allocated, 0 AS billed_accepted,
        effective_control, effective_claimed, 0 AS effective_charges, 0 AS effective_allocated, 0 AS effective_accepted,
        list_control, list_claimed, 0 AS list_charges, 0 AS list_allocated, 0 AS list_accepted,
        contracted_control, contracted_claimed, 0 AS contracted_charges, 0 AS contracted_allocated, 0 AS contracted_accepted
    FROM control_sums
    UNION ALL
    SELECT
        source_name, BillingCurrency, CAST(NULL AS VARCHAR) AS source_version, charges_version,
        0 AS rows_delivered, 0 AS rows_mapped, 0 AS rows_netted, 0 AS rows_rejected, 0 AS rows_claimed, 0 AS rows_added, rows_charges,
        0 AS billed_control, 0 AS billed_claimed, billed_charges, 0 AS billed_allocated, 0 AS billed_accepted,
        0 AS effective_control, 0 AS effective_claimed, effective_charges, 0 AS effective_allocated, 0 AS effective_accepted,
        0 AS list_control, 0 AS list_claimed, list_charges, 0 AS list_allocated, 0 AS list_accepted,
        0 AS contracted_control, 0 AS contracted_claimed, contracted_charges, 0 AS contracted_allocated, 0 AS contracted_accepted
    FROM charge_sums
    UNION ALL
    SELECT
        source_name, BillingCurrency, CAST(NULL AS VARCHAR) AS source_version, CAST(NULL AS VARCHAR) AS charges_version,
        0 AS rows_delivered, 0 AS rows_mapped, 0 AS rows_netted, 0 AS rows_rejected, 0 AS rows_claimed, 0 AS rows_added, 0 AS rows_charges,
        0 AS billed_control, 0 AS billed_claimed, 0 AS billed_charges, billed_allocated, 0 AS billed_accepted,
        0 AS effective_control, 0 AS effective_claimed, 0 AS effective_charges, effective_allocated, 0 AS effective_accepted,
        0 AS list_control, 0 AS list_claimed, 0 AS list_charges, list_allocated, 0 AS list_accepted,
        0 AS contracted_control, 0 AS contracted_claimed, 0 AS contracted_charges, contracted_allocated, 0 AS contracted_accepted
    FROM allocated_sums
    UNION ALL
    SELECT
        source_name, BillingCurrency, CAST(NULL AS VARCHAR) AS source_version, CAST(NULL AS VARCHAR) AS charges_version,
        0 AS rows_delivered, 0 AS rows_mapped, 0 AS rows_netted, 0 AS rows_rejected, 0 AS rows_claimed, 0 AS rows_added, 0 AS rows_charges,
        0 AS billed_control, 0 AS billed_claimed, 0 AS billed_charges, 0 AS billed_allocated, billed_accepted,
        0 AS effective_control, 0 AS effective_claimed, 0 AS effective_charges, 0 AS effective_allocated, effective_accepted,
        0 AS list_control, 0 AS list_claimed, 0 AS list_charges, 0 AS list_allocated, list_accepted,
        0 AS contracted_control, 0 AS contracted_claimed, 0 AS contracted_charges, 0 AS contracted_allocated, contracted_accepted
    FROM accepted_sums
),

side_by_side AS (
    SELECT
        source_name,
        BillingCurrency,
        MAX(source_version) AS source_version,
        MAX(charges_version) AS charges_version,
        CAST(SUM(rows_delivered) AS BIGINT) AS rows_delivered,
        CAST(SUM(rows_mapped) AS BIGINT) AS rows_mapped,
        CAST(SUM(rows_netted) AS BIGINT) AS rows_netted,
        CAST(SUM(rows_rejected) AS BIGINT) AS rows_rejected,
        CAST(SUM(rows_claimed) AS BIGINT) AS rows_claimed,
        CAST(SUM(rows_added) AS BIGINT) AS rows_added,
        CAST(SUM(rows_charges) AS BIGINT) AS rows_charges,
        CAST(SUM(billed_control) AS DECIMAL(38, 18)) AS billed_control,
        CAST(SUM(billed_claimed) AS DECIMAL(38, 18)) AS billed_claimed,
        CAST(SUM(billed_charges) AS DECIMAL(38, 18)) AS billed_charges,
        CAST(SUM(billed_allocated) AS DECIMAL(38, 18)) AS billed_allocated,
        CAST(COALESCE(SUM(billed_accepted), 0) AS DECIMAL(38, 18)) AS billed_accepted,
        CAST(SUM(effective_control) AS DECIMAL(38, 18)) AS effective_control,
        CAST(SUM(effective_claimed) AS DECIMAL(38, 18)) AS effective_claimed,
        CAST(SUM(effective_charges) AS DECIMAL(38, 18)) AS effective_charges,
        CAST(SUM(effective_allocated) AS DECIMAL(38, 18)) AS effective_allocated,
        CAST(COALESCE(SUM(effective_accepted), 0) AS DECIMAL(38, 18)) AS effective_accepted,
        CAST(SUM(list_control) AS DECIMAL(38, 18)) AS list_control,
        CAST(SUM(list_claimed) AS DECIMAL(38, 18)) AS list_claimed,
        CAST(SUM(list_charges) AS DECIMAL(38, 18)) AS list_charges,
        CAST(SUM(list_allocated) AS DECIMAL(38, 18)) AS list_allocated,
        CAST(COALESCE(SUM(list_accepted), 0) AS DECIMAL(38, 18)) AS list_accepted,
        CAST(SUM(contracted_control) AS DECIMAL(38, 18)) AS contracted_control,
        CAST(SUM(contracted_claimed) AS DECIMAL(38, 18)) AS contracted_claimed,
        CAST(SUM(contracted_charges) AS DECIMAL(38, 18)) AS contracted_charges,
        CAST(SUM(contracted_allocated) AS DECIMAL(38, 18)) AS contracted_allocated,
        CAST(COALESCE(SUM(contracted_accepted), 0) AS DECIMAL(38, 18)) AS contracted_accepted
    FROM sides
    GROUP BY source_name, BillingCurrency
)

SELECT
    source_name,
    $billing_period AS billing_period,
    BillingCurrency,
    source_version,
    charges_version,
    rows_delivered,
    rows_mapped,
    rows_netted,
    rows_rejected,
    rows_claimed,
    rows_added,
    rows_charges,
    rows_delivered - rows_mapped - rows_netted - rows_rejected - rows_claimed AS difference_rows,
    rows_mapped + rows_added - rows_charges AS difference_rows_charges,
    billed_control,
    billed_claimed,
    billed_charges,
    billed_allocated,
    CAST(billed_control - billed_claimed - billed_charges AS DECIMAL(38, 18)) AS difference_billed_charges,
    CAST(billed_charges - billed_allocated AS DECIMAL(38, 18)) AS difference_billed_allocated,
    billed_accepted AS accepted_difference_billed,
    effective_control,
    effective_claimed,
    effective_charges,
    effective_allocated,
    CAST(effective_control - effective_claimed - effective_charges AS DECIMAL(38, 18)) AS difference_effective_charges,
    CAST(effective_charges - effective_allocated AS DECIMAL(38, 18)) AS difference_effective_allocated,
    effective_accepted AS accepted_difference_effective,
    list_control,
    list_claimed,
    list_charges,
    list_allocated,
    CAST(list_control - list_claimed - list_charges AS DECIMAL(38, 18)) AS difference_list_charges,
    CAST(list_charges - list_allocated AS DECIMAL(38, 18)) AS difference_list_allocated,
    list_accepted AS accepted_difference_list,
    contracted_control,
    contracted_claimed,
    contracted_charges,
    contracted_allocated,
    CAST(contracted_control - contracted_claimed - contracted_charges AS DECIMAL(38, 18)) AS difference_contracted_charges,
    CAST(contracted_charges - contracted_allocated AS DECIMAL(38, 18)) AS difference_contracted_allocated,
    contracted_accepted AS accepted_difference_contracted
FROM side_by_side
ORDER BY source_name, billing_period, BillingCurrency
