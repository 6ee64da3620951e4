"""Google Cloud's billing tables in BigQuery: what lies in them by ingestion day, and a day's rows as a Parquet file.

Rows are only ever appended, each with the time of its export, so that a day of ingestion has changed when its newest export
time or its row count has (Google, "Cloud Billing data tables in BigQuery"). Every query has a partition filter, is tried dry
first and carries the configured limit on the bytes it may be billed for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.auth.exceptions
import pyarrow as pa
import pyarrow.parquet as pq
import requests.exceptions
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage_v1
from google.cloud.bigquery.retry import DEFAULT_JOB_RETRY, DEFAULT_RETRY

from pipelines.errors import DeliveryError
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.gcp_billing_columns import REQUIRED, fields

if TYPE_CHECKING:
    from pipelines.config import GcpBillingSource

GCP_BILLING = "gcp-billing"
FOCUS = "focus"
STORAGE_READ = "Storage Read API"
QUERY = "query results over REST"

# Google retries for ten minutes by itself; a night that waits so long at each of its calls is a night lost.
_PATIENCE_SECONDS = 120.0
_PAGE_ROWS = 20_000
_ROW_GROUP_BYTES = 64 * 1024**2
_FOCUS_COLUMNS = frozenset({"billedcost", "billingcurrency", "billingperiodstart", "chargeperiodstart"})
_EXPORT_TIMES = ("export_time", "x_exporttime")
_GIB = 1024**3


@dataclass(frozen=True)
class IngestedDay:
    """The rows of one billing period that one ingestion day brought.

    ``marker`` changes whenever rows were added: the newest export time and what else the table tells.
    """

    day: str
    period: str
    marker: str
    rows: int

    @property
    def name(self) -> str:
        """The day's file in a delivery."""
        return f"{self.day}.parquet"

    @property
    def pin(self) -> str:
        """Names the day's content."""
        return f"{self.marker}-{self.rows}"


@dataclass(frozen=True)
class PlannedRead:
    """How a day's rows are to be read, and how many bytes Google says that takes."""

    through: str
    estimate_bytes: int
    batches: Callable[[], Iterator[pa.RecordBatch]] = field(compare=False, repr=False)
    schema: Callable[[], pa.Schema] = field(compare=False, repr=False)


