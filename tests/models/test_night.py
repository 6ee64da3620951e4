"""What a night finds to do, over folders of small bills."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.config import AwsCurSource, Settings
from pipelines.lake.landing import clear_pending, pending_periods
from pipelines.lake.paths import Lake
from pipelines.models.night import Night, periods_to_run
from pipelines.models.pull import pull
from tests.normalise.bills import line, write_cur2

OPEN = ("2026-09", "2026-10")


def deliver(export: Path, period: str, execution: str) -> None:
    """A CUR 2.0 delivery of one line."""
    folder = export / "data" / f"BILLING_PERIOD={period}" / execution
    folder.mkdir(parents=True, exist_ok=True)
    write_cur2(folder / "cur-00001.snappy.parquet", [line("Usage", "1", bill_billing_period_start_date=f"{period}-01")])
    manifest = export / "metadata" / f"BILLING_PERIOD={period}" / execution / f"{export.name}-Manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    address = f"s3://bucket/{export.name}/data/BILLING_PERIOD={period}/{execution}/cur-00001.snappy.parquet"
    manifest.write_text(f'{{"executionId": "{execution}", "dataFiles": ["{address}"]}}', encoding="utf-8")


def settings(folder: Path, *names: str) -> Settings:
    return Settings(
        lake=folder / "lake",
        as_of="2026-10-16T00:00:00",
        bills=tuple(AwsCurSource(name=name, location=str(folder / name)) for name in names),
        file=folder / "apportion.yaml",
    )


def pull_and_publish(configured: Settings, night: Night) -> None:
    """What a run of each of the night's periods leaves in landing."""
    lake = Lake(configured.lake)
    for period in night.reasons:
        for bill in configured.bills:
            pull(lake, bill, period)
        clear_pending(lake, period)


def test_the_first_night_runs_the_open_periods_and_names_the_older_ones(tmp_path: Path) -> None:
    for period in ("2026-07", "2026-08", "2026-09", "2026-10", "2026-11"):
        deliver(tmp_path / "payer", period, "20261016T010000-a")

    night = periods_to_run(settings(tmp_path, "payer"), OPEN)

    # November has not begun on 16 October.
    assert night == Night(
        reasons={"2026-09": ("payer delivered anew",), "2026-10": ("payer delivered anew",)},
        refused={},
        never_pulled=("2026-07", "2026-08"),
        sources=1,
        periods=4,
    )


def test_a_month_closed_for_long_is_run_when_it_is_delivered_again(tmp_path: Path) -> None:
    for period in ("2025-01", "2026-10"):
        deliver(tmp_path / "payer", period, "20261016T010000-a")
    configured = settings(tmp_path, "payer")
    pull(Lake(configured.lake), configured.bills[0], "2025-01")
    pull_and_publish(configured, periods_to_run(configured, OPEN))
    clear_pending(Lake(configured.lake), "2025-01")
    assert periods_to_run(configured, ()).reasons == {}

    deliver(tmp_path / "payer", "2025-01", "20261017T010000-b")

    assert periods_to_run(configured, ()).reasons == {"2025-01": ("payer delivered anew",)}


def test_what_landed_is_a_reason_until_it_is_published(tmp_path: Path) -> None:
    deliver(tmp_path / "payer", "2026-10", "20261016T010000-a")
    configured = settings(tmp_path, "payer")
    pull(Lake(configured.lake), configured.bills[0], "2026-10")

    assert pending_periods(Lake(configured.lake)) == ["2026-10"]
    assert periods_to_run(configured, ()).reasons == {"2026-10": ("what landed has not been published",)}


def test_a_source_that_cannot_be_looked_at_does_not_hold_the_others_back(tmp_path: Path) -> None:
    deliver(tmp_path / "payer", "2026-10", "20261016T010000-a")

    night = periods_to_run(settings(tmp_path, "payer", "unmounted"), OPEN)

    assert night.reasons == {"2026-10": ("payer delivered anew",)}
    assert list(night.refused) == ["unmounted"]
    assert str(tmp_path / "unmounted") in night.refused["unmounted"].where


def test_an_unchanged_source_is_not_opened_again(tmp_path: Path) -> None:
    deliver(tmp_path / "payer", "2026-10", "20261016T010000-a")
    configured = settings(tmp_path, "payer")
    pull(Lake(configured.lake), configured.bills[0], "2026-10")
    data = next((tmp_path / "payer/data").rglob("*.parquet"))
    state = data.stat()
    # Unreadable as Parquet, and of the same size and time: a pull that opened it would land these bytes.
    data.write_bytes(b"\0" * state.st_size)
    os.utime(data, ns=(state.st_atime_ns, state.st_mtime_ns))

    pulled = pull(Lake(configured.lake), configured.bills[0], "2026-10")

    assert (pulled.copied, [delivery.version for delivery in pulled.deliveries]) == (0, ["20261016T010000-a"])
