-- Grain: one row per rule, window and set of tag conflicts that pooled charges have.
SELECT DISTINCT rule_number, conflicts, window_start, window_end
FROM split.pooled_charges
