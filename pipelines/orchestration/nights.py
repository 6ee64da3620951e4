"""What the command line and the schedule share about nights. Imports no Dagster, which a quiet night does without."""

from __future__ import annotations

from datetime import datetime

from pipelines.models.night import Night


def open_periods(moment: datetime) -> tuple[str, str]:
    """The previous and the current billing period at ``moment`` (UTC): those whose bills providers still correct."""
    current = moment.year * 12 + moment.month - 1
    previous = current - 1
    return f"{previous // 12}-{previous % 12 + 1:02}", f"{current // 12}-{current % 12 + 1:02}"


def nothing_changed(night: Night) -> str:
    """``nothing changed: 6 sources, 24 billing periods looked at``."""
    sources, periods = _count(night.sources, "source"), _count(night.periods, "billing period")
    return f"nothing changed: {sources}, {periods} looked at"


def never_pulled(night: Night) -> str:
    """What sources have that no night pulls by itself, and how to pull it; empty where there is nothing."""
    if not night.never_pulled:
        return ""
    first, last = night.never_pulled[0], night.never_pulled[-1]
    periods = _count(len(night.never_pulled), "older billing period")
    return f"never pulled: {periods}; to have what sources offer of them: apportion run --period {first}..{last}"


def not_looked_at(night: Night) -> list[str]:
    """A message for each source that can't be looked at."""
    return [
        f"{name} can't be looked at; what landed of it before stands: {problem}"
        for name, problem in night.refused.items()
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
