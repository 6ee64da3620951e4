"""Delivered bill files as DuckDB relations with canonical columns and exact types, whoever delivered them.

A vendor's :class:`Layout` says which of a file's columns make which canonical column. CSV is read by position, as text,
and becomes Parquet once; Parquet is read where it lies. Every row knows its file and its number in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import identifier, literal, scanned
from pipelines.sources.csv_files import (
    csv_columns,
    csv_reader,
    is_ragged,
    reading_text,
    refuse_other_separator,
    refuse_other_text,
)
from pipelines.sources.files import FileColumn, is_csv, reading, refuse_damaged_archive

_MOST_DECIMAL_DIGITS = 38
_UNREADABLE = "error('a value can''t be read')"


@dataclass(frozen=True)
class DeliveredRows:
    """Rows of a delivered file that is readable as Parquet: where, its delivered name, and which rows, counted from 0.

    ``is_canonical``: its columns have their canonical names and types already. ``file_rows``: how many the file has.
    """

    path: Path
    name: str
    rows: range
    is_canonical: bool
    file_rows: int

    @property
    def folder(self) -> str | None:
        """What stands before the delivered name in the path; None where the file lies under another name."""
        path = str(self.path)
        return path.removesuffix(self.name) if path.endswith(self.name) else None

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of the file."""
        return self.rows == range(self.file_rows)


# SQL that stands where a value of a file's column is not what is expected of it (the second argument, in words).
Unreadable = Callable[[FileColumn, str], str]


class Layout(Protocol):
    """What one vendor's bill files hold."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Canonical column to SQL type, in order."""

    @property
    def period(self) -> str:
        """SQL over canonical columns that gives a row's billing period, ``YYYY-MM``."""

    @property
    def provider(self) -> str:
        """Who can deliver a damaged file again."""

    def refuse_unreadable(self, delivered: Sequence[FileColumn], where: str) -> None:
        """Raise DeliveryError for a file that lacks a column we can't do without, or has one of an unknown type."""

    def expression(self, column: str, delivered: Sequence[FileColumn], unreadable: Unreadable) -> str:
        """The SQL that makes a canonical column of a file's columns; a typed NULL where the file has none of them."""

    def fallible(self, delivered: Sequence[FileColumn]) -> Iterable[tuple[str, FileColumn, str]]:
        """The canonical columns whose values may be unreadable, each with the file's column and what is expected of it."""


def create_delivered(
    connection: duckdb.DuckDBPyConnection,
    layout: Layout,
    files: Sequence[Path],
    names: Sequence[str],
    details: Mapping[str, str],
    *,
    billing_period: str,
    scratch: Path,
) -> list[DeliveredRows]:
    """Create the relation ``delivered`` over landed files: one row for each line, in delivery order.

    Columns: the layout's, then ``x_SourceFile`` (the file's name in ``names``) and ``x_SourceRow`` (the line's number in its
    file, from 1, without the header). ``details["rows"]`` is ``of-period`` where the files hold the lines of several
    periods and only those of ``billing_period`` are wanted; ``details["row_counts"]`` is a JSON object of file name to the
    rows that the delivery's manifest says it has, where it does. Parquet is read where it lies; CSV becomes Parquet under
    ``scratch`` first. Returns what the relation reads, for :func:`create_delivered_rows`.

    Raises DeliveryError for a file that can't be read or that the layout refuses, and (CSV) for a value that can't be
    read. In Parquet such a value raises duckdb.Error when it is read; its text names file, row, column, value.
    """
    delivered = []
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        packed = is_csv(file)
        readable = (
            _csv_as_parquet(connection, layout, file, name, scratch / f"{number:05d}.parquet") if packed else file
        )
        rows = _row_count(connection, readable, name, layout.provider)
        _refuse_other_row_count(name, rows, details, layout.provider)
        delivered.append(DeliveredRows(readable, name, range(rows), is_canonical=packed, file_rows=rows))
    create_delivered_rows(connection, layout, delivered, details, billing_period=billing_period)
    return delivered


