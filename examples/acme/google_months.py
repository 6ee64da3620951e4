"""Google's invoice months: those of Los Angeles, seven hours after UTC's on all days of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache

from examples.acme.span import DAY_SECONDS, FIRST_DAY, HOUR_SECONDS, Span, epoch, next_month

BEHIND_UTC = 7 * HOUR_SECONDS
"""Summer time of Los Angeles, which lasts until November 2026."""


@dataclass(frozen=True)
class InvoiceMonth:
    """An invoice month with the hours of it that have been metered, as seconds since 1970-01-01 UTC."""

    month: date
    hours: range

    @property
    def start(self) -> int:
        """Its first second."""
        return epoch(self.month) + BEHIND_UTC

    @property
    def end(self) -> int:
        """The second after its last."""
        return epoch(next_month(self.month)) + BEHIND_UTC

    @property
    def days(self) -> range:
        """The start of each day that has been metered whole."""
        first = self.start - (self.start - self.hours.start) // DAY_SECONDS * DAY_SECONDS
        return range(first, self.hours.stop - DAY_SECONDS + 1, DAY_SECONDS)

    @property
    def has_ended(self) -> bool:
        """Whether all of it has been metered, so that what depends on the whole of it is known."""
        return self.hours.stop >= self.end


@cache
def invoice_month(second: int) -> str:
    """The invoice month that usage starting at `second` belongs to, as the export writes it: `202608`."""
    return datetime.fromtimestamp(second - BEHIND_UTC, UTC).strftime("%Y%m")


def invoice_months(span: Span) -> list[InvoiceMonth]:
    """The invoice months that the span's hours belong to. July's, the first seven hours of August, isn't in the demo."""
    first, end = max(epoch(span.first_day), epoch(FIRST_DAY) + BEHIND_UTC), epoch(span.end_day)
    months = []
    while first < end:
        month = datetime.fromtimestamp(first - BEHIND_UTC, UTC).date().replace(day=1)
        following = epoch(next_month(month)) + BEHIND_UTC
        months.append(InvoiceMonth(month, range(first, min(following, end), HOUR_SECONDS)))
        first = following
    return months
