"""How often data files are read, night after night, by kinds whose files alone tell their billing periods."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import AwsCurSource, AzureCostSource, BillSource, FocusSource, GcpBillingSource, Settings
from pipelines.lake.landing import clear_pending
from pipelines.lake.paths import Lake
from pipelines.models.night import periods_to_run
from pipelines.models.pull import pull
from pipelines.sources import aws_cur, azure_cost, focus, gcp_billing
from tests.normalise import azure_bills, bills, focus_files, google_bills

OPEN = ("2026-09", "2026-10")


def aws(folder: Path, *months: str) -> BillSource:
    lines = [bills.line("Usage", "1", bill_billing_period_start_date=f"2026-{month}-01") for month in months]
    return AwsCurSource(name="bill", files=(bills.write_legacy(folder / "bill.csv", lines),))


def azure(folder: Path, *months: str) -> BillSource:
    lines = [
        azure_bills.line(
            "Usage",
            "1",
            Date=f"{month}/03/2026",
            BillingPeriodStartDate=f"{month}/01/2026",
            BillingPeriodEndDate=f"{month}/28/2026",
        )
        for month in months
    ]
    return AzureCostSource(name="bill", files=(azure_bills.write_export(folder / "bill.csv", lines),))


def google(folder: Path, *months: str) -> BillSource:
    lines = [google_bills.line(1, invoice={"month": f"2026{month}"}) for month in months]
    return GcpBillingSource(name="bill", files=(google_bills.write_json(folder / "bill.json", lines),))


def vendor(folder: Path, *months: str) -> BillSource:
    for month in months:
        lines = [focus_files.row(BillingPeriodStart=f"2026-{month}-01", BillingPeriodEnd=f"2026-{month}-28")]
        focus_files.write_csv(folder / f"{month}.csv", lines)
    return FocusSource(name="bill", location=str(folder))


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kind of each session that was opened to read data files."""
    opened: list[str] = []
    for kind in (aws_cur, azure_cost, focus, gcp_billing):
        connect = kind.connect

        def counted(*, kind: str = kind.__name__, connect: Any = connect, **options: Any) -> Any:
            opened.append(kind)
            return connect(**options)

        monkeypatch.setattr(kind, "connect", counted)
    return opened


@pytest.mark.parametrize("kind", [aws, azure, google, vendor])
@pytest.mark.parametrize("pulled", [("2026-10",), ()])
def test_a_month_that_no_night_pulls_is_read_once(
    tmp_path: Path, readings: list[str], kind: Any, pulled: tuple[str, ...]
) -> None:
    (tmp_path / "bill").mkdir()
    bill = kind(tmp_path / "bill", "03", *(period[-2:] for period in pulled))
    configured = Settings(
        lake=tmp_path / "lake", as_of=datetime(2026, 10, 16), bills=(bill,), file=tmp_path / "apportion.yaml"
    )
    first = periods_to_run(configured, OPEN)
    assert (sorted(first.reasons), first.never_pulled) == (list(pulled), ("2026-03",))
    for period in first.reasons:
        pull(Lake(configured.lake), bill, period)
        clear_pending(Lake(configured.lake), period)
    assert readings
    readings.clear()

    for _ in range(2):
        quiet = periods_to_run(configured, ())
        assert (dict(quiet.reasons), quiet.never_pulled) == ({}, ("2026-03",))
    assert readings == []
