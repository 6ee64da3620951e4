-- Grain: one row for each line of Azure's amortised cost report, and for each purchase or refund of a commitment in its
-- actual cost report; a report that came alone has a row for each line.
-- Purpose: the delivered lines as FOCUS charges, by docs/sources/azure-cost.md, in delivery order.
WITH delivered_lines AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

whole_delivery AS NOT MATERIALIZED (
    SELECT * FROM delivery
),

service_names AS (
    SELECT
        service_code,
        service_name,
        service_category,
        service_subcategory
    FROM mappings.services
    WHERE provider = 'Microsoft'
),

region_names AS (
    SELECT region_id, region_name FROM mappings.regions WHERE provider = 'Microsoft'
),

focus_units AS (
    SELECT source_unit, focus_unit FROM mappings.units WHERE provider = 'Microsoft'
),

machine_types AS (
    SELECT
        lower(instance_type) AS machine_type,
        instance_series,
        vcpu,
        memory_gib,
        gpu_count,
        gpu_model
    FROM mappings.instance_types
    WHERE provider = 'Microsoft'
),

reports AS MATERIALIZED (
    SELECT
        coalesce(
            bool_or(starts_with(x_SourceFile, 'amortised/')) AND bool_or(NOT starts_with(x_SourceFile, 'amortised/')), false
        ) AS is_pair
    FROM whole_delivery
),

lines AS NOT MATERIALIZED (
    SELECT
        x_SourceFile AS source_file,
        x_SourceRow AS source_row,
        starts_with(x_SourceFile, 'amortised/') AS is_amortised,
        charge_type,
        frequency,
        azure_cost_is_of_commitment(
            charge_type,
            pricing_model,
            consumed_service,
            coalesce(benefit_id, nullif(reservation_id, '00000000-0000-0000-0000-000000000000'))
        ) AS is_of_commitment,
        lower(replace(pricing_model, ' ', '')) AS pricing_model,
        lower(coalesce(benefit_id, nullif(reservation_id, '00000000-0000-0000-0000-000000000000'))) AS benefit_id,
        coalesce(benefit_name, reservation_name) AS benefit_name,
        -- Customer agreements are invoiced by billing profile; they alone name a pricing currency.
        coalesce(
            CASE WHEN pricing_currency IS NOT NULL THEN billing_profile_id END,
            billing_account_id,
            billing_profile_id,
            nullif(subscription_id, '00000000-0000-0000-0000-000000000000')
        ) AS billing_account,
        CASE
            WHEN pricing_currency IS NOT NULL AND billing_profile_id IS NOT NULL THEN billing_profile_name
            ELSE coalesce(billing_account_name, billing_profile_name)
        END AS billing_account_name,
        CASE
            WHEN pricing_currency IS NOT NULL AND billing_profile_id IS NOT NULL THEN 'Billing Profile'
            WHEN billing_account_id IS NOT NULL THEN 'Billing Account'
            WHEN billing_profile_id IS NOT NULL THEN 'Billing Profile'
            ELSE 'Subscription'
        END AS billing_account_type,
        billing_currency AS currency,
        pricing_currency,
        -- NULL where the currencies differ and the bill has no rate: then no price is known in the billing currency.
        CASE
            WHEN pricing_currency IS NULL OR pricing_currency = billing_currency THEN CAST(1 AS DECIMAL(38, 18))
            ELSE exchange_rate
        END AS rate,
        azure_cost_billing_month(billing_period_start_date, charge_date) AS billing_period_start,
        date_trunc('day', charge_date) AS charge_period_start,
        cost_in_billing_currency AS cost,
        cost_in_pricing_currency AS pricing_cost,
        quantity,
        nine_places(quantity) AS short_quantity,
        unit_price,
        pay_g_price,
        payg_cost_in_billing_currency AS payg_cost,
        availability_zone,
        consumed_service,
        cost_center,
        invoice_id,
        invoice_section_name,
        coalesce(resource_location, location) AS location,
        nullif(meter_category, 'Unassigned') AS meter_category,
        nullif(meter_sub_category, 'Unassigned') AS meter_sub_category,
        nullif(meter_name, 'Unassigned') AS meter_name,
        nullif(meter_id, '00000000-0000-0000-0000-000000000000') AS meter_id,
        nullif(nullif(part_number, '-2'), 'Unassigned') AS part_number,
        partner_name,
        product_id,
        nullif(product_name, 'Unassigned') AS product_name,
        publisher_name,
        lower(publisher_type) = 'marketplace' AS is_marketplace,
        lower(resource_id) AS resource_id,
        coalesce(resource_name, nullif(regexp_extract(resource_id, '([^/]+)/*$', 1), '')) AS resource_name,
        coalesce(lower(resource_type), azure_cost_resource_type(resource_id)) AS resource_type,
        service_family,
        -- Where nobody used a thing, older exports print zeros.
        nullif(subscription_id, '00000000-0000-0000-0000-000000000000') AS subscription_id,
        subscription_name,
        tags,
        nullif(unit_of_measure, '0 Unassigned') AS unit_of_measure,
        json_extract_string(
            azure_cost_json(additional_info), ['$.ServiceType', '$.VCPUs', '$.UsageType']
        ) AS information
    FROM delivered_lines
),

