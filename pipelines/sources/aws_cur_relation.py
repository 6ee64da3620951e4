"""Delivered CUR files as one DuckDB relation, ``delivered``, with CUR 2.0's names and exact types."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import identifier, literal, scanned
from pipelines.sources.aws_cur_columns import (
    COLUMNS,
    DECIMALS,
    MAPS,
    TEXTS,
    TIMESTAMPS,
    canonical_place,
    missing_columns,
)

_TEXT_MAP = "MAP(VARCHAR, VARCHAR)"
# Left bare, blank or not, so that a filter on it reaches the Parquet reader.
_FILTERED = "line_item_line_item_type"
# A header or value may be as long as the line that DuckDB is told to read.
_LONGEST_LINE = 16_777_216
_PACKED_BLOCK = 1 << 20
_MOST_DECIMAL_DIGITS = 38
_INTEGER = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
_SIMPLE = re.compile(r"VARCHAR|BOOLEAN|UUID|DATE|FLOAT|DOUBLE|DECIMAL\(.*\)|TIMESTAMP.*|" + _INTEGER.pattern)
_NUMBER = re.compile(r"VARCHAR|FLOAT|DOUBLE|DECIMAL\(.*\)|" + _INTEGER.pattern)
_TIME = re.compile(r"VARCHAR|DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE")
_UNREADABLE = "error('a value can''t be read')"
_TYPES = {
    **dict.fromkeys(TEXTS, "VARCHAR"),
    **dict.fromkeys(DECIMALS, "DECIMAL(38,18)"),
    **dict.fromkeys(TIMESTAMPS, "TIMESTAMP"),
    **dict.fromkeys(MAPS, _TEXT_MAP),
}


@dataclass(frozen=True)
class _Column:
    """One column of a file: its header, the SQL name it is read by, its DuckDB type."""

    header: str
    name: str
    type: str


@dataclass(frozen=True)
class DeliveredRows:
    """Rows of a delivered file that is readable as Parquet: where, its delivered name, and which rows, counted from 0.

    ``is_canonical``: its columns have their canonical names and types already.
    """

    path: Path
    name: str
    rows: range
    is_canonical: bool


def create_delivered(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    names: Sequence[str],
    details: Mapping[str, str],
    *,
    billing_period: str,
    scratch: Path,
) -> list[DeliveredRows]:
    """Create the relation ``delivered`` over landed CUR files: one row for each line, in delivery order.

    Columns: those of ``aws_cur_columns.COLUMNS`` (text, blank text as NULL; money and quantities as DECIMAL(38,18); times
    without zone, in UTC; maps of text to text), typed NULLs where the delivery lacks one, ``x_SourceFile`` (the file's
    name in ``names``) and ``x_SourceRow`` (the line's number in its file, from 1, without the header).
    ``details`` are the delivery's: ``format`` (parquet, csv) and ``rows`` (all, or of-period: only the lines of
    ``billing_period``, because the files hold several). Parquet is read where it lies; CSV becomes Parquet under
    ``scratch`` first. Returns what the relation reads, for :func:`create_delivered_rows`.

    Raises DeliveryError for a file that can't be read, lacks a column that every bill has, or (CSV) holds a value that is
    no number or time. In Parquet such a value raises duckdb.Error when it is read; its text names file, row, column, value.
    """
    is_csv_delivery = details["format"] == "csv"
    delivered = []
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        readable = (
            _csv_as_parquet(connection, file, name, scratch / f"{number:05d}.parquet") if is_csv_delivery else file
        )
        delivered.append(DeliveredRows(readable, name, range(_row_count(connection, readable, name)), is_csv_delivery))
    create_delivered_rows(connection, delivered, details, billing_period=billing_period)
    return delivered


def create_delivered_rows(
    connection: duckdb.DuckDBPyConnection,
    delivered: Sequence[DeliveredRows],
    details: Mapping[str, str],
    *,
    billing_period: str,
) -> None:
    """Create the relation ``delivered`` over these rows alone.

    Rows keep their order because joins are told to build on their right side, whatever its size.
    """
    # Else a small delivery would be built on and the mapping be the probe: that reorders the bill.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    rows = "\nUNION ALL\n".join(_select(connection, part) for part in delivered)
    period_filter = (
        f"WHERE strftime(bill_billing_period_start_date, '%Y-%m') = {literal(billing_period)}"
        if details.get("rows") == "of-period"
        else ""
    )
    connection.execute(f"CREATE OR REPLACE VIEW delivered AS SELECT * FROM (\n{rows}\n) {period_filter}")


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


def _row_count(connection: duckdb.DuckDBPyConnection, file: Path, name: str) -> int:
    with _reading(name):
        [(rows,)] = connection.sql(f"SELECT num_rows FROM parquet_file_metadata({literal(scanned(file))})").fetchall()
    return int(rows)


def billing_periods(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """The billing periods of a CUR file's lines, in order. Raises DeliveryError where a line has none."""
    where = str(file)
    if is_csv(file):
        columns = _csv_columns(file, where)
        relation = _csv_reader(file, columns, ragged=_ragged(file, where))
    else:
        columns = _parquet_columns(connection, file, where)
        relation = f"read_parquet({literal(scanned(file))}, hive_partitioning = false)"
    _refuse_missing_columns([column.header for column in columns], where)
    start = _expression("bill_billing_period_start_date", columns, unreadable="NULL")
    with _reading(where):
        periods = connection.sql(f"SELECT DISTINCT strftime({start}, '%Y-%m') AS period FROM {relation}").fetchall()
    if (None,) in periods:
        raise DeliveryError(
            "Some lines name no billing period.",
            where=where,
            expected="a time in bill_billing_period_start_date of every line",
            remedy="deliver the file with its manifest, or complete the column",
        )
    return sorted(period for (period,) in periods)


