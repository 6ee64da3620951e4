"""GPU telemetry as files: dcgm-exporter and kube-state-metrics series, dumped from a Prometheus HTTP API.

Laid out as ``<location>/<YYYY-MM-DD>/*.json``, a folder for each UTC day; each file is one response of
``/api/v1/query_range``, or of ``/api/v1/query`` for a range selector such as ``DCGM_FI_DEV_GPU_UTIL[1d]``
(https://prometheus.io/docs/prometheus/latest/querying/api/). docs/sources/dcgm-files.md says what is read from it.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipelines.errors import DeliveryError
from pipelines.sources.days import check_days, deliveries_of_days, is_of_data, look_at_days
from pipelines.sources.deliveries import (
    NOTHING_LANDED,
    Delivery,
    Landed,
)
from pipelines.sources.files import by_compression, is_gzip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.config import UsageSource
    from pipelines.sources.findings import Finding

KIND = "dcgm-files"
_SUFFIXES = (".json", ".json.gz")

# A response is one JSON object, and DuckDB sets aside twice the largest for each thread.
_LARGEST_RESPONSE_BYTES = 256 * 1024 * 1024
_SMALLEST_BUFFER_BYTES = 1024 * 1024

_READ_RESPONSES = """
SELECT filename AS path, status, "errorType" AS error_type, error, data
FROM read_json(
    ${number},
    {compression},
    format = 'unstructured',
    filename = true,
    maximum_object_size = {largest},
    columns = {{
        status: 'VARCHAR',
        errorType: 'VARCHAR',
        error: 'VARCHAR',
        data: 'STRUCT("resultType" VARCHAR, "result" STRUCT("metric" MAP(VARCHAR, VARCHAR), "values" VARCHAR[][])[])'
    }}
)
"""


def look(source: UsageSource, landed: Landed = NOTHING_LANDED) -> dict[str, str]:
    """Billing period to a hash over its files' names, sizes and times. Raises DeliveryError as :func:`deliveries` does."""
    return look_at_days(_files(source))


def deliveries(source: UsageSource, period: str | None = None, landed: Landed = NOTHING_LANDED) -> list[Delivery]:
    """One delivery for each UTC day that has files, in order of days; with ``period`` only those that its charges are measured on.

    Raises DeliveryError when the location doesn't exist or a folder is named like a day that no calendar has.
    """
    return deliveries_of_days(source, _files(source), period, landed)


def check(source: UsageSource) -> list[Finding]:
    """Whether the days can be listed and the newest file read."""
    return check_days(str(source.location or ", ".join(map(str, source.files))), lambda: _files(source))


