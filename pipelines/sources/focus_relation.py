"""FOCUS files of any version and from anyone as one DuckDB relation, ``delivered``, with FOCUS's names and exact types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import literal
from pipelines.sources import delivered_files
from pipelines.sources.csv_files import reading_text
from pipelines.sources.delivered_files import DeliveredRows, Unreadable, decimal_expression, timestamp_expression
from pipelines.sources.files import FileColumn, is_csv
from pipelines.sources.focus_columns import (
    COLUMNS,
    DECIMALS,
    OBJECTS,
    REQUIRED,
    SOURCE_COLUMNS,
    TIMESTAMPS,
    canonical_column,
    forerunner_of,
)

_TYPES = {
    column: "DECIMAL(38,18)" if column in DECIMALS else "TIMESTAMP" if column in TIMESTAMPS else "VARCHAR"
    for column in COLUMNS
}
_INTEGER = r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)"
_SIMPLE = re.compile(rf"VARCHAR|BOOLEAN|UUID|DATE|FLOAT|DOUBLE|DECIMAL\(.*\)|TIMESTAMP.*|{_INTEGER}")
_NUMBER = re.compile(rf"VARCHAR|FLOAT|DOUBLE|DECIMAL\(.*\)|{_INTEGER}")
_TIME = re.compile(r"VARCHAR|DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE")
_PAIRS = re.compile(r'STRUCT\("?key"? .*, "?value"? .*\)\[\]')
_OBJECT = re.compile(rf"VARCHAR|JSON|MAP\(.*\)|STRUCT\((?:.*)\)|{_PAIRS.pattern}")
_NESTED = re.compile(r"JSON|MAP\(.*\)|STRUCT\(.*\)|.*\]")
# 36 TiB for a day are 10^20 byte-seconds. Such a number is kept as text, because nothing is paid by it.
_MAY_BE_TOO_LARGE = "ConsumedQuantity"
# A spreadsheet changes every date of a column or none.
_FIRST_LINES = 100
# With two digits of the year before four, which would make 25 the year 25. By what comes first: 4/1/2025 is 1 April with the month first, 4 January with the day first.
_SLASHED_FORMATS: Mapping[str, Sequence[str]] = {
    order: [f"{date}{time}" for date in dates for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")]
    for order, dates in {"month first": ("%m/%d/%y", "%m/%d/%Y"), "day first": ("%d/%m/%y", "%d/%m/%Y")}.items()
}


@dataclass(frozen=True)
class _Focus:
    """The layout of a FOCUS file (:class:`pipelines.sources.delivered_files.Layout`).

    ``date_order`` says how dates with slashes are read in a file that has such: a key of ``_SLASHED_FORMATS``.
    """

    date_order: str | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: _TYPES)
    period: str = "strftime(focus_billing_month(BillingPeriodStart, BillingPeriodEnd), '%Y-%m')"
    provider: str = "whoever made the file"

    def refuse_unreadable(self, delivered: Sequence[FileColumn], where: str) -> None:
        _refuse_doubled_columns(delivered, where)
        _refuse_missing_columns(delivered, where)
        _refuse_unknown_types(delivered, where)

    def expression(self, column: str, delivered: Sequence[FileColumn], unreadable: Unreadable) -> str:
        if column == SOURCE_COLUMNS:
            return _source_columns(delivered)
        source = _source_of(column, delivered)
        if source is None:
            return f"CAST(NULL AS {_TYPES[column]})"
        if column == _MAY_BE_TOO_LARGE:
            number = _without_null_words(source)
            return f"CASE WHEN NOT is_number_too_large({number.name}) THEN {decimal_expression(number, unreadable)} END"
        if column in DECIMALS:
            return decimal_expression(_without_null_words(source), unreadable)
        if column in TIMESTAMPS:
            return self._time(source, unreadable)
        if column in OBJECTS:
            return _object(source, unreadable)
        return f"focus_text(CAST({source.name} AS VARCHAR))"

    def fallible(self, delivered: Sequence[FileColumn]) -> Iterator[tuple[str, FileColumn, str]]:
        for column in sorted(DECIMALS | TIMESTAMPS | OBJECTS):
            if source := _source_of(column, delivered):
                yield column, source, _what(column)

    def _time(self, source: FileColumn, unreadable: Unreadable) -> str:
        if source.type != "VARCHAR":
            return timestamp_expression(source, unreadable)
        text = _without_null_words(source)
        readings = [f"focus_time({text.name})"]
        if self.date_order:
            formats = ", ".join(literal(format_) for format_ in _SLASHED_FORMATS[self.date_order])
            readings.append(f"CASE WHEN contains({text.name}, '/') THEN try_strptime({text.name}, [{formats}]) END")
        failure = f"CASE WHEN {text.name} IS NOT NULL THEN {unreadable(text, _what('ChargePeriodStart'))} END"
        return f"coalesce({', '.join(readings)}, {failure})"


LAYOUT = _Focus()


def create_delivered(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    names: Sequence[str],
    details: Mapping[str, str],
    *,
    billing_period: str,
    scratch: Path,
) -> list[DeliveredRows]:
    """``delivered`` over landed FOCUS files, as :func:`pipelines.sources.delivered_files.create_delivered` says.

    Columns: those of ``focus_columns.COLUMNS``: text, empty or the word NULL as NULL; money and quantities as
    DECIMAL(38,18); times without zone, in UTC; JSON objects as their text. ``x_SourceColumns`` gathers the columns that FOCUS
    has no name for. Files may differ in columns and in version.
    """
    delivered = []
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        delivered += delivered_files.create_delivered(
            connection,
            layout_of(connection, file, name),
            [file],
            [name],
            details,
            billing_period=billing_period,
            scratch=scratch / f"{number:05d}",
        )
    create_delivered_rows(connection, delivered, details, billing_period=billing_period)
    return delivered


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


def layout_of(connection: duckdb.DuckDBPyConnection, file: Path, where: str) -> _Focus:
    """The layout by which a file is read: where a CSV file has dates with slashes, with the order they are meant in.

    FOCUS asks for ISO 8601; spreadsheets turn it into 4/1/25. The order is taken where only one makes a date of every value
    and lets every billing period begin and end on the first of a month. Raises DeliveryError where neither or both do.
    """
    if not is_csv(file):
        return LAYOUT
    dates = _slashed_dates(connection, file, where)
    if not any(dates.values()):
        return LAYOUT
    possible = [order for order in _SLASHED_FORMATS if _fits(connection, order, dates)]
    if len(possible) != 1:
        examples = sorted({date for texts in dates.values() for date in texts})[:3]
        raise DeliveryError(
            "The file's dates may be read in two ways." if possible else "The file's dates can't be read.",
            where=where,
            expected="ISO 8601, such as 2025-04-01T00:00:00Z; or dates with slashes of which one order alone, month first "
            "or day first, makes every billing period begin and end on the first of a month",
            found=", ".join(examples),
            remedy="have whoever made the file write its dates as 2025-04-01; a spreadsheet may have changed them",
        )
    return replace(LAYOUT, date_order=possible[0])


def _slashed_dates(connection: duckdb.DuckDBPyConnection, file: Path, where: str) -> Mapping[str, Sequence[str]]:
    """The distinct texts with a slash in each time column; none where the file's first lines have none."""
    columns = delivered_files.file_columns(connection, LAYOUT, file, where)
    times = {column: source for column in sorted(TIMESTAMPS) if (source := _source_of(column, columns))}
    lines = delivered_files.csv_relation(LAYOUT, file, columns, where)
    listed = ", ".join(
        f"list(DISTINCT {source.name}) FILTER (WHERE contains({source.name}, '/'))" for source in times.values()
    )
    with reading_text(file, where, LAYOUT.provider):
        [first] = connection.sql(f"SELECT {listed} FROM (SELECT * FROM {lines} LIMIT {_FIRST_LINES})").fetchall()
        if not any(first):
            return {}
        [found] = connection.sql(f"SELECT {listed} FROM {lines}").fetchall()
    return {column: texts or [] for column, texts in zip(times, found, strict=True)}


