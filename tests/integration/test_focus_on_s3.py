"""FOCUS files on S3, over the real protocol: each is read once when it is new, and never again while it lies as it lay."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config import FocusSource
from pipelines.lake.landing import LandedSource, land, note_look
from pipelines.lake.paths import Lake
from pipelines.models.first_rows import try_first_rows
from pipelines.sources.findings import Finding
from pipelines.sources.focus import check, deliveries, look, sample
from tests.integration.servers.s3 import S3Server
from tests.normalise.focus_files import row, write_csv

AUGUST = {"BillingPeriodStart": "2026-08-01", "BillingPeriodEnd": "2026-09-01"}


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> str:
    """A bucket with a file of August and September and one of September alone."""
    name = s3.bucket()
    folder = tmp_path / "exports"
    folder.mkdir()
    write_csv(folder / "both.csv", [row(**AUGUST), row()])
    write_csv(folder / "september.csv", [row()])
    s3.upload(folder, name, "focus/")
    return name


def _source(s3: S3Server, bucket: str) -> FocusSource:
    return FocusSource(name="gpu-cloud", location=f"s3://{bucket}/focus", endpoint_url=s3.endpoint_url)


def test_new_files_are_read_and_fetched_and_a_second_look_reads_none(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    source, lake = _source(s3, bucket), Lake(tmp_path / "lake")
    looks = look(source, LandedSource(lake, source.name))
    for delivery in deliveries(source):
        land(lake, delivery)
        note_look(lake, source.name, delivery.period, looks[delivery.period])
    landed = LandedSource(lake, source.name)
    files = {period: sorted(delivery.pins) for period in looks for delivery in [landed.period(period)] if delivery}
    assert files == {"2026-08": ["both.csv"], "2026-09": ["both.csv", "september.csv"]}
    read = len(s3.fetched())

    assert look(source, landed) == looks
    assert s3.fetched()[read:] == []


def test_a_replaced_file_alone_is_read_again(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    source, lake = _source(s3, bucket), Lake(tmp_path / "lake")
    looks = look(source, LandedSource(lake, source.name))
    for delivery in deliveries(source):
        land(lake, delivery)
        note_look(lake, source.name, delivery.period, looks[delivery.period])
    new = write_csv(tmp_path / "new.csv", [row(BilledCost="7")])
    s3.client().put_object(Bucket=bucket, Key="focus/september.csv", Body=new.read_bytes())
    read = len(s3.fetched())

    seen = look(source, LandedSource(lake, source.name))

    assert {period for period in seen if seen[period] != looks[period]} == {"2026-09"}
    assert s3.fetched()[read:] == [f"{bucket}/focus/september.csv"]


def test_a_check_reads_the_smallest_file_alone(s3: S3Server, bucket: str) -> None:
    read = len(s3.fetched())
    findings = check(_source(s3, bucket))
    assert [(finding.subject, finding.state) for finding in findings] == [
        (f"list s3://{bucket}/focus", "works"),
        (f"read s3://{bucket}/focus/september.csv", "works"),
    ]
    assert s3.fetched()[read:] == [f"{bucket}/focus/september.csv"]


def test_a_trial_converts_the_first_rows_of_the_smallest_file(s3: S3Server, bucket: str) -> None:
    found = try_first_rows(sample(_source(s3, bucket)))
    assert found == Finding(
        f"convert the first rows of s3://{bucket}/focus/september.csv", "works", "1 row(s), every value read exactly"
    )