@dataclass(frozen=True)
class BillingTable:
    """One billing table and the ways to read it."""

    source: GcpBillingSource

    @property
    def name(self) -> str:
        """project.dataset.table."""
        return str(self.source.table)

    @property
    def paying_project(self) -> str:
        """The project that queries are billed to."""
        return self.source.project or self.name.split(".")[0]

    @property
    def where(self) -> str:
        """The table, for messages."""
        return f"table {self.name}"

    @cached_property
    def mapping(self) -> str:
        """Which normalisation the table's schema asks for. Raises DeliveryError for a table of another kind."""
        names = {column.lower() for column in self.columns}
        if names >= _FOCUS_COLUMNS:
            return FOCUS
        required = {path.split(".")[0] for path in REQUIRED}
        if missing := sorted(required - names):
            raise DeliveryError(
                f"{self.source.name}: the table is no billing export.",
                where=self.where,
                expected="columns of the standard or detailed export, or of FOCUS; missing: " + ", ".join(missing),
                found=", ".join(self.columns),
                remedy="set 'table' to gcp_billing_export_v1_…, gcp_billing_export_resource_v1_… or the FOCUS export",
            )
        return GCP_BILLING

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The table's columns, in order."""
        return tuple(column.name for column in self._table.schema)

    @cached_property
    def read_columns(self) -> tuple[str, ...]:
        """The columns that are read: all of a FOCUS table, those of an export that we know, as far as the table has them."""
        if self.mapping == FOCUS:
            return self.columns
        wanted = {path.split(".")[0] for path in fields()}
        return tuple(column for column in self.columns if column.lower() in wanted)

    def ingested_days(self, *, since: str, periods: Iterable[str] = ()) -> list[IngestedDay]:
        """What lies in the table by ingestion day and billing period, from the day ``since`` on (``YYYY-MM-DD``), in order.

        ``periods`` are the only ones asked for; without any, all are. One query over two or three columns.
        """
        months = ", ".join(f"'{period.replace('-', '')}'" for period in sorted(periods))
        column, kind = self._ingested
        sql = (
            f"SELECT FORMAT_{kind}('%Y-%m-%d', {column}) AS day, {self._month} AS month, "
            f"{self._marker} AS marker, COUNT(*) AS row_count FROM `{self.name}` "
            f"WHERE {self._ingested_from(date.fromisoformat(since))}"
            + (f" AND {self._month} IN ({months})" if months else "")
            + " GROUP BY day, month ORDER BY day, month"
        )
        with self._reading("look at the table"):
            found = [tuple(row.values()) for row in self._query(sql).result(retry=_RETRY, job_retry=_JOB_RETRY)]
        if bad := [month for _, month, _, _ in found if not re.fullmatch(r"\d{4}(0[1-9]|1[0-2])", str(month))]:
            raise DeliveryError(
                f"{self.source.name}: some rows name no invoice month.",
                where=self.where,
                expected="YYYYMM",
                found=repr(bad[0]),
                remedy="ask Google Cloud's support: the export is not as documented",
            )
        return [
            IngestedDay(day, f"{month[:4]}-{month[4:]}", re.sub(r"[^A-Za-z0-9._]", "", str(marker)), rows)
            for day, month, marker, rows in found
        ]

    def plan(self, days: Iterable[IngestedDay]) -> dict[IngestedDay, PlannedRead]:
        """How each day is read: through the Storage Read API where that is permitted, else by queries.

        Raises DeliveryError where reading them takes more bytes than the source's limit.
        """
        plans: dict[IngestedDay, PlannedRead] = {}
        through_storage = self._storage is not None
        for day in days:
            planned = self._planned_session(day) if through_storage else None
            through_storage = planned is not None
            plans[day] = planned or self._planned_query(day)
        self._refuse_costly(sum(planned.estimate_bytes for planned in plans.values()), "the billing period's new days")
        return plans

    def save(self, day: IngestedDay, planned: PlannedRead, target: Path) -> None:
        """Write a day's rows as Parquet. Raises ObjectMoved where the table has others by now."""
        with self._reading(f"read ingestion day {day.day}"):
            rows = _write(planned, target)
        if rows != day.rows:
            raise ObjectMoved(
                "Rows were added to the table while they were read.",
                where=f"{self.where}, ingestion day {day.day}, invoice month {day.period}",
                expected=f"{day.rows:,} rows, as when the table was looked at",
                found=f"{rows:,} rows",
                remedy="run again once the export has settled",
            )

    def readable_through_storage(self) -> bool:
        """Whether a read session may be made. Raises DeliveryError for other reasons than permission."""
        return self._storage is not None and self._session("FALSE") is not None

    @cached_property
    def _client(self) -> bigquery.Client:
        options = ClientOptions(api_endpoint=self.source.endpoint_url) if self.source.endpoint_url else None
        with self._reading("sign in"):
            return bigquery.Client(
                project=self.paying_project,
                credentials=AnonymousCredentials() if self._is_on_loopback else None,
                client_options=options,
            )

    @cached_property
    def _storage(self) -> bigquery_storage_v1.BigQueryReadClient | None:
        if self._is_on_loopback:
            return _plain_storage_client(self.source.storage_endpoint) if self.source.storage_endpoint else None
        options = ClientOptions(api_endpoint=self.source.storage_endpoint) if self.source.storage_endpoint else None
        with self._reading("sign in"):
            return bigquery_storage_v1.BigQueryReadClient(client_options=options)

    @property
    def _is_on_loopback(self) -> bool:
        # The SDK sends no token over plain HTTP; test servers ask for none.
        return (self.source.endpoint_url or "").startswith("http://")

    @cached_property
    def _table(self) -> bigquery.Table:
        with self._reading("describe the table"):
            return self._client.get_table(self.name, retry=_RETRY, timeout=_PATIENCE_SECONDS)

    @cached_property
    def _ingested(self) -> tuple[str, str]:
        """SQL: when a row was ingested, and the type of it. Only of a table without partitions is it no partition's name."""
        partitioning = self._table.time_partitioning
        if partitioning is not None and partitioning.field is None:
            return "_PARTITIONTIME", "TIMESTAMP"
        column = partitioning.field if partitioning else self._export_time or "BillingPeriodStart"
        types = {described.name: described.field_type for described in self._table.schema}
        return column, types[column]

    def _ingested_from(self, day: date) -> str:
        """SQL: the partitions from a day on. The column stands bare, because else BigQuery reads every partition."""
        column, kind = self._ingested
        return f"{column} >= {kind} '{day}'" if kind == "DATE" else f"{column} >= {kind} '{day} 00:00:00'"

    def _ingested_before(self, day: date) -> str:
        """SQL: the partitions before a day."""
        return self._ingested_from(day).replace(" >= ", " < ")

    @cached_property
    def _export_time(self) -> str | None:
        return next((column for column in self.columns if column.lower() in _EXPORT_TIMES), None)

    @property
    def _month(self) -> str:
        """SQL: the invoice month as YYYYMM."""
        return "FORMAT_TIMESTAMP('%Y%m', BillingPeriodStart)" if self.mapping == FOCUS else "invoice.month"

    @property
    def _marker(self) -> str:
        """SQL: what changes when rows are added, beside their count."""
        if self._export_time:
            return f"CAST(UNIX_MICROS(MAX({self._export_time})) AS STRING)"
        return "CONCAT(CAST(UNIX_MICROS(MAX(ChargePeriodEnd)) AS STRING), '_', CAST(SUM(CAST(BilledCost AS NUMERIC)) AS STRING))"

    def _rows_of(self, day: IngestedDay) -> str:
        first = date.fromisoformat(day.day)
        month = day.period.replace("-", "")
        return (
            f"{self._ingested_from(first)} AND {self._ingested_before(first + timedelta(days=1))} "
            f"AND {self._month} = '{month}'"
        )

    def _planned_query(self, day: IngestedDay) -> PlannedRead:
        listed = ", ".join(f"`{column}`" for column in self.read_columns)
        sql = f"SELECT {listed} FROM `{self.name}` WHERE {self._rows_of(day)}"
        with self._reading(f"try the query of ingestion day {day.day}"):
            estimate = self._estimate(sql)

        def result() -> Any:
            return self._query(sql).result(page_size=_PAGE_ROWS, retry=_RETRY, job_retry=_JOB_RETRY)

        def batches() -> Iterator[pa.RecordBatch]:
            yield from result().to_arrow_iterable(bqstorage_client=None)

        def schema() -> pa.Schema:
            return result().to_arrow(create_bqstorage_client=False).schema

        return PlannedRead(QUERY, estimate, batches, schema)

    def _planned_session(self, day: IngestedDay) -> PlannedRead | None:
        session = self._session(self._rows_of(day))
        if session is None:
            return None

        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))

        def batches() -> Iterator[pa.RecordBatch]:
            for stream in session.streams:
                for message in self._storage.read_rows(stream.name):  # type: ignore[union-attr]
                    content = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
                    yield pa.ipc.read_record_batch(content, schema)

        return PlannedRead(STORAGE_READ, session.estimated_total_bytes_scanned, batches, lambda: schema)

    def _session(self, restriction: str) -> Any | None:
        """A read session over the table's rows; None where the table or our permissions have no such thing."""
        project, dataset, table = self.name.split(".")
        types = bigquery_storage_v1.types
        session = types.ReadSession(
            table=f"projects/{project}/datasets/{dataset}/tables/{table}",
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(
                selected_fields=self.read_columns, row_restriction=restriction
            ),
        )
        with self._reading("open a read session"):
            try:
                return self._storage.create_read_session(  # type: ignore[union-attr]
                    parent=f"projects/{self.paying_project}",
                    read_session=session,
                    max_stream_count=1,
                    timeout=_PATIENCE_SECONDS,
                )
            except (exceptions.Forbidden, exceptions.BadRequest, exceptions.MethodNotImplemented):
                # Not permitted, or a view, which has no storage of its own: queries read both.
                return None

    def _query(self, sql: str) -> bigquery.QueryJob:
        self._refuse_costly(self._estimate(sql), "a query")
        configuration = bigquery.QueryJobConfig(
            maximum_bytes_billed=self.source.maximum_bytes_billed, labels={"made_by": "apportion"}
        )
        return self._client.query(
            sql, job_config=configuration, retry=_RETRY, job_retry=_JOB_RETRY, timeout=_PATIENCE_SECONDS
        )

    def _estimate(self, sql: str) -> int:
        configuration = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
        job = self._client.query(sql, job_config=configuration, retry=_RETRY, job_retry=None, timeout=_PATIENCE_SECONDS)
        return int(job.total_bytes_processed or 0)

    def _refuse_costly(self, estimate: int, what: str) -> None:
        limit = self.source.maximum_bytes_billed
        if estimate > limit:
            raise DeliveryError(
                f"{self.source.name}: reading {what} takes more bytes than the source may be billed for.",
                where=self.where,
                expected=f"at most {limit:,} bytes ({limit / _GIB:.1f} GiB): maximum_bytes_billed",
                found=f"{estimate:,} bytes ({estimate / _GIB:.1f} GiB), as BigQuery estimates",
                remedy="raise 'maximum_bytes_billed' of the source, or leave old months out by 'since'",
            )

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn what Google's libraries raise into a DeliveryError that says what to grant or do."""
        try:
            yield
        except google.auth.exceptions.GoogleAuthError as error:
            raise self._refused(
                what,
                error,
                "give credentials: `gcloud auth application-default login`, a service account by "
                "GOOGLE_APPLICATION_CREDENTIALS, or the machine's own service account",
            ) from error
        except exceptions.Unauthorized as error:
            raise self._refused(what, error, "the credentials have expired or been withdrawn: sign in again") from error
        except exceptions.NotFound as error:
            raise self._refused(
                what,
                error,
                "correct 'table' (project.dataset.table); Google makes the table within a day of enabling the export",
            ) from error
        except (exceptions.Forbidden, exceptions.TooManyRequests) as error:
            raise self._refused(what, error, self._grant(error)) from error
        except exceptions.GoogleAPICallError as error:
            remedy = (
                "raise 'maximum_bytes_billed' of the source, or leave old months out by 'since'"
                if "bytes billed" in str(error)
                else "run again; if it stays, look the message up in BigQuery's documentation"
            )
            raise self._refused(what, error, remedy) from error
        except (
            exceptions.RetryError,
            requests.exceptions.RequestException,
            ConnectionError,
            TimeoutError,
        ) as error:
            raise self._refused(
                what, error, "BigQuery can't be reached: check the network and 'endpoint_url', then run again"
            ) from error

    def _refused(self, what: str, error: Exception, remedy: str) -> DeliveryError:
        return DeliveryError(
            f"{self.source.name}: BigQuery refused to {what}.",
            where=self.where,
            found=getattr(error, "message", None) or str(error),
            remedy=remedy,
        )

    def _grant(self, error: exceptions.GoogleAPICallError) -> str:
        reasons = " ".join(str(entry.get("reason", "")) for entry in error.errors if isinstance(entry, Mapping))
        text = f"{error} {reasons}".lower()
        if "quota" in text or "ratelimit" in text or "rate limit" in text:
            return "a quota is used up: run again later, or raise it under IAM & Admin > Quotas"
        if "jobs.create" in text or "jobuser" in text:
            return f"grant roles/bigquery.jobUser (bigquery.jobs.create) on project {self.paying_project}"
        if "readsessions" in text:
            return (
                f"grant roles/bigquery.readSessionUser (bigquery.readsessions.create) on project {self.paying_project}"
            )
        dataset = ".".join(self.name.split(".")[:2])
        return (
            f"grant roles/bigquery.dataViewer (bigquery.tables.get, bigquery.tables.getData) on dataset {dataset} and "
            f"roles/bigquery.jobUser on project {self.paying_project}"
        )


