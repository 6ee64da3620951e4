"""AWS Cost and Usage Reports as one DuckDB relation, ``delivered``, with CUR 2.0's names and exact types."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import literal
from pipelines.sources import delivered_files
from pipelines.sources.aws_cur_columns import (
    COLUMNS,
    DECIMALS,
    MAPS,
    TEXTS,
    TIMESTAMPS,
    canonical_place,
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

_BLOCK = 1 << 20
_TEXT_MAP = "MAP(VARCHAR, VARCHAR)"
# Left bare, blank or not, so that a filter on it reaches the Parquet reader.
_FILTERED = "line_item_line_item_type"
_INTEGER = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
_SIMPLE = re.compile(r"VARCHAR|BOOLEAN|UUID|DATE|FLOAT|DOUBLE|DECIMAL\(.*\)|TIMESTAMP.*|" + _INTEGER.pattern)
_NUMBER = re.compile(r"VARCHAR|FLOAT|DOUBLE|DECIMAL\(.*\)|" + _INTEGER.pattern)
_TIME = re.compile(r"VARCHAR|DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE")
_TYPES = {
    **dict.fromkeys(TEXTS, "VARCHAR"),
    **dict.fromkeys(DECIMALS, "DECIMAL(38,18)"),
    **dict.fromkeys(TIMESTAMPS, "TIMESTAMP"),
    **dict.fromkeys(MAPS, _TEXT_MAP),
}


@dataclass(frozen=True)
class _AwsCur:
    """The layout of both generations of the report (:class:`pipelines.sources.delivered_files.Layout`)."""

    columns: Mapping[str, str] = field(default_factory=lambda: {column: _TYPES[column] for column in COLUMNS})
    period: str = "strftime(bill_billing_period_start_date, '%Y-%m')"
    provider: str = "AWS"

    def refuse_unreadable(self, delivered: Sequence[FileColumn], where: str) -> None:
        _refuse_missing_columns([source.header for source in delivered], where)
        _refuse_unknown_types(delivered, where)

    def expression(self, column: str, delivered: Sequence[FileColumn], unreadable: Unreadable) -> str:
        return _expression(column, delivered, unreadable)

    def fallible(self, delivered: Sequence[FileColumn]) -> Iterator[tuple[str, FileColumn, str]]:
        for column in sorted(DECIMALS | TIMESTAMPS | MAPS):
            sources = [
                source for source in delivered if (place := canonical_place(source.header)) and place.column == column
            ]
            if sources and not (column in MAPS and len(sources) > 1):
                yield column, sources[0], _what(column)


LAYOUT = _AwsCur()


def create_delivered(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    names: Sequence[str],
    details: Mapping[str, str],
    *,
    billing_period: str,
    scratch: Path,
) -> list[DeliveredRows]:
    """``delivered`` over landed report files, as :func:`pipelines.sources.delivered_files.create_delivered` says.

    Columns: those of ``aws_cur_columns.COLUMNS``: text, blank text as NULL; money and quantities as DECIMAL(38,18); times
    without zone, in UTC; maps of text to text.
    """
    unpacked = scratch / "unpacked"
    readable = [
        readable_file(file, name, unpacked / f"{number:05d}")
        for number, (file, name) in enumerate(zip(files, names, strict=True))
    ]
    delivered = delivered_files.create_delivered(
        connection, LAYOUT, readable, names, details, billing_period=billing_period, scratch=scratch
    )
    # What was CSV is Parquet now.
    shutil.rmtree(unpacked, ignore_errors=True)
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


def is_packed_csv(name: str) -> bool:
    """Whether a file's name says that it is a ZIP archive, which the legacy report may be delivered as."""
    return name.lower().endswith(".zip")


def readable_file(file: Path, name: str, folder: Path) -> Path:
    """The file itself, or, of a ZIP archive, the CSV file in it, unpacked into ``folder``.

    Raises DeliveryError for an archive that is damaged (its checksum is checked) or holds anything but one CSV file.
    """
    if not is_packed_csv(file.name):
        return file
    try:
        with ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1 or not members[0].filename.lower().endswith(".csv"):
                raise DeliveryError(
                    "The ZIP archive holds something else than one CSV file.",
                    where=name,
                    expected="one .csv file",
                    found=", ".join(member.filename for member in members) or "nothing",
                    remedy="deliver the archive as AWS made it",
                )
            folder.mkdir(parents=True, exist_ok=True)
            # Under a name of ours: an archive's own may lead anywhere.
            target = folder / "report.csv"
            with archive.open(members[0]) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain, _BLOCK)
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise DeliveryError(
            "The ZIP archive can't be read.",
            where=name,
            found=str(error),
            remedy="have AWS deliver the file again",
        ) from error
    return target


def _what(column: str) -> str:
    if column in DECIMALS:
        return "a number below 10^20"
    return "a time" if column in TIMESTAMPS else "a JSON object of texts"


def _expression(column: str, delivered: Sequence[FileColumn], unreadable: Unreadable) -> str:
    places = [(source, canonical_place(source.header)) for source in delivered]
    whole = [source for source, place in places if place and place.column == column and place.key is None]
    if whole:
        return _typed(column, whole[0], unreadable)
    entries: dict[str, list[str]] = {}
    for source, place in places:
        if place and place.column == column and place.key is not None:
            entries.setdefault(place.key, []).append(text_expression(source))
    if entries:
        return _gathered_map(entries)
    if column == "resource_tags" and any(place and place.column == "tags" for _, place in places):
        # CUR 2.0's newer `tags` holds the resource tags too; an export may select it alone.
        return _expression("tags", delivered, unreadable)
    return f"CAST(NULL AS {_TYPES[column]})"


def _typed(column: str, source: FileColumn, unreadable: Unreadable) -> str:
    if column == _FILTERED:
        return f"CAST({source.name} AS VARCHAR)"
    if column in TEXTS:
        return text_expression(source)
    if column in DECIMALS:
        return decimal_expression(source, unreadable)
    if column in TIMESTAMPS:
        return timestamp_expression(source, unreadable)
    if source.type == _TEXT_MAP:
        return source.name
    typed = source.name if source.type.startswith("MAP(") else f"TRY_CAST({source.name} AS JSON)"
    given = f"nullif({source.name}, '')" if source.type == "VARCHAR" else source.name
    return (
        f"coalesce(TRY_CAST({typed} AS {_TEXT_MAP}), "
        f"CASE WHEN {given} IS NOT NULL THEN {unreadable(source, _what(column))} END)"
    )


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
            remedy="these are FOCUS columns: give the source 'kind: focus', or the pull "
            "bcm-data-exports:ListExports and GetExport, which tell what an export is"
            if "ChargePeriodStart" in headers
            else "select these columns in the export, or take the file out of the configuration",
        )


def _refuse_unknown_types(delivered: Sequence[FileColumn], where: str) -> None:
    for source in delivered:
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
        return _NUMBER, "text, an integer, a double or a decimal of up to 38 digits"
    if column in TIMESTAMPS:
        return _TIME, "a time, a date or text"
    if column in MAPS and not is_entry:
        return re.compile(r"VARCHAR|MAP\(.*\)"), "a map or text"
    return _SIMPLE, "text or a simple value"
