"""A landed bill → committed ``billing.charges``, audits included, against a plain DuckDB copy of its files.

Each run is a process of its own with the same number of threads; the two alternate, so that a machine whose speed drifts
drifts for both.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from benchmarks.bills import FOLDER, PERIOD, SOURCE, Bill, bill_of
from benchmarks.processes import THREADS, Measured, measure_process
from pipelines.config import Settings


def measure_copy(bill: Bill) -> Measured:
    """The baseline, in a process of its own."""
    return _measure("copy", bill)


def measure_normalisation(bill: Bill) -> Measured:
    """The work, in a process of its own, on a bill that has landed in a new lake."""
    _land_in_new_lake(bill)
    return _measure("normalise", bill)


def copy_plainly(bill: Bill) -> None:
    """The baseline: DuckDB copies the bill's files to zstd Parquet."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}")
        for select in bill.plain_copies:
            connection.execute(f"COPY ({select}) TO '{FOLDER / 'copy.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


def normalise_landed(bill: Bill) -> None:
    """The work: normalise the landed delivery, audit it, commit it."""
    from pipelines.models.lineage import Lineage
    from pipelines.models.normalisation import normalise

    built = normalise(Lineage(_settings(bill)), SOURCE, PERIOD)
    assert built is not None
    assert not built.unchanged


def _measure(task: str, bill: Bill) -> Measured:
    return measure_process([sys.executable, "-m", "benchmarks.normalisation", task, bill.kind, str(bill.lines)])


def _land_in_new_lake(bill: Bill) -> None:
    from pipelines.lake.paths import Lake
    from pipelines.models.build import ensure_tables
    from pipelines.models.pull import pull

    settings = _settings(bill)
    shutil.rmtree(settings.lake, ignore_errors=True)
    lake = Lake(settings.lake)
    ensure_tables(lake)
    pull(lake, settings.bill(SOURCE), PERIOD)


def _settings(bill: Bill) -> Settings:
    return Settings(lake=(FOLDER / "lake").resolve(), bills=(bill.source,), file=Path("bench"))


@contextmanager
def _timed_phases() -> Iterator[Mapping[str, float]]:
    """Time the steps of normalisation from outside, so that the product carries no stopwatch."""
    from pipelines.models import normalisation

    phases: dict[str, float] = {}

    def timed(name: str, step: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            started = time.perf_counter()
            try:
                return step(*arguments, **options)
            finally:
                phases[name] = phases.get(name, 0.0) + time.perf_counter() - started

        return run

    steps = {
        "_stage": "normalise and write, on every thread",
        "_create_rejected": "rejected rows",
        "_create_control": "control totals",
        "run_audits": "audits",
        "commit": "commit",
    }
    originals = {name: getattr(normalisation, name) for name in steps}
    for name, label in steps.items():
        setattr(normalisation, name, timed(label, originals[name]))
    try:
        yield phases
    finally:
        for name, step in originals.items():
            setattr(normalisation, name, step)


def _main(task: str, bill: Bill) -> None:
    if task == "copy":
        started = time.perf_counter()
        copy_plainly(bill)
        seconds, phases = time.perf_counter() - started, {}
    else:
        import pipelines.models.normalisation  # noqa: F401  (imports are not the work)

        with _timed_phases() as timed:
            started = time.perf_counter()
            normalise_landed(bill)
            seconds = time.perf_counter() - started
        # What the steps don't say, of CSV above all: making it Parquet, which they all read.
        phases = {**timed, "reading, and all else": seconds - sum(timed.values())}
    print(json.dumps({"seconds": seconds, "phases": phases}))


if __name__ == "__main__":
    _main(sys.argv[1], bill_of(sys.argv[2], int(sys.argv[3])))
