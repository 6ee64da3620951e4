"""Publications: what analysts see, swapped in whole.

A publication is a vector of exact file lists, one for each table and billing period, kept as ``published/<id>.json``, and a DuckDB
file of views over those lists, ``published/<id>.duckdb``. ``apportion.duckdb`` is a link to the newest: replacing the link is the one
moment at which anything changes for readers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from pipelines.lake.database import create_macros, literal
from pipelines.lake.landing import write_durably
from pipelines.lake.paths import Lake
from pipelines.lake.tables import relation_sql
from pipelines.models.contracts import TableContract, contracts

# Older DuckDB versions, from 1.2 on, must open what analysts are given.
_STORAGE_VERSION = "v1.2.0"


@dataclass(frozen=True)
class PublishedPeriod:
    """A billing period as published: its files by table (relative to the lake), rows, and whether it is stale."""

    state: str
    since: str
    reasons: tuple[str, ...]
    tables: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Publication:
    """Everything one publication shows. ``newest`` holds the tables that are always shown as they stand."""

    name: str
    periods: Mapping[str, PublishedPeriod]
    newest: Mapping[str, tuple[str, ...]]

    def files(self, table: str) -> list[str]:
        """Every file of a table, over all periods."""
        if table in self.newest:
            return sorted(self.newest[table])
        return sorted({file for period in self.periods.values() for file in period.tables.get(table, ())})

    @property
    def fingerprint(self) -> str:
        """Changes when anything shown changed."""
        content = {
            "periods": {p: (v.state, v.reasons, v.tables) for p, v in self.periods.items()},
            "newest": self.newest,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def newest_publication(lake: Lake) -> Publication | None:
    """The publication that ``apportion.duckdb`` names, or None before the first."""
    if not lake.analysts_file.is_symlink():
        return None
    return read_publication(lake, lake.analysts_file.readlink().stem)


def read_publication(lake: Lake, name: str) -> Publication:
    """A kept publication by its name."""
    content = json.loads((lake.published / f"{name}.json").read_text(encoding="utf-8"))
    periods = {
        period: PublishedPeriod(
            state=entry["state"],
            since=entry["since"],
            reasons=tuple(entry["reasons"]),
            tables={table: tuple(files) for table, files in entry["tables"].items()},
            rows=entry["rows"],
        )
        for period, entry in content["periods"].items()
    }
    newest = {table: tuple(files) for table, files in content["newest"].items()}
    return Publication(content["name"], periods, newest)


def publication_names(lake: Lake) -> list[str]:
    """The kept publications, oldest first."""
    return sorted(file.stem for file in lake.published.glob("[0-9]*.json"))


def next_number(lake: Lake) -> int:
    """The number of the next publication: one above the newest that readers were given."""
    newest = newest_publication(lake)
    return int(newest.name.split("-")[0]) + 1 if newest else 1


def swap_in(lake: Lake, publication: Publication) -> None:
    """Write the publication's files beside the current one's and let ``apportion.duckdb`` name it."""
    lake.published.mkdir(parents=True, exist_ok=True)
    write_durably(
        lake.published / f"{publication.name}.json", json.dumps(asdict(publication), indent=1, sort_keys=True)
    )
    file = lake.published / f"{publication.name}.duckdb"
    partial = lake.published / f".{publication.name}.duckdb.partial"
    for leftover in (partial, partial.with_name(partial.name + ".wal")):
        leftover.unlink(missing_ok=True)
    _write_views(lake, publication, partial)
    partial.replace(file)
    link = lake.root / ".apportion.duckdb.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(file.relative_to(lake.root))
    link.replace(lake.analysts_file)


def _write_views(lake: Lake, publication: Publication, file: Path) -> None:
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(f"ATTACH {literal(file)} AS publication (STORAGE_VERSION '{_STORAGE_VERSION}')")
        connection.execute("USE publication")
        create_macros(connection)
        stored = [contract for contract in contracts().values() if contract.kind == "table"]
        views = [contract for contract in contracts().values() if contract.kind == "view"]
        for contract in stored:
            files = [lake.root / name for name in publication.files(contract.table)]
            _create_view(connection, contract, relation_sql(connection, contract, files, published=True))
        for contract in views:
            _create_view(connection, contract, contract.sql_file.read_text(encoding="utf-8"))
        connection.execute("USE memory")
        connection.execute("DETACH publication")
    finally:
        connection.close()


def _create_view(connection: duckdb.DuckDBPyConnection, contract: TableContract, select: str) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {contract.schema_name}")
    connection.execute(f"CREATE VIEW {contract.table} AS {select}")
    connection.execute(f"COMMENT ON VIEW {contract.table} IS {literal(contract.description)}")


def relative_names(lake: Lake, files: Sequence[Path]) -> tuple[str, ...]:
    """File names relative to the lake, as publications keep them."""
    return tuple(str(file.relative_to(lake.root)) for file in files)
