"""What sources deliver as ``billing.charges`` in one session, without a lake, and the FOCUS views over it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import duckdb

from pipelines.config import AwsCurSource, AzureCostSource, BillSource, GcpBillingSource
from pipelines.lake.database import file_list, literal
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import bind, load_sql, parameters_of, register_mappings
from pipelines.sources.deliveries import DeliveredFile, Delivery
from pipelines.sources.kinds import reader, source_kind


def aws(demo: Path) -> list[BillSource]:
    """The demo company's sources at AWS."""
    return [
        AwsCurSource(name="aws-payer", location=str(demo / "aws/exports/acme-cur")),
        AwsCurSource(name="aws-subsidiary", location=str(demo / "aws/reports/globex-cur")),
    ]


def google(demo: Path) -> list[BillSource]:
    """The demo company's source at Google."""
    return [GcpBillingSource(name="gcp-org", location=str(demo / "gcp"))]


def azure(demo: Path) -> list[BillSource]:
    """The demo company's source at Microsoft."""
    return [AzureCostSource(name="azure-ea", location=str(demo / "azure"))]


def create_charges(
    connection: duckdb.DuckDBPyConnection,
    sources: Iterable[BillSource],
    folder: Path,
    *,
    periods: Collection[str] = (),
) -> None:
    """Create the view ``billing.charges`` over what the sources delivered: of every period, or of these."""
    register_mappings(connection)
    parts = [
        _normalised(connection, delivery, folder)
        for source in sources
        for delivery in source_kind(source.kind).deliveries(source)
        if not periods or delivery.period in periods
    ]
    connection.execute("CREATE SCHEMA billing")
    connection.execute(f"CREATE VIEW billing.charges AS SELECT * FROM read_parquet({file_list(parts)})")


def focus_sql(version: str, *, json: str, of: str = "billing.charges") -> str:
    """SELECT of the columns of FOCUS ``1_2`` or ``1_4``; ``json`` is the type that columns with JSON get."""
    columns = ", ".join(
        f"CAST({column.name} AS {json if column.type == 'JSON' else column.type}) AS {column.name}"
        for column in contracts()[f"billing.focus_{version}"].columns
    )
    return f"SELECT {columns} FROM ({load_sql(f'billing/focus_{version}').replace('billing.charges', of)})"


def _normalised(connection: duckdb.DuckDBPyConnection, delivery: Delivery, folder: Path) -> Path:
    mapping = delivery.details.get("mapping", delivery.source_kind)
    target = folder / f"{delivery.source_name}-{delivery.period}.parquet"
    scratch = target.with_suffix("")
    delivered = reader(mapping).create_delivered(
        connection,
        [_fetched(file, scratch / "landed") for file in delivery.files],
        [file.name for file in delivery.files],
        delivery.details,
        billing_period=delivery.period,
        scratch=scratch,
    )
    reader(mapping).create_delivered_rows(
        connection, delivered, delivery.details, billing_period=delivery.period, relation="delivery"
    )
    values = {
        "source_name": delivery.source_name,
        "source_kind": delivery.source_kind,
        "billing_period": delivery.period,
        "source_version": delivery.version,
    }
    sql = load_sql(f"normalise/{mapping}")
    select = bind(sql, {name: values[name] for name in parameters_of(sql)})
    connection.execute(f"COPY ({select}) TO {literal(target)} (FORMAT parquet)")
    return target


def _fetched(file: DeliveredFile, folder: Path) -> Path:
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    file.save(target)
    return target
