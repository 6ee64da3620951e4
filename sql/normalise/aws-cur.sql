-- Grain: one row for each line of an AWS Cost and Usage Report and part of it: a recurring commitment fee is a purchase
-- (part 1) and, where some went unused, that use (part 2); savings plan negation becomes no row.
-- Purpose: the delivered lines as FOCUS charges, by docs/sources/aws-cur.md; parts 1 in delivery order, parts 2 after them.
WITH delivered_lines AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

service_names AS (
    SELECT
        service_code,
        service_name,
        service_category,
        service_subcategory
    FROM mappings.services
    WHERE provider = 'AWS'
),

region_names AS (
    SELECT region_id, region_name FROM mappings.regions WHERE provider = 'AWS'
),

focus_units AS (
    SELECT source_unit, focus_unit FROM mappings.units WHERE provider = 'AWS'
),

machine_types AS (
    SELECT
        instance_type,
        instance_series,
        vcpu,
        memory_gib,
        gpu_count,
        gpu_model
    FROM mappings.instance_types
    WHERE provider = 'AWS'
),

-- Maps travel as their text: a text is compared and hashed faster than a map.
lines AS NOT MATERIALIZED (
    SELECT
        x_SourceFile AS source_file,
        x_SourceRow AS source_row,
        line_item_line_item_type AS line_item_type,
        aws_cur_treatment(
            line_item_line_item_type,
            reservation_reservation_a_r_n,
            line_item_product_code,
            line_item_line_item_description
        ) AS treatment,
        bill_bill_type AS bill_type,
        bill_billing_entity = 'AWS Marketplace' AS is_marketplace,
        nullif(trim(bill_invoice_id), '') AS invoice_id,
        bill_invoicing_entity AS invoicing_entity,
        bill_payer_account_id AS payer_account_id,
        bill_payer_account_name AS payer_account_name,
        date_trunc('month', bill_billing_period_start_date) AS billing_period_start,
        line_item_usage_start_date AS usage_start,
        line_item_usage_end_date AS usage_end,
        line_item_availability_zone AS availability_zone,
        line_item_currency_code AS currency,
        line_item_legal_entity AS legal_entity,
        line_item_line_item_description AS description,
        line_item_operation AS operation,
        line_item_product_code AS product_code,
        line_item_resource_id AS resource_id,
        line_item_usage_account_id AS usage_account_id,
        line_item_usage_account_name AS usage_account_name,
        line_item_usage_type AS usage_type,
        line_item_usage_amount AS usage_amount,
        line_item_normalized_usage_amount AS normalized_usage_amount,
        coalesce(
            line_item_net_unblended_cost,
            line_item_unblended_cost,
            -- Shares of a container's instance, whose own line has the cost; AWS prints 0 or nothing here.
            CASE WHEN line_item_operation IN ('EKSPod-EC2', 'ECSTask-EC2') THEN 0 END
        ) AS cost,
        coalesce(line_item_net_unblended_rate, line_item_unblended_rate) AS rate,
        pricing_public_on_demand_cost AS public_cost,
        pricing_public_on_demand_rate AS public_rate,
        pricing_currency,
        pricing_unit,
        coalesce(pricing_rate_code, pricing_rate_id) AS price_id,
        product_instance_type AS instance_type,
        product_location AS location,
        product_product_family AS product_family,
        product_region_code AS region_code,
        product_sku AS sku,
        CAST(to_json(product) AS VARCHAR) AS product,
        CAST(to_json(resource_tags) AS VARCHAR) AS resource_tags,
        CAST(to_json(cost_category) AS VARCHAR) AS cost_category,
        capacity_reservation_capacity_reservation_arn AS capacity_reservation_arn,
        coalesce(reservation_reservation_a_r_n, reservation_subscription_id) AS reservation_id,
        coalesce(reservation_net_effective_cost, reservation_effective_cost) AS reservation_effective_cost,
        coalesce(
            reservation_net_unused_amortized_upfront_fee_for_billing_period,
            reservation_unused_amortized_upfront_fee_for_billing_period
        ) AS reservation_unused_upfront,
        coalesce(reservation_net_unused_recurring_fee, reservation_unused_recurring_fee) AS reservation_unused_recurring,
        reservation_total_reserved_units AS reserved_units,
        reservation_total_reserved_normalized_units AS reserved_normalized_units,
        reservation_unused_quantity AS unused_units,
        reservation_unused_normalized_unit_quantity AS unused_normalized_units,
        savings_plan_savings_plan_a_r_n AS plan_id,
        coalesce(
            savings_plan_net_savings_plan_effective_cost, savings_plan_savings_plan_effective_cost
        ) AS plan_effective_cost,
        savings_plan_total_commitment_to_date AS plan_commitment,
        savings_plan_used_commitment AS plan_used,
        aws_cur_split_cost_allocation(
            split_line_item_actual_usage,
            split_line_item_net_split_cost,
            split_line_item_net_unused_cost,
            split_line_item_parent_resource_id,
            split_line_item_public_on_demand_split_cost,
            split_line_item_public_on_demand_unused_cost,
            split_line_item_reserved_usage,
            split_line_item_split_cost,
            split_line_item_split_usage,
            split_line_item_split_usage_ratio,
            split_line_item_unused_cost
        ) AS split_cost_allocation
    FROM delivered_lines
    -- Negation becomes no charge (aws_cur_treatment: netted); left out here, it isn't converted first.
    WHERE line_item_line_item_type IS DISTINCT FROM 'SavingsPlanNegation'
),

