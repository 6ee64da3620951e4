"""Delivered files as such: what their names say, opening them, and what a damaged one is told as."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import scanned

_PACKED_BLOCK = 1 << 20
_BESIDE_DATA = (".txt", ".md", ".crc", ".md5", ".sha256")


@dataclass(frozen=True)
class FileColumn:
    """One column of a file: its header, the SQL name it is read by, its DuckDB type."""

    header: str
    name: str
    type: str


def is_csv(file: Path) -> bool:
    """Whether the file's name says CSV, compressed or not."""
    return file.name.lower().endswith((".csv", ".csv.gz"))


def is_parquet(name: str) -> bool:
    """Whether a file's name says Parquet."""
    return name.lower().endswith(".parquet")


def is_gzip(file: Path) -> bool:
    """Whether the file's name says that it is compressed with gzip."""
    return file.name.lower().endswith(".gz")


def compression(file: Path) -> str:
    """How DuckDB has to unpack a text file, as a reader's option: by itself it would go by the name, its case included."""
    return f"compression = '{'gzip' if is_gzip(file) else 'uncompressed'}'"


def by_compression(files: Iterable[Path]) -> dict[str, list[str]]:
    """Text files as DuckDB's readers take them, by the option that says how to unpack them."""
    result: dict[str, list[str]] = {}
    for file in files:
        result.setdefault(compression(file), []).append(scanned(file))
    return result


def is_beside_data(name: str) -> bool:
    """Whether a file's name says that it is none of the data: hidden, a marker such as _SUCCESS, a checksum or a note."""
    parts = name.split("/")
    return any(part.startswith((".", "_")) for part in parts) or parts[-1].lower().endswith(_BESIDE_DATA)


def open_bytes(file: Path, mode: Literal["rb", "wb"] = "rb") -> IO[bytes]:
    """A text file's bytes, unpacked or packed where its name says that it is packed."""
    return cast("IO[bytes]", gzip.open(file, mode)) if is_gzip(file) else file.open(mode)


def refuse_damaged_archive(file: Path, where: str, provider: str) -> None:
    """Read a gzip file to its end: DuckDB takes one that breaks off or whose checksum is wrong for whole."""
    if is_gzip(file):
        with reading(where, provider), gzip.open(file, "rb") as content:
            while content.read(_PACKED_BLOCK):
                pass


@contextmanager
def reading(where: str, provider: str) -> Iterator[None]:
    """Turn what readers of files raise into a DeliveryError that names the file."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error, duckdb.Error) as error:
        raise DeliveryError(
            "The file can't be read.", where=where, found=str(error), remedy=f"have {provider} deliver the file again"
        ) from error
