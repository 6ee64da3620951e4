-- Grain: one row for each row of a file in FOCUS.
-- Purpose: the delivered charges as they stand, in the columns of billing.charges; what misses and can be told is filled, and
-- what FOCUS doesn't allow and no cost depends on is replaced, by docs/sources/focus.md. Rows stay in delivery order.
WITH delivered_rows AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

service_names AS (
    SELECT
        provider,
        service_name,
        min(service_category) AS service_category,
        min(service_subcategory) AS service_subcategory
    FROM mappings.services
    GROUP BY provider, service_name
    HAVING count(DISTINCT service_category) = 1 AND count(DISTINCT service_subcategory) = 1
),

service_categories AS (
    SELECT service_category, service_subcategory FROM mappings.service_categories
),

machine_types AS (
    SELECT
        provider,
        instance_type,
        gpu_count,
        gpu_model
    FROM mappings.instance_types
),

accepted AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (ChargeCategory),
        ChargeCategory AS delivered_category,
        focus_charge_category(ChargeCategory) AS charge_category,
        upper(BillingCurrency) AS currency,
        focus_billing_month(BillingPeriodStart, BillingPeriodEnd) AS period_start,
        -- Periods are half-open: a charge of a moment lasts a second.
        CASE WHEN ChargePeriodEnd = ChargePeriodStart THEN ChargePeriodStart + INTERVAL 1 SECOND ELSE ChargePeriodEnd END
            AS charge_end,
        coalesce(ProviderName, ServiceProviderName, PublisherName, InvoiceIssuerName) AS provider,
        coalesce(PricingCurrency, upper(BillingCurrency)) AS price_currency,
        coalesce(
            ContractedCost,
            exact_product(ContractedUnitPrice, PricingQuantity),
            -- Usage that a commitment covers is billed at 0; all else is billed at the prices in force.
            CASE
                WHEN CommitmentDiscountId IS NOT NULL AND focus_charge_category(ChargeCategory) = 'Usage' THEN EffectiveCost
                ELSE BilledCost
            END
        ) AS contracted_cost,
        coalesce(
            focus_allowed_value(CommitmentDiscountStatus, ['Used', 'Unused']),
            CASE
                WHEN CommitmentDiscountId IS NULL OR focus_charge_category(ChargeCategory) <> 'Usage' THEN NULL
                WHEN ChargeSubcategory = 'Used Commitment' THEN 'Used'
                WHEN ChargeSubcategory = 'Unused Commitment' THEN 'Unused'
                -- Unused commitment consumes nothing.
                WHEN ConsumedQuantity > 0 THEN 'Used'
            END
        ) AS commitment_status,
        CASE WHEN ListUnitPrice >= 0 THEN ListUnitPrice END AS list_unit_price,
        CASE WHEN ContractedUnitPrice >= 0 THEN ContractedUnitPrice END AS contracted_unit_price,
        CASE WHEN ResourceId IS NOT NULL THEN ResourceType END AS resource_type,
        focus_charge_category(ChargeCategory) = 'Usage' AND lower(CommitmentDiscountStatus) IS DISTINCT FROM 'unused'
            AS is_consumed
    FROM delivered_rows
    WHERE
        focus_rejection(
            BillingAccountId, BillingCurrency, BillingPeriodStart, BilledCost, EffectiveCost, ChargeCategory,
            ChargePeriodStart, ChargePeriodEnd,
            coalesce(InvoiceIssuerName, ProviderName, ServiceProviderName, PublisherName)
        ) IS NULL
),

article_sets AS (
    SELECT DISTINCT
        provider,
        ServiceName,
        ServiceCategory,
        ServiceSubcategory,
        x_ServiceCode,
        SkuPriceDetails,
        x_InstanceType
    FROM accepted
),

named_articles AS (
    SELECT
        *,
        CASE
            WHEN regexp_matches(provider, '^(AWS|Amazon)') THEN 'AWS'
            WHEN regexp_matches(provider, '^(Google)') THEN 'Google Cloud'
            WHEN regexp_matches(provider, '^(Microsoft|Azure)') THEN 'Microsoft'
        END AS known_provider,
        coalesce(x_InstanceType, json_extract_string(SkuPriceDetails, '$.InstanceType')) AS instance_type,
        TRY_CAST(json_extract_string(SkuPriceDetails, '$.GpuCount') AS INTEGER) AS delivered_gpu_count
    FROM article_sets
),

