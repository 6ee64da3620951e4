-- One row for each node and hour (and one with hour NULL for its whole day): the cloud's id of the machine, from the
-- last kube_node_info series seen in it.
WITH prometheus_series AS (
    SELECT * FROM prometheus_series WHERE metric = 'kube_node_info'
),

named AS (
    SELECT
        source_name,
        x_Day,
        nullif(labels['cluster'], '') AS cluster,
        coalesce(nullif(labels['exported_node'], ''), nullif(labels['node'], '')) AS node,
        nullif(labels['provider_id'], '') AS provider_id,
        unnest(points) AS point
    FROM prometheus_series
),

seen AS (
    SELECT
        source_name,
        x_Day,
        cluster,
        node,
        provider_id,
        make_timestamp(CAST(CAST(point[1] AS DECIMAL(18,3)) * 1000 AS BIGINT) * 1000) AS seen_at
    FROM named
    WHERE node IS NOT NULL AND provider_id IS NOT NULL
),

within_day AS (
    SELECT
        source_name,
        x_Day,
        cluster,
        node,
        date_trunc('hour', seen_at) AS hour,
        {'seen_at': seen_at, 'provider_id': provider_id} AS sighting
    FROM seen
    WHERE CAST(CAST(seen_at AS DATE) AS VARCHAR) = x_Day
)

SELECT
    source_name,
    x_Day,
    cluster,
    node,
    hour,
    max(sighting).provider_id AS provider_id
FROM within_day
GROUP BY GROUPING SETS ((source_name, x_Day, cluster, node, hour), (source_name, x_Day, cluster, node))
