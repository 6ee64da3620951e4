"""Google Cloud's detailed billing table, made in BigQuery on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.cloud.bigquery import SchemaField, Table, TimePartitioning

from tests.integration.servers.bigquery import PROJECT, BigQueryServer

_TEXT, _REPEATED = "STRING", "REPEATED"


def record(name: str, *members: SchemaField, mode: str = "NULLABLE") -> SchemaField:
    """A record of fields."""
    return SchemaField(name, "RECORD", mode=mode, fields=members)


def texts(*names: str) -> list[SchemaField]:
    """Fields of text."""
    return [SchemaField(name, _TEXT) for name in names]


# The detailed table as Google documents it; amounts are doubles in real tables, prices NUMERIC.
DETAILED = [
    *texts("billing_account_id"),
    record("invoice", *texts("month", "publisher_type")),
    *texts("cost_type"),
    record("service", *texts("id", "description")),
    record("sku", *texts("id", "description")),
    SchemaField("usage_start_time", "TIMESTAMP"),
    SchemaField("usage_end_time", "TIMESTAMP"),
    record(
        "project",
        *texts("id", "number", "name"),
        record("labels", *texts("key", "value"), mode=_REPEATED),
        record("ancestors", *texts("resource_name", "display_name"), mode=_REPEATED),
    ),
    record("labels", *texts("key", "value"), mode=_REPEATED),
    record("location", *texts("location", "country", "region", "zone")),
    record("resource", *texts("name", "global_name")),
    SchemaField("cost", "FLOAT64"),
    *texts("currency"),
    SchemaField("currency_conversion_rate", "FLOAT64"),
    SchemaField("cost_at_list", "NUMERIC"),
    record(
        "usage",
        SchemaField("amount", "FLOAT64"),
        *texts("unit"),
        SchemaField("amount_in_pricing_units", "FLOAT64"),
        *texts("pricing_unit"),
    ),
    record(
        "credits",
        *texts("name"),
        SchemaField("amount", "FLOAT64"),
        *texts("full_name", "id", "type"),
        mode=_REPEATED,
    ),
    SchemaField("export_time", "TIMESTAMP"),
    # Grows with every release of the export; nobody reads it.
    *texts("a_field_of_next_year"),
]


def create_table(
    server: BigQueryServer,
    lines: Sequence[dict[str, Any]],
    *,
    by: str | None = "export_time",
    dataset: str | None = None,
    schema: Sequence[SchemaField] = DETAILED,
) -> Table:
    """A billing table in a dataset of its own, partitioned by a column: the server knows only today as an ingestion day."""
    table = Table(f"{PROJECT}.{dataset or server.dataset()}.gcp_billing_export_resource_v1_0123", schema=schema)
    table.time_partitioning = TimePartitioning(field=by)
    server.client().create_table(table)
    insert_lines(server, table, lines)
    return table


def insert_lines(server: BigQueryServer, table: Table, lines: Sequence[dict[str, Any]]) -> None:
    """Append lines, as Google does."""
    if lines:
        assert server.client().insert_rows_json(table, [dict(row) for row in lines]) == []
