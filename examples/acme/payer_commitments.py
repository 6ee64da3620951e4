"""Acme's savings plans and reservations: what they cover, what they cost, what of them went unused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from examples.acme.inventory import CPU_NODE_TAGS, GPU_NODE_TAGS, INSTANCES, ON_DEMAND_RATES
from examples.acme.meters import NOWHERE, SCALE, CurValue, Line, Meter, hourly_lines, rated, scaled
from examples.acme.organisation import (
    ACCOUNT_NAMES,
    GPU_NODES,
    PAYER_ACCOUNT,
    PLATFORM_ACCOUNT,
    REGION,
    SEARCH_ACCOUNT,
)
from examples.acme.payer_usage import compute, cpu_node_hours, cpu_nodes_on_demand
from examples.acme.span import HOUR_SECONDS, BillingMonth, epoch

HOURS_IN_TERM = 8760


@dataclass(frozen=True)
class SavingsPlan:
    """A one-year compute savings plan: US dollars an hour committed, and how much of it was paid upfront."""

    name: str
    bought_on: date
    recurring: Decimal
    amortised_upfront: Decimal
    payment_option: str

    @property
    def commitment(self) -> Decimal:
        """What an hour of the plan costs, used or not."""
        return self.recurring + self.amortised_upfront

    @property
    def columns(self) -> dict[str, CurValue]:
        """The columns that name the plan on every line it has to do with."""
        return {
            "savings_plan_savings_plan_a_r_n": f"arn:aws:savingsplans::{PAYER_ACCOUNT}:savingsplan/{self.name}",
            "savings_plan_offering_type": "ComputeSavingsPlans",
            "savings_plan_payment_option": self.payment_option,
            "savings_plan_purchase_term": "1yr",
            "savings_plan_region": "Any",
            "savings_plan_start_time": f"{self.bought_on}T00:00:00.000Z",
            "savings_plan_end_time": f"{self.bought_on.replace(year=self.bought_on.year + 1)}T00:00:00.000Z",
        }


GPU_PLAN = SavingsPlan(
    "5a1e0c1d-7b1f-4a51-9d55-1f2b7c0a9e01", date(2026, 3, 1), Decimal("70.00"), Decimal("0"), "No Upfront"
)
CPU_PLAN = SavingsPlan(
    "5a1e0c1d-7b1f-4a51-9d55-1f2b7c0a9e02", date(2026, 9, 1), Decimal("1.70"), Decimal("1.70"), "Partial Upfront"
)

SAVINGS_PLAN_RATES = {"p5.48xlarge": Decimal("39.6288"), "m5.4xlarge": Decimal("0.561")}
"""US dollars an hour of an instance under either plan."""


@dataclass(frozen=True)
class Reservation:
    """A one-year reservation of some instances of one type: US dollars an hour of each."""

    name: str
    account: str
    instance_type: str
    instances: int
    recurring: Decimal
    amortised_upfront: Decimal
    bought_on: date
    offering: str

    @property
    def arn(self) -> str:
        """The reservation's ARN."""
        return f"arn:aws:ec2:{REGION}:{self.account}:reserved-instances/{self.name}"

    @property
    def columns(self) -> dict[str, CurValue]:
        """The columns that name the reservation on every line it has to do with."""
        return {
            "reservation_reservation_a_r_n": self.arn,
            "reservation_subscription_id": str(int(self.name[:8], 16)),
            "reservation_start_time": f"{self.bought_on}T00:00:00.000Z",
            "reservation_end_time": f"{self.bought_on.replace(year=self.bought_on.year + 1)}T00:00:00.000Z",
            "reservation_number_of_reservations": str(self.instances),
            "reservation_units_per_reservation": "1",
            "pricing_term": "Reserved",
            "pricing_lease_contract_length": "1yr",
            "pricing_offering_class": "standard",
            "pricing_purchase_option": self.offering,
        }


GPU_RESERVATION = Reservation(
    "7c3b9d10-41f0-4f0e-8f7b-aa10c2d4e801",
    PLATFORM_ACCOUNT,
    "p4d.24xlarge",
    1,
    Decimal("6.60"),
    Decimal("6.60"),
    date(2026, 8, 1),
    "Partial Upfront",
)
SEARCH_RESERVATION = Reservation(
    "7c3b9d10-41f0-4f0e-8f7b-aa10c2d4e802",
    SEARCH_ACCOUNT,
    "m6i.2xlarge",
    3,
    Decimal("0.2419"),
    Decimal("0"),
    date(2026, 2, 1),
    "No Upfront",
)