_RETRY = DEFAULT_RETRY.with_timeout(_PATIENCE_SECONDS)
_JOB_RETRY = DEFAULT_JOB_RETRY.with_timeout(_PATIENCE_SECONDS)


def _plain_storage_client(endpoint: str) -> bigquery_storage_v1.BigQueryReadClient:
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    channel = grpc.insecure_channel(endpoint.removeprefix("http://"))
    return bigquery_storage_v1.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def _write(planned: PlannedRead, target: Path) -> int:
    """Write what a plan reads as it comes, in row groups of bounded size; returns the number of rows."""
    rows, held, held_bytes = 0, [], 0
    writer: pq.ParquetWriter | None = None
    try:
        for batch in planned.batches():
            writable = batch.cast(_writable_schema(batch.schema))
            writer = writer or pq.ParquetWriter(target, writable.schema)
            held.append(writable)
            held_bytes += writable.nbytes
            rows += writable.num_rows
            if held_bytes >= _ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held))
                held, held_bytes = [], 0
        if writer is None:
            pq.write_table(_writable_schema(planned.schema()).empty_table(), target)
        elif held:
            writer.write_table(pa.Table.from_batches(held))
    finally:
        if writer is not None:
            writer.close()
    return rows


def _writable_schema(schema: pa.Schema) -> pa.Schema:
    # Without metadata, which names the server's own types.
    return pa.schema([pa.field(column.name, _writable(column.type)) for column in schema])


def _writable(kind: pa.DataType) -> pa.DataType:
    """BIGNUMERIC, whose digits no reader of Parquet keeps, as text; all else as it is."""
    if pa.types.is_decimal256(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        members = [kind.field(number) for number in range(kind.num_fields)]
        return pa.struct([pa.field(member.name, _writable(member.type)) for member in members])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("element", _writable(kind.value_type)))
    return kind