def create_delivered_rows(
    connection: duckdb.DuckDBPyConnection,
    layout: Layout,
    delivered: Sequence[DeliveredRows],
    details: Mapping[str, str],
    *,
    billing_period: str,
    relation: str = "delivered",
) -> None:
    """Create the relation over these rows alone.

    Rows keep their order because joins are told to build on their right side, whatever its size.
    """
    # Else a small delivery would be built on and the mapping be the probe: that reorders the bill.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    rows = "\nUNION ALL\n".join(_select(connection, layout, parts) for parts in _alike(connection, layout, delivered))
    of_period = details.get("rows") == "of-period"
    period_filter = f"WHERE {layout.period} = {literal(billing_period)}" if of_period else ""
    connection.execute(f"CREATE OR REPLACE VIEW {relation} AS SELECT * FROM (\n{rows}\n) {period_filter}")


def slices(delivered: Sequence[DeliveredRows], count: int) -> list[list[DeliveredRows]]:
    """The same rows in ``count`` slices of nearly equal size, one behind the other in delivery order."""
    total = sum(len(part.rows) for part in delivered)
    bounds = [total * number // count for number in range(count + 1)]
    result: list[list[DeliveredRows]] = []
    for first, end in pairwise(bounds):
        members, start = [], 0
        for part in delivered:
            rows = part.rows[max(first - start, 0) : max(end - start, 0)]
            if rows:
                members.append(replace(part, rows=rows))
            start += len(part.rows)
        if members:
            result.append(members)
    return result


def billing_periods(
    connection: duckdb.DuckDBPyConnection, layout: Layout, file: Path, where: str | None = None
) -> list[str]:
    """The billing periods of a file's lines, in order. Raises DeliveryError, naming ``where``, where a line has none."""
    where = where or str(file)
    columns = file_columns(connection, layout, file, where)
    relation = (
        csv_relation(layout, file, columns, where)
        if is_csv(file)
        else f"read_parquet({literal(scanned(file))}, hive_partitioning = false)"
    )
    needed = [column for column in layout.columns if re.search(rf"\b{re.escape(column)}\b", layout.period)]
    listed = ", ".join(f"{layout.expression(column, columns, _null)} AS {identifier(column)}" for column in needed)
    with reading_text(file, where, layout.provider) if is_csv(file) else reading(where, layout.provider):
        periods = connection.sql(
            f"SELECT DISTINCT {layout.period} AS period FROM (SELECT {listed} FROM {relation})"
        ).fetchall()
        if (None,) in periods:
            _refuse_first_unreadable_value(connection, layout, relation, where, columns, needed)
            _refuse_first_line_without_period(connection, layout, relation, where, columns, needed)
    return sorted(period for (period,) in periods)


def _refuse_first_line_without_period(
    connection: duckdb.DuckDBPyConnection,
    layout: Layout,
    relation: str,
    where: str,
    columns: Sequence[FileColumn],
    needed: Sequence[str],
) -> None:
    listed = ", ".join(f"{layout.expression(column, columns, _null)} AS {identifier(column)}" for column in needed)
    [row] = connection.sql(
        f"SELECT line FROM (SELECT row_number() OVER () AS line, {listed} FROM {relation}) "
        f"WHERE {layout.period} IS NULL LIMIT 1"
    ).fetchall()
    headers = [source.header for column, source, _ in layout.fallible(columns) if column in needed]
    raise DeliveryError(
        "A line names no billing period.",
        where=f"{where}, row {row[0]}",
        expected=f"a date in {' or '.join(headers)}",
        found="nothing",
        remedy="deliver the file with its manifest, or complete the column",
    )


def file_columns(connection: duckdb.DuckDBPyConnection, layout: Layout, file: Path, where: str) -> list[FileColumn]:
    """A file's columns as delivered. Raises DeliveryError for one that can't be read or that the layout refuses."""
    columns = (
        csv_columns(file, where, layout.provider)
        if is_csv(file)
        else _parquet_columns(connection, file, where, layout.provider)
    )
    try:
        layout.refuse_unreadable(columns, where)
    except DeliveryError:
        if is_csv(file):
            refuse_other_separator(columns, where, layout.provider)
        raise
    return columns


def csv_relation(layout: Layout, file: Path, columns: Sequence[FileColumn], where: str) -> str:
    """SQL that reads a CSV file's lines, each column as text. Raises DeliveryError for lines that differ in length."""
    return csv_reader(file, columns, ragged=is_ragged(file, where, layout.provider))


def text_expression(source: FileColumn) -> str:
    """The column as text, empty text as NULL."""
    return f"nullif(CAST({source.name} AS VARCHAR), '')"


def decimal_expression(source: FileColumn, unreadable: Unreadable) -> str:
    """The column as DECIMAL(38,18), whatever it is delivered as; a double becomes its shortest text's decimal."""
    value, given = source.name, source.name
    if source.type in ("DOUBLE", "FLOAT"):
        typed = f"try_exact_decimal({value})"
    elif source.type == "VARCHAR":
        typed, given = f"try_exact_decimal_of_text({value})", f"nullif({value}, '')"
    else:
        typed = f"TRY_CAST({value} AS DECIMAL(38,18))"
    return _or_unreadable(typed, given, unreadable(source, "a number below 10^20"))


def timestamp_expression(source: FileColumn, unreadable: Unreadable) -> str:
    """The column as TIMESTAMP in UTC; text without an offset is UTC."""
    value, given = source.name, source.name
    if source.type == "VARCHAR":
        # A cast to TIMESTAMP would drop an offset; without one the session's zone, UTC, stands. Both take more than times: 4/1/25
        # for the year 4, 'epoch', 'infinity'.
        typed = f"CASE WHEN {value} LIKE '____-__-__%' THEN timezone('UTC', TRY_CAST({value} AS TIMESTAMP WITH TIME ZONE)) END"
        given = f"nullif({value}, '')"
    elif source.type == "TIMESTAMP WITH TIME ZONE":
        typed = f"timezone('UTC', {value})"
    else:
        typed = f"TRY_CAST({value} AS TIMESTAMP)"
    return _or_unreadable(typed, given, unreadable(source, "a time"))


def _or_unreadable(typed: str, given: str, fallback: str) -> str:
    return f"coalesce({typed}, CASE WHEN {given} IS NOT NULL THEN {fallback} END)"


def _null(source: FileColumn, what: str) -> str:
    return "NULL"


def _stand_in(type_: str) -> str:
    """SQL for some value of a canonical column's type."""
    text = "0" if type_.startswith("DECIMAL") else "2000-01-01 00:00:00" if type_ == "TIMESTAMP" else "{}"
    return f"CAST({literal(text)} AS {type_})"


def _fails(source: FileColumn, what: str) -> str:
    return _UNREADABLE


def _row_count(connection: duckdb.DuckDBPyConnection, file: Path, name: str, provider: str) -> int:
    with reading(name, provider):
        [(rows,)] = connection.sql(f"SELECT num_rows FROM parquet_file_metadata({literal(scanned(file))})").fetchall()
    return int(rows)


def _refuse_other_row_count(name: str, rows: int, details: Mapping[str, str], provider: str) -> None:
    stated = json.loads(details.get("row_counts", "{}")).get(name)
    if stated is not None and stated != rows:
        raise DeliveryError(
            "The file has not as many rows as its manifest says.",
            where=name,
            expected=f"{stated:,} rows",
            found=f"{rows:,} rows",
            remedy=f"have {provider} deliver the file again",
        )


def _alike(
    connection: duckdb.DuckDBPyConnection, layout: Layout, delivered: Sequence[DeliveredRows]
) -> list[list[DeliveredRows]]:
    """The parts in order, neighbours that one scan reads alike together: planning a scan of each file takes its time."""
    result: list[list[DeliveredRows]] = []
    last: tuple[object, ...] | None = None
    for part in delivered:
        columns = () if part.is_canonical else tuple(file_columns(connection, layout, part.path, part.name))
        form = (part.folder, part.is_canonical, columns)
        if form == last and part.folder is not None and part.is_whole and result[-1][-1].is_whole:
            result[-1].append(part)
        else:
            result.append([part])
        last = form
    return result


def _select(connection: duckdb.DuckDBPyConnection, layout: Layout, parts: Sequence[DeliveredRows]) -> str:
    first = parts[0]
    name = literal(first.name) if len(parts) == 1 else f"substr(delivered_path, {len(first.folder or '') + 1})"

    def unreadable(source: FileColumn, what: str) -> str:
        return (
            f"error({name} || ', row ' || (file_row_number + 1) || {literal(f', column {source.header}: ')} || "
            f"CAST({source.name} AS VARCHAR) || {literal(f' is not {what}; have {layout.provider} deliver the file again')})"
        )

    if first.is_canonical:
        expressions = [f"{identifier(column)} AS {identifier(column)}" for column in layout.columns]
    else:
        columns = file_columns(connection, layout, first.path, first.name)
        expressions = [
            f"{layout.expression(column, columns, unreadable)} AS {identifier(column)}" for column in layout.columns
        ]
    listed = ",\n    ".join(
        [*expressions, f"{name} AS x_SourceFile", "CAST(file_row_number + 1 AS BIGINT) AS x_SourceRow"]
    )
    files = ", ".join(literal(scanned(part.path)) for part in parts)
    # Row groups outside the bounds aren't read.
    bounds = (
        f"\nWHERE file_row_number >= {first.rows.start} AND file_row_number < {first.rows.stop}"
        if not first.is_whole
        else ""
    )
    return (
        f"SELECT\n    {listed}\nFROM read_parquet([{files}], filename = 'delivered_path', file_row_number = true, "
        f"hive_partitioning = false){bounds}"
    )


def _csv_as_parquet(connection: duckdb.DuckDBPyConnection, layout: Layout, file: Path, name: str, target: Path) -> Path:
    refuse_damaged_archive(file, name, layout.provider)
    # COPY keeps the file's order, so that a line's number is its row number in the Parquet file, whatever the threads.
    columns = file_columns(connection, layout, file, name)
    expressions = ", ".join(
        f"{layout.expression(column, columns, _fails)} AS {identifier(column)}" for column in layout.columns
    )
    ragged = is_ragged(file, name, layout.provider)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection.execute(
            f"COPY (SELECT {expressions} FROM {csv_reader(file, columns, ragged=ragged)}) "
            f"TO {literal(target)} (FORMAT PARQUET, COMPRESSION snappy)"
        )
    except duckdb.Error as error:
        refuse_other_text(file, name, layout.provider)
        reader = csv_reader(file, columns, ragged=True)
        _refuse_first_unreadable_value(connection, layout, reader, name, columns, layout.columns)
        raise DeliveryError(
            "The CSV file can't be read.",
            where=name,
            found=str(error),
            remedy=f"have {layout.provider} deliver the file again",
        ) from error
    return target


def _refuse_first_unreadable_value(
    connection: duckdb.DuckDBPyConnection,
    layout: Layout,
    relation: str,
    name: str,
    columns: Sequence[FileColumn],
    wanted: Collection[str],
) -> None:
    for column, source, what in layout.fallible(columns):
        if column not in wanted:
            continue
        # Only what can't be read is something where a stand-in is put for it, and nothing where none is.
        stand_in = _stand_in(layout.columns[column])
        typed = layout.expression(column, columns, _null)
        replaced = layout.expression(column, columns, lambda source, what, stand_in=stand_in: stand_in)  # type: ignore[misc]
        try:
            row = connection.execute(
                f"SELECT line, value FROM (SELECT row_number() OVER () AS line, {source.name} AS value, "
                f"{typed} AS typed, {replaced} AS replaced FROM {relation}) "
                "WHERE typed IS NULL AND replaced IS NOT NULL LIMIT 1"
            ).fetchone()
        except duckdb.Error:
            return
        if row:
            raise DeliveryError(
                f"A value is not {what}.",
                where=f"{name}, row {row[0]}, column {source.header}",
                expected=what,
                found=repr(row[1]),
                remedy=f"have {layout.provider} deliver the file again; we don't guess amounts or times",
            )


def _parquet_columns(connection: duckdb.DuckDBPyConnection, file: Path, where: str, provider: str) -> list[FileColumn]:
    with reading(where, provider):
        described = connection.sql(
            f"DESCRIBE SELECT * FROM read_parquet({literal(scanned(file))}, hive_partitioning = false)"
        ).fetchall()
        # DuckDB reads longer decimals as doubles and says no more.
        elements = connection.sql(
            f"SELECT name, num_children, precision, scale FROM parquet_schema({literal(scanned(file))})"
        ).fetchall()
    return [
        FileColumn(header=row[0], name=identifier(row[0]), type=_long_decimal(members) or row[1])
        for row, members in zip(described, _members(elements), strict=True)
    ]


def _members(elements: Sequence[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """The schema elements of each column; the schema lists them depth first, after the root."""
    position = 1
    while position < len(elements):
        first, unread = position, 1
        while unread:
            unread += (elements[position][1] or 0) - 1
            position += 1
        yield list(elements[first:position])


def _long_decimal(members: Sequence[tuple[Any, ...]]) -> str | None:
    """The longest decimal of a column's elements, where DuckDB's are shorter."""
    precision, scale = max((member[2] or 0, member[3] or 0) for member in members)
    return f"decimal of {precision} digits, {scale} of them decimals" if precision > _MOST_DECIMAL_DIGITS else None