treated AS NOT MATERIALIZED (
    SELECT
        lines.*,
        -- Other services print their own words here; a machine type begins so.
        CASE WHEN regexp_matches(information[1], '^(Standard|Basic)_') THEN information[1] END AS instance_type,
        information[2] AS core_count,
        information[3] AS operation,
        azure_cost_treatment(is_amortised, is_pair, charge_type, is_of_commitment, cost) AS treatment,
        CASE WHEN rate = 1 THEN unit_price ELSE exact_product(unit_price, rate) END AS contracted_price,
        CASE WHEN rate = 1 THEN pay_g_price ELSE exact_product(pay_g_price, rate) END AS public_price
    FROM lines
    CROSS JOIN reports
),

shortened AS NOT MATERIALIZED (
    SELECT
        *,
        nine_places(contracted_price) AS short_contracted_price,
        nine_places(public_price) AS short_public_price
    FROM treated
),

-- Microsoft's quantities count what its prices are for, so that no block size is divided away. Where the bill has no unit
-- price, the cost itself stands; where it supports no public price, it prints 0, and the contract's stands.
multiplied AS NOT MATERIALIZED (
    SELECT
        *,
        coalesce(
            exact_product_of(contracted_price, short_contracted_price, quantity, short_quantity), cost
        ) AS at_contract,
        nullif(
            coalesce(payg_cost, exact_product_of(public_price, short_public_price, quantity, short_quantity)), 0
        ) AS at_public
    FROM shortened
),

-- Which amount becomes which cost: cost is in the billing currency, prices those of the bill times the quantity. Lines that
-- have no place here, because they are netted or rejected, drop out of the join.
treatments AS (
    SELECT *
    FROM (
        VALUES
        ('usage', 'Usage', 'Usage-Based', NULL, 'cost', 'cost', 'price'),
        ('commitment usage', 'Usage', 'Usage-Based', 'Used', 'none', 'cost', 'price'),
        ('commitment unused', 'Usage', 'Usage-Based', 'Unused', 'none', 'cost', 'none'),
        ('commitment purchase', 'Purchase', 'One-Time', NULL, 'cost', 'none', 'cost'),
        ('commitment refund', 'Purchase', 'One-Time', NULL, 'cost', 'none', 'cost'),
        ('purchase', 'Purchase', 'One-Time', NULL, 'cost', 'cost', 'price'),
        ('refund', 'Purchase', 'One-Time', NULL, 'cost', 'cost', 'cost'),
        ('rounding', 'Adjustment', 'One-Time', NULL, 'cost', 'cost', 'cost'),
        ('credit', 'Credit', 'One-Time', NULL, 'cost', 'cost', 'cost'),
        ('tax', 'Tax', 'One-Time', NULL, 'cost', 'cost', 'cost')
    ) AS rows (
        treatment,
        charge_category,
        default_frequency,
        commitment_status,
        billed_from,
        effective_from,
        price_from
    )
),

label_sets AS (
    SELECT
        tags,
        cost_center,
        invoice_section_name,
        azure_cost_tags_json(tags) AS focus_tags,
        CASE
            WHEN coalesce(cost_center, invoice_section_name) IS NOT NULL
                THEN
                    '{' || concat_ws(
                        ',',
                        '"CostCenter":' || CAST(to_json(cost_center) AS VARCHAR),
                        '"InvoiceSection":' || CAST(to_json(invoice_section_name) AS VARCHAR)
                    ) || '}'
        END AS cost_categories
    FROM (SELECT DISTINCT tags, cost_center, invoice_section_name FROM lines)
),

