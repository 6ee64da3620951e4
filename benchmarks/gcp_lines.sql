-- Google Cloud's detailed export of $lines lines for the invoice month $billing_period, as `bq extract` writes it: hourly usage of 40
-- projects and 60,000 resources, labels on most, a sustained use discount on a third. An hourly fee of a commitment comes
-- once in 1,000 lines; a tenth of the lines are covered by it.
WITH
facts AS (
  SELECT
    range AS n,
    hash(range // 3) % 60000 AS resource,
    CAST(hash(range // 3) % 60000 % 40 AS INTEGER) AS project_number,
    hash(range // 3) % 7 AS service_number,
    CASE WHEN range % 1000 = 999 THEN 'fee' WHEN range % 10 = 4 THEN 'covered' WHEN range % 3 = 0 THEN 'discounted' ELSE 'plain' END
      AS line_kind,
    CAST(CAST($billing_period || '-01' AS TIMESTAMP) + to_hours(CAST(8 + (range * 712) // $lines AS INTEGER)) AS TIMESTAMP)
      AS usage_hour,
    CAST(hash(range, 'amount') % 100000 AS DECIMAL(18,0)) * 0.00001 AS amount,
    CAST(hash(hash(range // 3) % 60000, 'price') % 90000 + 1000 AS DECIMAL(18,0)) * 0.0001 AS price
  FROM range($lines)
)
SELECT
  '01ABCD-234567-89EFAB' AS billing_account_id,
  CASE service_number
    WHEN 0 THEN {'id': '95FF-2EF5-5EA1', 'description': 'Cloud Storage'}
    WHEN 1 THEN {'id': '24E6-581D-38E5', 'description': 'BigQuery'}
    ELSE {'id': '6F81-5844-456A', 'description': 'Compute Engine'}
  END AS service,
  CASE
    WHEN line_kind = 'fee' THEN {'id': '5515-81A8-03A2', 'description': 'Commitment - dollar based v1: GCE for 1 year'}
    WHEN service_number = 0 THEN {'id': 'E5F0-6A5D-7BAD', 'description': 'Standard Storage US Regional'}
    WHEN service_number = 1 THEN {'id': '1DE3-8F67-14CE', 'description': 'Analysis'}
    ELSE {'id': '2E27-4F75-95C' || chr(CAST(65 + service_number AS INTEGER)), 'description': 'N2 Instance Core running in Iowa'}
  END AS sku,
  timezone('UTC', usage_hour) AS usage_start_time,
  timezone('UTC', usage_hour + INTERVAL 1 HOUR) AS usage_end_time,
  CASE WHEN line_kind <> 'fee' THEN {
    'id': 'acme-' || CAST(project_number AS VARCHAR),
    'number': CAST(7000 + project_number AS VARCHAR),
    'name': 'Acme ' || CAST(project_number AS VARCHAR),
    'labels': [{'key': 'unit', 'value': 'u' || CAST(project_number % 7 AS VARCHAR)}],
    'ancestry_numbers': '/4711/',
    'ancestors': [
      {'resource_name': 'projects/' || CAST(7000 + project_number AS VARCHAR), 'display_name': 'Acme ' || CAST(project_number AS VARCHAR)},
      {'resource_name': 'organizations/4711', 'display_name': 'acme.example'}
    ]
  } END AS project,
  CASE WHEN line_kind <> 'fee' AND resource % 5 > 0 THEN [
    {'key': 'team', 'value': 'team-' || CAST(resource % 30 AS VARCHAR)},
    {'key': 'product', 'value': 'product-' || CAST(resource % 60 AS VARCHAR)},
    {'key': 'environment', 'value': CASE WHEN resource % 2 = 0 THEN 'production' ELSE 'staging' END}
  ] ELSE [] END AS labels,
  CASE WHEN service_number > 1 THEN [
    {'key': 'compute.googleapis.com/machine_spec', 'value': 'n2-standard-' || CAST(2 ** CAST(1 + resource % 4 AS INTEGER) AS BIGINT)}
  ] ELSE [] END AS system_labels,
  {'location': 'us-central1', 'country': 'US', 'region': 'us-central1', 'zone': 'us-central1-' || chr(CAST(97 + resource % 3 AS INTEGER))}
    AS location,
  CASE WHEN line_kind <> 'fee' THEN {
    'name': 'resource-' || CAST(resource AS VARCHAR),
    'global_name': '//compute.googleapis.com/projects/' || CAST(7000 + project_number AS VARCHAR) || '/zones/us-central1-a/instances/'
      || CAST(resource AS VARCHAR)
  } END AS resource,
  [] :: STRUCT(key VARCHAR, value VARCHAR, inherited BOOLEAN, namespace VARCHAR)[] AS tags,
  {
    'effective_price': CAST(price AS DECIMAL(38,9)),
    'tier_start_amount': CAST(0 AS DECIMAL(38,9)),
    'unit': 'hour',
    'pricing_unit_quantity': CAST(1 AS DECIMAL(38,9)),
    'list_price': CAST(price AS DECIMAL(38,9)),
    'effective_price_default': CAST(price AS DECIMAL(38,9))
  } AS price,
  {'instance_id': CASE WHEN line_kind = 'fee' THEN 'e7a1c0de-0000-4000-8000-000000000001' END} AS subscription,
  NULL :: STRUCT(id VARCHAR, description VARCHAR) AS consumption_model,
  CAST(CASE WHEN line_kind = 'fee' THEN price * 100 ELSE amount * price END AS DOUBLE) AS cost,
  CAST(CASE WHEN line_kind = 'fee' THEN price * 100 ELSE amount * price END AS DECIMAL(38,9)) AS cost_at_list,
  'USD' AS currency,
  CAST(1 AS DOUBLE) AS currency_conversion_rate,
  {
    'amount': CAST(amount * 3600 AS DOUBLE), 'unit': 'seconds', 'amount_in_pricing_units': CAST(amount AS DOUBLE), 'pricing_unit': 'hour'
  } AS usage,
  CASE line_kind
    WHEN 'covered' THEN [{
      'id': 'e7a1c0de-0000-4000-8000-000000000001', 'type': 'COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE', 'name': 'Committed use discount',
      'full_name': 'Committed use discount', 'amount': CAST(-(amount * price) AS DOUBLE)
    }]
    WHEN 'discounted' THEN [{
      'id': 'Sustained Usage Discount', 'type': 'SUSTAINED_USAGE_DISCOUNT', 'name': 'Sustained Usage Discount',
      'full_name': 'Sustained Usage Discount', 'amount': CAST(CAST(amount * price * -0.2 AS DECIMAL(18,10)) AS DOUBLE)
    }]
    ELSE []
  END AS credits,
  {'month': replace($billing_period, '-', ''), 'publisher_type': 'GOOGLE'} AS invoice,
  'regular' AS cost_type,
  NULL :: STRUCT(id VARCHAR, description VARCHAR, type VARCHAR, mode VARCHAR) AS adjustment_info,
  'GOOGLE' AS transaction_type,
  CAST(NULL AS VARCHAR) AS seller_name,
  timezone('UTC', usage_hour + INTERVAL 5 HOUR) AS export_time
FROM facts
