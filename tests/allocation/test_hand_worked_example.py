"""One pool, half by GPU-hours and half by tokens, every amount worked out by hand from CONTRACTS.md §4 and §5.

Two teams share a node of four GPUs, i-1. Floors are shares of 10^18; amounts have 18 places. Targets lie in byte order,
so ads comes before search.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from pipelines.allocation.dimensions import Dimension, Dimensions, Lookup, LookupSource, TagSource
from tests.allocation.allocation_tables import Row, allocate, delivered, failed_audits, rule_set, session, stage

RULE = """
rule: gpu-cluster-shared
priority: 100
valid_from: 2026-08-01
state: showback
pool: {where: {tag: cluster, equals: train}}
grain: hour
target: [team]
method:
  blend:
    - {driver: gpu_hours_held, weight: "0.5"}
    - {driver: tokens_weighted, weight: "0.5"}
gap: own_line
idle: {unheld: own_line, held: in_key}
on_zero_weight: renormalise
"""

DIMENSIONS = Dimensions(
    dimensions={
        "team": Dimension(sources=(TagSource(tag="team"),)),
        "cost_center": Dimension(
            sources=(LookupSource(lookup=Lookup(dimension="team", values={"ads": "CC-2", "search": "CC-1"})),)
        ),
    }
)


def charge(hour: str, cost: str, **columns: Any) -> Row:
    """A node-hour of the pool; list cost twice, contracted cost half the cost, one instance-hour of four GPUs."""
    day, clock = hour.split("T")
    return {
        "ChargePeriodStart": f"{day} {clock}:00:00",
        "ChargePeriodEnd": f"{day} {int(clock) + 1:02}:00:00",
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ListCost": 2 * Decimal(cost),
        "ContractedCost": Decimal(cost) / 2,
        "ConsumedQuantity": "1",
        "ConsumedUnit": "Hours",
        "PricingQuantity": "1",
        "PricingUnit": "Hours",
        "ResourceId": "i-1",
        "x_GpuModel": "NVIDIA H100",
        "x_GpuCount": 4,
        "Tags": '{"cluster":"train"}',
        **columns,
    }


def held(hour: str, team: str, hours: str) -> Row:
    day, clock = hour.split("T")
    return {
        "x_Day": day,
        "hour": f"{day} {clock}:00:00",
        "workload": f"{team}/pod",
        "team": team,
        "gpu_hours_capacity": hours,
        "gpu_hours_held": hours,
    }


def unheld(hour: str, hours: str, gap: str = "0") -> Row:
    day, clock = hour.split("T")
    return {"x_Day": day, "hour": f"{day} {clock}:00:00", "gpu_hours_capacity": hours, "gpu_hours_gap": gap}


def tokens(hour: str, team: str, count: int) -> Row:
    day, clock = hour.split("T")
    return {"x_Day": day, "hour": f"{day} {clock}:00:00", "team": team, "tokens_output": count}


SHARED, IDLE, GAP, MIXED, ZERO, MISSING = (
    "2026-10-05T00",
    "2026-10-05T01",
    "2026-10-05T02",
    "2026-10-05T03",
    "2026-10-05T04",
    "2026-10-06T00",
)

CHARGES = [
    charge(SHARED, "100"),
    charge(SHARED, "-7", ChargeCategory="Credit", ConsumedQuantity=None, ConsumedUnit=None),
    charge(SHARED, "-0.000000000000000001", ContractedCost="0"),
    charge(IDLE, "100"),
    charge(GAP, "100"),
    charge(MIXED, "10"),
    charge(ZERO, "10.000000000000000001", ContractedCost="5"),
    # Three GPUs, all of them measured: no gap.
    charge(MISSING, "12", x_GpuCount=3),
    charge(SHARED, "5", Tags='{"team":"search"}'),
    charge(SHARED, "6", Tags=None),
]
GPU_HOURS = [
    held(SHARED, "search", "3"),
    held(SHARED, "ads", "1"),
    unheld(IDLE, "4"),
    # Nothing at all in the gap hour: the bill alone knows of its 1 h x 4 GPUs.
    held(MIXED, "search", "1"),
    held(MIXED, "ads", "1"),
    unheld(MIXED, "1"),
    unheld(MIXED, "1", gap="1"),
    held(ZERO, "search", "3"),
    held(ZERO, "ads", "1"),
    held(MISSING, "search", "2"),
    held(MISSING, "ads", "1"),
]
TOKENS = [
    tokens(SHARED, "ads", 10),
    tokens(IDLE, "ads", 5),
    tokens(MIXED, "search", 30),
    tokens(MIXED, "ads", 10),
]
DELIVERIES = [
    *delivered("2026-10-05", "2026-10-06"),
    *delivered("2026-10-05", "2026-10-07", source_name="gateway", measures="tokens"),
    {
        "x_Day": "2026-10-06",
        "source_name": "gateway",
        "source_kind": "litellm",
        "state": "missing",
        "watermark": "2026-10-07 00:00:00",
        "measures": "tokens",
    },
]

# charge, part, target, component, EffectiveCost
EXPECTED = [
    # 100 over GPU-hours 3:1 and tokens 0:10, nothing idle.
    # ads 0.5 x 1/4 + 0.5 x 10/10 = 0.625, search 0.5 x 3/4 = 0.375.
    (1, 1, "ads", "shared", "62.5"),
    (1, 2, "search", "shared", "37.5"),
    # A credit goes the way of the cost: -7 x 0.625, -7 x 0.375.
    (2, 1, "ads", "shared", "-4.375"),
    (2, 2, "search", "shared", "-2.625"),
    # The smallest amount: R(-1 x 0.625) = -1 unit for ads, the rest, 0, for search. A part of 0 still is a part.
    (3, 1, "ads", "shared", "-0.000000000000000001"),
    (3, 2, "search", "shared", "0"),
    # Nobody held any of the four GPUs: tokens or not, all of it is idle.
    (4, 1, "__idle__", "idle", "100"),
    # Billed and not measured, although the day was delivered: all of it is gap.
    (5, 1, "__gap__", "gap", "100"),
    # Of 4 GPU-hours 1 is gap and 1 idle: 10 x 1/4 each. The key divides 10 x 2/4 = 5 over GPU-hours 1:1, tokens 10:30.
    # ads 0.5 x 1/2 + 0.5 x 1/4 = 0.375 -> 1.875, search 0.5 x 1/2 + 0.5 x 3/4 = 0.625 -> 3.125.
    (6, 1, "ads", "shared", "1.875"),
    (6, 2, "search", "shared", "3.125"),
    (6, 3, "__gap__", "gap", "2.5"),
    (6, 4, "__idle__", "idle", "2.5"),
    # Tokens were measured and are zero: their weight goes to GPU-hours 1:3.
    # ads R(10.000000000000000001 x 0.25) = R(2.50000000000000000025) = 2.5, search the rest.
    (7, 1, "ads", "shared", "2.5"),
    (7, 2, "search", "shared", "7.500000000000000001"),
    # Tokens are missing and have no fallback: their half is unallocated. GPU-hours 1:2 divide the other half.
    # ads floor(10^18 x 0.5 x 1/3) = 166666666666666666 -> 12 x 0.166666666666666666 = 1.999999999999999992
    # search floor(10^18 x 0.5 x 2/3) = 333333333333333333, C = 0.499999999999999999
    #   -> 12 x C - 1.999999999999999992 = 5.999999999999999988 - 1.999999999999999992 = 3.999999999999999996
    # unallocated: the rest, 12 - 5.999999999999999988.
    (8, 1, "ads", "shared", "1.999999999999999992"),
    (8, 2, "search", "shared", "3.999999999999999996"),
    (8, 3, "__unallocated__", "unallocated", "6.000000000000000012"),
    # Outside the pool: its own tag, then nothing.
    (9, 1, "search/CC-1", "direct", "5"),
    (10, 1, "__unallocated__", "unallocated", "6"),
]


@pytest.fixture(scope="module")
def allocated() -> duckdb.DuckDBPyConnection:
    connection = session(CHARGES, gpu_hours=GPU_HOURS, tokens=TOKENS, deliveries=DELIVERIES)
    allocate(connection, rule_set(RULE, dimensions=DIMENSIONS))
    return connection


def test_every_amount_is_the_one_worked_out_by_hand(allocated: duckdb.DuckDBPyConnection) -> None:
    parts = allocated.execute(
        "SELECT x_SourceRow, x_PartNumber, x_TargetId, x_Component, EffectiveCost FROM allocation.charges"
    ).fetchall()
    assert parts == [(*part[:4], Decimal(part[4])) for part in EXPECTED]


def test_every_cost_and_quantity_is_split_by_the_same_shares(allocated: duckdb.DuckDBPyConnection) -> None:
    # The hour with gap and idle: shares 0.1875, 0.3125, 0.25, 0.25 of list 20, contracted 5, one instance-hour.
    parts = allocated.execute(
        "SELECT BilledCost, ListCost, ContractedCost, ConsumedQuantity, PricingQuantity, CommitmentDiscountQuantity "
        "FROM allocation.charges WHERE x_SourceRow = 6"
    ).fetchall()
    assert parts == [
        (Decimal("1.875"), Decimal("3.75"), Decimal("0.9375"), Decimal("0.1875"), Decimal("0.1875"), None),
        (Decimal("3.125"), Decimal("6.25"), Decimal("1.5625"), Decimal("0.3125"), Decimal("0.3125"), None),
        (Decimal("2.5"), Decimal("5"), Decimal("1.25"), Decimal("0.25"), Decimal("0.25"), None),
        (Decimal("2.5"), Decimal("5"), Decimal("1.25"), Decimal("0.25"), Decimal("0.25"), None),
    ]


def test_parts_say_who_bears_them_how_and_why_not(allocated: duckdb.DuckDBPyConnection) -> None:
    rule = rule_set(RULE, dimensions=DIMENSIONS).rules[0]
    method = f"gpu-cluster-shared@{rule.rule_hash[:12]}"
    parts = allocated.execute(
        "SELECT x_Disposition, x_Team, x_CostCenter, x_KeyQuality, x_UnallocatedReason, AllocatedResourceId, "
        "AllocatedMethodId, AllocatedTags FROM allocation.charges WHERE x_SourceRow >= 8"
    ).fetchall()
    assert parts == [
        ("shared", "ads", "CC-2", "exact", None, "ads", method, '{"cost_center":"CC-2","team":"ads"}'),
        ("shared", "search", "CC-1", "exact", None, "search", method, '{"cost_center":"CC-1","team":"search"}'),
        ("shared", None, None, "exact", "no_measurement", None, method, None),
        ("direct", "search", "CC-1", None, None, None, None, None),
        ("unallocated", None, None, None, "no_rule", None, None, None),
    ]


def test_a_hybrid_part_has_an_element_for_each_driver(allocated: duckdb.DuckDBPyConnection) -> None:
    details = allocated.execute(
        "SELECT AllocatedMethodDetails FROM allocation.charges WHERE x_SourceRow = 6 ORDER BY x_PartNumber"
    ).fetchall()
    assert [json.loads(text, parse_float=Decimal)["Elements"] for (text,) in details] == [
        # ads: half of the cost is the key's; 0.5 x 0.5 x 1/2 by hours, 0.5 x 0.5 x 1/4 by tokens (10 output tokens of
        # a model without a price of its own weigh 4 each).
        [
            element("0.125", "GPU-Hours", "1", "gpu_hours_held"),
            element("0.0625", "Weighted Tokens", "40", "tokens_weighted"),
        ],
        [
            element("0.125", "GPU-Hours", "1", "gpu_hours_held"),
            element("0.1875", "Weighted Tokens", "120", "tokens_weighted"),
        ],
        [{"AllocatedRatio": Decimal("0.25")}],
        [{"AllocatedRatio": Decimal("0.25")}],
    ]


def element(ratio: str, unit: str, quantity: str, driver: str) -> dict[str, Any]:
    return {
        "AllocatedRatio": Decimal(ratio),
        "UsageUnit": unit,
        "UsageQuantity": Decimal(quantity),
        "x_Driver": driver,
        "x_Weight": Decimal("0.5"),
    }


def test_the_ratios_of_a_charge_sum_to_exactly_one(allocated: duckdb.DuckDBPyConnection) -> None:
    details = allocated.execute(
        "SELECT x_SourceRow, AllocatedMethodDetails FROM allocation.charges WHERE AllocatedMethodId IS NOT NULL"
    ).fetchall()
    sums: dict[int, Decimal] = {}
    for row, text in details:
        for each in json.loads(text, parse_float=Decimal)["Elements"]:
            sums[row] = sums.get(row, Decimal(0)) + each["AllocatedRatio"]
    assert sums == dict.fromkeys(range(1, 9), Decimal(1))


def test_totals_and_the_work_list_follow(allocated: duckdb.DuckDBPyConnection) -> None:
    assert failed_audits(allocated, "allocation.charges") == []
    stage(allocated, "allocation.totals")
    assert failed_audits(allocated, "allocation.totals") == []
    by_component = allocated.execute(
        "SELECT day, team, component, sum(EffectiveCost) FROM staged GROUP BY ALL ORDER BY day, team NULLS LAST, component"
    ).fetchall()
    assert [(str(day), team, component, cost) for day, team, component, cost in by_component] == [
        # 62.5 - 4.375 - 0.000000000000000001 + 1.875 + 2.5
        ("2026-10-05", "ads", "shared", Decimal("62.499999999999999999")),
        ("2026-10-05", "search", "direct", Decimal("5")),
        # 37.5 - 2.625 + 0 + 3.125 + 7.500000000000000001
        ("2026-10-05", "search", "shared", Decimal("45.500000000000000001")),
        ("2026-10-05", None, "gap", Decimal("102.5")),
        ("2026-10-05", None, "idle", Decimal("102.5")),
        ("2026-10-05", None, "unallocated", Decimal("6")),
        ("2026-10-06", "ads", "shared", Decimal("1.999999999999999992")),
        ("2026-10-06", "search", "shared", Decimal("3.999999999999999996")),
        ("2026-10-06", None, "unallocated", Decimal("6.000000000000000012")),
    ]
    stage(allocated, "allocation.unallocated")
    assert failed_audits(allocated, "allocation.unallocated") == []
    assert allocated.execute("SELECT reason, pool, charges, EffectiveCost FROM staged").fetchall() == [
        ("no_measurement", "gpu-cluster-shared", 1, Decimal("6.000000000000000012")),
        ("no_rule", None, 1, Decimal("6")),
    ]
