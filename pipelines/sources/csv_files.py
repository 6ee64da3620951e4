"""CSV files of any vendor: their headers, how DuckDB has to read them, and what is no CSV of ours told as what it is."""

from __future__ import annotations

import codecs
import csv
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import literal, scanned
from pipelines.sources.files import FileColumn, compression, is_gzip, open_bytes, reading

# A header or value may be as long as the line that DuckDB is told to read.
LONGEST_LINE = 16_777_216
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# What a program that writes two or four bytes for each character puts first.
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_FIRST_BYTES = 4096


def csv_columns(file: Path, where: str, provider: str) -> list[FileColumn]:
    """A CSV file's columns, each text. Raises DeliveryError for a file that is empty or isn't UTF-8."""
    _refuse_wide_characters(file, where, provider)
    # Read by position: DuckDB folds the case of names, and tags may differ in nothing else.
    with reading_text(file, where, provider), _open_text(file) as text:
        headers = next(_csv_rows(text), [])
    if not headers:
        raise DeliveryError(
            "The CSV file has no header.",
            where=where,
            expected="a first line with the names of the columns",
            found="an empty line" if file.stat().st_size else "an empty file: 0 bytes",
            remedy=f"have {provider} deliver the file again, or copy it again: a copy may have broken off",
        )
    return [FileColumn(header=header, name=f"column{number}", type="VARCHAR") for number, header in enumerate(headers)]


def _refuse_wide_characters(file: Path, where: str, provider: str) -> None:
    """Refuse text in UTF-16 or UTF-32, with its mark or without: plain text has no byte of value 0."""
    with reading(where, provider), open_bytes(file) as content:
        first = content.read(_FIRST_BYTES)
    if first.startswith(_WIDE_MARKS) or b"\0" in first:
        raise DeliveryError(
            "The CSV file isn't written in UTF-8.",
            where=where,
            expected="UTF-8",
            found="UTF-16 or UTF-32: several bytes for each character",
            remedy=f"take the file as {provider} wrote it; a program that it was opened in may have changed it. Or save it as "
            "CSV UTF-8",
        )


def refuse_other_text(file: Path, where: str, provider: str) -> None:
    """Refuse a file with a line that isn't UTF-8, such as one saved as Latin-1."""
    with reading(where, provider), open_bytes(file) as content:
        for number, line in enumerate(content, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DeliveryError(
                    "The CSV file isn't written in UTF-8.",
                    where=f"{where}, line {number}",
                    expected="UTF-8",
                    found=repr(line[max(error.start - 10, 0) : error.end + 10]),
                    remedy=f"take the file as {provider} wrote it; a program that it was opened in may have changed it. Or "
                    "save it as CSV UTF-8",
                ) from error


def refuse_other_separator(columns: Sequence[FileColumn], where: str, provider: str) -> None:
    """Refuse a file whose header has more of another separator than commas."""
    header = ",".join(column.header for column in columns)
    for separator, name in _SEPARATORS.items():
        if header.count(separator) > header.count(","):
            raise DeliveryError(
                f"The CSV file's fields are separated by {name}, not by commas.",
                where=where,
                expected="commas",
                found=header[:100],
                remedy=f"take the file as {provider} wrote it: a spreadsheet that saves {name} changes numbers and dates too. "
                "Or save it with commas between fields, points in numbers, dates as 2026-10-01",
            )


def csv_reader(file: Path, columns: Sequence[FileColumn], *, ragged: bool) -> str:
    """SQL that reads the file's lines, each column as text, empty text as NULL; short lines only where ``ragged``."""
    types = ", ".join(f"'{column.name}': 'VARCHAR'" for column in columns)
    # DuckDB reads padded rows with quoted line ends only on one thread.
    padding = ", null_padding = true, parallel = false" if ragged else ""
    # It takes a file whose last line ends otherwise than the first for damaged, unless told not to be strict. Of other files it
    # takes a line end inside a quoted header for their own, and then finds no row at all, unless told which it is.
    ends = ", strict_mode = false" if _line_ends_differ(file) else f", new_line = '{_line_end(file)}'"
    return (
        f"read_csv({literal(scanned(file))}, columns = {{{types}}}, header = true, auto_detect = false, "
        f"hive_partitioning = false, {compression(file)}, delim = ',', "
        f"quote = '\"', escape = '\"', nullstr = '', max_line_size = {LONGEST_LINE}{padding}{ends})"
    )


def _line_end(file: Path) -> str:
    r"""How the header ends, written as DuckDB wants it: ``\\r\\n`` or ``\\n``."""
    with _open_text(file) as text:
        lines = _Remembered(text)
        next(_csv_rows(lines), None)
    return r"\r\n" if lines.last.endswith("\r\n") else r"\n"


class _Remembered:
    """Lines, and the last one taken."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.last = next(self._lines)
        return self.last


def is_ragged(file: Path, where: str, provider: str) -> bool:
    """Whether every row lacks the same number of trailing fields. Rows that differ in length are refused."""
    with reading_text(file, where, provider), _open_text(file) as text:
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
                    remedy=f"the file is damaged: have {provider} deliver it again",
                )
    return True


def _line_ends_differ(file: Path) -> bool:
    """Whether a CSV file, not packed, ends its first line with CR LF and its last with LF alone, or the other way round."""
    if is_gzip(file):
        return False
    with file.open("rb") as content:
        first = content.readline(LONGEST_LINE)
        content.seek(max(file.stat().st_size - 2, 0))
        last = content.read()
    return last.endswith(b"\n") and first.endswith(b"\r\n") != last.endswith(b"\r\n")


def _csv_rows(text: Iterable[str]) -> Iterator[list[str]]:
    # The limit is the whole process's, so that taking it back would cut short a reader on another thread.
    csv.field_size_limit(LONGEST_LINE)
    return csv.reader(text)


@contextmanager
def reading_text(file: Path, where: str, provider: str) -> Iterator[None]:
    """As :func:`pipelines.sources.files.reading`; a line that isn't UTF-8 is told as that."""
    with reading(where, provider):
        try:
            yield
        except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error, duckdb.Error):
            refuse_other_text(file, where, provider)
            raise


@contextmanager
def _open_text(file: Path) -> Iterator[io.TextIOBase]:
    with open_bytes(file) as content, io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text:
        yield text
