-- A CUR 2.0 bill of $lines lines for $billing_period: usage of 40 accounts and 60,000 resources, a third of it covered by savings
-- plans and negated, hourly, in the order in which AWS writes it (by hour, then resource), with two maps and unrepeated ids.
WITH
numbers AS (
  SELECT
    range AS n,
    -- Lines come in threes, the last one alone is plain usage: covered lines without their negation would be refused.
    CASE
      WHEN range >= $lines // 3 * 3 THEN 'Usage'
      ELSE ['SavingsPlanCoveredUsage', 'SavingsPlanNegation', 'Usage'][CAST(range % 3 AS INTEGER) + 1]
    END AS line_type,
    range // 3 AS pair,
    hash(range // 3) % 60000 AS resource
  FROM range($lines)
),
facts AS (
  SELECT
    *,
    CAST(CAST($billing_period || '-01' AS TIMESTAMP) + to_hours(CAST((n * 720) // $lines AS INTEGER)) AS TIMESTAMP) AS usage_hour,
    CAST(resource % 40 AS INTEGER) AS account,
    resource % 11 AS service,
    CAST(hash(pair, 'amount') % 100000 AS DECIMAL(18,0)) * 0.00001 AS amount,
    CAST(hash(resource, 'rate') % 90000 + 1000 AS DECIMAL(18,0)) * 0.0001 AS rate
  FROM numbers
)
SELECT
  'Anniversary' AS bill_bill_type,
  'AWS' AS bill_billing_entity,
  CAST($billing_period || '-01' AS TIMESTAMP) + INTERVAL 1 MONTH AS bill_billing_period_end_date,
  CAST($billing_period || '-01' AS TIMESTAMP) AS bill_billing_period_start_date,
  '2026' || lpad(CAST(account AS VARCHAR), 8, '0') AS bill_invoice_id,
  'Amazon Web Services, Inc.' AS bill_invoicing_entity,
  '000123456789' AS bill_payer_account_id,
  'Acme' AS bill_payer_account_name,
  MAP {'unit': 'u' || CAST(account % 7 AS VARCHAR)} AS cost_category,
  md5(CAST(n AS VARCHAR)) AS identity_line_item_id,
  strftime(usage_hour, '%Y-%m-%dT%H:00:00Z') || '/' || strftime(usage_hour + INTERVAL 1 HOUR, '%Y-%m-%dT%H:00:00Z')
    AS identity_time_interval,
  CASE WHEN service < 5 THEN 'us-east-1' || chr(CAST(97 + resource % 3 AS INTEGER)) END AS line_item_availability_zone,
  'USD' AS line_item_currency_code,
  'Amazon Web Services, Inc.' AS line_item_legal_entity,
  CASE line_type
    WHEN 'SavingsPlanNegation' THEN 'SavingsPlanNegation used by AccountId : 000123456789 and UsageSku : ABCDEFGH'
    ELSE '$' || CAST(rate AS VARCHAR) || ' per unit'
  END AS line_item_line_item_description,
  line_type AS line_item_line_item_type,
  CASE WHEN service < 5 THEN 'RunInstances' ELSE 'StandardStorage' END AS line_item_operation,
  CASE WHEN service < 5 THEN 'AmazonEC2' WHEN service < 8 THEN 'AmazonS3' ELSE 'AmazonCloudWatch' END AS line_item_product_code,
  CASE
    WHEN line_type = 'SavingsPlanNegation' THEN NULL
    WHEN service < 5 THEN 'i-0' || lpad(CAST(resource AS VARCHAR), 16, '0')
    ELSE 'bucket-' || CAST(resource % 900 AS VARCHAR)
  END AS line_item_resource_id,
  CAST(NULL AS VARCHAR) AS line_item_tax_type,
  CAST(CASE WHEN line_type = 'SavingsPlanNegation' THEN -(amount * rate) ELSE amount * rate END AS DOUBLE) AS line_item_unblended_cost,
  CAST(rate AS VARCHAR) AS line_item_unblended_rate,
  lpad(CAST(account AS VARCHAR), 12, '0') AS line_item_usage_account_id,
  'account ' || CAST(account AS VARCHAR) AS line_item_usage_account_name,
  CAST(amount AS DOUBLE) AS line_item_usage_amount,
  usage_hour + INTERVAL 1 HOUR AS line_item_usage_end_date,
  usage_hour AS line_item_usage_start_date,
  CASE WHEN service < 5 THEN 'BoxUsage:m5.' || ['large', 'xlarge', '2xlarge'][CAST(resource % 3 AS INTEGER) + 1] ELSE 'TimedStorage-ByteHrs' END
    AS line_item_usage_type,
  'USD' AS pricing_currency,
  CAST(amount * rate AS DOUBLE) AS pricing_public_on_demand_cost,
  CAST(rate AS VARCHAR) AS pricing_public_on_demand_rate,
  'SKU' || CAST(service AS VARCHAR) || '.JRTCKXETXF.6YS6EN2CT7' AS pricing_rate_code,
  CASE WHEN line_type = 'Usage' THEN 'OnDemand' END AS pricing_term,
  CASE WHEN service < 5 THEN 'Hrs' ELSE 'GB-Mo' END AS pricing_unit,
  MAP {
    'product_name': 'Amazon', 'region': 'us-east-1', 'operating_system': 'Linux', 'vcpu': '4', 'memory': '16 GiB',
    'instance_family': 'General purpose', 'tenancy': 'Shared'
  } AS product,
  CASE WHEN service < 5 THEN 'm5.' || ['large', 'xlarge', '2xlarge'][CAST(resource % 3 AS INTEGER) + 1] END AS product_instance_type,
  CASE WHEN service < 5 THEN 'Compute Instance' ELSE 'Storage' END AS product_product_family,
  'us-east-1' AS product_region_code,
  CASE WHEN service < 5 THEN 'AmazonEC2' WHEN service < 8 THEN 'AmazonS3' ELSE 'AmazonCloudWatch' END AS product_servicecode,
  'SKU' || CAST(service AS VARCHAR) AS product_sku,
  CASE WHEN resource % 5 > 0 AND line_type <> 'SavingsPlanNegation' THEN MAP {
    'user_team': 'team-' || CAST(resource % 30 AS VARCHAR),
    'user_product': 'product-' || CAST(resource % 60 AS VARCHAR),
    'user_environment': CASE WHEN resource % 2 = 0 THEN 'production' ELSE 'staging' END
  } ELSE MAP {} END AS resource_tags,
  CASE WHEN line_type <> 'Usage' THEN 'arn:aws:savingsplans::000123456789:savingsplan/' || CAST(account % 4 AS VARCHAR) END
    AS savings_plan_savings_plan_a_r_n,
  CASE WHEN line_type = 'SavingsPlanCoveredUsage' THEN CAST(CAST(amount * rate * 0.7 AS DECIMAL(18,10)) AS DOUBLE) ELSE 0.0 END
    AS savings_plan_savings_plan_effective_cost,
  CASE WHEN line_type = 'SavingsPlanCoveredUsage' THEN CAST(rate * 0.7 AS VARCHAR) END AS savings_plan_savings_plan_rate
FROM facts
