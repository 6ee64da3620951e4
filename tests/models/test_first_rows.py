"""What `apportion check` tries of a delivered file: its first rows, at small cost, by the reader of a pull."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.models import first_rows
from pipelines.models.first_rows import try_first_rows
from pipelines.sources.deliveries import DeliveredFile, local_file
from pipelines.sources.findings import Finding, Sample, cheapest
from tests.normalise import azure_bills, bills, focus_files, google_bills


def aws(file: Path, rows: int) -> Path:
    write: Callable[..., Path] = bills.write_cur2 if file.suffix == ".parquet" else bills.write_legacy
    return write(file, [bills.line("Usage", "1") for _ in range(rows)])


def azure(file: Path, rows: int) -> Path:
    return azure_bills.write_export(file, [azure_bills.line("Usage", "1", Tags='"team": "a"') for _ in range(rows)])


def google(file: Path, rows: int) -> Path:
    write: Callable[..., Path] = google_bills.write_parquet if file.suffix == ".parquet" else google_bills.write_json
    return write(file, [google_bills.line(1, labels=[{"key": "say", "value": '"'}]) for _ in range(rows)])


def vendor(file: Path, rows: int) -> Path:
    return focus_files.write_csv(file, [focus_files.row(ChargeDescription='a\n"b"') for _ in range(rows)])


@pytest.mark.parametrize(
    ("mapping", "write", "name"),
    [
        ("aws-cur", aws, "cur.parquet"),
        ("aws-cur", aws, "cur.csv.gz"),
        ("azure-cost", azure, "actual.csv"),
        ("gcp-billing", google, "rows.json"),
        ("gcp-billing", google, "rows.parquet"),
        ("focus", vendor, "focus.csv"),
    ],
)
def test_the_first_rows_of_every_form_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapping: str, write: Any, name: str
) -> None:
    monkeypatch.setattr(first_rows, "ROWS", 10)
    file = write(tmp_path / name, 12)

    found = try_first_rows(Sample(mapping, local_file(file, name)))

    # Ten rows, and of JSON, which has no header, one more that is not looked at.
    assert found == Finding(f"convert the first rows of {file}", "works", "10 row(s), every value read exactly")


def far(size: int | None, name: str = "cur.parquet") -> DeliveredFile:
    def save(target: Path) -> None:
        raise AssertionError("fetched")

    return DeliveredFile(name=name, size=size, pin="1", where=f"s3://bucket/{name}", save=save)


def test_a_large_file_is_not_fetched_for_a_trial() -> None:
    assert try_first_rows(Sample("aws-cur", far(64 * 1024**2 + 1))) == Finding(
        "convert the first rows of s3://bucket/cur.parquet",
        "warning",
        "not tried: the file is 67,108,865 bytes and has to be read whole",
    )
    assert try_first_rows(Sample("aws-cur", far(None))).state == "warning"


def test_the_smallest_file_is_fetched_and_the_last_of_this_machine_is_read(tmp_path: Path) -> None:
    here = [local_file(aws(tmp_path / name, rows), name) for name, rows in (("1.csv", 1), ("2.csv", 3))]

    assert cheapest([far(3, "a"), far(2, "b"), far(2, "c")]).name == "b"
    assert cheapest(here).name == "2.csv"


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cur.csv.gz"
    file.write_bytes(gzip.compress(aws(tmp_path / "whole.csv", 3).read_bytes())[:-20])

    found = try_first_rows(Sample("aws-cur", local_file(file, "cur.csv.gz")))

    assert found.state == "missing"


def test_a_file_without_rows_deserves_a_look(tmp_path: Path) -> None:
    header = aws(tmp_path / "cur.csv", 1).read_text().splitlines()[0]
    (tmp_path / "cur.csv").write_text(f"{header}\n")

    assert try_first_rows(Sample("aws-cur", local_file(tmp_path / "cur.csv", "cur.csv"))).state == "warning"
