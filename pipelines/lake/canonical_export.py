"""The canonical export: the form in which two lakes are compared (CONTRACTS.md §5, *same figures*)."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pipelines.lake.database import identifier, literal
from pipelines.lake.tables import relation_sql
from pipelines.models.contracts import TableContract


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