-- A rejected line loses its treatment, and with it its place in the join with treatments below.
accepted AS NOT MATERIALIZED (
    SELECT
        *,
        CASE
            WHEN aws_cur_rejection(
                treatment, line_item_type, payer_account_id, currency, cost, plan_effective_cost,
                reservation_effective_cost, plan_commitment, plan_used, reservation_unused_upfront,
                reservation_unused_recurring
            ) IS NULL THEN treatment
        END AS accepted_treatment,
        CASE treatment
            WHEN 'plan fee' THEN plan_commitment - plan_used
            WHEN 'reservation fee'
                THEN coalesce(reservation_unused_upfront, 0) + coalesce(reservation_unused_recurring, 0)
        END AS unused_cost
    FROM lines
),

-- One scan for each type: DuckDB skips the columns of lines that a filter on one value leaves out, not on two.
fee_lines AS (
    SELECT * FROM accepted WHERE line_item_type = 'SavingsPlanRecurringFee'
    UNION ALL
    SELECT * FROM accepted WHERE line_item_type = 'RIFee'
    ORDER BY source_file, source_row
),

parts AS (
    SELECT
        *,
        accepted_treatment AS part_treatment,
        1 AS part
    FROM accepted
    UNION ALL
    SELECT
        *,
        CASE accepted_treatment WHEN 'plan fee' THEN 'plan unused' WHEN 'reservation fee' THEN 'reservation unused' END
            AS part_treatment,
        2 AS part
    FROM fee_lines
    WHERE unused_cost <> 0
),

-- Which amount becomes which cost: cost is unblended (net where the bill has it), public the public on-demand cost.
treatments AS (
    SELECT *
    FROM (
        VALUES
        ('usage', 'Usage', 'Usage-Based', 'Standard', NULL, NULL, 'cost', 'cost', 'public', 'cost'),
        ('plan usage', 'Usage', 'Usage-Based', 'Committed', 'Spend', 'Used', 'none', 'plan', 'public', 'cost'),
        ('plan unused', 'Usage', 'Usage-Based', 'Committed', 'Spend', 'Unused', 'none', 'unused', 'none', 'none'),
        ('plan fee', 'Purchase', 'Recurring', 'Standard', 'Spend', NULL, 'cost', 'none', 'cost', 'cost'),
        ('plan upfront', 'Purchase', 'One-Time', 'Standard', 'Spend', NULL, 'cost', 'none', 'cost', 'cost'),
        ('plan refund', 'Purchase', 'One-Time', 'Standard', 'Spend', NULL, 'cost', 'none', 'cost', 'cost'),
        ('reserved usage', 'Usage', 'Usage-Based', 'Committed', 'Usage', 'Used', 'none', 'reservation', 'public',
            'public'),
        ('reservation unused', 'Usage', 'Usage-Based', 'Committed', 'Usage', 'Unused', 'none', 'unused', 'none', 'none'),
        ('reservation fee', 'Purchase', 'Recurring', 'Standard', 'Usage', NULL, 'cost', 'none', 'cost', 'cost'),
        ('reservation upfront', 'Purchase', 'One-Time', 'Standard', 'Usage', NULL, 'cost', 'none', 'cost', 'cost'),
        ('fee', 'Purchase', 'One-Time', 'Standard', NULL, NULL, 'cost', 'cost', 'cost', 'cost'),
        ('subscription', 'Purchase', 'Recurring', 'Standard', NULL, NULL, 'cost', 'cost', 'cost', 'cost'),
        ('discount', 'Adjustment', 'Usage-Based', NULL, NULL, NULL, 'cost', 'cost', 'none', 'cost'),
        ('refund', 'Adjustment', 'One-Time', NULL, NULL, NULL, 'cost', 'cost', 'cost', 'cost'),
        ('credit', 'Credit', 'One-Time', NULL, NULL, NULL, 'cost', 'cost', 'cost', 'cost'),
        ('tax', 'Tax', 'Usage-Based', NULL, NULL, NULL, 'cost', 'cost', 'cost', 'cost')
    ) AS rows (
        treatment,
        charge_category,
        charge_frequency,
        pricing_category,
        commitment_category,
        commitment_status,
        billed_from,
        effective_from,
        list_from,
        contracted_from
    )
),

