"""Hourly usage facts from landed telemetry and logs.

Each function takes every changed day at once (a month is one pass), and leaves its rows in the session for the caller
to audit and commit:

===========================  ==========================  ========================================================
function                     makes the table             from
===========================  ==========================  ========================================================
``create_gpu_hours``         ``staged_gpu_hours``        landed days of sources of kind ``dcgm-files``
``create_tokens``            ``staged_tokens``           landed days of sources of kind ``litellm``
``create_deliveries``        ``staged_deliveries``       which days of each usage source have landed
===========================  ==========================  ========================================================

The first two also fill ``rejected_usage`` (source_name, x_Day, source_file, source_row, reason, row_json): what was
delivered and could not be used. A day's rows depend only on that day's landed files and the dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.allocation.dimensions import Dimensions, resolve_dimensions
from pipelines.errors import DeliveryError
from pipelines.lake.database import identifier
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import load_sql
from pipelines.sources import dcgm_files, litellm

if TYPE_CHECKING:
    import duckdb

    from pipelines.config import UsageSource
    from pipelines.lake.landing import LandedDelivery

# Memory is bounded by what one pass reads; days don't depend on each other, so passes give the same rows.
_BYTES_PER_PASS = 256 * 1024 * 1024

_ACTIVITY_TABLES = ("prometheus_series", "gpu_series", "gpu_samples", "node_hours", "pod_hours", "pod_dimensions")
_REQUEST_TABLES = ("litellm_file_lines", "litellm_requests", "request_dimensions")

_REJECTED_TABLE = """
CREATE TABLE IF NOT EXISTS rejected_usage (
    source_name VARCHAR, x_Day VARCHAR, source_file VARCHAR, source_row BIGINT, reason VARCHAR, row_json VARCHAR
)
"""

_GPU_COUNTS = """
WITH samples AS (
    SELECT
        gpu_series.source_name,
        gpu_series.x_Day,
        count(*) AS delivered,
        count(*) FILTER (WHERE NOT is_inside_day) AS outside_day,
        count(*) FILTER (WHERE is_inside_day AND is_out_of_range) AS out_of_range,
        count(*) FILTER (WHERE is_inside_day AND NOT is_out_of_range) AS inside
    FROM gpu_samples
    INNER JOIN gpu_series USING (series_id)
    GROUP BY gpu_series.source_name, gpu_series.x_Day
),

different AS (
    SELECT gpu_series.source_name, gpu_series.x_Day, count(*) AS used
    FROM (
        SELECT any_value(series_id) AS series_id
        FROM gpu_samples
        WHERE is_inside_day AND NOT is_out_of_range
        GROUP BY holder_id, metric_id, sampled_at
    )
    INNER JOIN gpu_series USING (series_id)
    GROUP BY gpu_series.source_name, gpu_series.x_Day
),

without_gpu AS (
    SELECT source_name, x_Day, CAST(sum(len(points)) AS BIGINT) AS samples
    FROM prometheus_series
    ANTI JOIN gpu_series USING (series_id)
    WHERE starts_with(metric, 'DCGM_') OR starts_with(metric, 'dcgm_')
    GROUP BY source_name, x_Day
)

SELECT
    days.source_name,
    days.x_Day,
    coalesce(samples.delivered, 0) + coalesce(without_gpu.samples, 0),
    coalesce(different.used, 0),
    coalesce(samples.outside_day, 0),
    coalesce(samples.inside, 0) - coalesce(different.used, 0),
    coalesce(samples.out_of_range, 0) + coalesce(without_gpu.samples, 0)
FROM (SELECT DISTINCT source_name, x_Day FROM landed_files) AS days
LEFT JOIN samples USING (source_name, x_Day)
LEFT JOIN different USING (source_name, x_Day)
LEFT JOIN without_gpu USING (source_name, x_Day)
ORDER BY days.source_name, days.x_Day
"""

_TOKEN_COUNTS = """
WITH lines AS (
    SELECT
        source_name,
        x_Day,
        count(*) AS delivered,
        count(DISTINCT request_id) FILTER (WHERE problem IS NULL) AS used,
        count(*) FILTER (WHERE problem IS NULL) AS accepted
    FROM litellm_requests
    GROUP BY source_name, x_Day
)

