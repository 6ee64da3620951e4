"""The charges of Acme's Azure enrolment: usage, a reservation, a savings plan, purchases, refunds and rounding.

Every charge has its cost in the actual and in the amortised view, or is in one of them alone. What commitments have
nothing to do with is the same in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from examples.acme.azure_organisation import (
    AI,
    CONSUMPTION,
    CORPORATE,
    ON_DEMAND,
    PLANNED,
    RESERVED,
    SIZES,
    Meter,
    Resource,
    Subscription,
    VirtualMachine,
)
from examples.acme.meters import varying_steps
from examples.acme.noise import identifier
from examples.acme.span import DAY_SECONDS, BillingMonth, epoch, is_weekend

OFFICE_HOURS = 12
"""Noon to midnight UTC from Monday to Friday."""

RESERVATION_RATE = Decimal("0.2268")
"""US dollars an hour of a reserved Standard_D8s_v5."""
INSTANCES = 4
RETURNED_ON = date(2026, 9, 21)
"""One of the reserved instances was returned; what was paid of it for the rest of the month came back."""

PLAN_BOUGHT_ON = date(2026, 9, 1)
PLAN_COMMITMENT = Decimal("2.00")
"""US dollars an hour."""
PLAN_RATES = {"Standard_E8s_v5": Decimal("0.3528"), "Standard_NC24ads_A100_v4": Decimal("2.56")}
"""US dollars an hour of a machine under the plan."""


@dataclass(frozen=True)
class Benefit:
    """A commitment as the charges name it."""

    pricing_model: str
    provider: str
    orders: str
    kind: str
    name: str
    order_name: str
    bought_on: date

    @property
    def order_id(self) -> str:
        """The id of its order."""
        return identifier(f"azure order {self.name}")

    @property
    def number(self) -> str:
        """Its own id."""
        return identifier(f"azure benefit {self.name}")

    @property
    def id(self) -> str:
        """Its resource id."""
        return f"/providers/{self.provider}/{self.orders}/{self.order_id}/{self.kind}/{self.number}"


RESERVATION = Benefit(
    "Reservation",
    "Microsoft.Capacity",
    "reservationOrders",
    "reservations",
    "VM_RI_08-01-2026_09-12",
    "Reserved VM Instance, Standard_D8s_v5, US East, 1 Year",
    date(2026, 8, 1),
)
SAVINGS_PLAN = Benefit(
    "SavingsPlan",
    "Microsoft.BillingBenefits",
    "savingsPlanOrders",
    "savingsPlans",
    "Compute_SavingsPlan_09-01-2026_08-30",
    "Compute savings plan, 1 Year",
    PLAN_BOUGHT_ON,
)
_PLAN_METER = Meter("Virtual Machines", "", "Compute savings plan", "1 Hour", Decimal(1), "Compute")


@dataclass(frozen=True)
class Charge:
    """One row. A view whose price is None doesn't have it; its cost is the quantity times that price."""

    day: date
    subscription: Subscription | None
    meter: Meter
    quantity: Decimal
    actual_price: Decimal | None
    amortised_price: Decimal | None
    resource: Resource | None = None
    charge_type: str = "Usage"
    frequency: str = "UsageBased"
    pricing_model: str = "OnDemand"
    benefit: Benefit | None = None
    publisher: str = "Microsoft"
    size: str = ""
    """The size of a virtual machine."""

    def price(self, *, amortised: bool) -> Decimal | None:
        """The price in one of the two views."""
        return self.amortised_price if amortised else self.actual_price


def charges(month: BillingMonth) -> list[Charge]:
    """All charges of the month's delivered days, in order of days."""
    found = [charge for day in month.delivered.days() for charge in _charges_of(day, month)]
    return sorted(found, key=lambda charge: charge.day)


def _charges_of(day: date, month: BillingMonth) -> Iterator[Charge]:
    if day == month.start:
        yield from _monthly_purchases(month)
    yield from _occasional(day)
    yield from _reserved_machines(day)
    if day >= PLAN_BOUGHT_ON:
        yield from _planned_machines(day)
    else:
        for machine in PLANNED:
            yield _on_demand(day, machine, Decimal(hours_of(machine, day)))
    for machine in ON_DEMAND:
        yield _on_demand(day, machine, Decimal(hours_of(machine, day)))
    yield from _consumption(day, month)
    if date.fromordinal(day.toordinal() + 1) == month.end:
        yield _rounding(day)


def hours_of(machine: VirtualMachine, day: date) -> int:
    """How many hours of the day a machine runs."""
    if not machine.in_office_hours:
        return 24
    return 0 if is_weekend(epoch(day)) else OFFICE_HOURS


def _on_demand(day: date, machine: VirtualMachine, hours: Decimal) -> Charge:
    meter = SIZES[machine.size]
    return Charge(
        day, machine.resource.subscription, meter, hours, meter.price, meter.price, machine.resource, size=machine.size
    )


def _covered(day: date, machine: VirtualMachine, hours: Decimal, benefit: Benefit, rate: Decimal) -> Charge:
    return Charge(
        day,
        machine.resource.subscription,
        SIZES[machine.size],
        hours,
        Decimal(0),
        rate,
        machine.resource,
        pricing_model=benefit.pricing_model,
        benefit=benefit,
        size=machine.size,
    )


def _unused(day: date, meter: Meter, quantity: Decimal, benefit: Benefit, rate: Decimal) -> Charge:
    return Charge(
        day,
        CORPORATE,
        meter,
        quantity,
        None,
        rate,
        charge_type=f"Unused{benefit.pricing_model}",
        pricing_model=benefit.pricing_model,
        benefit=benefit,
    )


