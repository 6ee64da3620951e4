"""Where Dagster keeps its records: beside the lake that they are about."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipelines.config import Settings
from pipelines.lake.landing import write_durably
from pipelines.lake.locks import exclusive
from pipelines.lake.paths import Lake
from pipelines.orchestration.jobs import PUBLISH

CODE_LOCATION = "pipelines.definitions"

_HOME = "DAGSTER_HOME"
_SETTINGS_FILE = "dagster.yaml"
_REPOSITORY = Path(__file__).resolve().parents[2]
_RECENT_RUNS = 500
_EVENT_RECORDS = ("history/runs.db", "history/runs/index.db")

# Dagster captures a run's output by turning the process's own stdout and stderr away, which would hide the progress
# that the command line shows. Steps print nothing: all they have to say is in the run's events.
_NO_OUTPUT_CAPTURE = {
    "compute_logs": {
        "module": "dagster.core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def dagster_home(settings: Settings) -> Path:
    """DAGSTER_HOME as it is set; else ``<lake>/.dagster``, made ready with the repository's dagster.yaml, and set."""
    if home := os.environ.get(_HOME):
        return Path(home)
    place = settings.lake / ".dagster"
    place.mkdir(parents=True, exist_ok=True)
    source, copy = _REPOSITORY / _SETTINGS_FILE, place / _SETTINGS_FILE
    if source.is_file() and (not copy.is_file() or copy.read_bytes() != source.read_bytes()):
        write_durably(copy, source.read_text(encoding="utf-8"))
    os.environ[_HOME] = str(place)
    return place


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance that keeps the command line's runs; `make dagster` shows the same ones."""
    home = dagster_home(settings)
    _write_lazily()
    # Alone, because Dagster creates its database at the first start and two that do so at once get in each other's way.
    with exclusive(Lake(settings.lake).locks / "run-records.lock"):
        opened = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_NO_OUTPUT_CAPTURE))
    with opened as instance:
        # SQLite moves its log into the database, and waits for the disk, whenever the last connection closes; Dagster
        # opens and closes one for each of the hundreds of events of a run. So there is always one more.
        held = [sqlite3.connect(home / file) for file in _EVENT_RECORDS if (home / file).is_file()]
        for connection in held:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        try:
            yield instance
        finally:
            for connection in held:
                connection.close()


@cache
def _write_lazily() -> None:
    """Let run records survive a killed process, not a power cut: the kernel decides when they reach the disk.

    They stay whole (SQLite, "PRAGMA synchronous"); figures are never in them.
    """

    @event.listens_for(Engine, "connect")
    def relax(connection: object, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = NORMAL")


def last_runs(settings: Settings) -> dict[str, str]:
    """How and when the newest run of each billing period ended, such as ``success 2026-10-16 04:00 UTC``.

    Runs that only publish don't count: one follows each failed run, and how it ends says nothing of the failure.
    """
    found: dict[str, str] = {}
    with open_instance(settings) as instance:
        for record in instance.get_run_records(limit=_RECENT_RUNS):
            run = record.dagster_run
            if run.job_name == PUBLISH:
                continue
            status = run.status.value.lower()
            for period in _periods_of(run.tags):
                found.setdefault(period, f"{status} {record.create_timestamp:%Y-%m-%d %H:%M} UTC")
    return found


def _periods_of(tags: Mapping[str, str]) -> list[str]:
    if single := tags.get("dagster/partition"):
        return [single]
    first, last = tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")
    if first is None or last is None:
        return []
    months = range(_month_number(first), _month_number(last) + 1)
    return [f"{month // 12}-{month % 12 + 1:02}" for month in months]


def _month_number(period: str) -> int:
    return int(period[:4]) * 12 + int(period[5:7]) - 1