def create_series(connection: duckdb.DuckDBPyConnection, *, files: str) -> None:
    """Create the temporary table ``prometheus_series``: one row for each series of the landed files.

    ``files`` is a relation with the columns path, source_name, x_Day, source_file. The table has series_id,
    source_name, x_Day, source_file, source_row (1-based place in the response), metric (the name), labels (a map) and
    points, a list of [seconds since 1970, value] as text.

    Raises DeliveryError naming the file that isn't a successful range result.
    """
    paths = [Path(path) for (path,) in connection.sql(f"SELECT path FROM {files} ORDER BY path").fetchall()]
    largest = max([_SMALLEST_BUFFER_BYTES, *map(_response_bytes, paths)])
    packed = by_compression(paths)
    responses = " UNION ALL ".join(
        _READ_RESPONSES.format(number=number, compression=option, largest=largest)
        for number, option in enumerate(packed, start=1)
    )
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE prometheus_responses AS {responses}", list(packed.values()))
    except duckdb.InvalidInputException as error:
        raise DeliveryError(
            "A telemetry file can't be read as a Prometheus API response.",
            expected='{"status": "success", "data": {"resultType": "matrix", "result": […]}}',
            found=str(error).splitlines()[0],
            remedy="dump the day again with /api/v1/query_range",
        ) from error
    _refuse_other_responses(connection, files)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE prometheus_series AS
        WITH series AS (
            SELECT
                delivered.source_name,
                delivered.x_Day,
                delivered.source_file,
                CAST(unnest(range(1, len(response.data.result) + 1)) AS BIGINT) AS source_row,
                unnest(response.data.result) AS series
            FROM prometheus_responses AS response
            INNER JOIN {files} AS delivered USING (path)
        )
        SELECT
            CAST(row_number() OVER () AS INTEGER) AS series_id,
            source_name,
            x_Day,
            source_file,
            source_row,
            -- Functions such as avg_over_time() drop the name; the file is then named after the metric.
            coalesce(
                series.metric['__name__'], regexp_replace(parse_filename(source_file), '\\.json(\\.gz)?$', '', 'i')
            ) AS metric,
            series.metric AS labels,
            series."values" AS points
        FROM series
        """
    )
    connection.execute("DROP TABLE prometheus_responses")


def _response_bytes(path: Path) -> int:
    """The size of a response, unpacked. Raises DeliveryError for one too large to be read in one piece."""
    size = path.stat().st_size
    if is_gzip(path):
        with path.open("rb") as packed:
            packed.seek(-4, os.SEEK_END)
            # RFC 1952: a gzip file ends with the size of what was packed.
            size = int.from_bytes(packed.read(4), "little")
    if size > _LARGEST_RESPONSE_BYTES:
        raise DeliveryError(
            "A telemetry file is too large to be read in one piece.",
            where=f"file {path}",
            expected=f"at most {_LARGEST_RESPONSE_BYTES:,} bytes",
            found=f"{size:,} bytes",
            remedy="dump the day as several files: by metric, by node or by hours",
        )
    return size


def _files(source: UsageSource) -> Iterator[tuple[str, str, Path]]:
    """The day, the name inside the day's delivery and the path of every telemetry file."""
    if source.location is None:
        for path in source.files:
            yield _day(path.parent, source), path.name, path
        return
    if not source.location.is_dir():
        raise DeliveryError(
            "The telemetry folder doesn't exist.",
            where=f"source {source.name}",
            expected=f"a folder {source.location} with a folder for each day, named YYYY-MM-DD",
            remedy="correct 'location' in the configuration, or mount the folder",
        )
    for folder in source.location.iterdir():
        if folder.is_dir() and len(folder.name) == len("YYYY-MM-DD") and folder.name[:4].isdigit():
            day = _day(folder, source)
            for path in folder.rglob("*"):
                if is_of_data(path, _SUFFIXES, source):
                    yield day, path.relative_to(folder).as_posix(), path


def _day(folder: Path, source: UsageSource) -> str:
    try:
        return date.fromisoformat(folder.name).isoformat()
    except ValueError:
        raise DeliveryError(
            "A telemetry folder isn't named after a day.",
            where=f"source {source.name}, folder {folder}",
            expected="the UTC day as YYYY-MM-DD",
            found=folder.name,
            remedy="rename the folder",
        ) from None


def _refuse_other_responses(connection: duckdb.DuckDBPyConnection, files: str) -> None:
    refused = connection.sql(
        f"""
        SELECT source_name, x_Day, source_file, status, error_type, error, data.resultType
        FROM {files} LEFT JOIN prometheus_responses USING (path)
        WHERE status IS DISTINCT FROM 'success' OR data.resultType IS DISTINCT FROM 'matrix' OR data.result IS NULL
        ORDER BY source_name, x_Day, source_file
        """
    ).fetchall()
    if refused:
        source_name, day, file, status, error_type, error, result_type = refused[0]
        found = f"status {status}, result type {result_type}" + (f": {error_type}: {error}" if error else "")
        raise DeliveryError(
            "A telemetry file holds no range of samples.",
            where=f"source {source_name}, day {day}, file {file}",
            expected='status "success" and result type "matrix"',
            found=found if status else "nothing",
            remedy="dump the day again with /api/v1/query_range; an instant query needs a range selector, metric[1d]",
        )