article_sets AS (
    SELECT DISTINCT
        consumed_service,
        resource_type,
        service_family,
        location,
        meter_category,
        meter_sub_category,
        meter_name,
        unit_of_measure,
        instance_type,
        core_count
    FROM treated
),

-- One row for each distinct article of the bill, so that its names, machine and GPUs are looked up once, not once a line.
-- The join below finds each line's row, because a left join puts the lines that found none behind those that did.
articles AS (
    SELECT
        article_sets.*,
        coalesce(
            of_type.service_code, of_kind.service_code, of_service.service_code, of_meter.service_code,
            lower(article_sets.consumed_service), article_sets.meter_category, 'Microsoft'
        ) AS service_code,
        coalesce(
            of_type.service_name, of_kind.service_name, of_service.service_name, of_meter.service_name,
            article_sets.meter_category, article_sets.consumed_service, 'Microsoft'
        ) AS service_name,
        coalesce(
            of_type.service_category, of_kind.service_category, of_service.service_category, of_meter.service_category,
            CASE article_sets.service_family
                WHEN 'AI + Machine Learning' THEN 'AI and Machine Learning'
                WHEN 'Analytics' THEN 'Analytics'
                WHEN 'Compute' THEN 'Compute'
                WHEN 'Containers' THEN 'Compute'
                WHEN 'Databases' THEN 'Databases'
                WHEN 'Developer Tools' THEN 'Developer Tools'
                WHEN 'Integration' THEN 'Integration'
                WHEN 'Internet of Things' THEN 'Internet of Things'
                WHEN 'Management and Governance' THEN 'Management and Governance'
                WHEN 'Networking' THEN 'Networking'
                WHEN 'Security' THEN 'Security'
                WHEN 'Storage' THEN 'Storage'
                WHEN 'Web' THEN 'Web'
                ELSE 'Other'
            END
        ) AS service_category,
        coalesce(
            of_type.service_subcategory, of_kind.service_subcategory, of_service.service_subcategory,
            of_meter.service_subcategory
        ) AS service_subcategory,
        lower(replace(coalesce(region_names.region_name, named.location), ' ', '')) AS region_id,
        coalesce(region_names.region_name, named.location) AS region_name,
        coalesce(focus_units.focus_unit, article_sets.unit_of_measure, 'Units') AS price_unit,
        regexp_replace(coalesce(focus_units.focus_unit, article_sets.unit_of_measure, 'Units'), '^\d+ ', '') AS unit,
        coalesce(TRY_CAST(nullif(regexp_extract(focus_units.focus_unit, '^(\d+) ', 1), '') AS BIGINT), 1) AS block,
        machine_types.gpu_model,
        TRY_CAST(machine_types.gpu_count AS INTEGER) AS gpu_count,
        azure_cost_sku_price_details(
            coalesce(nullif(article_sets.core_count, '0'), machine_types.vcpu),
            CASE
                WHEN article_sets.meter_sub_category LIKE '%SSD%Managed Disks' THEN 'SSD'
                WHEN article_sets.meter_sub_category LIKE '%HDD%Managed Disks' THEN 'HDD'
            END,
            machine_types.gpu_count,
            coalesce(
                machine_types.instance_series,
                nullif(regexp_extract(article_sets.instance_type, '^(?:Standard|Basic)_([A-Z]+)', 1), '')
            ),
            article_sets.instance_type,
            machine_types.memory_gib,
            CASE
                WHEN article_sets.instance_type IS NOT NULL AND contains(article_sets.meter_sub_category, 'Windows')
                    THEN 'Windows'
            END,
            nullif(regexp_extract(article_sets.meter_name, '^(Hot|Cool|Cold|Archive) ', 1), '')
        ) AS price_details
    FROM article_sets
    LEFT JOIN service_names AS of_type ON article_sets.resource_type = of_type.service_code
    LEFT JOIN service_names AS of_kind
        ON regexp_extract(article_sets.resource_type, '^[^/]+/[^/]+') = of_kind.service_code
    LEFT JOIN service_names AS of_service ON lower(article_sets.consumed_service) = of_service.service_code
    LEFT JOIN service_names AS of_meter ON lower(article_sets.meter_category) = of_meter.service_code
    LEFT JOIN (
        SELECT
            location AS key,
            nullif(nullif(nullif(location, 'Unassigned'), 'Unknown'), 'Global') AS location
        FROM (SELECT DISTINCT location FROM article_sets)
    ) AS named ON article_sets.location = named.key
    LEFT JOIN region_names ON lower(replace(named.location, ' ', '')) = region_names.region_id
    LEFT JOIN focus_units ON article_sets.unit_of_measure = focus_units.source_unit
    LEFT JOIN machine_types ON lower(article_sets.instance_type) = machine_types.machine_type
),

