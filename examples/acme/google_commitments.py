"""Acme's commitments at Google: GPUs for a year, and US dollars an hour in the old model and from September the new.

The old model bills fees and gives covered usage a credit of its whole cost. The new model prices covered usage at the
commitment's rate and sets what is used off against the fees (Google Cloud, "Spend-based CUD programme improvements").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from examples.acme.google_lines import (
    COMPUTE_ENGINE,
    HOURS,
    SCALE,
    Credit,
    GoogleLine,
    GoogleMeter,
    Sku,
    priced,
    scaled,
    steady,
    subscription,
)
from examples.acme.google_months import InvoiceMonth, invoice_month
from examples.acme.google_organisation import COMMITMENTS, CPU_NODES, GPU_NODES, ClusterNode
from examples.acme.google_usage import CORE_SKUS, GPU_SKUS, RAM_SKUS, node_meter
from examples.acme.span import HOUR_SECONDS, hour_of_day

NEW_MODEL_SINCE = "202609"


@dataclass(frozen=True)
class _Part:
    """What one resource of one node, its cores or its memory, costs in an hour, and how much of it is covered."""

    node: ClusterNode
    sku: Sku
    units: int
    covered: int
    """At the price without commitment, like `uncovered`."""
    uncovered: int


COMMITTED_GPUS = 4
GPU_FEE = Sku(
    COMPUTE_ENGINE, "Commitment v1: Nvidia Tesla A100 GPU running in Americas for 1 Year", HOURS, Decimal("1.764")
)
GPU_SUBSCRIPTION = subscription("a100")
GPU_CREDIT = Credit("COMMITTED_USAGE_DISCOUNT", "Committed Usage Discount: GPU", "", "Committed Usage Discount: GPU")

COMMITTED_SPEND = Decimal("1.50")
"""US dollars an hour at the prices without commitment."""
RATE = Decimal("0.72")
"""What a dollar of it costs."""
SPEND_FEE = Sku(COMPUTE_ENGINE, "Commitment - dollar based v1: GCE for 1 year", HOURS, Decimal("0.0072"))
"""The unit is an hour of a hundredth of a dollar, as in the old model; in the new one it is an hour of the fee."""
SPEND_SUBSCRIPTION = subscription("flexible")
SPEND_CREDIT = Credit(
    "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE",
    "Committed use discount - dollar based: GCE Commitments",
    "",
    "Committed use discount - dollar based: GCE Commitments",
)
SPEND_MODEL = "Compute Flexible CUDs 1 Year"
OFFSET = Credit("FEE_UTILIZATION_OFFSET", SPEND_MODEL, "", SPEND_MODEL)

_RESIDUE = scaled("0.000001")
"""By how much the offset of an hour falls short of the fee once a day, as Google's own examples show."""


def is_new_model(month: InvoiceMonth) -> bool:
    """Whether the billing account has moved to the new model."""
    return invoice_month(month.start) >= NEW_MODEL_SINCE


