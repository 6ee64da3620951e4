-- The lines of cur_lines.sql ($cur_lines) as focus-converter 1.0.0 can read them: without maps, which its reader of Parquet refuses,
-- and with every column that its plan for `aws` demands, by the name it gives it.
SELECT
  * EXCLUDE (cost_category, product, resource_tags),
  savings_plan_savings_plan_a_r_n AS savings_plan_savings_plan_arn,
  pricing_rate_code AS pricing_rate_id,
  product_region_code AS product_region,
  CASE WHEN line_item_line_item_type = 'Usage' THEN 'On-Demand' END AS product_purchase_option,
  CAST(NULL AS DOUBLE) AS line_item_net_unblended_cost,
  CAST(NULL AS VARCHAR) AS reservation_reservation_a_r_n,
  CAST(NULL AS VARCHAR) AS reservation_reservation_arn,
  CAST(NULL AS DOUBLE) AS reservation_effective_cost,
  CAST(NULL AS DOUBLE) AS reservation_total_reserved_units,
  0 :: DOUBLE AS reservation_unused_amortized_upfront_fee_for_billing_period,
  0 :: DOUBLE AS reservation_unused_recurring_fee,
  0 :: DOUBLE AS savings_plan_total_commitment_to_date,
  0 :: DOUBLE AS savings_plan_used_commitment
FROM $cur_lines
