-- Grain: one row per window and target that a driver in use lists, zeros included: whom "even" divides over.
WITH entries_in_use AS (
    SELECT window_id, driver FROM split.entries_in_use WHERE driver IS NOT NULL
),

weighed_values AS (
    SELECT window_id, driver, target FROM split.weighed_values
),

listed AS (
    SELECT DISTINCT weighed_values.window_id, weighed_values.target
    FROM weighed_values
    INNER JOIN entries_in_use
        ON weighed_values.window_id = entries_in_use.window_id AND weighed_values.driver = entries_in_use.driver
    WHERE weighed_values.target <> '__unallocated__'
)

SELECT window_id, target, count(*) OVER (PARTITION BY window_id) AS targets FROM listed
