"""What the nightly schedule asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from pipelines.config import Settings
from pipelines.orchestration.jobs import nightly_job
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.schedules import nightly_schedule


def requested(moment: datetime, as_of: datetime | None = None) -> list[tuple[str | None, str | None]]:
    settings = Settings(lake=Path("lake"), file=Path("apportion.yaml"), as_of=as_of)
    schedule = nightly_schedule(nightly_job(), billing_periods(settings))
    context = dg.build_schedule_context(scheduled_execution_time=moment)
    return [(request.partition_key, request.run_key) for request in schedule(context)]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (
            datetime(2026, 11, 23, 4, tzinfo=UTC),
            [("2026-10", "2026-11-23 2026-10"), ("2026-11", "2026-11-23 2026-11")],
        ),
        (
            datetime(2026, 12, 1, 4, tzinfo=UTC),
            [("2026-11", "2026-12-01 2026-11"), ("2026-12", "2026-12-01 2026-12")],
        ),
        (
            datetime(2027, 1, 1, 4, tzinfo=UTC),
            [("2026-12", "2027-01-01 2026-12"), ("2027-01", "2027-01-01 2027-01")],
        ),
    ],
)
def test_every_night_refreshes_the_previous_and_the_current_month_in_a_run_each(
    moment: datetime, expected: list[tuple[str, str]]
) -> None:
    assert requested(moment) == expected


def test_a_fixed_as_of_decides_what_the_current_month_is() -> None:
    night = datetime(2026, 11, 23, 4, tzinfo=UTC)

    assert requested(night, as_of=datetime(2026, 10, 16)) == [
        ("2026-09", "2026-11-23 2026-09"),
        ("2026-10", "2026-11-23 2026-10"),
    ]