SELECT
    days.source_name,
    days.x_Day,
    coalesce(lines.delivered, 0),
    coalesce(lines.used, 0),
    0,
    coalesce(lines.accepted - lines.used, 0),
    coalesce(lines.delivered - lines.accepted, 0)
FROM (SELECT DISTINCT source_name, x_Day FROM landed_files) AS days
LEFT JOIN lines USING (source_name, x_Day)
ORDER BY days.source_name, days.x_Day
"""


@dataclass(frozen=True)
class DayCounts:
    """What became of one delivered day: delivered = used + outside_day + duplicate + rejected.

    Counted in samples for telemetry, in lines for a log. ``outside_day``: telemetry of the inclusive end point, which
    the next day's delivery has too.
    """

    source_name: str
    day: str
    delivered: int
    used: int
    outside_day: int
    duplicate: int
    rejected: int


def create_gpu_hours(
    connection: duckdb.DuckDBPyConnection, landed: Sequence[LandedDelivery], dimensions: Dimensions
) -> list[DayCounts]:
    """Create ``staged_gpu_hours`` with the rows of every landed day; the columns are ``usage.gpu_hours``'s.

    The session has macros and mappings. Raises DeliveryError for a file that isn't a Prometheus range result, a MIG
    profile that isn't known, and a day of which no sample lies in it.
    """
    _create_table(connection, "usage.gpu_hours", "staged_gpu_hours")
    connection.execute(_REJECTED_TABLE)
    counts: list[DayCounts] = []
    for deliveries in _passes(landed):
        _create_landed_files(connection, deliveries)
        dcgm_files.create_series(connection, files="landed_files")
        _create(connection, "gpu_series", "normalise/dcgm-files.series")
        _refuse_unknown_profiles(connection)
        _create(connection, "gpu_samples", "normalise/dcgm-files.samples")
        counts += _counts(connection, _GPU_COUNTS)
        _refuse_other_days(counts)
        _create(connection, "node_hours", "normalise/dcgm-files.nodes")
        _create(connection, "pod_hours", "normalise/dcgm-files.pod-labels")
        resolve_dimensions(
            connection,
            relation="pod_hours",
            tags_column="labels",
            account_column=None,
            dimensions=dimensions,
            into="pod_dimensions",
        )
        connection.execute(f"INSERT INTO staged_gpu_hours BY NAME {load_sql('usage/gpu_hours')}")
        connection.execute(f"INSERT INTO rejected_usage BY NAME {load_sql('normalise/dcgm-files.rejected')}")
        _drop(connection, _ACTIVITY_TABLES)
    return counts


def create_tokens(
    connection: duckdb.DuckDBPyConnection, landed: Sequence[LandedDelivery], dimensions: Dimensions
) -> list[DayCounts]:
    """Create ``staged_tokens`` with the rows of every landed day; the columns are ``usage.tokens``'s.

    Raises DeliveryError for a log that isn't lines of text. A line that can't be used is rejected, not refused.
    """
    _create_table(connection, "usage.tokens", "staged_tokens")
    connection.execute(_REJECTED_TABLE)
    counts: list[DayCounts] = []
    for deliveries in _passes(landed):
        _create_landed_files(connection, deliveries)
        litellm.create_lines(connection, files="landed_files")
        _create(connection, "litellm_requests", "normalise/litellm")
        counts += _counts(connection, _TOKEN_COUNTS)
        resolve_dimensions(
            connection,
            relation="(SELECT labels FROM litellm_requests WHERE problem IS NULL)",
            tags_column="labels",
            account_column=None,
            dimensions=dimensions,
            into="request_dimensions",
        )
        connection.execute(f"INSERT INTO staged_tokens BY NAME {load_sql('usage/tokens')}")
        connection.execute(f"INSERT INTO rejected_usage BY NAME {load_sql('normalise/litellm.rejected')}")
        _drop(connection, _REQUEST_TABLES)
    return counts


def create_deliveries(
    connection: duckdb.DuckDBPyConnection,
    sources: Sequence[UsageSource],
    landed_days: Mapping[str, Collection[str]],
    days: Sequence[str],
    as_of: datetime,
) -> None:
    """Create ``staged_deliveries``: for each of ``days`` that began before ``as_of``, the state of each source.

    ``landed_days`` holds, by source name, every day (YYYY-MM-DD) that has landed, not only those in ``days``;
    ``as_of`` is naive and in UTC.
    """
    _create_table(connection, "usage.deliveries", "staged_deliveries")
    rows = [
        (day, source.name, source.kind, *_state(day, landed_days.get(source.name, ()), as_of), _MEASURES[source.kind])
        for day in sorted(days)
        if _start(day) < as_of
        for source in sorted(sources, key=lambda source: source.name)
    ]
    if rows:
        connection.executemany(
            "INSERT INTO staged_deliveries (x_Day, source_name, source_kind, state, watermark, measures) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )


_MEASURES = {dcgm_files.KIND: "gpu_hours", litellm.KIND: "tokens"}


def _start(day: str) -> datetime:
    return datetime.fromisoformat(day)


def _state(day: str, landed_days: Collection[str], as_of: datetime) -> tuple[str, datetime | None]:
    """The state of a day and the end of the last whole day, no later than its own, that its source had delivered.

    A day that hasn't ended isn't whole, whatever of it has landed.
    """
    if not landed_days:
        return "missing", None
    day_end = _start(day) + timedelta(days=1)
    watermark = min(_start(max(landed_days)) + timedelta(days=1), day_end, _start(f"{as_of:%Y-%m-%d}"))
    if watermark < day_end:
        return "late", watermark
    return ("delivered" if day in landed_days else "missing"), watermark


def _passes(landed: Sequence[LandedDelivery]) -> Iterator[list[LandedDelivery]]:
    deliveries: list[LandedDelivery] = []
    size = 0
    for delivery in sorted(landed, key=lambda delivery: (delivery.source_name, delivery.period)):
        delivery_size = sum(file.path.stat().st_size for file in delivery.files)
        if deliveries and size + delivery_size > _BYTES_PER_PASS:
            yield deliveries
            deliveries, size = [], 0
        deliveries.append(delivery)
        size += delivery_size
    if deliveries:
        yield deliveries


def _create_landed_files(connection: duckdb.DuckDBPyConnection, deliveries: Sequence[LandedDelivery]) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE landed_files "
        "(path VARCHAR, source_name VARCHAR, x_Day VARCHAR, source_file VARCHAR)"
    )
    connection.executemany(
        "INSERT INTO landed_files VALUES (?, ?, ?, ?)",
        [
            (str(file.path), delivery.source_name, delivery.period, file.name)
            for delivery in deliveries
            for file in delivery.files
        ],
    )


def _create_table(connection: duckdb.DuckDBPyConnection, table: str, staged: str) -> None:
    columns = ", ".join(f"{identifier(column.name)} {column.stored_type}" for column in contracts()[table].columns)
    connection.execute(f"CREATE OR REPLACE TABLE {staged} ({columns})")


def _create(connection: duckdb.DuckDBPyConnection, table: str, model: str) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {load_sql(model)}")


def _drop(connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> None:
    for table in tables:
        connection.execute(f"DROP TABLE {table}")


def _counts(connection: duckdb.DuckDBPyConnection, query: str) -> list[DayCounts]:
    return [DayCounts(*row) for row in connection.sql(query).fetchall()]


def _refuse_unknown_profiles(connection: duckdb.DuckDBPyConnection) -> None:
    unknown = connection.sql(
        """
        SELECT source_name, x_Day, source_file, source_row, gpu_model, gpu_profile
        FROM gpu_series
        WHERE gpu_instance IS NOT NULL AND instance_slices IS NULL
        ORDER BY source_name, x_Day, source_file, source_row
        """
    ).fetchall()
    if unknown:
        source_name, day, file, row, gpu_model, profile = unknown[0]
        raise DeliveryError(
            "A MIG instance has a profile whose share of the GPU isn't known.",
            where=f"source {source_name}, day {day}, file {file}, series {row}",
            expected="a label GPU_I_PROFILE such as 1g.10gb on a GPU model of sql/mappings/mig_instances.csv",
            found=f"profile {profile!r} on {gpu_model!r}",
            remedy="add the model's instance sizes to sql/mappings/mig_instances.csv",
        )


def _refuse_other_days(counts: Sequence[DayCounts]) -> None:
    for day in counts:
        if day.delivered and day.outside_day == day.delivered:
            raise DeliveryError(
                "A day's telemetry has no sample of that day.",
                where=f"source {day.source_name}, day {day.day}",
                expected=f"samples from {day.day} 00:00 to 24:00 UTC",
                found=f"{day.outside_day:,} samples, all outside it",
                remedy="name the folder after the UTC day that was dumped",
            )