def commitments(month: BillingMonth) -> list[Meter]:
    """Everything of the month that has to do with a commitment."""
    gpu_plan = list(_covered_gpu_nodes(month))
    cpu_plan = list(_covered_cpu_nodes(month)) if month.start >= CPU_PLAN.bought_on else []
    meters = [*gpu_plan, *_plan_fees(month, GPU_PLAN, gpu_plan)]
    if cpu_plan:
        meters += [*cpu_plan, *_plan_fees(month, CPU_PLAN, cpu_plan)]
    else:
        meters += cpu_nodes_on_demand(month)
    return [*meters, *_reserved_usage(month)]


def _covered_gpu_nodes(month: BillingMonth) -> Iterator[Meter]:
    for node in GPU_NODES:
        if node.pricing in ("savings plan", "part savings plan"):
            amount = SCALE if node.pricing == "savings plan" else SCALE * 3 // 4
            columns = compute(PLATFORM_ACCOUNT, node.instance_type, node.instance_id, GPU_NODE_TAGS)
            yield from _covered(GPU_PLAN, columns, node.instance_type, list(month.delivered.hours()), amount)


def _covered_cpu_nodes(month: BillingMonth) -> Iterator[Meter]:
    for instance_id, hours in cpu_node_hours(month):
        columns = compute(PLATFORM_ACCOUNT, "m5.4xlarge", instance_id, CPU_NODE_TAGS)
        yield from _covered(CPU_PLAN, columns, "m5.4xlarge", hours, SCALE)


def _covered(
    plan: SavingsPlan, columns: Mapping[str, CurValue], instance_type: str, hours: list[int], amount: int
) -> Iterator[Meter]:
    """A covered meter and its negation: line by line the same on-demand cost with the other sign."""
    on_demand_rate, plan_rate = ON_DEMAND_RATES[instance_type], SAVINGS_PLAN_RATES[instance_type]
    lines = hourly_lines(hours, amount, on_demand_rate, on_demand_rate)
    yield Meter(
        {
            **columns,
            **plan.columns,
            "line_item_line_item_type": "SavingsPlanCoveredUsage",
            "savings_plan_savings_plan_rate": plan_rate,
            "savings_plan_savings_plan_effective_cost": Decimal(rated(amount, plan_rate)) / SCALE,
        },
        lines,
    )
    yield Meter(
        {
            **columns,
            **plan.columns,
            "line_item_line_item_type": "SavingsPlanNegation",
            "line_item_resource_id": None,
            "line_item_line_item_description": f"SavingsPlanNegation used by AccountId : {PLATFORM_ACCOUNT} "
            f"and UsageSku : {columns['product_sku']}",
            "line_item_unblended_rate": None,
            "pricing_public_on_demand_rate": None,
        },
        [line._replace(unblended=-line.unblended, on_demand=0) for line in lines],
        told_apart_by=str(columns["line_item_resource_id"]),
    )


def _plan_fees(month: BillingMonth, plan: SavingsPlan, covered: list[Meter]) -> Iterator[Meter]:
    used: defaultdict[int, int] = defaultdict(int)
    for meter in covered:
        effective = meter.columns.get("savings_plan_savings_plan_effective_cost")
        if isinstance(effective, Decimal):
            for line in meter.lines:
                used[line.start] += scaled(effective)
    fee = {
        **plan.columns,
        "line_item_usage_account_id": PAYER_ACCOUNT,
        "line_item_usage_account_name": ACCOUNT_NAMES[PAYER_ACCOUNT],
        "line_item_product_code": "ComputeSavingsPlans",
        "line_item_resource_id": plan.columns["savings_plan_savings_plan_a_r_n"],
        "product_servicecode": "ComputeSavingsPlans",
        "product_product_family": "ComputeSavingsPlans",
        "product": {"product_name": "Savings Plans for AWS Compute usage"},
        **NOWHERE,
        "resource_tags": {},
    }
    yield Meter(
        {
            **fee,
            "line_item_line_item_type": "SavingsPlanRecurringFee",
            "line_item_usage_type": f"ComputeSP:1yr{plan.payment_option.replace(' ', '')}",
            "line_item_line_item_description": f"1 year {plan.payment_option} Compute Savings Plan",
            "pricing_unit": "Hrs",
            "savings_plan_total_commitment_to_date": plan.commitment,
            "savings_plan_recurring_commitment_for_billing_period": plan.recurring,
            "savings_plan_amortized_upfront_commitment_for_billing_period": plan.amortised_upfront,
        },
        [
            Line(hour, hour + HOUR_SECONDS, SCALE, scaled(plan.recurring), 0, used[hour])
            for hour in month.delivered.hours()
        ],
    )
    if plan.amortised_upfront and plan.bought_on in month.delivered:
        bought_at = epoch(plan.bought_on)
        upfront = scaled(plan.amortised_upfront * HOURS_IN_TERM)
        yield Meter(
            {
                **fee,
                "bill_bill_type": "Purchase",
                "line_item_line_item_type": "SavingsPlanUpfrontFee",
                "line_item_usage_type": f"ComputeSP:1yr{plan.payment_option.replace(' ', '')}",
                "line_item_line_item_description": f"1 year {plan.payment_option} Compute Savings Plan, upfront fee",
            },
            [Line(bought_at, bought_at + HOUR_SECONDS, SCALE, upfront, 0)],
        )