-- One row for each distinct article, so that names and machines are looked up once; each charge finds its row below,
-- because a left join puts the rows that found none behind those that did.
articles AS (
    SELECT
        named_articles.provider,
        named_articles.ServiceName,
        named_articles.ServiceCategory,
        named_articles.ServiceSubcategory,
        named_articles.x_ServiceCode,
        named_articles.SkuPriceDetails,
        named_articles.x_InstanceType,
        coalesce(named_articles.ServiceName, named_articles.x_ServiceCode, 'Not named by the source') AS service_name,
        coalesce(categories.service_category, service_names.service_category, 'Other') AS service_category,
        coalesce(
            subcategories.service_subcategory,
            CASE
                WHEN coalesce(categories.service_category, service_names.service_category) = service_names.service_category
                    THEN service_names.service_subcategory
            END
        ) AS service_subcategory,
        named_articles.instance_type,
        coalesce(TRY_CAST(machine_types.gpu_count AS INTEGER), named_articles.delivered_gpu_count) AS gpu_count,
        machine_types.gpu_model
    FROM named_articles
    LEFT JOIN (SELECT DISTINCT service_category FROM service_categories) AS categories
        ON lower(trim(named_articles.ServiceCategory)) = lower(categories.service_category)
    LEFT JOIN service_categories AS subcategories
        ON lower(trim(named_articles.ServiceSubcategory)) = lower(subcategories.service_subcategory)
        AND categories.service_category = subcategories.service_category
    LEFT JOIN service_names
        ON named_articles.known_provider = service_names.provider
        AND named_articles.ServiceName = service_names.service_name
    LEFT JOIN machine_types
        ON named_articles.known_provider = machine_types.provider
        AND named_articles.instance_type = machine_types.instance_type
),

-- What a charge was delivered with and no longer has, as x_SourceColumns keeps it.
charges AS (
    SELECT
        accepted.* EXCLUDE (ServiceName, ServiceCategory, ServiceSubcategory, x_InstanceType),
        articles.* EXCLUDE (
            provider, ServiceName, ServiceCategory, ServiceSubcategory, x_ServiceCode, SkuPriceDetails, x_InstanceType
        ),
        CASE
            WHEN
                accepted.ServiceCategory IS NOT DISTINCT FROM articles.service_category
                AND accepted.ServiceSubcategory IS NOT DISTINCT FROM articles.service_subcategory
                AND BillingPeriodStart = period_start
                AND BillingPeriodEnd = period_start + INTERVAL 1 MONTH
                AND (is_consumed OR ConsumedQuantity IS NULL)
                AND ((is_consumed AND ConsumedQuantity IS NOT NULL) OR ConsumedUnit IS NULL)
                AND ContractedUnitPrice IS NOT DISTINCT FROM contracted_unit_price
                AND ListUnitPrice IS NOT DISTINCT FROM list_unit_price
                AND ResourceType IS NOT DISTINCT FROM resource_type
                THEN '{}'
            ELSE
                json_merge_patch(
                    '{}',
                    json_object(
                        'BillingPeriodEnd',
                        nullif(BillingPeriodEnd, period_start + INTERVAL 1 MONTH),
                        'BillingPeriodStart',
                        nullif(BillingPeriodStart, period_start),
                        'ConsumedQuantity',
                        CASE WHEN NOT is_consumed THEN CAST(ConsumedQuantity AS VARCHAR) END,
                        'ConsumedUnit',
                        CASE WHEN NOT is_consumed OR ConsumedQuantity IS NULL THEN ConsumedUnit END,
                        'ContractedUnitPrice',
                        CASE WHEN ContractedUnitPrice < 0 THEN CAST(ContractedUnitPrice AS VARCHAR) END,
                        'ListUnitPrice',
                        CASE WHEN ListUnitPrice < 0 THEN CAST(ListUnitPrice AS VARCHAR) END,
                        'ResourceType',
                        CASE WHEN ResourceId IS NULL THEN ResourceType END,
                        'ServiceCategory',
                        nullif(accepted.ServiceCategory, articles.service_category),
                        'ServiceSubcategory',
                        nullif(accepted.ServiceSubcategory, articles.service_subcategory)
                    )
                )
        END AS replaced
    FROM accepted
    JOIN articles
        ON accepted.provider IS NOT DISTINCT FROM articles.provider
        AND accepted.ServiceName IS NOT DISTINCT FROM articles.ServiceName
        AND accepted.ServiceCategory IS NOT DISTINCT FROM articles.ServiceCategory
        AND accepted.ServiceSubcategory IS NOT DISTINCT FROM articles.ServiceSubcategory
        AND accepted.x_ServiceCode IS NOT DISTINCT FROM articles.x_ServiceCode
        AND accepted.SkuPriceDetails IS NOT DISTINCT FROM articles.SkuPriceDetails
        AND accepted.x_InstanceType IS NOT DISTINCT FROM articles.x_InstanceType
)