def committed_gpus(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """GPUs committed to for a year: each hour's fee, and usage with a credit of its whole cost. Unused at weekends."""
    sku = GPU_SKUS["a2"]
    for node in GPU_NODES:
        if node.machine.series == "a2":
            lines = steady(sku, node.hours(month.hours), node.machine.gpus)
            meter = node_meter(node, sku, [line._replace(credits=(-line.cost,)) for line in lines])
            yield replace(meter, credits=(GPU_CREDIT,))
    fees = steady(GPU_FEE, month.hours, COMMITTED_GPUS)
    yield GoogleMeter(GPU_FEE, COMMITMENTS, fees, subscription=GPU_SUBSCRIPTION, zone=None)


def committed_spend(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """The cluster's CPU nodes: a third more than the commitment in office hours, less at all other times."""
    parts = {hour: _parts(hour) for hour in month.hours}
    yield from (_new_usage if is_new_model(month) else _old_usage)(parts)
    for sku in (CORE_SKUS["n2"], RAM_SKUS["n2"], None):
        fees = {}
        for hour, of_hour in parts.items():
            if sku is None:
                covered = scaled(COMMITTED_SPEND) - sum(part.covered for part in of_hour)
            else:
                covered = sum(part.covered for part in of_hour if part.sku is sku)
            if covered:
                fees[hour] = rate_of(covered)
        labels = {} if sku is None else {"goog-originating-sku-id": sku.id}
        yield (_new_fees if is_new_model(month) else _old_fees)(fees, labels)


def rate_of(covered: int) -> int:
    """What the commitment asks for usage of that cost; exact."""
    return priced(covered, RATE)


def _parts(hour: int) -> list[_Part]:
    """The parts of an hour; the commitment covers them in order."""
    left = scaled(COMMITTED_SPEND)
    parts = []
    for node in CPU_NODES:
        if not node.hours(range(hour, hour + HOUR_SECONDS, HOUR_SECONDS)):
            continue
        for sku, units in ((CORE_SKUS["n2"], node.machine.vcpus), (RAM_SKUS["n2"], node.machine.memory)):
            cost = priced(units * SCALE, sku.price)
            covered = min(left, cost)
            left -= covered
            parts.append(_Part(node, sku, units * SCALE, covered, cost - covered))
    return parts


def _old_usage(parts: Mapping[int, list[_Part]]) -> Iterator[GoogleMeter]:
    for (node, sku), lines in _by_meter(
        (part, GoogleLine(hour, hour + HOUR_SECONDS, part.units, cost, cost, (-part.covered,)))
        for hour, of_hour in parts.items()
        for part in of_hour
        if (cost := part.covered + part.uncovered)
    ).items():
        yield replace(node_meter(node, sku, lines), credits=(SPEND_CREDIT,))


def _new_usage(parts: Mapping[int, list[_Part]]) -> Iterator[GoogleMeter]:
    committed, on_demand = [], []
    for hour, of_hour in parts.items():
        for part in of_hour:
            units = scaled(Decimal(part.covered) / SCALE / part.sku.price)
            if part.covered:
                line = GoogleLine(hour, hour + HOUR_SECONDS, units, rate_of(part.covered), part.covered)
                committed.append((part, line))
            if part.uncovered:
                line = GoogleLine(hour, hour + HOUR_SECONDS, part.units - units, part.uncovered, part.uncovered)
                on_demand.append((part, line))
    for (node, sku), lines in _by_meter(committed).items():
        meter = replace(node_meter(node, sku, lines), subscription=SPEND_SUBSCRIPTION)
        yield replace(meter, consumption_model=SPEND_MODEL, price=sku.price * RATE)
    for (node, sku), lines in _by_meter(on_demand).items():
        yield node_meter(node, sku, lines)


def _by_meter(lines: Iterable[tuple[_Part, GoogleLine]]) -> dict[tuple[ClusterNode, Sku], list[GoogleLine]]:
    meters: dict[tuple[ClusterNode, Sku], list[GoogleLine]] = {}
    for part, line in lines:
        meters.setdefault((part.node, part.sku), []).append(line)
    return meters


def _old_fees(fees: Mapping[int, int], labels: Mapping[str, str]) -> GoogleMeter:
    lines = [
        GoogleLine(hour, hour + HOUR_SECONDS, scaled(Decimal(fee) / SCALE / SPEND_FEE.price), fee, fee)
        for hour, fee in fees.items()
    ]
    return _fee_meter(lines, labels)


def _new_fees(fees: Mapping[int, int], labels: Mapping[str, str]) -> GoogleMeter:
    lines = [GoogleLine(hour, hour + HOUR_SECONDS, fee, fee, fee) for hour, fee in fees.items()]
    # What no SKU's usage stands behind went unused: nothing is set off against it.
    if labels:
        lines = [
            line._replace(credits=(-line.cost + (_RESIDUE if hour_of_day(line.start) == 4 else 0),)) for line in lines
        ]
    return replace(_fee_meter(lines, labels), price=Decimal(1), credits=(OFFSET,) if labels else ())


def _fee_meter(lines: list[GoogleLine], labels: Mapping[str, str]) -> GoogleMeter:
    return GoogleMeter(
        SPEND_FEE, COMMITMENTS, lines, labels=labels, subscription=SPEND_SUBSCRIPTION, zone=None, region=None
    )


def commitments(month: InvoiceMonth) -> list[GoogleMeter]:
    """Everything of the month that has to do with a commitment."""
    return [*committed_gpus(month), *committed_spend(month)]
