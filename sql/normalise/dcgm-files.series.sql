-- One row for each dcgm-exporter series: the GPU, MIG instance and pod it speaks of, named alike whatever the
-- exporter's version and the scrape's label rules. device_id names one GPU of one day, holder_id one pod (or none) on
-- one instance of it.
WITH prometheus_series AS (
    SELECT * FROM prometheus_series
),

activity_metrics AS (
    SELECT metric, activity, CAST(full_scale AS BIGINT) AS full_scale FROM mappings.dcgm_activity_metrics
),

gpu_models AS (
    SELECT telemetry_name, gpu_model FROM mappings.gpu_models
),

mig_instances AS (
    SELECT
        gpu_model,
        CAST(instance_slices AS BIGINT) AS instance_slices,
        CAST(gpu_slices AS BIGINT) AS gpu_slices
    FROM mappings.mig_instances
),

dcgm_series AS (
    SELECT
        series_id,
        source_name,
        x_Day,
        source_file,
        source_row,
        metric,
        labels,
        nullif(labels['cluster'], '') AS cluster
    FROM prometheus_series
    WHERE
        (starts_with(metric, 'DCGM_') OR starts_with(metric, 'dcgm_'))
        AND coalesce(labels['UUID'], labels['uuid'], '') <> ''
),

-- Without honorLabels Prometheus renames the workload's labels to exported_*, and pod is the exporter's own pod.
scrapes AS (
    SELECT source_name, x_Day, cluster, bool_or(coalesce(labels['exported_pod'], '') <> '') AS renames_labels
    FROM dcgm_series
    GROUP BY source_name, x_Day, cluster
),

named AS (
    SELECT
        s.series_id,
        s.source_name,
        s.x_Day,
        s.source_file,
        s.source_row,
        s.metric,
        s.cluster,
        coalesce(
            nullif(s.labels['node'], ''), nullif(s.labels['Hostname'], ''), nullif(s.labels['hostname'], ''),
            nullif(s.labels['kubernetes_node'], '')
        ) AS node,
        coalesce(nullif(s.labels['UUID'], ''), nullif(s.labels['uuid'], '')) AS gpu_uuid,
        nullif(s.labels['GPU_I_ID'], '') AS gpu_instance,
        nullif(s.labels['GPU_I_PROFILE'], '') AS gpu_profile,
        coalesce(nullif(s.labels['modelName'], ''), nullif(s.labels['modelname'], '')) AS telemetry_name,
        CASE
            WHEN scrapes.renames_labels
                THEN nullif(s.labels['exported_namespace'], '')
            ELSE coalesce(nullif(s.labels['namespace'], ''), nullif(s.labels['pod_namespace'], ''))
        END AS namespace,
        CASE
            WHEN scrapes.renames_labels
                THEN nullif(s.labels['exported_pod'], '')
            -- A day on which nothing was held shows no renamed label: the exporter's own pod holds no GPU.
            WHEN regexp_matches(coalesce(s.labels['pod'], ''), '(^|-)dcgm-exporter(-|$)')
                THEN NULL
            ELSE coalesce(nullif(s.labels['pod'], ''), nullif(s.labels['pod_name'], ''))
        END AS pod
    FROM dcgm_series AS s
    INNER JOIN scrapes
        ON s.source_name = scrapes.source_name
        AND s.x_Day = scrapes.x_Day
        AND s.cluster IS NOT DISTINCT FROM scrapes.cluster
),

measured AS (
    SELECT
        named.* EXCLUDE (namespace),
        CASE WHEN named.pod IS NOT NULL THEN named.namespace END AS namespace,
        coalesce(gpu_models.gpu_model, named.telemetry_name) AS gpu_model,
        CAST(nullif(regexp_extract(named.gpu_profile, '^(?:\d+c\.)?(\d+)g\.\d+gb(?:\+.*)?$', 1), '') AS BIGINT)
            AS instance_slices,
        activity_metrics.activity,
        activity_metrics.full_scale
    FROM named
    LEFT JOIN gpu_models USING (telemetry_name)
    LEFT JOIN activity_metrics USING (metric)
),

sized AS (
    SELECT
        measured.* EXCLUDE (instance_slices),
        CASE WHEN measured.gpu_instance IS NULL THEN 1 ELSE mig_instances.instance_slices END AS instance_slices,
        CASE WHEN measured.gpu_instance IS NULL THEN 1 ELSE mig_instances.gpu_slices END AS gpu_slices
    FROM measured
    LEFT JOIN mig_instances
        ON measured.gpu_model = mig_instances.gpu_model
        AND measured.instance_slices = mig_instances.instance_slices
)

SELECT
    series_id,
    CAST(dense_rank() OVER (ORDER BY source_name, x_Day, cluster, node, gpu_uuid) AS INTEGER) AS device_id,
    CAST(
        dense_rank() OVER (
            ORDER BY source_name, x_Day, cluster, node, gpu_uuid, gpu_instance, namespace NULLS FIRST, pod NULLS FIRST
        ) AS INTEGER
    ) AS holder_id,
    source_name,
    x_Day,
    source_file,
    source_row,
    epoch_us(CAST(x_Day AS TIMESTAMP)) AS day_start,
    epoch_us(CAST(x_Day AS TIMESTAMP) + INTERVAL 1 DAY) AS day_end,
    metric,
    CAST(dense_rank() OVER (ORDER BY metric) AS INTEGER) AS metric_id,
    activity,
    CAST(full_scale AS DECIMAL(3,0)) AS full_scale,
    CAST(1000000 // full_scale AS DECIMAL(7,0)) AS units,
    cluster,
    node,
    gpu_uuid,
    gpu_instance,
    gpu_profile,
    telemetry_name,
    gpu_model,
    instance_slices,
    gpu_slices,
    namespace,
    CASE WHEN pod IS NOT NULL THEN coalesce(namespace || '/', '') || pod END AS workload
FROM sized