def _reserved_usage(month: BillingMonth) -> Iterator[Meter]:
    hours = list(month.delivered.hours())
    for node in GPU_NODES:
        if node.pricing == "reserved":
            columns = compute(PLATFORM_ACCOUNT, node.instance_type, node.instance_id, GPU_NODE_TAGS)
            yield _discounted(GPU_RESERVATION, columns, hours)
    yield from _reservation_fees(month, GPU_RESERVATION, len(hours))
    used = 0
    for instance in INSTANCES:
        if instance.is_reserved:
            instance_hours = instance.hours(month.delivered.hours())
            columns = compute(instance.account, instance.instance_type, instance.instance_id, instance.tags)
            yield _discounted(SEARCH_RESERVATION, columns, instance_hours)
            used += len(instance_hours)
    yield from _reservation_fees(month, SEARCH_RESERVATION, used)


def _discounted(reservation: Reservation, columns: Mapping[str, CurValue], hours: list[int]) -> Meter:
    return Meter(
        {
            **columns,
            **reservation.columns,
            "line_item_line_item_type": "DiscountedUsage",
            "line_item_line_item_description": f"{reservation.instance_type} reserved instance applied",
            "line_item_unblended_rate": "0",
            "reservation_effective_cost": reservation.recurring + reservation.amortised_upfront,
            "reservation_recurring_fee_for_usage": reservation.recurring,
            "reservation_amortized_upfront_cost_for_usage": reservation.amortised_upfront,
        },
        hourly_lines(hours, SCALE, Decimal(0), ON_DEMAND_RATES[reservation.instance_type]),
    )


def _reservation_fees(month: BillingMonth, reservation: Reservation, used: int) -> Iterator[Meter]:
    """The fee of the hours delivered so far, with what of them went unused; the upfront fee when it was bought."""
    bought = len(month.delivered.hours()) * reservation.instances
    unused = bought - used
    columns = {
        **compute(reservation.account, reservation.instance_type, reservation.arn, {}),
        **reservation.columns,
        "line_item_availability_zone": None,
        "line_item_usage_type": f"HeavyUsage:{reservation.instance_type}",
        "line_item_unblended_rate": str(reservation.recurring),
        "pricing_public_on_demand_rate": None,
        "product_usagetype": f"HeavyUsage:{reservation.instance_type}",
    }
    start, end = epoch(month.delivered.first_day), epoch(month.delivered.end_day)
    yield Meter(
        {
            **columns,
            "line_item_line_item_type": "RIFee",
            "line_item_line_item_description": f"USD {reservation.recurring} hourly fee per Linux "
            f"{reservation.instance_type} instance",
            "reservation_total_reserved_units": str(bought),
            "reservation_amortized_upfront_fee_for_billing_period": reservation.amortised_upfront * bought,
            "reservation_unused_quantity": Decimal(unused),
            "reservation_unused_recurring_fee": reservation.recurring * unused,
            "reservation_unused_amortized_upfront_fee_for_billing_period": reservation.amortised_upfront * unused,
        },
        [Line(start, end, bought * SCALE, scaled(reservation.recurring * bought), 0)],
    )
    if reservation.amortised_upfront and reservation.bought_on in month.delivered:
        bought_at = epoch(reservation.bought_on)
        upfront = reservation.amortised_upfront * HOURS_IN_TERM * reservation.instances
        yield Meter(
            {
                **columns,
                "bill_bill_type": "Purchase",
                "line_item_line_item_type": "Fee",
                "line_item_line_item_description": f"Upfront fee for {reservation.instance_type} reserved instances",
                "line_item_unblended_rate": str(upfront),
                "reservation_upfront_value": upfront,
            },
            [Line(bought_at, bought_at + HOUR_SECONDS, reservation.instances * SCALE, scaled(upfront), 0)],
        )