def headers_of(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """A CUR file's column names as delivered. Raises DeliveryError for a file that can't be read."""
    columns = _csv_columns(file, str(file)) if is_csv(file) else _parquet_columns(connection, file, str(file))
    return [column.header for column in columns]


def is_csv(file: Path) -> bool:
    """Whether the file's name says CSV, compressed or not."""
    return file.name.endswith((".csv", ".csv.gz"))


def _select(connection: duckdb.DuckDBPyConnection, part: DeliveredRows) -> str:
    columns = _parquet_columns(connection, part.path, part.name)
    if part.is_canonical:
        expressions = [f"{column} AS {column}" for column in COLUMNS]
    else:
        _refuse_missing_columns([column.header for column in columns], part.name)
        expressions = [
            f"{_expression(column, columns, unreadable=_value_error(part.name))} AS {column}" for column in COLUMNS
        ]
    listed = ",\n    ".join(
        [*expressions, f"{literal(part.name)} AS x_SourceFile", "CAST(file_row_number + 1 AS BIGINT) AS x_SourceRow"]
    )
    # Row groups outside the bounds aren't read.
    return (
        f"SELECT\n    {listed}\nFROM read_parquet({literal(scanned(part.path))}, file_row_number = true, hive_partitioning = false)\n"
        f"WHERE file_row_number >= {part.rows.start} AND file_row_number < {part.rows.stop}"
    )


def _csv_as_parquet(connection: duckdb.DuckDBPyConnection, file: Path, name: str, target: Path) -> Path:
    _refuse_damaged_archive(file, name)
    # COPY keeps the file's order, so that a line's number is its row number in the Parquet file, whatever the threads.
    columns = _csv_columns(file, name)
    _refuse_missing_columns([column.header for column in columns], name)
    expressions = ", ".join(f"{_expression(column, columns, unreadable=_UNREADABLE)} AS {column}" for column in COLUMNS)
    ragged = _ragged(file, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection.execute(
            f"COPY (SELECT {expressions} FROM {_csv_reader(file, columns, ragged=ragged)}) "
            f"TO {literal(target)} (FORMAT PARQUET, COMPRESSION snappy)"
        )
    except duckdb.Error as error:
        _refuse_first_unreadable_value(connection, file, name, columns)
        raise DeliveryError(
            "The CSV file can't be read.", where=name, found=str(error), remedy="have AWS deliver the file again"
        ) from error
    return target


def _refuse_first_unreadable_value(
    connection: duckdb.DuckDBPyConnection, file: Path, name: str, columns: Sequence[_Column]
) -> None:
    reader = _csv_reader(file, columns, ragged=True)
    for column in sorted(DECIMALS | TIMESTAMPS | MAPS):
        sources = [source for source in columns if (place := canonical_place(source.header)) and place.column == column]
        if not sources or (column in MAPS and len(sources) > 1):
            continue
        source = sources[0]
        typed = _expression(column, columns, unreadable="NULL")
        try:
            row = connection.execute(
                f"SELECT line, value FROM (SELECT row_number() OVER () AS line, {source.name} AS value, "
                f"{typed} AS typed FROM {reader}) WHERE value IS NOT NULL AND typed IS NULL LIMIT 1"
            ).fetchone()
        except duckdb.Error:
            return
        if row:
            raise DeliveryError(
                f"A value is not {_what(column)}.",
                where=f"{name}, row {row[0]}, column {source.header}",
                expected=_what(column),
                found=repr(row[1]),
                remedy="have AWS deliver the file again; we don't guess amounts or times",
            )


def _value_error(name: str) -> str:
    """SQL for the text of the error about a value of ``{source}`` that is not what ``{column}`` needs."""
    return (
        f"error({literal(name)} || ', row ' || (file_row_number + 1) || ', column {{header}}: ' || "
        "CAST({source} AS VARCHAR) || ' is not {what}; have AWS deliver the file again')"
    )


def _what(column: str) -> str:
    if column in DECIMALS:
        return "a number below 10^20"
    return "a time" if column in TIMESTAMPS else "a JSON object of texts"


def _expression(column: str, columns: Sequence[_Column], *, unreadable: str) -> str:
    """The SQL that makes a canonical column of a file's columns; ``unreadable`` stands where a value can't be read."""
    places = [(source, canonical_place(source.header)) for source in columns]
    whole = [source for source, place in places if place and place.column == column and place.key is None]
    if whole:
        source = whole[0]
        typed = _typed(column, source)
        if column in TEXTS:
            return typed
        # Formatted piecemeal: headers are the user's own words and may hold braces.
        fallback = (
            unreadable.replace("{header}", source.header.replace("'", "''"))
            .replace("{source}", source.name)
            .replace("{what}", _what(column))
        )
        given = f"nullif({source.name}, '')" if source.type == "VARCHAR" else source.name
        return f"coalesce({typed}, CASE WHEN {given} IS NOT NULL THEN {fallback} END)"
    entries: dict[str, list[str]] = {}
    for source, place in places:
        if place and place.column == column and place.key is not None:
            entries.setdefault(place.key, []).append(f"nullif(CAST({source.name} AS VARCHAR), '')")
    if entries:
        return _gathered_map(entries)
    if column == "resource_tags" and any(place and place.column == "tags" for _, place in places):
        # CUR 2.0's newer `tags` holds the resource tags too; an export may select it alone.
        return _expression("tags", columns, unreadable=unreadable)
    return f"CAST(NULL AS {_TYPES[column]})"


def _refuse_unknown_types(columns: Sequence[_Column], where: str) -> None:
    for source in columns:
        place = canonical_place(source.header)
        if place is None:
            continue
        known, expected = _known_types(place.column, is_entry=place.key is not None)
        if not known.fullmatch(source.type):
            raise DeliveryError(
                "A column has a type that we can't read.",
                where=f"{where}, column {source.header}",
                expected=expected,
                found=source.type,
                remedy="export the column as AWS defines it",
            )


def _known_types(column: str, *, is_entry: bool) -> tuple[re.Pattern[str], str]:
    if column in DECIMALS:
        return _NUMBER, f"text, an integer, a double or a decimal of up to {_MOST_DECIMAL_DIGITS} digits"
    if column in TIMESTAMPS:
        return _TIME, "a time, a date or text"
    if column in MAPS and not is_entry:
        return re.compile(r"VARCHAR|MAP\(.*\)"), "a map or text"
    return _SIMPLE, "text or a simple value"


def _typed(column: str, source: _Column) -> str:
    value, type_ = source.name, source.type
    if column == _FILTERED:
        return f"CAST({value} AS VARCHAR)"
    if column in TEXTS:
        return f"nullif(CAST({value} AS VARCHAR), '')"
    if column in DECIMALS:
        if type_ in ("DOUBLE", "FLOAT"):
            return f"try_exact_decimal({value})"
        if type_ == "VARCHAR":
            return f"try_exact_decimal_of_text({value})"
        return f"TRY_CAST({value} AS DECIMAL(38,18))"
    if column in TIMESTAMPS:
        if type_ == "VARCHAR":
            # A cast to TIMESTAMP would drop an offset; without one the session's zone, UTC, stands.
            return f"timezone('UTC', TRY_CAST({value} AS TIMESTAMP WITH TIME ZONE))"
        return f"timezone('UTC', {value})" if type_ == "TIMESTAMP WITH TIME ZONE" else f"TRY_CAST({value} AS TIMESTAMP)"
    if type_.startswith("MAP("):
        return value if type_ == _TEXT_MAP else f"TRY_CAST({value} AS {_TEXT_MAP})"
    return f"TRY_CAST(TRY_CAST({value} AS JSON) AS {_TEXT_MAP})"


def _gathered_map(entries: Mapping[str, Sequence[str]]) -> str:
    pairs = ", ".join(
        f"{{'key': {literal(key)}, 'value': coalesce({', '.join(values)})}}" for key, values in sorted(entries.items())
    )
    return f"map_from_entries(list_filter([{pairs}], lambda entry: entry.value IS NOT NULL))"


def _refuse_missing_columns(headers: Sequence[str], where: str) -> None:
    if missing := missing_columns(headers):
        raise DeliveryError(
            "The file is no cost and usage report that we can read: it lacks columns.",
            where=where,
            expected=", ".join(missing),
            found=f"{len(headers)} columns, the first: {', '.join(headers[:5])}",
            remedy="select these columns in the export, or take the file out of the configuration",
        )


def _parquet_columns(connection: duckdb.DuckDBPyConnection, file: Path, where: str) -> list[_Column]:
    with _reading(where):
        described = connection.sql(
            f"DESCRIBE SELECT * FROM read_parquet({literal(scanned(file))}, hive_partitioning = false)"
        ).fetchall()
        # DuckDB reads longer decimals as doubles and says no more.
        elements = connection.sql(
            f"SELECT name, num_children, precision, scale FROM parquet_schema({literal(scanned(file))})"
        ).fetchall()
    columns = [
        _Column(header=row[0], name=identifier(row[0]), type=_long_decimal(members) or row[1])
        for row, members in zip(described, _members(elements), strict=True)
    ]
    _refuse_unknown_types(columns, where)
    return columns


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


def _csv_columns(file: Path, where: str) -> list[_Column]:
    # Read by position: DuckDB folds the case of names, and tags may differ in nothing else.
    with _reading(where), _open_text(file) as text:
        headers = next(_csv_rows(text), [])
    return [_Column(header=header, name=f"column{number}", type="VARCHAR") for number, header in enumerate(headers)]


def _csv_reader(file: Path, columns: Sequence[_Column], *, ragged: bool) -> str:
    types = ", ".join(f"'{column.name}': 'VARCHAR'" for column in columns)
    # DuckDB reads padded rows with quoted line ends only on one thread.
    padding = ", null_padding = true, parallel = false" if ragged else ""
    return (
        f"read_csv({literal(scanned(file))}, columns = {{{types}}}, header = true, auto_detect = false, "
        f"hive_partitioning = false, delim = ',', "
        f"quote = '\"', escape = '\"', nullstr = '', max_line_size = {_LONGEST_LINE}{padding})"
    )


def _ragged(file: Path, where: str) -> bool:
    """Whether every row lacks the same number of trailing fields. Rows that differ in length are refused."""
    with _reading(where), _open_text(file) as text:
        rows = _csv_rows(text)
        width = len(next(rows, []))
        first = next(rows, None)
        if first is None or len(first) == width:
            return False
        for number, row in enumerate(rows, start=2):
            if len(row) != len(first):
                raise DeliveryError(
                    "The CSV file's rows differ in length.",
                    where=f"{where}, row {number}",
                    expected=f"{len(first)} fields, as in row 1 (the header has {width})",
                    found=f"{len(row)} fields",
                    remedy="the file is damaged: have AWS deliver it again",
                )
    return True


def _csv_rows(text: io.TextIOBase) -> Iterator[list[str]]:
    # The limit is the whole process's, so that taking it back would cut short a reader on another thread.
    csv.field_size_limit(_LONGEST_LINE)
    return csv.reader(text)


def _refuse_damaged_archive(file: Path, where: str) -> None:
    """Read a gzip file to its end: DuckDB takes one that breaks off or whose checksum is wrong for whole."""
    if file.name.endswith(".gz"):
        with _reading(where), gzip.open(file, "rb") as content:
            while content.read(_PACKED_BLOCK):
                pass


@contextmanager
def _open_text(file: Path) -> Iterator[io.TextIOBase]:
    if file.name.endswith(".gz"):
        with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as text:
            yield text
    else:
        with file.open("r", encoding="utf-8-sig", newline="") as text:
            yield text


@contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error, duckdb.Error) as error:
        raise DeliveryError(
            "The file can't be read.", where=where, found=str(error), remedy="have AWS deliver the file again"
        ) from error
