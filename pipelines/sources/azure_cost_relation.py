"""Azure cost exports as one DuckDB relation, ``delivered``, with one name a column and exact types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from pipelines.errors import DeliveryError
from pipelines.sources import delivered_files
from pipelines.sources.azure_cost_columns import (
    COLUMNS,
    DATES,
    DECIMALS,
    TEXTS,
    delivered_column,
    doubled_columns,
    has_usage_only,
    missing_columns,
)
from pipelines.sources.delivered_files import (
    DeliveredRows,
    Unreadable,
    decimal_expression,
    text_expression,
    timestamp_expression,
)
from pipelines.sources.files import FileColumn

_INTEGER = r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)"
_NUMBER = re.compile(rf"VARCHAR|FLOAT|DOUBLE|DECIMAL\(.*\)|{_INTEGER}")
_DATE = re.compile(r"VARCHAR|DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE")
_SIMPLE = re.compile(rf"VARCHAR|BOOLEAN|UUID|DATE|FLOAT|DOUBLE|DECIMAL\(.*\)|TIMESTAMP.*|{_INTEGER}")
_TYPES = {
    **dict.fromkeys(DATES, "TIMESTAMP"),
    **dict.fromkeys(DECIMALS, "DECIMAL(38,18)"),
    **dict.fromkeys(TEXTS, "VARCHAR"),
}
_A_DATE = "a date, YYYY-MM-DD or MM/DD/YYYY"
_A_NUMBER = "a number below 10^20"


@dataclass(frozen=True)
class _AzureCost:
    """The layout of every agreement's export (:class:`pipelines.sources.delivered_files.Layout`)."""

    columns: Mapping[str, str] = field(default_factory=lambda: {column: _TYPES[column] for column in COLUMNS})
    period: str = "strftime(azure_cost_billing_month(billing_period_start_date, charge_date), '%Y-%m')"
    provider: str = "Azure"

    def refuse_unreadable(self, delivered: Sequence[FileColumn], where: str) -> None:
        headers = [source.header for source in delivered]
        _refuse_missing_columns(headers, where)
        _refuse_doubled_columns(headers, where)
        _refuse_unknown_types(delivered, where)

    def expression(self, column: str, delivered: Sequence[FileColumn], unreadable: Unreadable) -> str:
        headers = [source.header for source in delivered]
        place = delivered_column(column, headers)
        if place is None:
            typed = "'Usage'" if column == "charge_type" and has_usage_only(headers) else "NULL"
            return f"CAST({typed} AS {_TYPES[column]})"
        if column in DECIMALS:
            return decimal_expression(delivered[place], unreadable)
        if column in DATES:
            return _date_expression(delivered[place], unreadable)
        return text_expression(delivered[place])

    def fallible(self, delivered: Sequence[FileColumn]) -> Iterator[tuple[str, FileColumn, str]]:
        headers = [source.header for source in delivered]
        for column in sorted([*DECIMALS, *DATES]):
            place = delivered_column(column, headers)
            if place is not None:
                yield column, delivered[place], _A_DATE if column in DATES else _A_NUMBER


LAYOUT = _AzureCost()


def create_delivered(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    names: Sequence[str],
    details: Mapping[str, str],
    *,
    billing_period: str,
    scratch: Path,
) -> list[DeliveredRows]:
    """``delivered`` over landed export files, as :func:`pipelines.sources.delivered_files.create_delivered` says.

    Columns: those of ``azure_cost_columns.COLUMNS``: text, blank text as NULL; money and quantities as DECIMAL(38,18);
    dates as TIMESTAMP in UTC. A file's name tells its report: ``amortised/…``, or actual cost.
    """
    return delivered_files.create_delivered(
        connection, LAYOUT, files, names, details, billing_period=billing_period, scratch=scratch
    )


def create_delivered_rows(
    connection: duckdb.DuckDBPyConnection,
    delivered: Sequence[DeliveredRows],
    details: Mapping[str, str],
    *,
    billing_period: str,
    relation: str = "delivered",
) -> None:
    """The relation over these rows alone."""
    delivered_files.create_delivered_rows(
        connection, LAYOUT, delivered, details, billing_period=billing_period, relation=relation
    )


def _date_expression(source: FileColumn, unreadable: Unreadable) -> str:
    """A date of any form that Microsoft writes. A date with slashes is month first, as its exports write it, never day first:
    one that isn't possible so is unreadable.
    """
    if source.type != "VARCHAR":
        return timestamp_expression(source, unreadable)
    value = source.name
    slashes = f"try_strptime({value}, ['%m/%d/%Y', '%m/%d/%Y %H:%M:%S', '%m/%d/%Y %H:%M'])"
    return (
        f"CASE WHEN coalesce({value}, '') = '' THEN NULL "
        f"WHEN regexp_full_match({value}, '\\d{{1,2}}/\\d{{1,2}}/\\d{{4}}( .*)?') "
        f"THEN coalesce({slashes}, {unreadable(source, _A_DATE)}) "
        f"WHEN regexp_matches({value}, '^\\d{{4}}-') "
        f"THEN {timestamp_expression(source, lambda column, _: unreadable(column, _A_DATE))} "
        f"ELSE {unreadable(source, _A_DATE)} END"
    )


def _refuse_missing_columns(headers: Sequence[str], where: str) -> None:
    if missing := missing_columns(headers):
        raise DeliveryError(
            "The file is no cost export that we can read: it lacks columns.",
            where=where,
            expected=", ".join(missing),
            found=f"{len(headers)} columns, the first: {', '.join(headers[:5])}",
            remedy="export actual or amortised cost with all columns and English headers, or take the file out of the "
            "configuration",
        )


def _refuse_doubled_columns(headers: Sequence[str], where: str) -> None:
    if doubled := doubled_columns(headers):
        raise DeliveryError(
            "The file has a column twice; nothing says which one counts.",
            where=where,
            found=", ".join(doubled),
            remedy="deliver the file as Azure wrote it",
        )


def _refuse_unknown_types(delivered: Sequence[FileColumn], where: str) -> None:
    headers = [source.header for source in delivered]
    for column in COLUMNS:
        place = delivered_column(column, headers)
        known, expected = _known_types(column)
        if place is not None and not known.fullmatch(delivered[place].type):
            raise DeliveryError(
                "A column has a type that we can't read.",
                where=f"{where}, column {delivered[place].header}",
                expected=expected,
                found=delivered[place].type,
                remedy="export the column as Azure defines it",
            )


def _known_types(column: str) -> tuple[re.Pattern[str], str]:
    if column in DECIMALS:
        return _NUMBER, "text, an integer, a double or a decimal of up to 38 digits"
    if column in DATES:
        return _DATE, "a date, a time or text"
    return _SIMPLE, "text or a simple value"
