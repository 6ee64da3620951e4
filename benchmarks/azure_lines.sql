-- One report ($report: ActualCost or AmortizedCost) of an Azure enterprise agreement with $lines lines for $billing_period: daily usage of
-- 40 subscriptions and 60,000 resources, a fifth of it of a reservation, a fifth of a savings plan. One line in 10,000 is, in
-- the actual report, a reservation's recurring purchase and, in the amortised one, what of it went unused.
WITH
facts AS (
  SELECT
    range AS n,
    hash(range) % 60000 AS resource,
    CAST(hash(range) % 60000 % 40 AS INTEGER) AS subscription,
    CASE
      WHEN range % 10000 = 9999 THEN 'commitment'
      ELSE ['reserved', 'planned', 'plain', 'plain', 'plain'][CAST(range % 5 AS INTEGER) + 1]
    END AS line_kind,
    CAST(CAST($billing_period || '-01' AS DATE) + CAST((range * 30) // $lines AS INTEGER) AS DATE) AS charge_date,
    CAST(hash(range, 'quantity') % 240000 AS DECIMAL(18,0)) * 0.0001 AS quantity,
    CAST(hash(hash(range) % 60000, 'price') % 90000 + 1000 AS DECIMAL(18,0)) * 0.0001 AS price,
    $report = 'AmortizedCost' AS is_amortised
  FROM range($lines)
),
priced AS (
  SELECT
    *,
    CASE
      WHEN line_kind = 'plain' THEN price
      WHEN line_kind = 'commitment' THEN price
      WHEN is_amortised THEN CAST(price * 0.7 AS DECIMAL(18,5))
      ELSE 0
    END AS effective_price
  FROM facts
)
SELECT
  '8611537' AS "BillingAccountId",
  'Acme' AS "BillingAccountName",
  strftime(CAST($billing_period || '-01' AS DATE), '%m/%d/%Y') AS "BillingPeriodStartDate",
  strftime(CAST($billing_period || '-01' AS DATE) + INTERVAL 1 MONTH - INTERVAL 1 DAY, '%m/%d/%Y') AS "BillingPeriodEndDate",
  '8611537' AS "BillingProfileId",
  'Acme' AS "BillingProfileName",
  'owner@acme.example' AS "AccountOwnerId",
  'Engineering' AS "AccountName",
  '00000000-0000-0000-0000-' || lpad(CAST(subscription AS VARCHAR), 12, '0') AS "SubscriptionId",
  'subscription ' || CAST(subscription AS VARCHAR) AS "SubscriptionName",
  strftime(charge_date, '%m/%d/%Y') AS "Date",
  'Virtual Machines Dsv3 Series - D4s v3 - EU West' AS "ProductName",
  'AAA-33445' AS "PartNumber",
  'f48cba03-db89-4cec-9536-67f7f4e5515f' AS "MeterId",
  'Compute' AS "ServiceFamily",
  'Virtual Machines' AS "MeterCategory",
  'Dsv3 Series' AS "MeterSubCategory",
  'EU West' AS "MeterRegion",
  'D4s v3' AS "MeterName",
  CAST(quantity AS VARCHAR) AS "Quantity",
  CAST(effective_price AS VARCHAR) AS "EffectivePrice",
  CAST(quantity * effective_price AS VARCHAR) AS "CostInBillingCurrency",
  CAST(price AS VARCHAR) AS "UnitPrice",
  'EUR' AS "BillingCurrencyCode",
  'EU West' AS "ResourceLocation",
  CAST(resource % 3 + 1 AS VARCHAR) AS "AvailabilityZone",
  CASE WHEN line_kind = 'commitment' THEN 'Microsoft.Capacity' ELSE 'Microsoft.Compute' END AS "ConsumedService",
  CASE
    WHEN line_kind = 'commitment' THEN '/providers/Microsoft.Capacity/reservationOrders/0a1b/reservations/2c3d'
    ELSE '/subscriptions/00000000-0000-0000-0000-' || lpad(CAST(subscription AS VARCHAR), 12, '0')
      || '/resourceGroups/Group-' || CAST(resource % 900 AS VARCHAR) || '/providers/Microsoft.Compute/virtualMachines/Node-'
      || CAST(resource AS VARCHAR)
  END AS "ResourceId",
  'Node-' || CAST(resource AS VARCHAR) AS "ResourceName",
  '{"UsageType":"ComputeHR","ServiceType":"Standard_D4s_v3","VCPUs":4,"ConsumedQuantity":1.0}' AS "AdditionalInfo",
  CASE WHEN line_kind <> 'commitment' AND resource % 5 > 0 THEN
    '"team": "team-' || CAST(resource % 30 AS VARCHAR) || '","product": "product-' || CAST(resource % 60 AS VARCHAR)
    || '","environment": "' || CASE WHEN resource % 2 = 0 THEN 'production' ELSE 'staging' END || '"'
  END AS "Tags",
  'Research' AS "InvoiceSection",
  'CC-' || CAST(subscription % 9 AS VARCHAR) AS "CostCenter",
  '1 Hour' AS "UnitOfMeasure",
  'Group-' || CAST(resource % 900 AS VARCHAR) AS "ResourceGroup",
  CASE WHEN line_kind IN ('reserved', 'commitment') THEN '2c3d' END AS "ReservationId",
  CASE WHEN line_kind IN ('reserved', 'commitment') THEN 'D4s reservation' END AS "ReservationName",
  'MS-AZR-0017P' AS "OfferId",
  'True' AS "IsAzureCreditEligible",
  'Microsoft' AS "PublisherName",
  CASE WHEN line_kind <> 'commitment' THEN 'Usage' WHEN is_amortised THEN 'UnusedReservation' ELSE 'Purchase' END AS "ChargeType",
  CASE WHEN line_kind = 'commitment' AND NOT is_amortised THEN 'Recurring' ELSE 'UsageBased' END AS "Frequency",
  'Azure' AS "PublisherType",
  CAST(price AS VARCHAR) AS "PayGPrice",
  CASE line_kind WHEN 'plain' THEN 'OnDemand' WHEN 'planned' THEN 'SavingsPlan' ELSE 'Reservation' END AS "PricingModel",
  CASE line_kind
    WHEN 'plain' THEN NULL
    WHEN 'planned' THEN '/providers/Microsoft.BillingBenefits/savingsPlanOrders/4e5f/savingsPlans/6a7b'
    ELSE '/providers/Microsoft.Capacity/reservationOrders/0a1b/reservations/2c3d'
  END AS "benefitId",
  CASE line_kind WHEN 'plain' THEN NULL WHEN 'planned' THEN 'Compute savings plan' ELSE 'D4s reservation' END AS "benefitName"
FROM priced
