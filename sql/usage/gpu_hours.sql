-- Hour by GPU, MIG instance and workload: how much of the GPU the workload held and used. A GPU-hour's rows sum to its
-- capacity; the row without a workload is the rest, unheld or without telemetry.
-- Times are whole ticks of 1/2520 microsecond until the last step: a half to a tenth of a microsecond is whole too.
WITH gpu_series AS (
    SELECT * FROM gpu_series
),

gpu_samples AS (
    SELECT * FROM gpu_samples WHERE is_inside_day
),

node_hours AS (
    SELECT * FROM node_hours
),

pod_hours AS (
    SELECT * FROM pod_hours
),

pod_dimensions AS (
    SELECT * FROM pod_dimensions
),

devices AS (
    SELECT
        device_id,
        source_name,
        x_Day,
        day_start,
        day_end,
        cluster,
        node,
        gpu_uuid,
        max(gpu_model) AS gpu_model
    FROM gpu_series
    GROUP BY device_id, source_name, x_Day, day_start, day_end, cluster, node, gpu_uuid
),

holders AS (
    SELECT
        holder_id,
        device_id,
        gpu_instance,
        namespace,
        workload,
        max(instance_slices) AS instance_slices,
        max(gpu_slices) AS gpu_slices
    FROM gpu_series
    GROUP BY holder_id, device_id, gpu_instance, namespace, workload
),

-- One metric for a source and day: engine activity, else GPU utilisation. Mixing the two would make idle of the
-- difference between them.
measured_series AS (
    SELECT series_id FROM gpu_samples WHERE activity_units IS NOT NULL GROUP BY series_id
),

activity_metrics AS (
    SELECT
        source_name,
        x_Day,
        min(activity) AS activity,
        min({'activity': activity, 'metric': metric}).metric AS activity_metric
    FROM gpu_series
    SEMI JOIN measured_series USING (series_id)
    GROUP BY source_name, x_Day
),

activity_series AS (
    SELECT series_id
    FROM gpu_series
    INNER JOIN activity_metrics USING (source_name, x_Day, activity)
),

-- A GPU's step is the most common interval of its series. Counted inside a series, because two metrics may be scraped
-- at different offsets.
intervals AS (
    SELECT
        series_id,
        sampled_at - lag(sampled_at) OVER (PARTITION BY series_id ORDER BY sampled_at) AS step
    FROM gpu_samples
),

series_intervals AS (
    SELECT series_id, step, count(*) AS intervals FROM intervals WHERE step > 0 GROUP BY series_id, step
),

device_intervals AS (
    SELECT device_id, step, sum(intervals) AS intervals
    FROM series_intervals
    INNER JOIN gpu_series USING (series_id)
    GROUP BY device_id, step
),

device_steps AS (
    SELECT device_id, min({'fewer': -intervals, 'step': step}).step AS step
    FROM device_intervals
    GROUP BY device_id
),

source_intervals AS (
    SELECT source_name, x_Day, step, sum(intervals) AS intervals
    FROM device_intervals
    INNER JOIN devices USING (device_id)
    GROUP BY source_name, x_Day, step
),

source_steps AS (
    SELECT source_name, x_Day, min({'fewer': -intervals, 'step': step}).step AS step
    FROM source_intervals
    GROUP BY source_name, x_Day
),

-- What was seen at an instant, whatever the number of metrics, containers or files that say it.
presence AS (
    SELECT
        holder_id,
        sampled_at,
        max(activity_units) FILTER (WHERE series_id IN (SELECT series_id FROM activity_series)) AS activity_units
    FROM gpu_samples
    GROUP BY holder_id, sampled_at
),

sightings AS (
    SELECT
        holders.device_id,
        presence.sampled_at,
        presence.holder_id,
        holders.gpu_instance,
        holders.workload,
        holders.instance_slices,
        holders.gpu_slices,
        presence.activity_units
    FROM presence
    INNER JOIN holders USING (holder_id)
),