def _fits(connection: duckdb.DuckDBPyConnection, order: str, dates: Mapping[str, Sequence[str]]) -> bool:
    for column, texts in dates.items():
        read = connection.execute(
            "SELECT try_strptime(text, ?) FROM unnest(?) AS texts(text)", [list(_SLASHED_FORMATS[order]), list(texts)]
        ).fetchall()
        for (moment,) in read:
            if moment is None or (column.startswith("BillingPeriod") and moment.day != 1):
                return False
    return True


def _source_of(column: str, delivered: Sequence[FileColumn]) -> FileColumn | None:
    """The file's column that makes a FOCUS column: by its name, else by a name from before 1.0."""
    named: Sequence[Callable[[str], str | None]] = (canonical_column, forerunner_of)
    for name in named:
        for source in delivered:
            if name(source.header) == column:
                return source
    if column == "RegionName":
        # Before 1.0 one column was both.
        return next((source for source in delivered if forerunner_of(source.header) == "RegionId"), None)
    return None


def _without_null_words(source: FileColumn) -> FileColumn:
    return replace(source, name=f"focus_text({source.name})") if source.type == "VARCHAR" else source


def _what(column: str) -> str:
    if column in DECIMALS:
        return "a number below 10^20"
    if column in TIMESTAMPS:
        return "a time as ISO 8601 writes it, such as 2026-10-01T00:00:00Z"
    return "a JSON object"


