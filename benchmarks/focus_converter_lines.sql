-- The lines of cur_wide_lines.sql ($cur_lines) as focus-converter 1.0.0 can read them: without maps, which its reader of Parquet
-- refuses, and with the columns that its plan for `aws` demands and CUR 2.0 calls otherwise or hasn't.
SELECT
  * EXCLUDE (cost_category, discount, product, resource_tags) REPLACE (
    CAST(reservation_total_reserved_units AS DOUBLE) AS reservation_total_reserved_units
  ),
  savings_plan_savings_plan_a_r_n AS savings_plan_savings_plan_arn,
  reservation_reservation_a_r_n AS reservation_reservation_arn,
  product_region_code AS product_region,
  CASE WHEN line_item_line_item_type = 'Usage' THEN 'On-Demand' END AS product_purchase_option
FROM $cur_lines
