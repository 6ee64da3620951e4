"""The canonical export: the form in which two lakes are compared (CONTRACTS.md §5, *same figures*)."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pipelines.lake.database import identifier, literal
from pipelines.lake.paths import Lake
from pipelines.lake.tables import relation_sql, table_files
from pipelines.models.contracts import TableContract, contracts


def export_canonically(
    connection: duckdb.DuckDBPyConnection, contract: TableContract, files: Sequence[Path], target: Path
) -> None:
    """Write a table's rows in key order (bytes), columns in contract order, as exact text: quoted CSV, NULL bare."""
    rows = relation_sql(connection, contract, files)
    columns = ", ".join(
        f"CAST({identifier(column.name)} AS VARCHAR) AS {identifier(column.name)}" for column in contract.columns
    )
    order = ", ".join(f"{identifier(name)} NULLS FIRST" for name in contract.grain)
    connection.execute(
        f"COPY (SELECT {columns} FROM (SELECT {columns} FROM ({rows})) ORDER BY {order}) "
        f"TO {literal(target)} (FORMAT csv, HEADER true, FORCE_QUOTE *, NULL '')"
    )


def canonical_hash(connection: duckdb.DuckDBPyConnection, contract: TableContract, files: Sequence[Path]) -> str:
    """The SHA-256 of the canonical export."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "export.csv"
        export_canonically(connection, contract, files, target)
        with target.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def period_hashes(connection: duckdb.DuckDBPyConnection, lake: Lake) -> dict[str, str]:
    """The canonical hash of every table and billing period of a lake, by ``<table> <period>``.

    Our own records hold clock times and are left out.
    """
    hashes = {}
    for contract in contracts().values():
        if contract.kind == "view" or not contract.canonical:
            continue
        column = contract.period_column()
        periods: dict[str, list[Path]] = {}
        for file in table_files(lake, contract):
            periods.setdefault(file.partition[column][:7] if column else "", []).append(file.path)
        for period, files in sorted(periods.items()):
            hashes[f"{contract.table} {period}"] = canonical_hash(connection, contract, files)
    return hashes