def reserved_instances(day: date) -> int:
    """How many instances the reservation has on a day."""
    return INSTANCES - (day >= RETURNED_ON)


def _reserved_machines(day: date) -> Iterator[Charge]:
    left = reserved_instances(day)
    unused = 0
    for machine in RESERVED:
        hours = hours_of(machine, day)
        if left:
            left -= 1
            unused += 24 - hours
            if hours:
                yield _covered(day, machine, Decimal(hours), RESERVATION, RESERVATION_RATE)
        elif hours:
            yield _on_demand(day, machine, Decimal(hours))
    if unused:
        yield _unused(day, SIZES["Standard_D8s_v5"], Decimal(unused), RESERVATION, RESERVATION_RATE)


def _planned_machines(day: date) -> Iterator[Charge]:
    covered = {machine.resource.name: Decimal(0) for machine in PLANNED}
    unused = Decimal(0)
    office_hours = 0 if is_weekend(epoch(day)) else OFFICE_HOURS
    for hours, running in (
        (office_hours, PLANNED),
        (24 - office_hours, tuple(machine for machine in PLANNED if not machine.in_office_hours)),
    ):
        left = PLAN_COMMITMENT
        for machine in running:
            rate = PLAN_RATES[machine.size]
            part = min(left, rate)
            left -= part
            covered[machine.resource.name] += hours * part / rate
        unused += hours * left
    for machine in PLANNED:
        hours_covered = covered[machine.resource.name]
        if hours_covered:
            yield _covered(day, machine, hours_covered, SAVINGS_PLAN, PLAN_RATES[machine.size])
        if uncovered := hours_of(machine, day) - hours_covered:
            yield _on_demand(day, machine, uncovered)
    if unused:
        yield _unused(day, _PLAN_METER, unused, SAVINGS_PLAN, Decimal(1))


def _monthly_purchases(month: BillingMonth) -> Iterator[Charge]:
    """Each month is paid in advance, whole."""
    fee = RESERVATION_RATE * month.hours_in_month
    yield _purchase(month.start, SIZES["Standard_D8s_v5"], reserved_instances(month.start), fee, RESERVATION)
    if month.start >= PLAN_BOUGHT_ON:
        yield _purchase(month.start, _PLAN_METER, 1, PLAN_COMMITMENT * month.hours_in_month, SAVINGS_PLAN)
    labelling = Resource(AI, "rg-labelling", "Microsoft.SaaS/resources", "labelling", {"team": "Vision"})
    yield _marketplace(month.start, "Northwind Labelling", labelling, Decimal("450.00"), "Purchase", "Recurring")


def _purchase(day: date, meter: Meter, quantity: int, price: Decimal, benefit: Benefit) -> Charge:
    return Charge(
        day,
        CORPORATE,
        meter,
        Decimal(quantity),
        price,
        None,
        charge_type="Purchase" if quantity > 0 else "Refund",
        frequency="Recurring" if quantity > 0 else "OneTime",
        pricing_model=benefit.pricing_model,
        benefit=benefit,
    )


def _marketplace(
    day: date, publisher: str, resource: Resource, price: Decimal, charge_type: str, frequency: str
) -> Charge:
    meter = Meter("SaaS", "", f"{publisher} Standard", "1", price, "SaaS")
    return Charge(
        day,
        resource.subscription,
        meter,
        Decimal(-1 if charge_type == "Refund" else 1),
        price,
        price,
        resource,
        charge_type=charge_type,
        frequency=frequency,
        publisher=publisher,
    )


def _occasional(day: date) -> Iterator[Charge]:
    """What is bought or refunded once."""
    assessment = Resource(CORPORATE, "rg-monitor", "Microsoft.SaaS/resources", "security-assessment", {})
    if day == date(2026, 8, 12):
        yield _marketplace(day, "Contoso Security", assessment, Decimal("1200.00"), "Purchase", "OneTime")
    if day == date(2026, 9, 8):
        yield _marketplace(day, "Contoso Security", assessment, Decimal("150.00"), "Refund", "OneTime")
    if day == RETURNED_ON:
        days_left = (date(2026, 10, 1) - day).days
        yield _purchase(day, SIZES["Standard_D8s_v5"], -1, RESERVATION_RATE * 24 * days_left, RESERVATION)


def _consumption(day: date, month: BillingMonth) -> Iterator[Charge]:
    for consumption in CONSUMPTION:
        step = consumption.step
        if consumption.meter.unit == "1 GB/Month":
            # A day's part of the month's gigabytes, cut to the step.
            days = (month.end - month.start).days
            quantity = consumption.usual / days // step * step
        elif consumption.is_steady:
            quantity = consumption.usual
        else:
            key = f"azure {consumption.resource.id} {consumption.meter.name}"
            # In the middle of a working day: a day's amount doesn't follow the hours.
            noon = range(epoch(day) + DAY_SECONDS // 2, epoch(day) + DAY_SECONDS, DAY_SECONDS)
            ((_, steps),) = varying_steps(key, noon, int(consumption.usual / step), 1)
            quantity = steps * step
        meter = consumption.meter
        yield Charge(
            day,
            consumption.resource.subscription,
            meter,
            quantity,
            meter.price,
            meter.price,
            consumption.resource,
        )


def _rounding(day: date) -> Charge:
    """What Azure rounded over the month: a charge of no subscription."""
    amount = Decimal("0.0000417") if day.month % 2 else Decimal("-0.0000283")
    meter = Meter("Unassigned", "Unassigned", "Unassigned", "1", Decimal(1), "Unassigned")
    return Charge(
        day, None, meter, amount, Decimal(1), Decimal(1), charge_type="RoundingAdjustment", frequency="OneTime"
    )
