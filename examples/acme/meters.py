"""Bill lines before they take a vendor's shape: exact integers, and what a meter's lines have in common."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from examples.acme.noise import noise
from examples.acme.span import DAY_SECONDS, HOUR_SECONDS, hour_of_day, is_weekend

SCALE = 10**10
"""Costs and amounts are whole numbers of 10^-10: below 10^5 such a decimal survives the way through a double."""


class Line(NamedTuple):
    """One line of a meter: its period in seconds since 1970-01-01 UTC, and integers of 10^-10."""

    start: int
    end: int
    amount: int
    unblended: int
    on_demand: int
    """The public on-demand cost."""
    used_commitment: int | None = None


CurValue = str | Decimal | Mapping[str, str] | None

NOWHERE: Mapping[str, CurValue] = {
    "product_region_code": None,
    "product_location": None,
    "product_location_type": None,
}
"""The columns of a charge that belongs to no region, as AWS leaves them for tax, support, plans and credits."""


@dataclass(frozen=True)
class Meter:
    """Lines that differ only in time and amount. `columns` are the CUR 2.0 columns that they share."""

    columns: Mapping[str, CurValue]
    lines: Sequence[Line]
    told_apart_by: str = ""
    """What distinguishes the meter from another with the same columns."""

    def line_item_id(self, day: int) -> str:
        """The id AWS would give this meter's lines of a day: repeated within it, as real ids are."""
        return base64.b32encode(hashlib.shake_128(f"{self._identity}|{day}".encode()).digest(35)).decode().lower()[:52]

    @cached_property
    def _identity(self) -> str:
        return repr((self.told_apart_by, sorted(self.columns.items())))


def scaled(value: Decimal | str) -> int:
    """A decimal of at most 10 places as a whole number of 10^-10."""
    exact = Decimal(value).scaleb(10)
    if exact != exact.to_integral_value():
        raise ValueError(f"{value} has more than 10 decimal places")
    return int(exact)


def rated(amount: int, rate: Decimal) -> int:
    """An amount in units of 10^-10 at a rate; both must be short enough for the product to be exact."""
    return scaled(Decimal(amount) / SCALE * rate)


def always(hours: range) -> list[int]:
    """Every hour."""
    return list(hours)


def office_hours(hours: range) -> list[int]:
    """Noon to midnight UTC from Monday to Friday, when people on the American east coast work."""
    return [hour for hour in hours if hour_of_day(hour) >= 12 and not is_weekend(hour)]


def hourly_lines(hours: Iterable[int], amount: int, rate: Decimal, on_demand_rate: Decimal) -> list[Line]:
    """One line an hour of the same amount."""
    unblended, on_demand = rated(amount, rate), rated(amount, on_demand_rate)
    return [Line(hour, hour + HOUR_SECONDS, amount, unblended, on_demand) for hour in hours]


def varying_steps(key: str, hours: Iterable[int], usual: int, step: int) -> Iterator[tuple[int, int]]:
    """Each hour with a number of steps that makes between 50 % and 150 % of `usual`, at least one.

    Follows the day: a third less outside 12:00 to 24:00 UTC, half of that again at weekends.
    """
    drawn_on: dict[int, tuple[int, ...]] = {}
    for hour in hours:
        day = hour // DAY_SECONDS
        # Drawn day by day, so that a day's lines don't depend on which days are generated with it.
        if day not in drawn_on:
            drawn_on[day] = noise(f"amount {key} {day}", 24)
        drawn = drawn_on[day][hour_of_day(hour)]
        level = usual if hour_of_day(hour) >= 12 else usual * 2 // 3
        if is_weekend(hour):
            level //= 2
        yield hour, max(1, (level // 2 + level * drawn // 65536) // step)


def varying_lines(key: str, hours: Iterable[int], usual: int, step: int, rate: Decimal) -> list[Line]:
    """One line an hour of `varying_steps`, `usual` and `step` in units of 10^-10."""
    rate_per_step = rated(step, rate)
    lines = []
    for hour, steps in varying_steps(key, hours, usual, step):
        cost = steps * rate_per_step
        lines.append(Line(hour, hour + HOUR_SECONDS, steps * step, cost, cost))
    return lines
