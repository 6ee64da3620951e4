"""The days a generator run covers, and the hours and billing periods in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

FIRST_DAY = date(2026, 8, 1)
END_DAY = date(2026, 10, 16)
"""The demo company's clock stands at the start of this day; the last day delivered is the one before."""

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS


@dataclass(frozen=True)
class Span:
    """UTC days from `first_day` up to, not including, `end_day`."""

    first_day: date
    end_day: date

    def days(self) -> Iterator[date]:
        """Each day, in order."""
        for offset in range((self.end_day - self.first_day).days):
            yield self.first_day + timedelta(days=offset)

    def hours(self) -> range:
        """The start of each hour as seconds since 1970-01-01 UTC."""
        return range(epoch(self.first_day), epoch(self.end_day), HOUR_SECONDS)

    def __contains__(self, day: date) -> bool:
        return self.first_day <= day < self.end_day

    def months(self) -> list[BillingMonth]:
        """The billing periods the span touches, each with the days of it that lie in the span."""
        months: list[BillingMonth] = []
        month = self.first_day.replace(day=1)
        while month < self.end_day:
            following = next_month(month)
            delivered = Span(max(month, self.first_day), min(following, self.end_day))
            months.append(BillingMonth(month, following, delivered))
            month = following
        return months


@dataclass(frozen=True)
class BillingMonth:
    """A calendar month, half-open, and the days of it that have been metered so far."""

    start: date
    end: date
    delivered: Span

    @property
    def label(self) -> str:
        """The billing period as apportion writes it, `2026-08`."""
        return self.start.strftime("%Y-%m")

    @property
    def is_final(self) -> bool:
        """Whether the invoice was issued: the month had ended at the demo company's clock."""
        return self.end <= END_DAY

    @property
    def hours_in_month(self) -> int:
        """Hours of the whole calendar month, metered or not."""
        return (self.end - self.start).days * 24


def next_month(day: date) -> date:
    """The first day of the following month."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def epoch(day: date) -> int:
    """Midnight UTC of `day` as seconds since 1970-01-01."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def is_weekend(second: int) -> bool:
    """Whether the second lies on a Saturday or Sunday (1970-01-01 was a Thursday)."""
    return (second // DAY_SECONDS + 3) % 7 >= 5


def hour_of_day(second: int) -> int:
    """The UTC hour, 0 to 23."""
    return second % DAY_SECONDS // HOUR_SECONDS