described AS (
    SELECT
        multiplied.*,
        articles.* EXCLUDE (
            consumed_service, resource_type, service_family, location, meter_category, meter_sub_category, meter_name,
            unit_of_measure, instance_type, core_count
        ),
        charge_category,
        commitment_status,
        CASE
            WHEN charge_category = 'Purchase' AND frequency = 'Recurring' THEN 'Recurring'
            WHEN charge_category = 'Purchase' THEN 'One-Time'
            WHEN frequency = 'OneTime' THEN 'One-Time'
            WHEN frequency = 'Recurring' THEN 'Recurring'
            WHEN frequency = 'UsageBased' THEN 'Usage-Based'
            ELSE default_frequency
        END AS charge_frequency,
        CASE billed_from WHEN 'cost' THEN cost ELSE 0 END AS billed_cost,
        CASE effective_from WHEN 'cost' THEN cost ELSE 0 END AS effective_cost,
        CASE price_from
            WHEN 'price' THEN coalesce(at_public, at_contract)
            WHEN 'cost' THEN cost
            ELSE 0
        END AS list_cost,
        CASE price_from
            WHEN 'price' THEN at_contract
            WHEN 'cost' THEN cost
            ELSE 0
        END AS contracted_cost,
        price_from = 'price' AS is_priced,
        treatments.treatment IN ('usage', 'commitment usage') AS is_consumed,
        -- Of blocks of hours the quantity counts hours, of blocks of operations blocks (docs/sources/azure-cost.md).
        CASE WHEN unit IN ('Seconds', 'Minutes', 'Hours', 'Days', 'Months') THEN block ELSE 1 END AS priced_block,
        CASE WHEN unit IN ('Seconds', 'Minutes', 'Hours', 'Days', 'Months') THEN 1 ELSE block END AS counted_block,
        CASE WHEN treatments.treatment LIKE 'commitment %' THEN
            CASE
                WHEN contains(benefit_id, '/microsoft.billingbenefits/') OR pricing_model = 'savingsplan' THEN 'Spend'
                WHEN lower(charge_type) = 'unusedsavingsplan' THEN 'Spend'
                WHEN lower(multiplied.consumed_service) = 'microsoft.billingbenefits' THEN 'Spend'
                ELSE 'Usage'
            END
        END AS commitment_category
    FROM multiplied
    JOIN treatments ON multiplied.treatment = treatments.treatment
    JOIN articles
        ON multiplied.consumed_service IS NOT DISTINCT FROM articles.consumed_service
        AND multiplied.resource_type IS NOT DISTINCT FROM articles.resource_type
        AND multiplied.service_family IS NOT DISTINCT FROM articles.service_family
        AND multiplied.location IS NOT DISTINCT FROM articles.location
        AND multiplied.meter_category IS NOT DISTINCT FROM articles.meter_category
        AND multiplied.meter_sub_category IS NOT DISTINCT FROM articles.meter_sub_category
        AND multiplied.meter_name IS NOT DISTINCT FROM articles.meter_name
        AND multiplied.unit_of_measure IS NOT DISTINCT FROM articles.unit_of_measure
        AND multiplied.instance_type IS NOT DISTINCT FROM articles.instance_type
        AND multiplied.core_count IS NOT DISTINCT FROM articles.core_count
    WHERE azure_cost_rejection(
        multiplied.treatment, charge_type, is_of_commitment, billing_account, currency, cost, charge_period_start
    ) IS NULL
),

-- Quantities and prices by unit. Where the bill supports no public price, the contract's stands, as it does for the cost.
measured AS (
    SELECT
        *,
        CASE WHEN priced_block = 1 THEN quantity ELSE even_part(quantity, 1, priced_block) END AS price_quantity,
        CASE
            WHEN counted_block = 1 THEN quantity
            ELSE exact_product_of(quantity, short_quantity, CAST(counted_block AS DECIMAL(38, 18)), nine_places(counted_block))
        END AS unit_quantity,
        CASE WHEN is_priced AND at_public IS NULL THEN unit_price WHEN is_priced THEN pay_g_price END AS list_unit_price,
        CASE
            WHEN is_priced AND at_public IS NULL THEN contracted_price
            WHEN is_priced THEN public_price
        END AS billed_list_price,
        CASE
            WHEN commitment_category = 'Spend' THEN coalesce(benefit_id, 'savings plan without an id')
            WHEN commitment_category = 'Usage' THEN coalesce(benefit_id, 'reservation without an id')
        END AS commitment_id
    FROM described
),

