"""A hand-made bill and its measurements, allocated through the whole engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import duckdb
import polars

from pipelines.allocation.dimensions import Dimensions
from pipelines.allocation.engine import AllocationRelations, create_allocation
from pipelines.allocation.rules import RuleSet, parse_rules
from pipelines.lake.audits import contract_audits, run_audits
from pipelines.lake.database import connect
from pipelines.models.build import bind_used, bound_audits
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import load_sql, register_mappings

Row = Mapping[str, Any]

_CHARGE = {
    "BillingAccountId": "000000000001",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-10-01 00:00:00",
    "BillingPeriodEnd": "2026-11-01 00:00:00",
    "ChargeCategory": "Usage",
    "InvoiceIssuerName": "Amazon Web Services",
    "ProviderName": "Amazon Web Services",
    "PublisherName": "Amazon Web Services",
    "ServiceProviderName": "Amazon Web Services",
    "ServiceCategory": "Compute",
    "ServiceName": "Amazon Elastic Compute Cloud",
    "BilledCost": "0",
    "EffectiveCost": "0",
    "ListCost": "0",
    "ContractedCost": "0",
    "x_SourceName": "aws-payer",
    "x_SourceKind": "aws-cur",
    "x_BillingPeriod": "2026-10",
    "x_SourceVersion": "v1",
    "x_SourceFile": "acme.parquet",
    "x_SourcePart": 1,
    "x_IsFinal": False,
}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "billing.charges": _CHARGE,
    "usage.gpu_hours": {
        "source_name": "gpus",
        "cluster": "train",
        "gpu_uuid": "GPU-0",
        "gpu_model": "NVIDIA H100",
        "resource_id": "i-1",
        "join_method": "provider_id",
        "gpu_hours_capacity": "0",
        "gpu_hours_held": "0",
        "gpu_hours_gap": "0",
        "coverage_ratio": "1",
    },
    "usage.tokens": {
        "source_name": "gateway",
        "endpoint": "llama",
        "model_served": "llama",
        "tokens_input_uncached": 0,
        "tokens_cache_read": 0,
        "tokens_cache_write": 0,
        "tokens_output": 0,
        "tokens_reasoning": 0,
        "requests": 1,
        "requests_failed": 0,
    },
    "usage.deliveries": {},
}


def delivered(*days: str, source_name: str = "gpus", measures: str = "gpu_hours") -> list[Row]:
    """The rows of ``usage.deliveries`` of a source that delivered these days."""
    return [
        {
            "x_Day": day,
            "source_name": source_name,
            "source_kind": source_name,
            "state": "delivered",
            "watermark": date.fromisoformat(day) + timedelta(days=1),
            "measures": measures,
        }
        for day in days
    ]


def session(
    charges: Sequence[Row],
    *,
    gpu_hours: Sequence[Row] = (),
    tokens: Sequence[Row] = (),
    deliveries: Sequence[Row] = (),
) -> duckdb.DuckDBPyConnection:
    """A session as the builder makes it: views of the inputs and the mappings. Charges without a row number count up."""
    connection = connect()
    register_mappings(connection)
    numbered = [{"x_SourceRow": number, **charge} for number, charge in enumerate(charges, start=1)]
    for table, rows in (
        ("billing.charges", numbered),
        ("usage.gpu_hours", gpu_hours),
        ("usage.tokens", tokens),
        ("usage.deliveries", deliveries),
    ):
        _create_table(connection, table, rows)
    return connection


def _create_table(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    columns = contracts()[table].columns
    unknown = {name for row in rows for name in row} - {column.name for column in columns}
    assert not unknown, f"{table} has no columns {sorted(unknown)}"
    values = [[row.get(column.name, _DEFAULTS[table].get(column.name)) for column in columns] for row in rows]
    texts = polars.DataFrame(
        [[None if value is None else str(value) for value in row] for row in values],
        schema=dict.fromkeys((column.name for column in columns), polars.String),
        orient="row",
    )
    typed = ", ".join(f'CAST("{column.name}" AS {column.stored_type}) AS "{column.name}"' for column in columns)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.split('.')[0]}")
    connection.register("texts", texts)
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {typed} FROM texts")
    connection.unregister("texts")


def rule_set(*rules: str, dimensions: Dimensions | None = None) -> RuleSet:
    """The rules of YAML texts."""
    known = dimensions or Dimensions()
    return RuleSet(rules=parse_rules("\n---\n".join(rules), dimensions=known), dimensions=known)


def allocate(connection: duckdb.DuckDBPyConnection, rules: RuleSet) -> AllocationRelations:
    """Allocate the session's bill and keep the parts as ``allocation.charges`` and ``staged``."""
    relations = create_allocation(connection, rules, billing_period="2026-10")
    connection.execute("CREATE SCHEMA IF NOT EXISTS allocation")
    for table, select in (("allocation.rules", relations.rules), ("allocation.charges", relations.charges)):
        _stage(connection, table, select)
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM staged")
    return relations


def stage(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Run the model beside a contract and keep its rows as ``staged``."""
    _stage(connection, table, bind_used(load_sql(table.replace(".", "/")), {"billing_period": "2026-10"}))


def _stage(connection: duckdb.DuckDBPyConnection, table: str, select: str) -> None:
    columns = ", ".join(f'CAST("{c.name}" AS {c.stored_type}) AS "{c.name}"' for c in contracts()[table].columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {columns} FROM ({select})")


def failed_audits(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """What the rows ``staged`` fail of a contract's audits."""
    audits = bound_audits(contract_audits(contracts()[table]), {"billing_period": "2026-10"})
    return [f"{each.audit}: {each.message}" for each in run_audits(connection, table, audits) if not each.passed]
