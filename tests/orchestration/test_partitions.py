"""Which billing periods there are, whatever the clock says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.config import Settings
from pipelines.orchestration.nights import FIRST_PERIOD
from pipelines.orchestration.partitions import billing_periods


def settings(as_of: datetime | None = None) -> Settings:
    return Settings(lake=Path("lake"), file=Path("apportion.yaml"), as_of=as_of)


def test_periods_begin_with_the_first_one_and_are_months() -> None:
    assert billing_periods(settings()).get_partition_keys()[:2] == [FIRST_PERIOD, "2020-02"]


@pytest.mark.parametrize(
    ("as_of", "last"),
    [
        (datetime(2023, 11, 1), "2023-11"),
        (datetime(2026, 10, 16), "2026-10"),
        (datetime(2026, 12, 31, 23, 59), "2026-12"),
        (datetime(2031, 1, 1), "2031-01"),
    ],
)
def test_as_of_fixes_the_last_period_whether_it_lies_behind_or_ahead_of_the_clock(as_of: datetime, last: str) -> None:
    periods = billing_periods(settings(as_of))

    assert periods.get_last_partition_key() == last
    assert periods.get_partition_keys()[-1] == last


def test_without_as_of_the_running_month_is_the_last_period() -> None:
    noon = datetime(2027, 2, 10, 12, tzinfo=UTC)

    assert billing_periods(settings()).get_partition_keys(noon)[-1] == "2027-02"
