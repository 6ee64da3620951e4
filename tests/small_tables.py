"""Small hand-made tables for the tests of SQL models: name the columns that matter, the rest have a plain value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb

from pipelines.lake.audits import contract_audits, run_audits
from pipelines.lake.database import connect
from pipelines.models.build import bind_used, bound_audits
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import load_sql

MONEY = "DECIMAL(38,18)"

_DIMENSIONS = dict.fromkeys(
    ("team", "product", "feature", "model", "environment", "customer", "cost_center", "dimensions"), ("VARCHAR", None)
)

COLUMNS: Mapping[str, Mapping[str, tuple[str, Any]]] = {
    "allocation.totals": {
        "period": ("VARCHAR", "2026-10"),
        "day": ("DATE", "2026-10-01"),
        "BillingCurrency": ("VARCHAR", "USD"),
        "pool": ("VARCHAR", None),
        "rule": ("VARCHAR", None),
        "state": ("VARCHAR", None),
        **_DIMENSIONS,
        "component": ("VARCHAR", "direct"),
        "charge_category": ("VARCHAR", "Usage"),
        "provider": ("VARCHAR", "Amazon Web Services"),
        "source_name": ("VARCHAR", "payer"),
        "service_category": ("VARCHAR", "Compute"),
        "gpu_model": ("VARCHAR", None),
        "key_quality": ("VARCHAR", None),
        "unallocated_reason": ("VARCHAR", None),
        "BilledCost": (MONEY, "0"),
        "EffectiveCost": (MONEY, "0"),
        "ListCost": (MONEY, "0"),
        "ContractedCost": (MONEY, "0"),
    },
    "usage.tokens": {
        "x_Day": ("VARCHAR", "2026-10-01"),
        "model": ("VARCHAR", None),
        "tokens_input_uncached": ("BIGINT", 0),
        "tokens_cache_read": ("BIGINT", 0),
        "tokens_cache_write": ("BIGINT", 0),
        "tokens_output": ("BIGINT", 0),
        "tokens_reasoning": ("BIGINT", 0),
        "requests": ("BIGINT", 0),
        "requests_failed": ("BIGINT", 0),
    },
    "usage.gpu_hours": {
        "x_Day": ("VARCHAR", "2026-10-01"),
        "gpu_model": ("VARCHAR", None),
        "gpu_hours_capacity": (MONEY, "0"),
        "gpu_hours_held": (MONEY, "0"),
    },
    "billing.charges": {
        "x_SourceName": ("VARCHAR", "payer"),
        "x_BillingPeriod": ("VARCHAR", "2026-10"),
        "x_SourceVersion": ("VARCHAR", "v1"),
        "BillingCurrency": ("VARCHAR", "USD"),
        "ChargeCategory": ("VARCHAR", "Usage"),
        "CommitmentDiscountId": ("VARCHAR", None),
        "CommitmentDiscountStatus": ("VARCHAR", None),
        "BilledCost": (MONEY, "0"),
        "EffectiveCost": (MONEY, "0"),
        "ListCost": (MONEY, "0"),
        "ContractedCost": (MONEY, "0"),
        "x_SourceLineItemType": ("VARCHAR", "Usage"),
    },
    "quality.control": {
        "source_name": ("VARCHAR", "payer"),
        "billing_period": ("VARCHAR", "2026-10"),
        "BillingCurrency": ("VARCHAR", "USD"),
        "source_version": ("VARCHAR", "v1"),
        "rows_delivered": ("BIGINT", 0),
        "rows_mapped": ("BIGINT", 0),
        "rows_netted": ("BIGINT", 0),
        "rows_rejected": ("BIGINT", 0),
        "rows_claimed": ("BIGINT", 0),
        "rows_added": ("BIGINT", 0),
        "billed_control": (MONEY, "0"),
        "effective_control": (MONEY, "0"),
        "list_control": (MONEY, "0"),
        "contracted_control": (MONEY, "0"),
        "billed_claimed": (MONEY, "0"),
        "effective_claimed": (MONEY, "0"),
        "list_claimed": (MONEY, "0"),
        "contracted_claimed": (MONEY, "0"),
    },
    "configuration.accepted_differences": {
        "source_name": ("VARCHAR", "payer"),
        "billing_period": ("VARCHAR", "2026-10"),
        "BillingCurrency": ("VARCHAR", "USD"),
        "cost_column": ("VARCHAR", "BilledCost"),
        "amount": (MONEY, "0"),
    },
}

Row = Mapping[str, Any]


def session(**tables: Sequence[Row]) -> duckdb.DuckDBPyConnection:
    """A session with the named tables; ``allocation_totals`` stands for ``allocation.totals``. Unnamed ones are empty."""
    connection = connect()
    for name in COLUMNS:
        create_table(connection, name, tables.pop(name.replace(".", "_"), ()))
    assert not tables, f"unknown tables {sorted(tables)}"
    return connection


def create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: Sequence[Row]) -> None:
    """Create one of the tables, or replace it, with the rows."""
    columns = COLUMNS[name]
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}")
    listed = ", ".join(f'"{column}" {kind}' for column, (kind, _) in columns.items())
    connection.execute(f"CREATE OR REPLACE TABLE {name} ({listed})")
    for row in rows:
        assert row.keys() <= columns.keys(), f"{name} has no columns {sorted(row.keys() - columns.keys())}"
    values = [[row.get(column, default) for column, (_, default) in columns.items()] for row in rows]
    if values:
        places = ", ".join(f"CAST(? AS {kind})" for kind, _ in columns.values())
        connection.executemany(f"INSERT INTO {name} VALUES ({places})", values)


def run_model(
    connection: duckdb.DuckDBPyConnection, table: str, billing_period: str = "2026-10"
) -> duckdb.DuckDBPyRelation:
    """Run a model as the pipeline does and keep its rows as ``staged``; every audit of its contract must pass.

    Returns the rows with the contract's columns, types and order.
    """
    stage_model(connection, table, billing_period)
    failed = [f"{audit}: {message}" for audit, message in failed_audits(connection, table, billing_period)]
    assert not failed, failed
    return connection.sql("SELECT * FROM staged")


def stage_model(connection: duckdb.DuckDBPyConnection, table: str, billing_period: str = "2026-10") -> None:
    """Run a model and keep its rows as ``staged``."""
    contract = contracts()[table]
    select = bind_used(load_sql(table.replace(".", "/")), {"billing_period": billing_period})
    columns = ", ".join(f'CAST("{c.name}" AS {c.stored_type}) AS "{c.name}"' for c in contract.columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {columns} FROM ({select})")


def failed_audits(
    connection: duckdb.DuckDBPyConnection, table: str, billing_period: str = "2026-10"
) -> list[tuple[str, str]]:
    """The audits that the rows ``staged`` fail, by name, with their messages."""
    audits = bound_audits(contract_audits(contracts()[table]), {"billing_period": billing_period})
    return [(result.audit, result.message) for result in run_audits(connection, table, audits) if not result.passed]


def rows_of(relation: duckdb.DuckDBPyRelation, *columns: str) -> list[tuple[Any, ...]]:
    """The rows with decimals as plain text without trailing zeros, so that tests read like a ledger."""
    chosen = relation.project(", ".join(f'"{column}"' for column in columns)) if columns else relation
    return [tuple(_plain(value) for value in row) for row in chosen.fetchall()]


def _plain(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
