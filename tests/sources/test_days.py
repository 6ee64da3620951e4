"""The UTC days that a billing period is measured on, and how files of them look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.config import UsageSource
from pipelines.sources import litellm
from pipelines.sources.days import measured_days


@pytest.fixture
def gateway(tmp_path: Path) -> UsageSource:
    return UsageSource(name="gateway", kind="litellm", location=tmp_path)


def write(source: UsageSource, *days: str) -> None:
    assert source.location is not None
    for day in days:
        (source.location / f"{day}.jsonl").write_text("{}\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("period", "first", "last", "count"),
    [
        ("2026-02", "2026-02-01", "2026-03-01", 29),
        ("2028-02", "2028-02-01", "2028-03-01", 30),
        ("2026-12", "2026-12-01", "2027-01-01", 32),
    ],
)
def test_a_period_is_measured_on_its_month_and_the_day_after(period: str, first: str, last: str, count: int) -> None:
    days = measured_days(period)

    assert (days[0], days[-1], len(days)) == (first, last, count)


def test_a_period_is_delivered_with_the_day_after(gateway: UsageSource) -> None:
    write(gateway, "2026-08-30", "2026-08-31", "2026-09-01", "2026-09-02")

    assert [delivery.period for delivery in litellm.deliveries(gateway, "2026-08")] == [
        "2026-08-30",
        "2026-08-31",
        "2026-09-01",
    ]
    assert [delivery.period for delivery in litellm.deliveries(gateway, "2026-09")] == ["2026-09-01", "2026-09-02"]


def test_the_first_day_of_a_month_is_part_of_two_looks(gateway: UsageSource) -> None:
    write(gateway, "2026-08-31", "2026-09-01", "2026-09-02")
    before = litellm.look(gateway)
    assert gateway.location is not None

    os.utime(gateway.location / "2026-09-02.jsonl", (1, 1))
    second = litellm.look(gateway)
    os.utime(gateway.location / "2026-09-01.jsonl", (1, 1))
    first = litellm.look(gateway)

    # A month of whose days none was delivered isn't named: July for 1 August would be as little.
    assert list(before) == ["2026-08", "2026-09"]
    assert [second[period] != before[period] for period in before] == [False, True]
    assert [first[period] != second[period] for period in before] == [True, True]
