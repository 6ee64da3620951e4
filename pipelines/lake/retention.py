"""What is kept: landing for ever; of the lake, what is current, what the last two publications show, and 14 days."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipelines.lake.paths import Lake
from pipelines.lake.publishing import publication_names, read_publication
from pipelines.lake.tables import table_files
from pipelines.models.contracts import contracts

KEPT_PUBLICATIONS = 2
KEPT_FOR = timedelta(days=14)


def remove_unreferenced(lake: Lake, now: datetime) -> int:
    """Delete data files and publications that nothing refers to and that are older than 14 days; tells how many.

    Age comes from the file system, so a reader that opened an older publication has two weeks to finish.
    """
    names = publication_names(lake)
    kept_names = set(names[-KEPT_PUBLICATIONS:])
    referenced = {
        lake.root / file
        for name in kept_names
        for publication in [read_publication(lake, name)]
        for table in contracts()
        for file in publication.files(table)
    }
    stored = [contract for contract in contracts().values() if contract.kind == "table"]
    referenced |= {file.path for contract in stored for file in table_files(lake, contract)}
    candidates = [
        file
        for contract in stored
        for file in lake.table(contract.table).rglob("*.parquet")
        if "_delta_log" not in file.parts and file not in referenced
    ]
    candidates += [file for file in lake.published.glob("[0-9]*.*") if file.stem not in kept_names]
    expired = [file for file in candidates if now.timestamp() - file.stat().st_mtime > KEPT_FOR.total_seconds()]
    for file in expired:
        file.unlink()
    return len(expired)