tag_sets AS (
    SELECT
        resource_tags,
        tags,
        coalesce(json_extract_string(tags, '$.Name'), json_extract_string(tags, '$.name')) AS resource_name
    FROM (
        SELECT
            resource_tags,
            aws_cur_tags_json(resource_tags) AS tags
        FROM (SELECT DISTINCT resource_tags FROM lines)
    )
),

category_sets AS (
    SELECT
        cost_category,
        CASE
            WHEN cost_category <> '{}' THEN
                aws_cur_json_object(
                    list_transform(
                        map_entries(CAST(CAST(cost_category AS JSON) AS MAP(VARCHAR, VARCHAR))),
                        lambda entry: {'key': entry.key, 'rank': 0, 'value': entry.value}
                    )
                )
        END AS cost_categories
    FROM (SELECT DISTINCT cost_category FROM lines)
),

attribute_sets AS (
    SELECT
        *,
        regexp_replace(instance_type, '^(ml|db|cache)\.', '') AS machine_type,
        CAST(CAST(product AS JSON) AS MAP(VARCHAR, VARCHAR)) AS attributes
    FROM (SELECT DISTINCT product, instance_type, product_code, region_code, pricing_unit FROM lines)
),

-- One row for each distinct article of the bill, so that its names, machine and GPUs are looked up once, not once a line.
-- The joins below find each line's row, because a left join puts the lines that found none behind those that did.
articles AS (
    SELECT
        product,
        attribute_sets.instance_type,
        product_code,
        region_code,
        pricing_unit,
        coalesce(service_names.service_name, attributes['product_name'], product_code, 'AWS') AS service_name,
        coalesce(service_names.service_category, 'Other') AS service_category,
        coalesce(service_names.service_subcategory, 'Other (Other)') AS service_subcategory,
        coalesce(region_code, attributes['region']) AS region_id,
        region_names.region_name,
        coalesce(focus_units.focus_unit, pricing_unit, 'Units') AS unit,
        machine_types.gpu_model,
        TRY_CAST(coalesce(machine_types.gpu_count, attributes['gpu']) AS INTEGER) AS gpu_count,
        aws_cur_sku_price_details(
            coalesce(attributes['vcpu'], machine_types.vcpu),
            coalesce(machine_types.gpu_count, attributes['gpu']),
            coalesce(machine_types.instance_series, split_part(machine_type, '.', 1)),
            attribute_sets.instance_type,
            coalesce(
                nullif(replace(regexp_extract(attributes['memory'], '^([\d.,]+) Gi?B$', 1), ',', ''), ''),
                machine_types.memory_gib
            ),
            attributes['operating_system'],
            attributes['storage_class']
        ) AS price_details
    FROM attribute_sets
    LEFT JOIN machine_types ON attribute_sets.machine_type = machine_types.instance_type
    LEFT JOIN service_names ON attribute_sets.product_code = service_names.service_code
    LEFT JOIN region_names
        ON coalesce(attribute_sets.region_code, attribute_sets.attributes['region']) = region_names.region_id
    LEFT JOIN focus_units ON attribute_sets.pricing_unit = focus_units.source_unit
),