-- Prices are those of a price unit: of a block, where the quantity counts less. A price below zero is no price.
priced AS (
    SELECT
        *,
        CASE
            WHEN list_unit_price < 0 OR priced_block = 1 THEN list_unit_price
            ELSE exact_product(list_unit_price, priced_block)
        END AS block_list_price,
        CASE
            WHEN billed_list_price < 0 OR priced_block = 1 THEN billed_list_price
            ELSE exact_product(billed_list_price, priced_block)
        END AS block_billed_list_price,
        CASE
            WHEN NOT is_priced THEN NULL
            WHEN unit_price < 0 OR priced_block = 1 THEN unit_price
            ELSE exact_product(unit_price, priced_block)
        END AS block_contracted_price,
        CASE
            WHEN NOT is_priced THEN NULL
            WHEN contracted_price < 0 OR priced_block = 1 THEN contracted_price
            ELSE exact_product(contracted_price, priced_block)
        END AS block_billed_contracted_price,
        -- A refund takes back money; FOCUS has no quantity for it.
        CASE WHEN treatment <> 'commitment refund' THEN
            CASE commitment_category WHEN 'Spend' THEN cost WHEN 'Usage' THEN unit_quantity END
        END AS commitment_quantity
    FROM measured
)

SELECT
    CAST(NULL AS VARCHAR) AS AllocatedMethodDetails,
    CAST(NULL AS VARCHAR) AS AllocatedMethodId,
    CAST(NULL AS VARCHAR) AS AllocatedResourceId,
    CAST(NULL AS VARCHAR) AS AllocatedResourceName,
    CAST(NULL AS VARCHAR) AS AllocatedTags,
    availability_zone AS AvailabilityZone,
    billed_cost AS BilledCost,
    billing_account AS BillingAccountId,
    coalesce(billing_account_name, billing_account) AS BillingAccountName,
    billing_account_type AS BillingAccountType,
    currency AS BillingCurrency,
    billing_period_start + INTERVAL 1 MONTH AS BillingPeriodEnd,
    billing_period_start AS BillingPeriodStart,
    CASE WHEN ends_with(resource_type, '/capacityreservations') THEN resource_id END AS CapacityReservationId,
    -- Machines that run in a reservation are billed as machines; what is billed on the reservation itself ran nothing.
    CASE
        WHEN charge_category = 'Usage' AND ends_with(resource_type, '/capacityreservations') THEN 'Unused'
    END AS CapacityReservationStatus,
    charge_category AS ChargeCategory,
    CASE WHEN treatment IN ('refund', 'commitment refund') THEN 'Correction' END AS ChargeClass,
    coalesce(
        product_name,
        nullif(concat_ws(' - ', meter_category, meter_sub_category, meter_name), ''),
        benefit_name,
        charge_type
    ) AS ChargeDescription,
    charge_frequency AS ChargeFrequency,
    charge_period_start + INTERVAL 1 DAY AS ChargePeriodEnd,
    charge_period_start AS ChargePeriodStart,
    commitment_category AS CommitmentDiscountCategory,
    commitment_id AS CommitmentDiscountId,
    CASE WHEN commitment_id IS NOT NULL THEN benefit_name END AS CommitmentDiscountName,
    commitment_quantity AS CommitmentDiscountQuantity,
    commitment_status AS CommitmentDiscountStatus,
    CASE commitment_category WHEN 'Spend' THEN 'Savings Plan' WHEN 'Usage' THEN 'Reservation' END
        AS CommitmentDiscountType,
    CASE WHEN commitment_quantity IS NOT NULL THEN
        CASE commitment_category WHEN 'Spend' THEN currency ELSE unit END
    END AS CommitmentDiscountUnit,
    CAST(NULL AS VARCHAR) AS CommitmentProgramEligibilityDetails,
    CASE WHEN is_consumed THEN unit_quantity END AS ConsumedQuantity,
    CASE WHEN is_consumed AND unit_quantity IS NOT NULL THEN unit END AS ConsumedUnit,
    CAST(NULL AS VARCHAR) AS ContractApplied,
    contracted_cost AS ContractedCost,
    CASE WHEN block_billed_contracted_price >= 0 THEN block_billed_contracted_price END AS ContractedUnitPrice,
    effective_cost AS EffectiveCost,
    'Microsoft' AS HostProviderName,
    CAST(NULL AS VARCHAR) AS InvoiceDetailId,
    invoice_id AS InvoiceId,
    coalesce(partner_name, 'Microsoft') AS InvoiceIssuerName,
    list_cost AS ListCost,
    CASE WHEN block_billed_list_price >= 0 THEN block_billed_list_price END AS ListUnitPrice,
    CASE
        WHEN charge_category NOT IN ('Usage', 'Purchase') THEN NULL
        WHEN commitment_status IS NOT NULL THEN 'Committed'
        WHEN pricing_model = 'spot' THEN 'Dynamic'
        ELSE 'Standard'
    END AS PricingCategory,
    coalesce(pricing_currency, currency) AS PricingCurrency,
    CASE WHEN block_contracted_price >= 0 THEN block_contracted_price END AS PricingCurrencyContractedUnitPrice,
    CASE
        WHEN effective_cost = 0 THEN 0
        WHEN coalesce(pricing_currency, currency) = currency THEN effective_cost
        ELSE pricing_cost
    END AS PricingCurrencyEffectiveCost,
    CASE WHEN block_list_price >= 0 THEN block_list_price END AS PricingCurrencyListUnitPrice,
    CASE WHEN is_priced OR commitment_status = 'Unused' THEN price_quantity END AS PricingQuantity,
    CASE WHEN (is_priced OR commitment_status = 'Unused') AND price_quantity IS NOT NULL THEN price_unit END AS PricingUnit,
    'Microsoft' AS ProviderName,
    coalesce(publisher_name, 'Microsoft') AS PublisherName,
    region_id AS RegionId,
    region_name AS RegionName,
    resource_id AS ResourceId,
    CASE WHEN resource_id IS NOT NULL THEN resource_name END AS ResourceName,
    CASE WHEN resource_id IS NOT NULL THEN coalesce(resource_type, lower(consumed_service)) END AS ResourceType,
    service_category AS ServiceCategory,
    service_name AS ServiceName,
    CASE WHEN is_marketplace THEN coalesce(publisher_name, 'Microsoft') ELSE 'Microsoft' END AS ServiceProviderName,
    coalesce(service_subcategory, 'Other (' || service_category || ')') AS ServiceSubcategory,
    CASE WHEN charge_category <> 'Tax' THEN coalesce(product_id, meter_id) END AS SkuId,
    CASE WHEN charge_category <> 'Tax' AND coalesce(product_id, meter_id) IS NOT NULL
        THEN coalesce(meter_name, charge_type)
    END AS SkuMeter,
    CASE WHEN charge_category <> 'Tax' AND coalesce(part_number, meter_id, product_id) IS NOT NULL THEN price_details END
        AS SkuPriceDetails,
    CASE WHEN charge_category <> 'Tax' THEN coalesce(part_number, meter_id, product_id) END AS SkuPriceId,
    subscription_id AS SubAccountId,
    CASE WHEN subscription_id IS NOT NULL THEN coalesce(subscription_name, subscription_id) END AS SubAccountName,
    CASE WHEN subscription_id IS NOT NULL THEN 'Subscription' END AS SubAccountType,
    label_sets.focus_tags AS Tags,
    $source_name AS x_SourceName,
    $source_kind AS x_SourceKind,
    $billing_period AS x_BillingPeriod,
    $source_version AS x_SourceVersion,
    source_file AS x_SourceFile,
    source_row AS x_SourceRow,
    CAST(1 AS INTEGER) AS x_SourcePart,
    charge_type AS x_SourceLineItemType,
    invoice_id IS NOT NULL AS x_IsFinal,
    service_code AS x_ServiceCode,
    nullif(concat_ws(' - ', meter_category, meter_sub_category, meter_name), '') AS x_UsageType,
    operation AS x_Operation,
    instance_type AS x_InstanceType,
    gpu_model AS x_GpuModel,
    gpu_count AS x_GpuCount,
    label_sets.cost_categories AS x_CostCategories,
    CAST(NULL AS VARCHAR) AS x_SplitCostAllocation,
    CAST(NULL AS VARCHAR) AS x_SourceColumns
FROM priced
JOIN label_sets
    ON priced.tags IS NOT DISTINCT FROM label_sets.tags
    AND priced.cost_center IS NOT DISTINCT FROM label_sets.cost_center
    AND priced.invoice_section_name IS NOT DISTINCT FROM label_sets.invoice_section_name
