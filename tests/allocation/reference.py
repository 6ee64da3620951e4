"""CONTRACTS.md §4 and §5 once more, slowly: Python integers and fractions, a window at a time, no SQL.

Written from the text alone as a second opinion for the property tests; the published vectors check it too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

ONE = 10**18
RESERVED = {"__gap__": 1, "__idle__": 2, "__unallocated__": 3}


@dataclass(frozen=True)
class Entry:
    drivers: tuple[str, ...]  # the driver, then its fallbacks
    weight: Fraction


@dataclass(frozen=True)
class Policy:
    blend: tuple[Entry, ...]
    gap: str
    unheld: str
    owner: str | None
    held: str
    on_zero: str


@dataclass(frozen=True)
class Measured:
    state: str
    values: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    capacity: int
    gap: int
    held: Mapping[str, int]
    active: Mapping[str, int]
    drivers: Mapping[str, Measured]


def floor(number: Fraction) -> int:
    return number.numerator // number.denominator


def divide(policy: Policy, window: Window) -> tuple[list[tuple[str, str, int]], str]:
    """The window's elements (target, component, cumulative share of 10^18) in vector order, and its key quality."""
    total_held = sum(window.held.values())
    capacity = window.capacity
    available = capacity - window.gap
    gap = idle = 0
    held_idle: dict[str, int] = {}
    held_idle_hours: dict[str, int] = {}
    if capacity > 0:
        gap = floor(Fraction(ONE * window.gap, capacity))
        scale = Fraction(available, total_held) if total_held > available else Fraction(1)
        idle = ONE - gap if total_held == 0 else floor(Fraction(ONE * max(0, available - total_held), capacity))
        if policy.held == "holder":
            for target, active in window.active.items():
                unused = max(0, window.held[target] - active)
                held_idle_hours[target] = unused
                held_idle[target] = floor(ONE * unused * scale / capacity)
    key_part = ONE - idle - sum(held_idle.values()) - (gap if policy.gap == "own_line" else 0)

    def values(driver: str) -> dict[str, int]:
        given = dict(window.drivers[driver].values)
        if driver == "gpu_hours_held":
            given = {target: max(0, value - held_idle_hours.get(target, 0)) for target, value in given.items()}
        return given

    estimated = proxy = False
    stands: list[tuple[Entry, str | None]] = []
    for entry in policy.blend:
        chosen = None
        for position, driver in enumerate(entry.drivers):
            measured = window.drivers.get(driver, Measured("missing"))
            estimated |= measured.state == "late"
            if measured.state == "missing" or (measured.state == "late" and sum(values(driver).values()) == 0):
                continue
            chosen = driver
            proxy |= position > 0
            break
        stands.append((entry, chosen))
    listed = sorted({target for _, driver in stands if driver for target in values(driver)} - {"__unallocated__"})
    live = [(entry, driver) for entry, driver in stands if driver and sum(values(driver).values()) > 0]
    zero = [entry for entry, driver in stands if driver and sum(values(driver).values()) == 0]
    live_weight = sum((entry.weight for entry, _ in live), Fraction(0))
    zero_weight = sum((entry.weight for entry in zero), Fraction(0))

    shares: dict[str, int] = {}

    def add(target: str, share: int) -> None:
        shares[target] = shares.get(target, 0) + share

    for entry, driver in live:
        weight = entry.weight
        if policy.on_zero == "renormalise" and zero:
            weight = entry.weight * (live_weight + zero_weight) / live_weight
        total = sum(values(driver).values())
        for target, value in values(driver).items():
            add(target, floor(ONE * weight * value / total))
    for entry, chosen in stands:
        if chosen is None:
            add("__unallocated__", floor(ONE * entry.weight))
    for entry in zero:
        if policy.on_zero == "even" and listed:
            estimated = True
            for target in listed:
                add(target, floor(ONE * entry.weight) // len(listed))
        elif policy.on_zero != "renormalise" or not live:
            add("__unallocated__", floor(ONE * entry.weight))

    elements: dict[tuple[str, str], int] = {}

    def place(target: str, component: str, share: int) -> None:
        elements[target, component] = elements.get((target, component), 0) + share

    for target, share in shares.items():
        place(target, "unallocated" if target == "__unallocated__" else "shared", key_part * share // ONE)
    if policy.gap == "own_line":
        place("__gap__", "gap", gap)
    for target, share in held_idle.items():
        place(target, "idle", share)
    if policy.unheld == "owner" and policy.owner is not None:
        place(policy.owner, "idle", idle)
    elif policy.unheld == "proportional":
        for target, share in shares.items():
            place(target, "idle", idle * share // ONE)
    elif policy.unheld == "even" and listed:
        for target in listed:
            place(target, "idle", idle // len(listed))
    else:
        place("__idle__", "idle", idle)

    ordered = sorted(
        ((target, component, share) for (target, component), share in elements.items() if share),
        key=lambda element: (RESERVED.get(element[0], 0), element[0].encode(), element[1].encode()),
    )
    cumulated, through = [], 0
    for target, component, share in ordered:
        through += share
        cumulated.append((target, component, through))
    cumulated[-1] = (*cumulated[-1][:2], ONE)
    return cumulated, "estimated" if estimated else "proxy" if proxy else "exact"


def amounts(cost: Decimal, cumulated: list[int]) -> list[Decimal]:
    """R(cost x C_i / 10^18) - R(cost x C_i-1 / 10^18) for each cumulative share."""
    with localcontext() as context:
        context.prec = 120
        rounded = [
            (cost * share / ONE).quantize(Decimal(1).scaleb(-18), rounding=ROUND_HALF_UP) for share in [0, *cumulated]
        ]
        return [after - before for before, after in itertools.pairwise(rounded)]