described AS (
    SELECT
        parts.*,
        charge_category,
        charge_frequency,
        pricing_category,
        commitment_status,
        CASE billed_from WHEN 'cost' THEN cost ELSE 0 END AS billed_cost,
        CASE effective_from
            WHEN 'cost' THEN cost
            WHEN 'plan' THEN plan_effective_cost
            WHEN 'reservation' THEN reservation_effective_cost
            WHEN 'unused' THEN unused_cost
            ELSE 0
        END AS effective_cost,
        CASE list_from
            WHEN 'public' THEN
                coalesce(
                    public_cost,
                    CASE effective_from WHEN 'reservation' THEN reservation_effective_cost ELSE cost END
                )
            WHEN 'cost' THEN cost
            ELSE 0
        END AS list_cost,
        CASE contracted_from
            WHEN 'public' THEN coalesce(public_cost, reservation_effective_cost)
            WHEN 'cost' THEN cost
            ELSE 0
        END AS contracted_cost,
        -- Credits, refunds, discounts and tax have no price; neither has commitment that went unused.
        pricing_category IS NOT NULL AND part_treatment <> 'plan refund' AND commitment_status IS DISTINCT FROM 'Unused'
            AS is_priced,
        CASE contracted_from WHEN 'public' THEN public_rate ELSE rate END AS contracted_rate,
        CASE list_from WHEN 'public' THEN public_rate ELSE rate END AS list_rate,
        coalesce(usage_start, billing_period_start) AS charge_period_start,
        commitment_category,
        CASE commitment_category
            WHEN 'Spend' THEN
                coalesce(
                    plan_id,
                    nullif(regexp_extract(description, 'Savings Plan ID:? ?([0-9a-f-]{36})', 1), ''),
                    -- The bridge needs to know what is a commitment, whichever it is.
                    'savings plan without an id'
                )
            WHEN 'Usage' THEN coalesce(reservation_id, 'reservation without an id')
        END AS commitment_id,
        coalesce(
            capacity_reservation_arn,
            CASE WHEN contains(usage_type, 'UnusedBox:') OR contains(usage_type, 'UnusedDed:') THEN resource_id END
        ) AS capacity_reservation_id
    FROM parts
    JOIN treatments ON parts.part_treatment = treatments.treatment
),

-- Quantities and their units; a quantity without a unit would be no FOCUS, so that AWS's blank unit becomes Units.
measured AS (
    SELECT
        described.*,
        articles.* EXCLUDE (product, instance_type, product_code, region_code, pricing_unit),
        CASE
            WHEN is_priced THEN usage_amount
            WHEN part_treatment = 'plan unused' THEN unused_cost
            WHEN part_treatment = 'reservation unused' THEN unused_units
        END AS pricing_quantity,
        CASE WHEN part_treatment = 'plan unused' THEN currency ELSE unit END AS price_unit,
        CASE WHEN charge_category = 'Usage' AND commitment_status IS DISTINCT FROM 'Unused' THEN usage_amount END
            AS consumed_quantity,
        CASE
            WHEN is_priced AND list_rate >= 0 THEN list_rate
            WHEN is_priced AND list_rate IS NULL AND usage_amount = 1 AND list_cost >= 0 THEN list_cost
        END AS list_unit_price,
        CASE
            WHEN is_priced AND contracted_rate >= 0 THEN contracted_rate
            WHEN is_priced AND contracted_rate IS NULL AND usage_amount = 1 AND contracted_cost >= 0
                THEN contracted_cost
        END AS contracted_unit_price,
        CASE part_treatment
            WHEN 'plan usage' THEN plan_effective_cost
            WHEN 'plan unused' THEN unused_cost
            WHEN 'plan fee' THEN plan_commitment
            WHEN 'plan upfront' THEN cost
            WHEN 'reserved usage' THEN coalesce(nullif(normalized_usage_amount, 0), usage_amount)
            WHEN 'reservation unused' THEN coalesce(nullif(unused_normalized_units, 0), unused_units)
            WHEN 'reservation fee' THEN coalesce(nullif(reserved_normalized_units, 0), reserved_units, usage_amount)
            WHEN 'reservation upfront' THEN coalesce(nullif(reserved_normalized_units, 0), reserved_units, usage_amount)
        END AS commitment_quantity,
        CASE
            WHEN commitment_category = 'Spend' THEN currency
            WHEN part_treatment = 'reserved usage' AND normalized_usage_amount <> 0 THEN 'Normalized Unit-Hours'
            WHEN part_treatment = 'reservation unused' AND unused_normalized_units <> 0 THEN 'Normalized Unit-Hours'
            WHEN part_treatment IN ('reservation fee', 'reservation upfront') AND reserved_normalized_units <> 0
                THEN 'Normalized Unit-Hours'
            ELSE unit
        END AS commitment_unit
    FROM described
    JOIN articles
        ON described.product IS NOT DISTINCT FROM articles.product
        AND described.instance_type IS NOT DISTINCT FROM articles.instance_type
        AND described.product_code IS NOT DISTINCT FROM articles.product_code
        AND described.region_code IS NOT DISTINCT FROM articles.region_code
        AND described.pricing_unit IS NOT DISTINCT FROM articles.pricing_unit
)