instants AS (
    SELECT device_id, sampled_at, bool_or(gpu_instance IS NOT NULL) AS is_partitioned
    FROM sightings
    GROUP BY device_id, sampled_at
),

neighbours AS (
    SELECT
        device_id,
        sampled_at,
        is_partitioned,
        lag(sampled_at) OVER (PARTITION BY device_id ORDER BY sampled_at) AS previous_at,
        lead(sampled_at) OVER (PARTITION BY device_id ORDER BY sampled_at) AS next_at
    FROM instants
),

-- Sample and hold. A longer wait than two steps is a gap: the sample before it stands for one step. The day's first
-- sample also stands for the time since midnight when it comes less than a step after it.
spans AS (
    SELECT
        neighbours.device_id,
        neighbours.sampled_at,
        neighbours.is_partitioned,
        CASE
            WHEN
                neighbours.previous_at IS NULL
                AND neighbours.sampled_at - devices.day_start < coalesce(device_steps.step, source_steps.step, 0)
                THEN devices.day_start
            ELSE neighbours.sampled_at
        END AS span_start,
        CASE
            WHEN
                neighbours.next_at - neighbours.sampled_at <= 2 * coalesce(device_steps.step, source_steps.step, 0)
                THEN neighbours.next_at
            ELSE
                least(
                    neighbours.sampled_at + coalesce(device_steps.step, source_steps.step, 0), devices.day_end
                )
        END AS span_end
    FROM neighbours
    INNER JOIN devices USING (device_id)
    LEFT JOIN device_steps USING (device_id)
    LEFT JOIN source_steps USING (source_name, x_Day)
),

