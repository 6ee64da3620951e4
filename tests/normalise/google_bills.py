"""Small bills of Google Cloud for the tests: lines as the detailed export has them, and what normalising them gives."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import yaml

from pipelines.lake.database import SQL_FOLDER, connect
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import bind, load_sql, parameters_of, register_mappings
from pipelines.sources.gcp_billing_relation import create_delivered, create_delivered_rows

PERIOD = "2026-09"
GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "reference" / "billing-inputs" / "gcp_cud_golden.json"
COMMITMENT = "e7a1c0de-0000-4000-8000-000000000001"
FLEXIBLE_FEE = "Commitment - dollar based v1: GCE for 1 year"

# The detailed table as BigQuery's schema has it; amounts as FLOAT64 unless a test says otherwise.
_RECORDS = {
    "invoice": "STRUCT(month VARCHAR, publisher_type VARCHAR)",
    "service": "STRUCT(id VARCHAR, description VARCHAR)",
    "sku": "STRUCT(id VARCHAR, description VARCHAR)",
    "project": "STRUCT(id VARCHAR, number VARCHAR, name VARCHAR, labels STRUCT(key VARCHAR, value VARCHAR)[], "
    "ancestry_numbers VARCHAR, ancestors STRUCT(resource_name VARCHAR, display_name VARCHAR)[])",
    "labels": "STRUCT(key VARCHAR, value VARCHAR)[]",
    "system_labels": "STRUCT(key VARCHAR, value VARCHAR)[]",
    "tags": "STRUCT(key VARCHAR, value VARCHAR, inherited BOOLEAN, namespace VARCHAR)[]",
    "location": "STRUCT(location VARCHAR, country VARCHAR, region VARCHAR, zone VARCHAR)",
    "resource": "STRUCT(name VARCHAR, global_name VARCHAR)",
    "subscription": "STRUCT(instance_id VARCHAR)",
    "usage": "STRUCT(amount DOUBLE, unit VARCHAR, amount_in_pricing_units DOUBLE, pricing_unit VARCHAR)",
    "price": "STRUCT(effective_price DECIMAL(38,9), tier_start_amount DECIMAL(38,9), unit VARCHAR, "
    "pricing_unit_quantity DECIMAL(38,9), list_price DECIMAL(38,9), effective_price_default DECIMAL(38,9))",
    "consumption_model": "STRUCT(id VARCHAR, description VARCHAR)",
    "credits": "STRUCT(name VARCHAR, amount DOUBLE, full_name VARCHAR, id VARCHAR, type VARCHAR)[]",
    "adjustment_info": "STRUCT(id VARCHAR, description VARCHAR, type VARCHAR, mode VARCHAR)",
    "cost": "DOUBLE",
    "currency_conversion_rate": "DOUBLE",
    "cost_at_list": "DECIMAL(38,9)",
    "cost_at_effective_price_default": "DECIMAL(38,9)",
    "usage_start_time": "TIMESTAMP WITH TIME ZONE",
    "usage_end_time": "TIMESTAMP WITH TIME ZONE",
    "export_time": "TIMESTAMP WITH TIME ZONE",
}

Line = Mapping[str, Any]


def line(cost: float | str | None, **fields: Any) -> dict[str, Any]:
    """A line of invoice month 2026-09: one hour of a machine's cores in project acme-search, with ``fields`` on top."""
    return {
        "billing_account_id": "012345_678901_ABCDEF",
        "invoice": {"month": "202609"},
        "cost_type": "regular",
        "service": {"id": "6F81-5844-456A", "description": "Compute Engine"},
        "sku": {"id": "2E27-4F75-95CD", "description": "N1 Predefined Instance Core running in Americas"},
        "usage_start_time": "2026-09-03 07:00:00+00",
        "usage_end_time": "2026-09-03 08:00:00+00",
        "project": {"id": "acme-search", "number": "1234", "name": "Acme Search"},
        "labels": [],
        "location": {"location": "us-central1", "country": "US", "region": "us-central1", "zone": "us-central1-a"},
        "cost": cost,
        "currency": "USD",
        "currency_conversion_rate": 1,
        "usage": {
            "amount": 3600,
            "unit": "seconds",
            "amount_in_pricing_units": 1,
            "pricing_unit": "hour",
        },
        "credits": [],
        "export_time": "2026-09-03 12:00:00+00",
        **fields,
    }


def fee(
    cost: float | str, description: str = FLEXIBLE_FEE, subscription: str | None = COMMITMENT, **fields: Any
) -> dict[str, Any]:
    """One hour of a commitment's fee: no project, no resource."""
    return line(
        cost,
        sku={"id": "5515-81A8-03A2", "description": description},
        project=None,
        subscription={"instance_id": subscription},
        **fields,
    )


