"""What the command line and the schedule share about nights. Imports no Dagster, which a quiet night does without."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipelines.models.night import Night

# No bill that anyone would still allocate is older; an empty period among the partitions costs nothing.
FIRST_PERIOD = "2020-01"


def open_periods(moment: datetime) -> tuple[str, str]:
    """The previous and the current billing period at ``moment`` (UTC): those whose bills providers still correct."""
    current = moment.year * 12 + moment.month - 1
    previous = current - 1
    return f"{previous // 12}-{previous % 12 + 1:02}", f"{current // 12}-{current % 12 + 1:02}"


def nothing_changed(night: Night) -> str:
    """``nothing changed: 6 sources, 24 billing periods looked at``, or that all that sources have is older than a night pulls."""
    sources, periods = _count(night.sources, "source"), _count(night.periods, "billing period")
    if night.never_pulled and len(night.never_pulled) == night.periods:
        return f"nothing pulled yet: {sources}, {periods} looked at, none of them open"
    return f"nothing changed: {sources}, {periods} looked at"


def never_pulled(night: Night) -> str:
    """What sources have that no night pulls by itself, and how to pull it; empty where there is nothing."""
    runnable = [period for period in night.never_pulled if period >= FIRST_PERIOD]
    too_old = [period for period in night.never_pulled if period < FIRST_PERIOD]
    told = []
    if runnable:
        asked = runnable[0] if len(runnable) == 1 else f"{runnable[0]}..{runnable[-1]}"
        told.append(
            f"never pulled: {_count(len(runnable), 'billing period')} that sources have ({', '.join(_ranges(runnable))}); "
            f"to pull what is there: apportion run --period {asked}"
        )
    if too_old:
        told.append(f"left alone, because they are before {FIRST_PERIOD}: {', '.join(_ranges(too_old))}")
    return "; ".join(told)


def _ranges(periods: Sequence[str]) -> list[str]:
    """Billing periods in order, those that follow one another as ``2026-08..2026-10``."""
    ranges: list[list[str]] = []
    for period in periods:
        year, month = map(int, period.split("-"))
        before = f"{year - (month == 1)}-{month - 1 or 12:02}"
        if ranges and ranges[-1][-1] == before:
            ranges[-1].append(period)
        else:
            ranges.append([period])
    return [each[0] if len(each) == 1 else f"{each[0]}..{each[-1]}" for each in ranges]


def not_looked_at(night: Night) -> list[str]:
    """A message for each source that can't be looked at."""
    return [
        f"{name} can't be looked at; what landed of it before stands: {problem}"
        for name, problem in night.refused.items()
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
