-- One row for each pod that held a GPU and hour (and one with hour NULL for its whole day): its Kubernetes labels as
-- JSON text, keys sorted and without kube-state-metrics' prefix label_, from the last kube_pod_labels series seen in it.
WITH prometheus_series AS (
    SELECT * FROM prometheus_series WHERE metric = 'kube_pod_labels'
),

workloads AS (
    SELECT DISTINCT source_name, x_Day, cluster, workload FROM gpu_series WHERE workload IS NOT NULL
),

named AS (
    SELECT
        source_name,
        x_Day,
        nullif(labels['cluster'], '') AS cluster,
        coalesce(
            coalesce(nullif(labels['exported_namespace'], ''), nullif(labels['namespace'], '')) || '/', ''
        ) || coalesce(nullif(labels['exported_pod'], ''), nullif(labels['pod'], '')) AS workload,
        CAST(
            to_json(
                map_from_entries(
                    list_sort(
                        list_transform(
                            list_filter(map_entries(labels), lambda label: starts_with(label.key, 'label_')),
                            lambda label: {'key': substr(label.key, 7), 'value': label.value}
                        )
                    )
                )
            ) AS VARCHAR
        ) AS labels,
        points
    FROM prometheus_series
),

seen AS (
    SELECT
        source_name,
        x_Day,
        cluster,
        workload,
        labels,
        unnest(points) AS point
    FROM named
    SEMI JOIN workloads
        ON named.source_name = workloads.source_name
        AND named.x_Day = workloads.x_Day
        AND named.workload = workloads.workload
        AND named.cluster IS NOT DISTINCT FROM workloads.cluster
),

timed AS (
    SELECT
        source_name,
        x_Day,
        cluster,
        workload,
        labels,
        make_timestamp(CAST(CAST(point[1] AS DECIMAL(18,3)) * 1000 AS BIGINT) * 1000) AS seen_at
    FROM seen
),

within_day AS (
    SELECT
        source_name,
        x_Day,
        cluster,
        workload,
        date_trunc('hour', seen_at) AS hour,
        {'seen_at': seen_at, 'labels': labels} AS sighting
    FROM timed
    WHERE CAST(CAST(seen_at AS DATE) AS VARCHAR) = x_Day
)

SELECT
    source_name,
    x_Day,
    cluster,
    workload,
    hour,
    max(sighting).labels AS labels
FROM within_day
GROUP BY GROUPING SETS ((source_name, x_Day, cluster, workload, hour), (source_name, x_Day, cluster, workload))
