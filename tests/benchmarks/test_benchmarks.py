"""The bench measures what it says: its bills are normalised without a fault, and its figures are what processes do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import bills, normalisation
from benchmarks.processes import Measured, ProcessFailed, measure_process
from benchmarks.report import Compared, Converted, Grown, report
from pipelines.lake.tables import table_files
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bills, "FOLDER", tmp_path)
    monkeypatch.setattr(normalisation, "FOLDER", tmp_path)
    return tmp_path


# Of 3 CUR lines one is a negation, netted away: 999 lines in threes lose 333. Azure has 500 lines a report; of the actual one
# only purchases stay, of which 500 lines have none.
@pytest.mark.parametrize(("kind", "netted"), [("cur", 333), ("cur-wide", 333), ("cur-csv", 333), ("azure", 500)])
def test_a_generated_bill_is_normalised_and_its_control_totals_agree(kind: str, netted: int) -> None:
    bill = bills.bill_of(kind, 1_000)
    normalisation._land_in_new_lake(bill)
    normalisation.normalise_landed(bill)
    lake = Lineage(normalisation._settings(bill)).lake
    assert sum(file.rows for file in table_files(lake, contracts()["billing.charges"])) == 1_000 - netted


def test_googles_generated_bill_is_normalised() -> None:
    bill = bills.bill_of("gcp", 1_000)
    normalisation._land_in_new_lake(bill)
    normalisation.normalise_landed(bill)
    lake = Lineage(normalisation._settings(bill)).lake
    assert sum(file.rows for file in table_files(lake, contracts()["billing.charges"])) >= 1_000


def test_a_bill_is_generated_the_same_twice(folder: Path) -> None:
    def content() -> bytes:
        bills.bill_of("azure", 1_000)
        return (folder / "azure-1000" / "ActualCost.csv").read_bytes()

    first = content()
    (folder / "azure-1000" / "ActualCost.csv").unlink()
    assert content() == first


def test_the_plain_copy_writes_every_line(folder: Path) -> None:
    bill = bills.bill_of("cur", 1_000)
    normalisation.copy_plainly(bill)
    [rows] = normalisation.duckdb.sql(f"SELECT count(*) FROM '{folder / 'copy.parquet'}'").fetchone() or []
    assert rows == 1_000


def test_memory_is_that_of_a_process_and_its_children() -> None:
    """The parent holds 60 MiB and its child 80 MiB at the same time."""
    child = "block = b'x' * (80 << 20); import time; time.sleep(0.5)"
    parent = f"import subprocess, sys; block = b'x' * (60 << 20); subprocess.run([sys.executable, '-c', {child!r}])"
    measured = measure_process([sys.executable, "-c", parent])
    assert 140 < measured.peak_mib < 240


def test_a_process_tells_the_seconds_of_its_work() -> None:
    told = """print('{"seconds": 1.5, "phases": {"reading": 1.0}}')"""
    measured = measure_process([sys.executable, "-c", told])
    assert (measured.seconds, measured.phases) == (1.5, {"reading": 1.0})


def test_a_process_that_fails_or_never_ends_is_told() -> None:
    with pytest.raises(ProcessFailed, match="no such bill"):
        measure_process([sys.executable, "-c", "raise SystemExit('no such bill')"])
    with pytest.raises(ProcessFailed, match="exit code -9"):
        measure_process([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.3)


def test_the_report_says_what_was_kept_and_what_was_missed() -> None:
    """Ratio 3.0 / 2.0 = 1.5; memory 110 / 100 = 1.1 from 5 to 10 lines; theirs 8 s by our 4 s is 2, not 3."""

    def run(seconds: float, peak: float) -> Measured:
        return Measured(seconds + 1, 2 * seconds, seconds, peak)

    text = report(
        [Compared("CUR 2.0, Parquet", 10, [run(2, 50)], [run(3, 100)])],
        [Grown(5, run(3, 100)), Grown(10, run(6, 110))],
        [Converted("file", 10, [run(3, 100)], [run(7, 500)])],
        ["a reason"],
    )
    assert "1.50 (1.50 to 1.50)" in text
    assert "lines x2.0, time x2.00, memory x1.10" in text
    assert "rate x2.00 (2.00 to 2.00), memory x0.20" in text
    assert "SKIPPED: a reason" in text
    assert [line.strip() for line in text.splitlines() if line.startswith(("  kept", "  MISSED"))] == [
        "kept    CUR 2.0, Parquet: ratio at most 2.0: 1.50",
        "kept    memory below 3,072 MiB: 110 MiB",
        "kept    memory doesn't grow from 5 to 10 lines: x1.10",
        "MISSED  3 times focus-converter's rate, file mode: 2.00",
        "kept    a quarter of focus-converter's memory, file mode: 0.20",
    ]
