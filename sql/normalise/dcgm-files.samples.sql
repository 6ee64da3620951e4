-- One row for each instant at which a series was delivered inside its folder's day: times in microseconds since 1970,
-- activity in millionths of the GPU (the exporter prints six
-- places), NULL where the metric measures none or the value is blank.
WITH gpu_series AS (
    SELECT * FROM gpu_series
),

delivered AS (
    SELECT series_id, unnest(points) AS point
    FROM prometheus_series
    WHERE series_id IN (SELECT series_id FROM gpu_series)
),

parsed AS (
    SELECT
        series_id,
        CAST(CAST(point[1] AS DECIMAL(18,3)) * 1000 AS BIGINT) * 1000 AS sampled_at,
        -- NULL for "NaN" and "+Inf", which are no decimals, and for DCGM's "no value", which are too large for the
        -- type: 2^31 - 16, 2^47 and 2^63 - 16 and a little above (dcgm_structs.h).
        TRY_CAST(point[2] AS DECIMAL(10,6)) AS value
    FROM delivered
)

SELECT
    parsed.series_id,
    gpu_series.holder_id,
    gpu_series.metric_id,
    parsed.sampled_at,
    parsed.sampled_at >= gpu_series.day_start AND parsed.sampled_at < gpu_series.day_end AS is_inside_day,
    CASE
        WHEN parsed.value BETWEEN 0 AND gpu_series.full_scale
            THEN CAST(parsed.value * gpu_series.units AS BIGINT)
    END AS activity_units,
    coalesce(parsed.value NOT BETWEEN 0 AND gpu_series.full_scale, FALSE) AS is_out_of_range
FROM parsed
INNER JOIN gpu_series USING (series_id)