span_hours AS (
    SELECT
        device_id,
        sampled_at,
        is_partitioned,
        span_start,
        span_end,
        unnest(range(span_start // 3600000000, (span_end - 1) // 3600000000 + 1)) AS hour_number
    FROM spans
    WHERE span_end > span_start
),

pieces AS (
    SELECT
        device_id,
        sampled_at,
        is_partitioned,
        hour_number,
        (least(span_end, (hour_number + 1) * 3600000000) - greatest(span_start, hour_number * 3600000000)) * 2520
            AS piece
    FROM span_hours
),

device_lives AS (
    SELECT device_id, min(span_start) AS life_start, max(span_end) AS life_end
    FROM spans
    WHERE span_end > span_start
    GROUP BY device_id
),

device_hours AS (
    SELECT
        device_id,
        life_start,
        life_end,
        unnest(range(life_start // 3600000000, (life_end - 1) // 3600000000 + 1)) AS hour_number
    FROM device_lives
),

covered_hours AS (
    SELECT device_id, hour_number, CAST(sum(piece) AS BIGINT) AS covered
    FROM pieces
    GROUP BY device_id, hour_number
),

gpu_capacity AS (
    SELECT
        device_hours.device_id,
        device_hours.hour_number,
        (
            least(device_hours.life_end, (device_hours.hour_number + 1) * 3600000000)
            - greatest(device_hours.life_start, device_hours.hour_number * 3600000000)
        ) * 2520 AS capacity,
        coalesce(covered_hours.covered, 0) AS covered
    FROM device_hours
    LEFT JOIN covered_hours USING (device_id, hour_number)
),

-- MIG: an instance has its compute slices of the GPU; what is left belongs to the row without an instance.
instances AS (
    SELECT device_id, sampled_at, gpu_instance, max(instance_slices) AS slices, max(gpu_slices) AS gpu_slices
    FROM sightings
    WHERE gpu_instance IS NOT NULL
    GROUP BY device_id, sampled_at, gpu_instance
),

slots AS (
    SELECT
        device_id,
        sampled_at,
        gpu_instance,
        sum(slices) OVER up_to - slices AS slices_before,
        sum(slices) OVER up_to AS slices_through,
        -- While a GPU is being partitioned anew, instances of both layouts can show at one instant.
        greatest(max(gpu_slices) OVER instant, sum(slices) OVER instant) AS all_slices
    FROM instances
    WINDOW
        instant AS (PARTITION BY device_id, sampled_at),
        up_to AS (PARTITION BY device_id, sampled_at ORDER BY gpu_instance)
),

-- Pods that share a GPU by time-slicing hold equal shares of the instant. The exporter copies the device's value to
-- each of them, or gives each its own beside a row for the device.
shares AS (
    SELECT
        sightings.device_id,
        sightings.sampled_at,
        sightings.holder_id,
        sightings.gpu_instance,
        sightings.workload,
        sightings.activity_units,
        count(sightings.workload) OVER same_instance AS pods,
        row_number() OVER (
            PARTITION BY sightings.device_id, sightings.sampled_at, sightings.gpu_instance
            ORDER BY sightings.workload NULLS LAST
        ) AS position,
        bool_or(sightings.workload IS NULL AND sightings.activity_units IS NOT NULL) OVER same_instance
            AS has_device_row
    FROM sightings
    WINDOW same_instance AS (PARTITION BY sightings.device_id, sightings.sampled_at, sightings.gpu_instance)
),

held_pieces AS (
    SELECT
        shares.holder_id,
        pieces.hour_number,
        shares.pods,
        shares.position,
        shares.has_device_row,
        shares.activity_units,
        CASE
            WHEN slots.all_slices IS NULL THEN pieces.piece
            ELSE
                CAST(
                    pieces.piece * slots.slices_through // slots.all_slices
                    - pieces.piece * slots.slices_before // slots.all_slices
                    AS BIGINT
                )
        END AS instance_time
    FROM shares
    INNER JOIN pieces USING (device_id, sampled_at)
    LEFT JOIN slots
        ON shares.device_id = slots.device_id
        AND shares.sampled_at = slots.sampled_at
        AND shares.gpu_instance = slots.gpu_instance
    WHERE
        (shares.gpu_instance IS NOT NULL OR NOT pieces.is_partitioned)
        AND (shares.workload IS NOT NULL OR (shares.gpu_instance IS NOT NULL AND shares.pods = 0))
),

timed_pieces AS (
    SELECT
        holder_id,
        hour_number,
        has_device_row,
        activity_units,
        instance_time,
        CASE
            WHEN pods <= 1 THEN instance_time
            ELSE instance_time * position // pods - instance_time * (position - 1) // pods
        END AS time
    FROM held_pieces
),

holder_hours AS (
    SELECT
        holder_id,
        hour_number,
        CAST(sum(time) AS BIGINT) AS time,
        CAST(sum(time) FILTER (WHERE activity_units IS NOT NULL) AS BIGINT) AS measured_time,
        CAST(
            sum(
                CASE
                    WHEN has_device_row THEN least(time * 1000000, instance_time * activity_units)
                    ELSE time * activity_units
                END
            ) FILTER (WHERE activity_units IS NOT NULL) AS BIGINT
        ) AS active_time
    FROM timed_pieces
    GROUP BY holder_id, hour_number
),

instance_rows AS (
    SELECT
        holders.device_id,
        holder_hours.hour_number,
        holders.gpu_instance,
        holders.namespace,
        holders.workload,
        holder_hours.time,
        holder_hours.measured_time,
        holder_hours.active_time,
        CAST(0 AS BIGINT) AS gap
    FROM holder_hours
    INNER JOIN holders USING (holder_id)
),

instance_totals AS (
    SELECT device_id, hour_number, CAST(sum(time) AS BIGINT) AS time FROM instance_rows GROUP BY device_id, hour_number
),

remainder_rows AS (
    SELECT
        gpu_capacity.device_id,
        gpu_capacity.hour_number,
        CAST(NULL AS VARCHAR) AS gpu_instance,
        CAST(NULL AS VARCHAR) AS namespace,
        CAST(NULL AS VARCHAR) AS workload,
        gpu_capacity.covered - coalesce(instance_totals.time, 0) AS time,
        CAST(NULL AS BIGINT) AS measured_time,
        CAST(NULL AS BIGINT) AS active_time,
        gpu_capacity.capacity - gpu_capacity.covered AS gap
    FROM gpu_capacity
    LEFT JOIN instance_totals USING (device_id, hour_number)
),

-- Cumulative, so that the rounded hours of a GPU-hour's rows still sum to its capacity. The remainder comes last.
cumulative AS (
    SELECT
        *,
        CAST(sum(time) OVER up_to AS HUGEINT) AS through
    FROM (SELECT *, FALSE AS is_remainder FROM instance_rows UNION ALL SELECT *, TRUE FROM remainder_rows)
    WINDOW
        up_to AS (
            PARTITION BY device_id, hour_number ORDER BY is_remainder, gpu_instance, workload NULLS LAST
        )
),

-- Units of 10^-18 hours: ticks * 10^9 / 9072, rounded half up.
rounded AS (
    SELECT
        device_id,
        hour_number,
        gpu_instance,
        namespace,
        workload,
        (through * 2000000000 + 9072) // 18144 - ((through - time) * 2000000000 + 9072) // 18144 AS time_units,
        ((through + gap) * 2000000000 + 9072) // 18144 - (through * 2000000000 + 9072) // 18144 AS gap_units,
        CASE
            WHEN workload IS NULL THEN 0
            -- Where part of the held time has no activity, its mean over the rest stands for it.
            WHEN measured_time > 0
                THEN
                    (CAST(active_time AS HUGEINT) * time * 2000 + CAST(measured_time AS HUGEINT) * 9072)
                    // (CAST(measured_time AS HUGEINT) * 18144)
        END AS active_units
    FROM cumulative
),

gpu_hours AS (
    SELECT
        devices.x_Day,
        make_timestamp(rounded.hour_number * 3600000000) AS hour,
        devices.source_name,
        devices.cluster,
        devices.node,
        devices.gpu_uuid,
        rounded.gpu_instance,
        rounded.workload,
        rounded.namespace,
        devices.gpu_model,
        rounded.time_units,
        rounded.gap_units,
        -- Rounded by itself, activity can pass the held time by a unit. least() would take NULL for the held time.
        CASE WHEN rounded.active_units > rounded.time_units THEN rounded.time_units ELSE rounded.active_units END
            AS active_units,
        gpu_capacity.capacity,
        gpu_capacity.covered,
        activity_metrics.activity_metric
    FROM rounded
    INNER JOIN devices USING (device_id)
    INNER JOIN gpu_capacity USING (device_id, hour_number)
    LEFT JOIN activity_metrics USING (source_name, x_Day)
    WHERE rounded.time_units + rounded.gap_units > 0
),

placed AS (
    SELECT
        gpu_hours.*,
        coalesce(node_hour.provider_id, node_day.provider_id) AS provider_id,
        coalesce(pod_hour.labels, pod_day.labels) AS labels
    FROM gpu_hours
    LEFT JOIN node_hours AS node_hour
        ON gpu_hours.source_name = node_hour.source_name
        AND gpu_hours.x_Day = node_hour.x_Day
        AND gpu_hours.cluster IS NOT DISTINCT FROM node_hour.cluster
        AND gpu_hours.node = node_hour.node
        AND gpu_hours.hour = node_hour.hour
    LEFT JOIN node_hours AS node_day
        ON gpu_hours.source_name = node_day.source_name
        AND gpu_hours.x_Day = node_day.x_Day
        AND gpu_hours.cluster IS NOT DISTINCT FROM node_day.cluster
        AND gpu_hours.node = node_day.node
        AND node_day.hour IS NULL
    LEFT JOIN pod_hours AS pod_hour
        ON gpu_hours.source_name = pod_hour.source_name
        AND gpu_hours.x_Day = pod_hour.x_Day
        AND gpu_hours.cluster IS NOT DISTINCT FROM pod_hour.cluster
        AND gpu_hours.workload = pod_hour.workload
        AND gpu_hours.hour = pod_hour.hour
    LEFT JOIN pod_hours AS pod_day
        ON gpu_hours.source_name = pod_day.source_name
        AND gpu_hours.x_Day = pod_day.x_Day
        AND gpu_hours.cluster IS NOT DISTINCT FROM pod_day.cluster
        AND gpu_hours.workload = pod_day.workload
        AND pod_day.hour IS NULL
),

joined AS (
    SELECT
        placed.*,
        -- The bill's ResourceId: of aws:///us-east-1a/i-0abc the last part, of gce://project/zone/name Google's full
        -- resource name, which normalisation makes of the bill's numbers; of azure:///subscriptions/… all in lower case,
        -- without a machine's number in its scale set, which is billed as one.
        CASE
            WHEN starts_with(lower(placed.provider_id), 'azure:///subscriptions/')
                THEN regexp_replace(
                    lower(substr(placed.provider_id, 9)), '(/virtualmachinescalesets/[^/]+)/virtualmachines/[^/]+$', '\1'
                )
            WHEN regexp_full_match(placed.provider_id, 'gce://[^/]+/[^/]+/[^/]+')
                THEN
                    '//compute.googleapis.com/projects/' || split_part(placed.provider_id, '/', 3)
                    || '/zones/' || split_part(placed.provider_id, '/', 4)
                    || '/instances/' || split_part(placed.provider_id, '/', 5)
            ELSE nullif(regexp_extract(placed.provider_id, '^aws://.*/(i-[0-9a-f]+)$', 1), '')
        END AS resource_id,
        CAST('0.000000000000000001' AS DECIMAL(18,18)) AS unit
    FROM placed
)

SELECT
    joined.x_Day,
    joined.hour,
    joined.source_name,
    joined.cluster,
    joined.node,
    joined.gpu_uuid,
    joined.gpu_instance,
    joined.workload,
    joined.namespace,
    joined.gpu_model,
    joined.resource_id,
    CASE WHEN joined.resource_id IS NULL THEN 'none' ELSE 'provider_id' END AS join_method,
    pod_dimensions.team,
    pod_dimensions.product,
    pod_dimensions.feature,
    pod_dimensions.model,
    pod_dimensions.environment,
    pod_dimensions.customer,
    pod_dimensions.cost_center,
    pod_dimensions.dimensions,
    CAST(CAST(joined.time_units + joined.gap_units AS DECIMAL(19,0)) * joined.unit AS DECIMAL(38,18))
        AS gpu_hours_capacity,
    CASE
        WHEN joined.workload IS NULL THEN CAST(0 AS DECIMAL(38,18))
        ELSE CAST(CAST(joined.time_units AS DECIMAL(19,0)) * joined.unit AS DECIMAL(38,18))
    END AS gpu_hours_held,
    CAST(CAST(joined.active_units AS DECIMAL(19,0)) * joined.unit AS DECIMAL(38,18)) AS gpu_hours_active,
    CAST(CAST(joined.gap_units AS DECIMAL(19,0)) * joined.unit AS DECIMAL(38,18)) AS gpu_hours_gap,
    CAST(
        CAST(
            (CAST(joined.covered AS HUGEINT) * 2000000000000000000 + joined.capacity) // (2 * joined.capacity)
            AS DECIMAL(19,0)
        ) * joined.unit
        AS DECIMAL(38,18)
    ) AS coverage_ratio,
    joined.activity_metric
FROM joined
LEFT JOIN pod_dimensions
    ON joined.workload IS NOT NULL
    AND joined.labels IS NOT DISTINCT FROM pod_dimensions.tags
ORDER BY
    joined.x_Day, joined.hour, joined.source_name, joined.cluster, joined.node, joined.gpu_uuid, joined.gpu_instance,
    joined.workload
