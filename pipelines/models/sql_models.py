"""Loads SQL files, binds their parameters, and makes the mappings readable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import duckdb

from pipelines.errors import ConfigurationError
from pipelines.lake.database import SQL_FOLDER, identifier, literal, scanned

Parameter = str | int | Decimal | date | datetime | None

# Skips text literals, quoted names and comments, in which a $ is only a $.
_PARAMETER = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|(?<![\w$])\$([a-z_][a-z0-9_]*)")


def load_sql(name: str) -> str:
    """The text of ``sql/<name>.sql``, for example ``normalise/aws-cur``."""
    return (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def bind(sql: str, parameters: Mapping[str, Parameter]) -> str:
    """Replace each ``$name`` by the SQL literal of its value.

    Literals rather than prepared parameters, because DuckDB prepares neither COPY nor CREATE. Raises
    ConfigurationError for a name without a value or a value that nothing names.
    """
    used: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group(0)
        if name not in parameters:
            raise ConfigurationError(
                f"The SQL uses ${name}, which has no value.", expected=", ".join(sorted(parameters))
            )
        used.add(name)
        return _literal(parameters[name])

    bound = _PARAMETER.sub(replace, sql)
    if unused := sorted(set(parameters) - used):
        raise ConfigurationError(f"The SQL uses none of the parameters {', '.join(unused)}.", found=sql[:200])
    return bound


def parameters_of(sql: str) -> set[str]:
    """The names of the ``$parameters`` in a SQL text."""
    return {match.group(1) for match in _PARAMETER.finditer(sql) if match.group(1)}


def register_mappings(connection: duckdb.DuckDBPyConnection) -> None:
    """Create a table ``mappings.<file>`` for each ``sql/mappings/*.csv``, all columns text, empty cells NULL."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS mappings")
    for file in sorted((SQL_FOLDER / "mappings").glob("*.csv")):
        connection.execute(
            f"CREATE OR REPLACE TABLE mappings.{identifier(file.stem)} AS "
            f"SELECT * FROM read_csv({literal(scanned(file))}, all_varchar = true, header = true, delim = ',', quote = '\"')"
        )


def _literal(value: Parameter) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return f"CAST('{value:f}' AS DECIMAL(38,18))"
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S.%f}'"
    if isinstance(value, date):
        return f"DATE '{value:%Y-%m-%d}'"
    return literal(value)