SELECT
    CAST(NULL AS VARCHAR) AS AllocatedMethodDetails,
    CAST(NULL AS VARCHAR) AS AllocatedMethodId,
    CAST(NULL AS VARCHAR) AS AllocatedResourceId,
    CAST(NULL AS VARCHAR) AS AllocatedResourceName,
    CAST(NULL AS VARCHAR) AS AllocatedTags,
    availability_zone AS AvailabilityZone,
    billed_cost AS BilledCost,
    payer_account_id AS BillingAccountId,
    coalesce(payer_account_name, payer_account_id) AS BillingAccountName,
    'Payer Account' AS BillingAccountType,
    currency AS BillingCurrency,
    billing_period_start + INTERVAL 1 MONTH AS BillingPeriodEnd,
    billing_period_start AS BillingPeriodStart,
    capacity_reservation_id AS CapacityReservationId,
    CASE
        WHEN capacity_reservation_id IS NULL OR charge_category <> 'Usage' THEN NULL
        WHEN contains(usage_type, 'Unused') THEN 'Unused'
        ELSE 'Used'
    END AS CapacityReservationStatus,
    charge_category AS ChargeCategory,
    CASE
        WHEN part_treatment = 'plan refund' THEN 'Correction'
        WHEN part_treatment = 'refund' AND (bill_type = 'Refund' OR charge_period_start < billing_period_start)
            THEN 'Correction'
    END AS ChargeClass,
    description AS ChargeDescription,
    CASE WHEN part_treatment = 'fee' AND contains(product_code, 'Support') THEN 'Recurring' ELSE charge_frequency END
        AS ChargeFrequency,
    -- A charge of a moment gets a second, because FOCUS periods are half-open.
    greatest(
        coalesce(usage_end, billing_period_start + INTERVAL 1 MONTH), charge_period_start + INTERVAL 1 SECOND
    ) AS ChargePeriodEnd,
    charge_period_start AS ChargePeriodStart,
    CASE WHEN commitment_id IS NOT NULL THEN commitment_category END AS CommitmentDiscountCategory,
    commitment_id AS CommitmentDiscountId,
    CAST(NULL AS VARCHAR) AS CommitmentDiscountName,
    CASE WHEN commitment_id IS NOT NULL THEN commitment_quantity END AS CommitmentDiscountQuantity,
    CASE WHEN commitment_id IS NOT NULL THEN commitment_status END AS CommitmentDiscountStatus,
    CASE
        WHEN commitment_id IS NULL THEN NULL
        WHEN commitment_category = 'Spend' THEN 'Savings Plan'
        ELSE 'Reserved Instance'
    END AS CommitmentDiscountType,
    CASE WHEN commitment_id IS NOT NULL AND commitment_quantity IS NOT NULL THEN commitment_unit END
        AS CommitmentDiscountUnit,
    CAST(NULL AS VARCHAR) AS CommitmentProgramEligibilityDetails,
    consumed_quantity AS ConsumedQuantity,
    CASE WHEN consumed_quantity IS NOT NULL THEN unit END AS ConsumedUnit,
    CAST(NULL AS VARCHAR) AS ContractApplied,
    contracted_cost AS ContractedCost,
    contracted_unit_price AS ContractedUnitPrice,
    effective_cost AS EffectiveCost,
    'AWS' AS HostProviderName,
    CAST(NULL AS VARCHAR) AS InvoiceDetailId,
    invoice_id AS InvoiceId,
    -- AWS invoices through many companies of its own; which one is in PublisherName.
    CASE
        WHEN coalesce(invoicing_entity, legal_entity) LIKE 'Amazon%' OR coalesce(invoicing_entity, legal_entity) LIKE 'AWS%'
            THEN 'AWS'
        ELSE coalesce(invoicing_entity, legal_entity, 'AWS')
    END AS InvoiceIssuerName,
    list_cost AS ListCost,
    list_unit_price AS ListUnitPrice,
    CASE WHEN part_treatment = 'usage' AND contains(usage_type, 'SpotUsage') THEN 'Dynamic' ELSE pricing_category END
        AS PricingCategory,
    coalesce(pricing_currency, currency) AS PricingCurrency,
    contracted_unit_price AS PricingCurrencyContractedUnitPrice,
    -- Another price-list currency has no rate in the bill: then the amount is unknown.
    CASE WHEN coalesce(pricing_currency, currency) = currency THEN effective_cost END AS PricingCurrencyEffectiveCost,
    list_unit_price AS PricingCurrencyListUnitPrice,
    pricing_quantity AS PricingQuantity,
    CASE WHEN pricing_quantity IS NOT NULL THEN price_unit END AS PricingUnit,
    'AWS' AS ProviderName,
    coalesce(legal_entity, 'AWS') AS PublisherName,
    region_id AS RegionId,
    CASE WHEN region_id IS NOT NULL THEN coalesce(region_name, location, region_id) END AS RegionName,
    resource_id AS ResourceId,
    CASE WHEN resource_id IS NOT NULL THEN tag_sets.resource_name END AS ResourceName,
    aws_cur_resource_type(resource_id, product_code, product_family) AS ResourceType,
    service_category AS ServiceCategory,
    service_name AS ServiceName,
    CASE WHEN is_marketplace THEN coalesce(legal_entity, 'AWS') ELSE 'AWS' END AS ServiceProviderName,
    service_subcategory AS ServiceSubcategory,
    CASE WHEN charge_category <> 'Tax' THEN sku END AS SkuId,
    CASE WHEN charge_category <> 'Tax' AND sku IS NOT NULL THEN usage_type END AS SkuMeter,
    CASE WHEN charge_category <> 'Tax' AND price_id IS NOT NULL THEN price_details END AS SkuPriceDetails,
    CASE WHEN charge_category <> 'Tax' THEN price_id END AS SkuPriceId,
    usage_account_id AS SubAccountId,
    coalesce(usage_account_name, usage_account_id) AS SubAccountName,
    CASE WHEN usage_account_id IS NOT NULL THEN 'Usage Account' END AS SubAccountType,
    tag_sets.tags AS Tags,
    $source_name AS x_SourceName,
    $source_kind AS x_SourceKind,
    $billing_period AS x_BillingPeriod,
    $source_version AS x_SourceVersion,
    source_file AS x_SourceFile,
    source_row AS x_SourceRow,
    CAST(part AS INTEGER) AS x_SourcePart,
    line_item_type AS x_SourceLineItemType,
    invoice_id IS NOT NULL AS x_IsFinal,
    product_code AS x_ServiceCode,
    usage_type AS x_UsageType,
    operation AS x_Operation,
    instance_type AS x_InstanceType,
    gpu_model AS x_GpuModel,
    gpu_count AS x_GpuCount,
    category_sets.cost_categories AS x_CostCategories,
    split_cost_allocation AS x_SplitCostAllocation,
    CAST(NULL AS VARCHAR) AS x_SourceColumns
FROM measured
JOIN tag_sets ON measured.resource_tags IS NOT DISTINCT FROM tag_sets.resource_tags
JOIN category_sets ON measured.cost_category IS NOT DISTINCT FROM category_sets.cost_category
