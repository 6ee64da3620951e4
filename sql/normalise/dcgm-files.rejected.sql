-- One row for each telemetry series that can't be used, in whole or in part, and why.
WITH prometheus_series AS (
    SELECT * FROM prometheus_series
),

without_gpu AS (
    SELECT
        source_name,
        x_Day,
        source_file,
        source_row,
        'the series names no GPU: it has no label UUID' AS reason,
        {'labels': labels, 'samples': len(points)} AS rejected
    FROM prometheus_series
    WHERE
        (starts_with(metric, 'DCGM_') OR starts_with(metric, 'dcgm_'))
        AND coalesce(labels['UUID'], labels['uuid'], '') = ''
),

out_of_range_counts AS (
    SELECT series_id, count(*) AS samples
    FROM gpu_samples
    WHERE is_inside_day AND is_out_of_range
    GROUP BY series_id
),

out_of_range AS (
    SELECT
        series.source_name,
        series.x_Day,
        series.source_file,
        series.source_row,
        'activity outside 0 to ' || CAST(gpu_series.full_scale AS VARCHAR) AS reason,
        {'labels': series.labels, 'samples': counts.samples} AS rejected
    FROM out_of_range_counts AS counts
    INNER JOIN gpu_series USING (series_id)
    INNER JOIN prometheus_series AS series USING (series_id)
)

SELECT
    source_name,
    x_Day,
    source_file,
    source_row,
    reason,
    CAST(to_json(rejected) AS VARCHAR) AS row_json
FROM (SELECT * FROM without_gpu UNION ALL SELECT * FROM out_of_range)
ORDER BY source_name, x_Day, source_file, source_row, reason
