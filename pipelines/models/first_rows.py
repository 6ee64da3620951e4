"""Trying the first rows of a delivered file with the reader that normalisation uses: what a header alone doesn't tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.csv_files import LONGEST_LINE
from pipelines.sources.files import is_csv, is_parquet, open_bytes
from pipelines.sources.findings import Finding, Sample, missing
from pipelines.sources.kinds import reader

ROWS = 1000
# What a trial fetches, or reads of a file that can only be read whole, takes a second.
LARGEST = 64 * 1024**2

_TEXT = re.compile(r"\.(csv|json|ndjson|jsonl)(\.gz)?$", re.IGNORECASE)


def try_first_rows(sample: Sample) -> Finding:
    """Convert a file's first rows, exactly, to the columns that normalisation reads; nothing is kept of them."""
    file = sample.file
    subject = f"convert the first rows of {file.where}"
    if not _is_cheap(sample):
        size = "of a size that only fetching tells" if file.size is None else f"{file.size:,} bytes"
        return Finding(subject, "warning", f"not tried: the file is {size} and has to be read whole")
    with TemporaryDirectory() as folder, connect(scratch=Path(folder) / "spill") as connection:
        try:
            rows = _convert(connection, sample, Path(folder))
        except DeliveryError as error:
            return missing(subject, error)
        except duckdb.Error as error:
            # Its text names file, row, column and value.
            refusal = DeliveryError("A value can't be read.", found=str(error), remedy="have the file delivered again")
            return missing(subject, refusal)
    if not rows:
        return Finding(subject, "warning", "the file has no row")
    return Finding(subject, "works", f"{rows:,} row(s), every value read exactly")


def _is_cheap(sample: Sample) -> bool:
    file = sample.file
    if file.path is None or not (_TEXT.search(file.name) or is_parquet(file.name)):
        return file.size is not None and file.size <= LARGEST
    return True


def _convert(connection: duckdb.DuckDBPyConnection, sample: Sample, folder: Path) -> int:
    file, mapping = sample.file, reader(sample.mapping)
    beginning = _beginning(file.path or _fetched(sample, folder), folder)
    delivered = mapping.create_delivered(
        connection, [beginning], [file.name], {}, billing_period="", scratch=folder / "delivered"
    )
    first = [replace(part, rows=part.rows[:ROWS]) for part in delivered]
    mapping.create_delivered_rows(connection, first, {}, billing_period="", relation="first_rows")
    connection.execute("CREATE TEMP TABLE converted AS SELECT * FROM first_rows")
    [(rows,)] = connection.sql("SELECT count(*) FROM converted").fetchall()
    return int(rows)


def _fetched(sample: Sample, folder: Path) -> Path:
    copy = folder / "fetched" / PurePosixPath(sample.file.name).name
    copy.parent.mkdir()
    sample.file.save(copy)
    return copy


def _beginning(file: Path, folder: Path) -> Path:
    """Of a text file a copy of its first rows under the same name; others are read where they lie, in part."""
    if not _TEXT.search(file.name):
        return file
    beginning = folder / "beginning" / file.name
    beginning.parent.mkdir()
    try:
        with open_bytes(file) as content, open_bytes(beginning, "wb") as copy:
            # The header of a CSV file is a record too; a line of JSON is always one.
            records = _records(content) if is_csv(file) else content
            copy.writelines(islice(records, ROWS + 1))
    except (EOFError, OSError):
        # A damaged archive: the reader says what of it.
        return file
    return beginning


def _records(content: IO[bytes]) -> Iterator[bytes]:
    """Lines; those of one record, whose quoted values hold line breaks, together."""
    record, quotes = b"", 0
    for line in content:
        record, quotes = record + line, quotes + line.count(b'"')
        if quotes % 2 == 0 or len(record) > LONGEST_LINE:
            yield record
            record, quotes = b"", 0
    yield record
