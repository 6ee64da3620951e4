"""A landed CUR 2.0 file → committed ``billing.charges``, audits included, against a plain DuckDB copy of that file.

Each run is a process of its own with the same number of threads; the two alternate, so that a machine whose speed drifts
drifts for both. Peak memory is the process's own high-water mark.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

FOLDER = Path(".bench")
PERIOD = "2026-09"
RUNS = 5
THREADS = "2"


@dataclass(frozen=True)
class Measured:
    """One process: seconds of the work itself, peak memory in MiB, seconds by phase."""

    seconds: float
    peak_mib: float
    phases: dict[str, float]


def bill_of(lines: int) -> Path:
    """The generated bill of so many lines, laid out as AWS delivers it; made once."""
    export = FOLDER / f"bill-{lines}" / "bench-cur"
    file = export / "data" / f"BILLING_PERIOD={PERIOD}" / "bench-cur-00001.snappy.parquet"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        sql = (Path(__file__).parent / "cur_lines.sql").read_text(encoding="utf-8")
        sql = sql.replace("$lines", str(lines)).replace("$billing_period", f"'{PERIOD}'")
        partial = file.with_suffix(".partial")
        duckdb.connect().execute(f"COPY ({sql}) TO '{partial}' (FORMAT parquet, COMPRESSION snappy)")
        partial.rename(file)
        _write_manifest(export, file)
    return export


def copy_plainly(export: Path) -> None:
    """The baseline: DuckDB copies the bill's file to zstd Parquet."""
    [file] = export.glob("data/*/*.parquet")
    target = FOLDER / "copy.parquet"
    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")
    connection.execute(f"COPY (SELECT * FROM '{file}') TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


def normalise_landed(export: Path) -> None:
    """The work: normalise the landed delivery, audit it, commit it."""
    from pipelines.models.lineage import Lineage
    from pipelines.models.normalisation import normalise

    built = normalise(Lineage(_settings(export)), "bench", PERIOD)
    assert built is not None
    assert not built.unchanged


def measure(lines: int) -> tuple[list[Measured], list[Measured]]:
    """Alternate baseline and work, after one uncounted run of each."""
    export = bill_of(lines)
    baseline, work = [], []
    for run in range(RUNS + 1):
        copied, normalised = _in_process("copy", export), _in_process("normalise", export)
        if run:
            baseline.append(copied)
            work.append(normalised)
    return baseline, work


def report(lines: int, baseline: list[Measured], work: list[Measured]) -> str:
    """The figures as people read them."""
    plain = statistics.median(run.seconds for run in baseline)
    seconds = statistics.median(run.seconds for run in work)
    ratios = sorted(ours.seconds / theirs.seconds for ours, theirs in zip(work, baseline, strict=True))
    middle = sorted(work, key=lambda run: run.seconds)[len(work) // 2]
    phases = "".join(
        f"    {name:<38}{spent:7.2f} s {spent / middle.seconds:5.0%}\n" for name, spent in middle.phases.items()
    )
    return (
        f"{lines:,} CUR 2.0 lines, median of {RUNS} alternating runs, {THREADS} threads\n"
        f"  plain copy           {plain:7.2f} s  {lines / plain:12,.0f} rows/s  {_peak(baseline):6,.0f} MiB\n"
        f"  landed -> committed  {seconds:7.2f} s  {lines / seconds:12,.0f} rows/s  {_peak(work):6,.0f} MiB\n"
        f"  ratio                {statistics.median(ratios):7.2f}    ({ratios[0]:.2f} to {ratios[-1]:.2f})\n"
        f"  where the median run's time goes:\n{phases}"
    )


def _peak(runs: list[Measured]) -> float:
    return max(run.peak_mib for run in runs)


def _in_process(task: str, export: Path) -> Measured:
    if task == "normalise":
        _land_in_new_lake(export)
    environment = {**os.environ, "APPORTION_THREADS": THREADS}
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.normalisation", task, str(export)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    content = json.loads(output.splitlines()[-1])
    return Measured(content["seconds"], content["peak_mib"], content["phases"])


def _land_in_new_lake(export: Path) -> None:
    from pipelines.lake.paths import Lake
    from pipelines.models.build import ensure_tables
    from pipelines.models.pull import pull

    shutil.rmtree(FOLDER / "lake", ignore_errors=True)
    settings = _settings(export)
    lake = Lake(settings.lake)
    ensure_tables(lake)
    pull(lake, settings.bill("bench"), PERIOD)


def _settings(export: Path):  # type: ignore[no-untyped-def]
    from pipelines.config import AwsCurSource, Settings

    bill = AwsCurSource(name="bench", location=str(export.resolve()))
    return Settings(lake=(FOLDER / "lake").resolve(), bills=(bill,), file=Path("bench"))


def _write_manifest(export: Path, file: Path) -> None:
    manifest = export / "metadata" / f"BILLING_PERIOD={PERIOD}" / "bench-cur-Manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    columns = [row[0] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{file}'").fetchall()]
    content = {
        "executionId": f"bench-{file.stat().st_size}",
        "exportArn": "arn:aws:bcm-data-exports:us-east-1:000123456789:export/bench-cur",
        "dataFiles": [f"s3://bench/exports/bench-cur/{file.relative_to(export)}"],
        "columns": [{"name": name} for name in columns],
    }
    manifest.write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def _timed_phases() -> Iterator[dict[str, float]]:
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
        "_keep_rejected": "quality.rejected",
        "_commit_control": "quality.control",
        "record_audits": "quality.audits",
    }
    originals = {name: getattr(normalisation, name) for name in steps}
    for name, label in steps.items():
        setattr(normalisation, name, timed(label, originals[name]))
    try:
        yield phases
    finally:
        for name, step in originals.items():
            setattr(normalisation, name, step)


def _main(task: str, export: Path) -> None:
    if task == "copy":
        started = time.perf_counter()
        copy_plainly(export)
        seconds, phases = time.perf_counter() - started, {}
    else:
        import pipelines.models.normalisation  # noqa: F401  (imports are not the work)

        with _timed_phases() as phases:
            started = time.perf_counter()
            normalise_landed(export)
            seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "phases": phases}))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