SELECT
    AllocatedMethodDetails,
    AllocatedMethodId,
    AllocatedResourceId,
    AllocatedResourceName,
    AllocatedTags,
    AvailabilityZone,
    BilledCost,
    BillingAccountId,
    BillingAccountName,
    BillingAccountType,
    currency AS BillingCurrency,
    period_start + INTERVAL 1 MONTH AS BillingPeriodEnd,
    period_start AS BillingPeriodStart,
    CapacityReservationId,
    focus_allowed_value(CapacityReservationStatus, ['Used', 'Unused']) AS CapacityReservationStatus,
    charge_category AS ChargeCategory,
    focus_allowed_value(ChargeClass, ['Correction']) AS ChargeClass,
    ChargeDescription,
    focus_allowed_value(ChargeFrequency, ['One-Time', 'Recurring', 'Usage-Based']) AS ChargeFrequency,
    charge_end AS ChargePeriodEnd,
    ChargePeriodStart,
    focus_allowed_value(CommitmentDiscountCategory, ['Spend', 'Usage']) AS CommitmentDiscountCategory,
    CommitmentDiscountId,
    CommitmentDiscountName,
    CommitmentDiscountQuantity,
    commitment_status AS CommitmentDiscountStatus,
    CommitmentDiscountType,
    CommitmentDiscountUnit,
    CommitmentProgramEligibilityDetails,
    CASE WHEN is_consumed THEN ConsumedQuantity END AS ConsumedQuantity,
    CASE WHEN is_consumed AND ConsumedQuantity IS NOT NULL THEN ConsumedUnit END AS ConsumedUnit,
    ContractApplied,
    contracted_cost AS ContractedCost,
    contracted_unit_price AS ContractedUnitPrice,
    EffectiveCost,
    HostProviderName,
    InvoiceDetailId,
    InvoiceId,
    coalesce(InvoiceIssuerName, ProviderName, ServiceProviderName, PublisherName) AS InvoiceIssuerName,
    coalesce(ListCost, exact_product(ListUnitPrice, PricingQuantity), contracted_cost) AS ListCost,
    list_unit_price AS ListUnitPrice,
    focus_allowed_value(PricingCategory, ['Standard', 'Dynamic', 'Committed', 'Other']) AS PricingCategory,
    price_currency AS PricingCurrency,
    coalesce(
        PricingCurrencyContractedUnitPrice, CASE WHEN price_currency = currency THEN contracted_unit_price END
    ) AS PricingCurrencyContractedUnitPrice,
    coalesce(
        PricingCurrencyEffectiveCost, CASE WHEN price_currency = currency THEN EffectiveCost END
    ) AS PricingCurrencyEffectiveCost,
    coalesce(
        PricingCurrencyListUnitPrice, CASE WHEN price_currency = currency THEN list_unit_price END
    ) AS PricingCurrencyListUnitPrice,
    PricingQuantity,
    PricingUnit,
    coalesce(ProviderName, ServiceProviderName, PublisherName, InvoiceIssuerName) AS ProviderName,
    PublisherName,
    coalesce(RegionId, RegionName) AS RegionId,
    coalesce(RegionName, RegionId) AS RegionName,
    ResourceId,
    ResourceName,
    resource_type AS ResourceType,
    service_category AS ServiceCategory,
    service_name AS ServiceName,
    coalesce(ServiceProviderName, ProviderName, PublisherName, InvoiceIssuerName) AS ServiceProviderName,
    service_subcategory AS ServiceSubcategory,
    SkuId,
    SkuMeter,
    SkuPriceDetails,
    SkuPriceId,
    SubAccountId,
    SubAccountName,
    SubAccountType,
    Tags,
    $source_name AS x_SourceName,
    $source_kind AS x_SourceKind,
    $billing_period AS x_BillingPeriod,
    $source_version AS x_SourceVersion,
    x_SourceFile,
    x_SourceRow,
    CAST(1 AS INTEGER) AS x_SourcePart,
    concat_ws(' ', 'FOCUS', delivered_category, ChargeSubcategory, ChargeClass) AS x_SourceLineItemType,
    InvoiceId IS NOT NULL AS x_IsFinal,
    x_ServiceCode,
    x_UsageType,
    x_Operation,
    instance_type AS x_InstanceType,
    gpu_model AS x_GpuModel,
    gpu_count AS x_GpuCount,
    CAST(NULL AS VARCHAR) AS x_CostCategories,
    CAST(NULL AS VARCHAR) AS x_SplitCostAllocation,
    CASE
        WHEN replaced = '{}' THEN x_SourceColumns
        ELSE CAST(json_merge_patch(coalesce(x_SourceColumns, '{}'), replaced) AS VARCHAR)
    END AS x_SourceColumns
FROM charges