def credit(amount: float | str, type_: str | None, **fields: Any) -> dict[str, Any]:
    """A credit of a line; amounts below zero lower it."""
    return {"name": "a credit", "amount": amount, "full_name": None, "id": None, "type": type_, **fields}


def write_parquet(path: Path, lines: Sequence[Line], *, types: Mapping[str, str] | None = None) -> Path:
    """The lines as BigQuery writes the table in Parquet; columns that no line has are left out."""
    columns = {
        name: {**_RECORDS, **(types or {})}.get(name, "VARCHAR")
        for name in dict.fromkeys(n for row in lines for n in row)
    }
    source = path.with_suffix(".source.json")
    source.write_text("".join(json.dumps(dict(row)) + "\n" for row in lines), encoding="utf-8")
    listed = ", ".join(f"'{name}': '{type_}'" for name, type_ in columns.items())
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_json('{source}', columns = {{{listed}}}, format = 'newline_delimited')) "
            f"TO '{path}' (FORMAT parquet)"
        )
    source.unlink()
    return path


def write_json(path: Path, lines: Sequence[Line]) -> Path:
    """The lines as ``bq extract`` writes newline-delimited JSON, gzipped where the name says so; NULL is left out."""
    content = "".join(json.dumps(_without_null(dict(row))) + "\n" for row in lines).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def normalised(
    scratch: Path, files: Sequence[Path], *, period: str = PERIOD, details: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A session in which the files are ``delivered`` and ``delivery``, and their charges ``staged``."""
    connection = connect()
    register_mappings(connection)
    scratch.mkdir(parents=True, exist_ok=True)
    told = details or {"rows": "all"}
    read = create_delivered(
        connection,
        files,
        [file.name for file in files],
        told,
        billing_period=period,
        scratch=scratch / "delivered",
    )
    create_delivered_rows(connection, read, told, billing_period=period, relation="delivery")
    target = scratch / "charges.parquet"
    select = _bound(load_sql("normalise/gcp-billing"), period)
    connection.execute(f"COPY ({select}) TO '{target}' (FORMAT parquet, PRESERVE_ORDER true)")
    connection.execute(f"CREATE VIEW staged AS SELECT * FROM read_parquet('{target}')")
    return connection


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """A query's rows, amounts as plain text without trailing zeros."""
    return [tuple(_plain(value) for value in row) for row in connection.sql(query).fetchall()]


def charges(connection: duckdb.DuckDBPyConnection, columns: str) -> list[tuple[Any, ...]]:
    """These columns of the charges by line and part, which come first."""
    return rows(connection, f"SELECT x_SourceRow, x_SourcePart, {columns} FROM staged ORDER BY x_SourceFile, 1, 2")


def control(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[tuple[Any, ...]]:
    """The control totals of what is delivered."""
    return rows(connection, _bound(load_sql("normalise/gcp-billing.control"), period))


def made(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """What the control totals are compared with: the charges' own, in the control's columns."""
    return rows(
        connection,
        "SELECT BillingCurrency, count(*) FILTER (WHERE x_SourcePart = 1), 0, 0, count(*) FILTER (WHERE x_SourcePart > 1), "
        "sum(BilledCost), sum(EffectiveCost), sum(ListCost), sum(ContractedCost) FROM staged GROUP BY 1 ORDER BY 1",
    )


def rejected(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[tuple[Any, ...]]:
    """The rejected lines: file, row, type, reason, the line as JSON."""
    return rows(connection, _bound(load_sql("normalise/gcp-billing.rejected"), period))


def failed_audits(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> dict[str, list[tuple[Any, ...]]]:
    """The audits of the kind and of ``billing.charges`` that return rows, with them."""
    kind = yaml.safe_load((SQL_FOLDER / "normalise" / "gcp-billing.yaml").read_text(encoding="utf-8"))["audits"]
    audits = {audit["name"]: audit["sql"] for audit in kind}
    audits |= {audit.name: audit.sql for audit in contracts()["billing.charges"].audits}
    found = {name: rows(connection, _bound(sql, period)) for name, sql in audits.items()}
    return {name: offending for name, offending in found.items() if offending}


def _bound(sql: str, period: str) -> str:
    values = {"source_name": "gcp-org", "source_kind": "gcp-billing", "billing_period": period, "source_version": "v1"}
    return bind(sql, {name: values[name] for name in parameters_of(sql)})


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_null(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    # Amounts have 18 places, so that what is cut off is behind the point.
    return f"{value:.18f}".rstrip("0").rstrip(".") if value else "0"