def _object(source: FileColumn, unreadable: Unreadable) -> str:
    if source.type in ("VARCHAR", "JSON"):
        text = f"focus_text(CAST({source.name} AS VARCHAR))"
        failure = f"CASE WHEN {text} IS NOT NULL THEN {unreadable(source, 'a JSON object')} END"
        return f"coalesce(focus_object({text}), {failure})"
    if _PAIRS.fullmatch(source.type):
        return f"CASE WHEN {source.name} IS NOT NULL THEN coalesce(focus_pairs({source.name}), '{{}}') END"
    return f"CASE WHEN {source.name} IS NOT NULL THEN CAST(to_json({source.name}) AS VARCHAR) END"


def _source_columns(delivered: Sequence[FileColumn]) -> str:
    used = {source.header for column in COLUMNS if (source := _source_of(column, delivered))}
    kept = [(source, _as_delivered(source)) for source in delivered if source.header and source.header not in used]
    if quantity := _source_of(_MAY_BE_TOO_LARGE, delivered):
        kept.append((quantity, f"CASE WHEN is_number_too_large({quantity.name}) THEN {_as_delivered(quantity)} END"))
    pairs = ", ".join(f"{literal(source.header)}, {value}" for source, value in kept)
    # A merge patch drops what is null.
    return (
        f"nullif(CAST(json_merge_patch('{{}}', json_object({pairs})) AS VARCHAR), '{{}}')"
        if pairs
        else "CAST(NULL AS VARCHAR)"
    )


def _as_delivered(source: FileColumn) -> str:
    # Numbers stay text: JSON's would lose digits.
    return source.name if _NESTED.fullmatch(source.type) else f"focus_text(CAST({source.name} AS VARCHAR))"


def _refuse_doubled_columns(delivered: Sequence[FileColumn], where: str) -> None:
    for column in COLUMNS:
        headers = [source.header for source in delivered if canonical_column(source.header) == column]
        if len(headers) > 1:
            raise DeliveryError(
                "Two columns of the file are the same column of FOCUS.",
                where=where,
                expected=f"one column {column}",
                found=", ".join(headers),
                remedy="have whoever made the file write it once; we don't choose between amounts",
            )


def _refuse_missing_columns(delivered: Sequence[FileColumn], where: str) -> None:
    if missing := [column for column in REQUIRED if _source_of(column, delivered) is None]:
        headers = [source.header for source in delivered]
        raise DeliveryError(
            "The file is no FOCUS bill that we can read: it lacks columns.",
            where=where,
            expected=", ".join(missing),
            found=f"{len(headers)} columns, the first: {', '.join(headers[:5])}",
            remedy="have whoever made the file add these columns, or take the file out of the configuration",
        )


def _refuse_unknown_types(delivered: Sequence[FileColumn], where: str) -> None:
    for column in COLUMNS:
        source = _source_of(column, delivered)
        if source is None:
            continue
        known, expected = _known_types(column)
        if not known.fullmatch(source.type):
            raise DeliveryError(
                "A column has a type that we can't read.",
                where=f"{where}, column {source.header}",
                expected=expected,
                found=source.type,
                remedy="have whoever made the file write the column as FOCUS defines it",
            )


def _known_types(column: str) -> tuple[re.Pattern[str], str]:
    if column in DECIMALS:
        return _NUMBER, "text, an integer, a double or a decimal of up to 38 digits"
    if column in TIMESTAMPS:
        return _TIME, "a time, a date or text"
    if column in OBJECTS:
        return _OBJECT, "a map, a struct, a list of key and value, or JSON as text"
    return _SIMPLE, "text or a simple value"
