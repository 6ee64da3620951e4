-- Grain: one row per rule and resource that its pool's charges name: whose telemetry the pool reads.
SELECT DISTINCT rule_number, ResourceId AS resource_id
FROM split.pooled_charges
WHERE ResourceId IS NOT NULL
