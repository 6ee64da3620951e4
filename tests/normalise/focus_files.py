"""Small files in FOCUS, and what normalisation makes of them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import yaml

from pipelines.lake.audits import contract_audits
from pipelines.lake.database import SQL_FOLDER, connect
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import bind, load_sql, parameters_of, register_mappings
from pipelines.sources.focus_relation import create_delivered
from tests.normalise.bills import rows

PERIOD = "2026-09"

Row = Mapping[str, str]


def row(**columns: str) -> dict[str, str]:
    """A charge of September 2026 with the columns that no bill can do without and those that most have; 2 USD an hour."""
    return {
        "BilledCost": "2.00",
        "EffectiveCost": "2.00",
        "ListCost": "3.00",
        "ContractedCost": "2.00",
        "BillingAccountId": "000123",
        "BillingCurrency": "USD",
        "BillingPeriodStart": "2026-09-01T00:00:00Z",
        "BillingPeriodEnd": "2026-10-01T00:00:00Z",
        "ChargePeriodStart": "2026-09-03T07:00:00Z",
        "ChargePeriodEnd": "2026-09-03T08:00:00Z",
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ProviderName": "Nebius",
        "PublisherName": "Nebius",
        "InvoiceIssuerName": "Nebius B.V.",
        "ServiceName": "Compute Cloud",
        "ServiceCategory": "Compute",
        "ServiceSubcategory": "Virtual Machines",
        **columns,
    }


def write_csv(path: Path, lines: Sequence[Row]) -> Path:
    """The rows as a CSV file, with the columns of all of them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for line in lines for name in line)), restval="")
        writer.writeheader()
        writer.writerows(lines)
    return path


def normalised(
    scratch: Path, files: Sequence[Path], *, period: str = PERIOD, details: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A session in which the files are ``delivered`` and their charges ``staged``."""
    connection = connect()
    register_mappings(connection)
    create_delivered(
        connection,
        files,
        [file.name for file in files],
        details or {"rows": "all"},
        billing_period=period,
        scratch=scratch,
    )
    target = scratch.with_suffix(".charges.parquet")
    connection.execute(f"COPY ({_bound(load_sql('normalise/focus'), period)}) TO '{target}' (FORMAT parquet)")
    connection.execute(f"CREATE VIEW staged AS SELECT * FROM read_parquet('{target}')")
    return connection


def charges(scratch: Path, lines: Sequence[Row], columns: str) -> list[tuple[Any, ...]]:
    """Some columns of the charges that rows of a CSV file become."""
    scratch.mkdir(exist_ok=True, parents=True)
    connection = normalised(scratch / "delivered", [write_csv(scratch / "focus.csv", lines)])
    return rows(connection, f"SELECT {columns} FROM staged ORDER BY x_SourceRow")


def control(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[tuple[Any, ...]]:
    """The control totals of what is delivered."""
    return rows(connection, _bound(load_sql("normalise/focus.control"), period))


def rejected(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[tuple[Any, ...]]:
    """The rejected rows: file, row, type, reason, the row as JSON."""
    return rows(connection, _bound(load_sql("normalise/focus.rejected"), period))


def failed_audits(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> dict[str, list[tuple[Any, ...]]]:
    """The audits of ``focus.yaml`` and those of every charge that return rows, with them."""
    own = yaml.safe_load((SQL_FOLDER / "normalise" / "focus.yaml").read_text(encoding="utf-8"))["audits"]
    every = [(audit["name"], audit["sql"]) for audit in own]
    every += [(audit.name, audit.sql) for audit in contract_audits(contracts()["billing.charges"])]
    found = {name: rows(connection, _bound(sql, period)) for name, sql in every}
    return {name: offending for name, offending in found.items() if offending}


def _bound(sql: str, period: str) -> str:
    values = {"source_name": "sample", "source_kind": "focus", "billing_period": period, "source_version": "v1"}
    return bind(sql, {name: values[name] for name in parameters_of(sql)})
