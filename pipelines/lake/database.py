"""DuckDB sessions that give the same rows on every machine."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path

import duckdb

from pipelines.errors import DeliveryError

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql"
DEFAULT_MEMORY = "2GB"

_PATTERN_CHARACTER = re.compile(r"[*?\[]")


def connect(*, scratch: Path | None = None, share: int = 1) -> duckdb.DuckDBPyConnection:
    """An in-memory session with apportion's macros and bounded memory, spilling to ``scratch``.

    ``APPORTION_THREADS`` and ``APPORTION_MEMORY`` bound it further; a session that is one of ``share`` working side by side
    has one thread and its part of the memory. Time zone, collation and order are pinned because rows must not depend on
    the machine's own.
    """
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET default_collation = 'binary'")
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(f"SET memory_limit = {literal(os.environ.get('APPORTION_MEMORY', DEFAULT_MEMORY))}")
    if threads := os.environ.get("APPORTION_THREADS"):
        connection.execute(f"SET threads = {int(threads)}")
    if share > 1:
        _take_share(connection, share)
    if scratch is not None:
        connection.execute(f"SET temp_directory = {literal(scratch)}")
    create_macros(connection)
    return connection


def thread_count(connection: duckdb.DuckDBPyConnection) -> int:
    """How many threads the session uses."""
    [(threads,)] = connection.sql("SELECT current_setting('threads')").fetchall()
    return int(threads)


def _take_share(connection: duckdb.DuckDBPyConnection, share: int) -> None:
    [(memory,)] = connection.sql("SELECT current_setting('memory_limit')").fetchall()
    amount, unit = memory.split()
    connection.execute(f"SET memory_limit = '{Decimal(amount) / share:.3f} {unit}'")
    connection.execute("SET threads = 1")


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the macros of ``sql/macros`` in the session's current schema."""
    for macro in sorted((SQL_FOLDER / "macros").glob("*.sql")):
        connection.execute(macro.read_text(encoding="utf-8"))


def literal(value: str | Path) -> str:
    """A SQL text literal."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def file_list(files: list[Path] | tuple[Path, ...]) -> str:
    """A SQL list of files, for ``read_parquet`` and its like."""
    return "[" + ", ".join(literal(scanned(file)) for file in files) + "]"


def scanned(file: str | Path) -> str:
    """The name of a file that DuckDB's readers are to read: this file and no other.

    They take names for patterns: ``cur[1].parquet`` would read ``cur1.parquet``. Escapes (``[[]``) don't help: DuckDB 1.5.5
    takes the name it has found for a pattern again where its optimiser copies a plan. Targets of COPY are no patterns.

    Raises DeliveryError for a name that is a pattern.
    """
    name = str(file)
    if _PATTERN_CHARACTER.search(name):
        # Of what is configured, load_settings has refused such names: this one was delivered.
        raise DeliveryError(
            "A file can't be read by its name: DuckDB would read others in its place.",
            where=name,
            expected="a path without * ? [",
            remedy="rename the file, or have it delivered under another name",
        )
    return name
