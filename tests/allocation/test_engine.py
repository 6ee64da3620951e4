"""What the engine does around the kernel: pools, windows, measurements, targets, and what it refuses."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.allocation.dimensions import Dimension, Dimensions, Lookup, LookupSource, TagSource
from pipelines.allocation.engine import create_allocation
from pipelines.allocation.shares import MeasurementError, ZeroWeightError
from pipelines.errors import DeliveryError
from pipelines.lake import tables as lake_tables
from pipelines.models.contracts import contracts
from tests.allocation.allocation_tables import Row, allocate, delivered, failed_audits, rule_set, session, stage

TEAM = Dimensions(dimensions={"team": Dimension(sources=(TagSource(tag="team"),))})
DAY = "2026-10-05"
OTHER_DAY = "2026-10-06"


def charge(start: str, end: str, cost: str = "12", **columns: Any) -> Row:
    return {
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        **dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), cost),
        "ResourceId": "i-1",
        **columns,
    }


def hour_charge(hour: int = 0, cost: str = "12", **columns: Any) -> Row:
    return charge(f"{DAY} {hour:02}:00:00", f"{DAY} {hour + 1:02}:00:00", cost, **columns)


def held(team: str | None, hours: str, hour: str = f"{DAY} 00:00:00", **columns: Any) -> Row:
    return {
        "x_Day": hour[:10],
        "hour": hour,
        "workload": f"{team}/pod",
        "team": team,
        "gpu_hours_capacity": hours,
        "gpu_hours_held": hours,
        **columns,
    }


def tokens(team: str | None, count: int, hour: str = f"{DAY} 00:00:00", **columns: Any) -> Row:
    return {"x_Day": hour[:10], "hour": hour, "team": team, "tokens_output": count, **columns}


def rule(name: str = "pool", **keys: str) -> str:
    """A rule of YAML, hourly by held GPU-hours over everything unless said otherwise."""
    lines = {
        "rule": name,
        "priority": "100",
        "valid_from": "2026-08-01",
        "state": "showback",
        "pool": "{where: {column: ServiceName, present: true}}",
        "grain": "hour",
        "target": "[team]",
        "method": "{driver: gpu_hours_held}",
        **keys,
    }
    return "\n".join(f"{key}: {value}" for key, value in lines.items())


GPUS = delivered(DAY, OTHER_DAY)
GATEWAY = delivered(DAY, OTHER_DAY, source_name="gateway", measures="tokens")


def parts(connection: duckdb.DuckDBPyConnection, *columns: str) -> list[tuple[Any, ...]]:
    chosen = ", ".join(columns or ("x_SourceRow", "x_TargetId", "x_Component", "EffectiveCost"))
    rows = connection.execute(f"SELECT {chosen} FROM allocation.charges").fetchall()
    return [tuple(plain(value) for value in row) for row in rows]


def plain(value: Any) -> Any:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else value


def test_without_rules_and_usage_everything_is_unallocated() -> None:
    connection = session([hour_charge(), hour_charge(Tags='{"team":"a"}')])
    allocate(connection, rule_set())
    assert parts(connection, "x_TargetId", "x_Component", "x_Disposition", "x_UnallocatedReason", "EffectiveCost") == [
        ("__unallocated__", "unallocated", "unallocated", "no_rule", "12"),
        ("__unallocated__", "unallocated", "unallocated", "no_rule", "12"),
    ]
    assert failed_audits(connection, "allocation.charges") == []


def test_an_empty_bill_gives_no_parts() -> None:
    connection = session([])
    allocate(connection, rule_set(rule()))
    assert parts(connection) == []


def test_outside_pools_the_component_is_the_first_that_fits() -> None:
    own = '{"team":"a"}'
    connection = session(
        [
            hour_charge(ChargeCategory="Tax"),
            hour_charge(ChargeCategory="Tax", Tags=own),
            hour_charge(ServiceSubcategory="Support", Tags=own),
            hour_charge(CommitmentDiscountStatus="Unused", ChargeCategory="Tax", Tags=own),
            hour_charge(Tags=own),
        ]
    )
    allocate(connection, rule_set(dimensions=TEAM))
    assert parts(connection, "x_TargetId", "x_Component") == [
        ("__unallocated__", "unallocated"),
        ("a/", "overhead"),
        ("a/", "overhead"),
        ("a/", "commitment_unused"),
        ("a/", "direct"),
    ]


def test_a_charge_is_direct_by_a_later_dimension_alone() -> None:
    dimensions = Dimensions(dimensions={"cost_center": Dimension(sources=(TagSource(tag="cc"),))})
    connection = session([hour_charge(Tags='{"cc":"CC/1"}')])
    allocate(connection, rule_set(dimensions=dimensions))
    assert parts(connection, "x_TargetId", "x_Disposition", "x_CostCenter") == [("/CC\\/1", "direct", "CC/1")]


def test_the_rule_with_the_smallest_priority_wins_and_a_pool_wins_over_a_tag() -> None:
    connection = session([hour_charge(Tags='{"team":"a"}')])
    direct = "{direct: b}"
    allocate(
        connection,
        rule_set(
            rule("second", priority="20", method=direct), rule("first", priority="10", method=direct), dimensions=TEAM
        ),
    )
    assert parts(connection, "x_RuleId", "x_TargetId", "x_Team", "x_Disposition") == [("first", "b", "b", "shared")]


def test_a_rule_applies_to_charges_from_its_first_day_until_before_its_last() -> None:
    days = [f"2026-10-{day:02}" for day in range(4, 8)]
    connection = session([charge(f"{day} 23:00:00", f"{day} 23:59:59", "1") for day in days])
    valid = rule(valid_from=days[1], valid_to=days[3], method="{direct: a}")
    later = rule("later", priority="1", valid_from="2027-01-01", method="{direct: b}")
    allocate(connection, rule_set(valid, later))
    assert parts(connection, "x_RuleId") == [(None,), ("pool",), ("pool",), (None,)]


@pytest.mark.parametrize(
    ("grain", "start", "end", "expected"),
    [
        # 3 GPU-hours of a and 1 of b in the hour; over the day 3 and 3; over the month 3 and 9.
        ("hour", f"{DAY} 00:00:00", f"{DAY} 01:00:00", ("9", "3")),
        ("hour", f"{DAY} 00:10:00", f"{DAY} 00:20:00", ("9", "3")),
        ("hour", f"{DAY} 00:30:00", f"{DAY} 02:00:00", ("6", "6")),
        ("hour", f"{DAY} 00:00:00", f"{OTHER_DAY} 00:00:00", ("6", "6")),
        ("hour", f"{DAY} 00:00:00", f"{OTHER_DAY} 00:00:01", ("3", "9")),
        ("day", f"{DAY} 00:00:00", f"{DAY} 01:00:00", ("6", "6")),
        ("month", f"{DAY} 00:00:00", f"{DAY} 01:00:00", ("3", "9")),
    ],
)
def test_the_window_is_the_grain_or_the_charge_s_day_or_its_own_period(
    grain: str, start: str, end: str, expected: tuple[str, str]
) -> None:
    connection = session(
        [charge(start, end)],
        gpu_hours=[
            held("a", "3"),
            held("b", "1"),
            held("b", "2", f"{DAY} 05:00:00"),
            held("b", "6", f"{OTHER_DAY} 00:00:00"),
        ],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule(grain=grain)))
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", expected[0]), ("b", expected[1])]


def test_a_month_long_charge_is_provisional_until_the_month_s_last_day_is_delivered() -> None:
    month = charge("2026-10-01 00:00:00", "2026-11-01 00:00:00")
    october = [f"2026-10-{day:02}" for day in range(1, 32)]
    quality = []
    for days in (october[:15], october):
        connection = session([month], gpu_hours=[held("a", "1")], deliveries=delivered(*days))
        allocate(connection, rule_set(rule()))
        quality += parts(connection, "x_TargetId", "x_KeyQuality")
    assert quality == [("a", "estimated"), ("a", "exact")]


def test_a_day_that_no_source_delivered_falls_back() -> None:
    missing = [{**GATEWAY[0], "state": "missing"}, GATEWAY[1]]
    connection = session([hour_charge()], gpu_hours=[held("a", "1")], deliveries=[*GPUS, *missing])
    allocate(connection, rule_set(rule(method="{driver: requests, fallback: [gpu_hours_held]}")))
    assert parts(connection, "x_TargetId", "x_KeyQuality") == [("a", "proxy")]


def test_a_driver_without_any_source_is_missing() -> None:
    connection = session([hour_charge()], gpu_hours=[held("a", "1")], deliveries=GPUS)
    allocate(connection, rule_set(rule(method="{driver: requests}")))
    assert parts(connection, "x_TargetId", "x_UnallocatedReason") == [("__unallocated__", "no_measurement")]


def test_use_without_a_target_stays_unallocated() -> None:
    connection = session(
        [hour_charge()], gpu_hours=[held("a", "1"), held(None, "3", workload="x/pod")], deliveries=GPUS
    )
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId", "EffectiveCost", "x_UnallocatedReason") == [
        ("a", "3", None),
        ("__unallocated__", "9", "unmapped"),
    ]


def billed(cost: str = "12", hour: int = 0, **columns: Any) -> Row:
    machine = {"ConsumedQuantity": "1", "ConsumedUnit": "Hours", "x_GpuCount": 4, "x_GpuModel": "NVIDIA H100"}
    return hour_charge(hour, cost, **{**machine, **columns})


def test_a_billed_hour_without_telemetry_is_gap_beside_a_machine_that_has_it() -> None:
    # i-1 was measured: 4 of 4 held. i-2 was billed for an hour in two lines, 0.25 and 0.75, of 4 GPUs: a gap of 4.
    connection = session(
        [
            billed(),
            billed(ResourceId="i-2", ConsumedQuantity="0.25"),
            billed(ResourceId="i-2", ConsumedQuantity="0.75"),
        ],
        gpu_hours=[held("a", "4")],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_SourceRow", "x_TargetId", "EffectiveCost") == [
        *((row, target, "6") for row in (1, 2, 3) for target in ("a", "__gap__"))
    ]


def test_gpus_of_a_billed_machine_without_telemetry_are_gap_beside_those_that_have_it() -> None:
    # 8 GPUs were billed for an hour, telemetry knows of one, which a and b held half each: gap 7/8 of 16 = 14.
    # The key divides 16 x 1/8 = 2 as 1 to 1.
    connection = session([billed("16", x_GpuCount=8)], gpu_hours=[held("a", "0.5"), held("b", "0.5")], deliveries=GPUS)
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", "1"), ("b", "1"), ("__gap__", "14")]


def test_minutes_before_the_first_sample_are_gap() -> None:
    # 4 GPUs billed for an hour, measured for 54 minutes each: 4 x 0.9 = 3.6 of 4. Gap 0.4 / 4 x 10 = 1.
    connection = session([billed("10")], gpu_hours=[held("a", "3.6")], deliveries=GPUS)
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", "9"), ("__gap__", "1")]


def test_a_line_over_several_hours_is_compared_with_all_their_telemetry() -> None:
    # 2 hours x 4 GPUs billed in one line; telemetry has 3 in each: gap 2/8 of 8 = 2.
    line = {"ConsumedQuantity": "2", "ConsumedUnit": "Hours", "x_GpuCount": 4, "x_GpuModel": "NVIDIA H100"}
    connection = session(
        [charge(f"{DAY} 00:00:00", f"{DAY} 02:00:00", "8", **line)],
        gpu_hours=[held("a", "3"), held("b", "3", f"{DAY} 01:00:00")],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", "3"), ("b", "3"), ("__gap__", "2")]


def test_more_telemetry_than_was_billed_stands() -> None:
    # Half an hour x 4 GPUs = 2 billed, 3 measured: no gap, and the next hour's shortage isn't made up for by it.
    connection = session(
        [billed("9", ConsumedQuantity="0.5"), billed("8", hour=1)],
        gpu_hours=[held("a", "3"), held("a", "3", f"{DAY} 01:00:00")],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_SourceRow", "x_TargetId", "EffectiveCost") == [
        (1, "a", "9"),
        (2, "a", "6"),
        (2, "__gap__", "2"),
    ]


def test_a_machine_of_two_types_within_an_hour_has_one_telemetry() -> None:
    # Half an hour each of 8 and of 4 GPUs: 4 + 2 = 6 billed, 3 measured: gap 3/6 of each line's 12.
    connection = session(
        [billed(ConsumedQuantity="0.5", x_GpuCount=8), billed(ConsumedQuantity="0.5", x_GpuCount=4)],
        gpu_hours=[held("a", "3")],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", "6"), ("__gap__", "6")] * 2


def test_quantities_up_to_the_last_digit_of_their_type_are_divided_exactly() -> None:
    # By 1 to 3: 10^19 -> 2.5 x 10^18 and the rest. -(10^20 - 10^-18) / 4 = -24999999999999999999.99999999999999999975,
    # rounded away from zero at the 18th place: -25000000000000000000; the rest is -74999999999999999999.999999999999999999.
    connection = session(
        [hour_charge(ConsumedQuantity="1e19", PricingQuantity="-99999999999999999999.999999999999999999")],
        gpu_hours=[held("a", "1"), held("b", "3")],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule()))
    assert connection.execute("SELECT ConsumedQuantity, PricingQuantity FROM allocation.charges").fetchall() == [
        (Decimal("2500000000000000000"), Decimal("-25000000000000000000")),
        (Decimal("7500000000000000000"), Decimal("-74999999999999999999.999999999999999999")),
    ]
    assert failed_audits(connection, "allocation.charges") == []


def test_a_cost_near_the_limit_is_spread_over_its_days() -> None:
    # 6 x 10^19 over three days: 2 x 10^19 each.
    connection = session([charge(f"{DAY} 00:00:00", "2026-10-08 00:00:00", "6e19")])
    allocate(connection, rule_set())
    stage(connection, "allocation.totals")
    assert connection.execute("SELECT ListCost FROM staged").fetchall() == [(Decimal(2 * 10**19),)] * 3
    assert failed_audits(connection, "allocation.totals") == []


def test_costs_too_large_to_be_totalled_are_refused_by_column_and_row() -> None:
    charges = [hour_charge(ListCost="99999999999999999999") for _ in range(3)]
    with pytest.raises(
        DeliveryError, match=r"(?s)column ListCost.*2026-10, ListCost in USD.*acme\.parquet, row 1.*less than 1000"
    ):
        allocate(session(charges), rule_set())


def test_more_lines_than_an_hour_has_do_not_make_more_gap() -> None:
    # i-2 is billed for the hour and for an option of it by the hour: 4 GPU-hours of gap, not 8.
    connection = session(
        [billed(), billed(ResourceId="i-2"), billed(ResourceId="i-2")], gpu_hours=[held("a", "4")], deliveries=GPUS
    )
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", "6"), ("__gap__", "6")] * 3


def test_hours_that_telemetry_is_still_to_deliver_are_neither_gap_nor_idle() -> None:
    late = {**GPUS[0], "state": "late", "watermark": f"{DAY} 00:00:00"}
    connection = session([billed()], tokens=[tokens("a", 1), tokens("b", 2)], deliveries=[late, *GATEWAY])
    allocate(connection, rule_set(rule(method="{driver: gpu_hours_held, fallback: [requests]}")))
    assert parts(connection, "x_TargetId", "x_Component", "EffectiveCost", "x_KeyQuality") == [
        ("a", "shared", "6", "estimated"),
        ("b", "shared", "6", "estimated"),
    ]


def test_mixed_gpu_models_weigh_by_list_price() -> None:
    connection = session(
        [hour_charge()],
        gpu_hours=[held("a", "1", gpu_model="dear"), held("b", "3", gpu_model="cheap")],
        deliveries=GPUS,
    )
    connection.execute("DELETE FROM mappings.gpu_models")
    connection.execute(
        "INSERT INTO mappings.gpu_models (gpu_model, list_price_per_gpu_hour) VALUES ('dear', '4.5'), ('cheap', '0.5')"
    )
    allocate(connection, rule_set(rule()))
    # a 1 h x 4.5 = 4.5, b 3 h x 0.5 = 1.5: three to one.
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", "9"), ("b", "3")]
    assert parts(connection, "AllocatedMethodDetails")[0] == (
        '{"Elements":[{"AllocatedRatio":0.75,"UsageUnit":"GPU-Hours at list price","UsageQuantity":4.5,'
        '"x_Driver":"gpu_hours_held","x_Weight":1}]}',
    )


def test_a_model_without_a_price_in_a_mixed_pool_is_refused_by_name() -> None:
    connection = session(
        [hour_charge()],
        gpu_hours=[held("a", "1", gpu_model="NVIDIA H100"), held("b", "3", gpu_model="Abacus 9")],
        deliveries=GPUS,
    )
    with pytest.raises(MeasurementError, match=r"(?s)rule pool.*Abacus 9.*gpu_models\.csv"):
        allocate(connection, rule_set(rule()))


def test_a_single_model_needs_no_price() -> None:
    connection = session([hour_charge()], gpu_hours=[held("a", "1", gpu_model="Abacus 9")], deliveries=GPUS)
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId") == [("a",)]


def test_a_gap_above_the_capacity_is_refused() -> None:
    connection = session(
        [hour_charge()],
        gpu_hours=[{"x_Day": DAY, "hour": f"{DAY} 00:00:00", "gpu_hours_capacity": "1", "gpu_hours_gap": "2"}],
        deliveries=GPUS,
    )
    with pytest.raises(MeasurementError, match=r"(?s)rule pool, window 2026-10-05 00:00 to 2026-10-05 01:00 UTC"):
        allocate(connection, rule_set(rule()))


def test_a_zero_driver_is_refused_where_the_rule_says_error() -> None:
    connection = session([hour_charge()], deliveries=GATEWAY)
    with pytest.raises(
        ZeroWeightError, match=r"(?s)rule pool, window 2026-10-05 00:00.*driver requests.*on_zero_weight"
    ):
        allocate(connection, rule_set(rule(method="{driver: requests}", on_zero_weight="error")))


def test_held_idle_goes_to_its_holder() -> None:
    # a held 2 and used 1, b held 2 and used 2, of 4: a's idle is 12 x 1/4 = 3; the key divides 0.75 by 1 and 2.
    # a floor(0.75 x 333333333333333333) = 249999999999999999: 12 x 0.249999999999999999; b has the rest.
    connection = session(
        [hour_charge()],
        gpu_hours=[held("a", "2", gpu_hours_active="1"), held("b", "2", gpu_hours_active="2")],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule(idle="{held: holder}")))
    assert parts(connection, "x_TargetId", "x_Component", "EffectiveCost", "x_Team") == [
        ("a", "idle", "3", "a"),
        ("a", "shared", "2.999999999999999988", "a"),
        ("b", "shared", "6.000000000000000012", "b"),
    ]


def test_hours_without_activity_telemetry_are_not_idle() -> None:
    # Of a's 3 held hours 1 has activity (0.5 used); the other 2 count as used: 0.5 of 4 is idle.
    connection = session(
        [hour_charge()],
        gpu_hours=[
            held("a", "1", gpu_hours_active="0.5"),
            held("a", "2", workload="a/other"),
            held("b", "1"),
        ],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule(idle="{held: holder}")))
    assert parts(connection, "x_TargetId", "x_Component", "EffectiveCost")[0] == ("a", "idle", "1.5")


def test_idle_can_have_an_owner() -> None:
    connection = session(
        [hour_charge()],
        gpu_hours=[held("a", "1"), {"x_Day": DAY, "hour": f"{DAY} 00:00:00", "gpu_hours_capacity": "3"}],
        deliveries=GPUS,
    )
    allocate(connection, rule_set(rule(idle='{unheld: "owner:platform"}')))
    assert parts(connection, "x_TargetId", "x_Component", "EffectiveCost", "x_Team") == [
        ("a", "shared", "3", "a"),
        ("platform", "idle", "9", "platform"),
    ]


def test_even_divides_over_the_targets_that_the_rule_names() -> None:
    connection = session([hour_charge(cost="1")])
    allocate(connection, rule_set(rule(method="{even: {targets: [c, a, b]}}")))
    assert parts(connection, "x_TargetId", "EffectiveCost", "x_KeyQuality") == [
        ("a", "0.333333333333333333", "exact"),
        ("b", "0.333333333333333333", "exact"),
        ("c", "0.333333333333333334", "exact"),
    ]


def test_direct_gives_everything_to_one_target() -> None:
    connection = session([hour_charge()])
    allocate(connection, rule_set(rule(target="[team, product]", method='{direct: "a/chat"}')))
    assert parts(connection, "x_TargetId", "x_Team", "x_Product", "AllocatedMethodDetails") == [
        ("a/chat", "a", "chat", '{"Elements":[{"AllocatedRatio":1,"x_Driver":"named_targets","x_Weight":1}]}')
    ]


def test_tags_of_the_charge_are_not_repeated_in_allocated_tags() -> None:
    dimensions = Dimensions(
        dimensions={
            "team": Dimension(sources=(TagSource(tag="team"),)),
            "cost_center": Dimension(sources=(LookupSource(lookup=Lookup(dimension="team", values={"a": "CC-1"})),)),
            "tier": Dimension(sources=(LookupSource(lookup=Lookup(dimension="team", values={"a": "gold"})),)),
        }
    )
    connection = session(
        [hour_charge(Tags='{"team":"platform","cluster":"x"}'), hour_charge(Tags='{"cost_center":null}')]
    )
    allocate(connection, rule_set(rule(method="{direct: a}"), dimensions=dimensions))
    assert parts(connection, "AllocatedTags", "x_Dimensions") == [
        ('{"cost_center":"CC-1","tier":"gold"}', '{"tier":"gold"}'),
        ('{"team":"a","tier":"gold"}', '{"tier":"gold"}'),
    ]


def test_a_token_row_feeds_one_pool_through_its_endpoint() -> None:
    named = rule("named", priority="1", pool="{where: {tag: pool, equals: named}}", method="{driver: tokens_total}")
    rest = rule("rest", priority="2", pool="{where: {tag: pool, equals: rest}}", method="{driver: tokens_total}")
    connection = session(
        [hour_charge(Tags='{"pool":"named"}'), hour_charge(Tags='{"pool":"rest"}')],
        tokens=[tokens("a", 7, endpoint="llama"), tokens("b", 3, endpoint="gpt"), tokens("c", 1, endpoint=None)],
        deliveries=GATEWAY,
    )
    allocate(connection, rule_set(named + "\nendpoints: [llama]", rest))
    assert parts(connection) == [
        (1, "a", "shared", "12"),
        (2, "b", "shared", "9"),
        (2, "c", "shared", "3"),
    ]


def test_tokens_weigh_by_model_and_class() -> None:
    connection = session(
        [hour_charge()],
        tokens=[
            tokens("a", 0, tokens_input_uncached=10, tokens_cache_read=20, model_served="m"),
            tokens("b", 1, model_served="unlisted"),
        ],
        deliveries=GATEWAY,
    )
    connection.execute("DELETE FROM mappings.token_weights")
    connection.execute(
        "INSERT INTO mappings.token_weights (model, token_class, weight) VALUES "
        "('*', 'input_uncached', '1'), ('*', 'cache_read', '0.1'), ('*', 'cache_write', '1'), ('*', 'output', '4'), "
        "('m', 'input_uncached', '1'), ('m', 'cache_read', '0.1')"
    )
    allocate(connection, rule_set(rule(method="{driver: tokens_weighted}")))
    # a 10 x 1 + 20 x 0.1 = 12, b 1 x 4 = 4.
    assert parts(connection, "x_TargetId", "EffectiveCost") == [("a", "9"), ("b", "3")]


def test_telemetry_of_other_machines_does_not_count() -> None:
    connection = session(
        [hour_charge()], gpu_hours=[held("a", "1"), held("b", "9", resource_id="i-9")], deliveries=GPUS
    )
    allocate(connection, rule_set(rule()))
    assert parts(connection, "x_TargetId") == [("a",)]


def test_a_day_that_one_feeding_source_misses_is_missing() -> None:
    second = {**delivered(DAY, source_name="other", measures="gpu_hours")[0], "state": "missing"}
    fed = session(
        [hour_charge(), charge(f"{OTHER_DAY} 00:00:00", f"{OTHER_DAY} 01:00:00")],
        gpu_hours=[held("a", "1"), held("b", "1", f"{OTHER_DAY} 00:00:00", source_name="other")],
        deliveries=[*GPUS, second, *delivered(OTHER_DAY, source_name="other")],
    )
    allocate(fed, rule_set(rule()))
    assert parts(fed, "x_SourceRow", "x_TargetId") == [(1, "__unallocated__"), (2, "b")]


def test_charges_of_two_currencies_and_sources_stay_apart() -> None:
    connection = session(
        [
            hour_charge(cost="10"),
            hour_charge(cost="20", BillingCurrency="EUR"),
            hour_charge(cost="30", x_SourceName="aws-subsidiary", x_SourceRow=1),
        ]
    )
    allocate(connection, rule_set(rule(method="{even: {targets: [a, b]}}")))
    assert failed_audits(connection, "allocation.charges") == []
    stage(connection, "allocation.totals")
    assert [
        (source, currency, team, plain(cost))
        for source, currency, team, cost in connection.execute(
            "SELECT source_name, BillingCurrency, team, EffectiveCost FROM staged ORDER BY ALL"
        ).fetchall()
    ] == [
        ("aws-payer", "EUR", "a", "10"),
        ("aws-payer", "EUR", "b", "10"),
        ("aws-payer", "USD", "a", "5"),
        ("aws-payer", "USD", "b", "5"),
        ("aws-subsidiary", "USD", "a", "15"),
        ("aws-subsidiary", "USD", "b", "15"),
    ]


def test_a_charge_longer_than_a_day_lies_evenly_and_exactly_on_its_days() -> None:
    # R(1 x 1/3), R(1 x 2/3) - R(1 x 1/3), 1 - R(1 x 2/3): 0.666… rounds up. 25 hours over midnight touch two days.
    connection = session(
        [
            charge("2026-10-01 00:00:00", "2026-10-04 00:00:00", "1"),
            charge("2026-10-05 23:30:00", "2026-10-07 00:30:00", "-1"),
            charge("2026-10-09 12:00:00", "2026-10-10 12:00:00", "5"),
        ]
    )
    allocate(connection, rule_set())
    stage(connection, "allocation.totals")
    assert failed_audits(connection, "allocation.totals") == []
    assert [
        (str(day), plain(cost)) for day, cost in connection.execute("SELECT day, BilledCost FROM staged").fetchall()
    ] == [
        ("2026-10-01", "0.333333333333333333"),
        ("2026-10-02", "0.333333333333333334"),
        ("2026-10-03", "0.333333333333333333"),
        ("2026-10-05", "-0.333333333333333333"),
        ("2026-10-06", "-0.333333333333333334"),
        ("2026-10-07", "-0.333333333333333333"),
        ("2026-10-09", "5"),
    ]


def test_the_rules_are_kept_as_written() -> None:
    rules = rule_set(rule(state="shadow", valid_to="2026-12-01"))
    connection = session([hour_charge()])
    allocate(connection, rules)
    assert connection.execute("SELECT * FROM allocation.rules").fetchall() == [
        (
            "2026-10",
            "pool",
            rules.rules[0].rule_hash,
            "pool",
            "shadow",
            100,
            date(2026, 8, 1),
            date(2026, 12, 1),
            rules.rules[0].text,
        )
    ]
    stage(connection, "allocation.totals")
    assert connection.execute("SELECT DISTINCT rule, state FROM staged").fetchall() == [("pool", "shadow")]


def test_the_bill_streams_through_in_its_order_on_any_number_of_threads(tmp_path: Path) -> None:
    connection = session(
        [hour_charge(number % 24, str(number), SubAccountId=f"{number % 7}") for number in range(200)],
        gpu_hours=[held("a", "1"), held("b", "2")],
        deliveries=GPUS,
    )
    # Row groups are what DuckDB hands to its threads: ten of them, of 20,000 charges.
    bill = tmp_path / "bill.parquet"
    connection.execute(
        f"COPY (SELECT * REPLACE (repetition * 1000 + x_SourceRow AS x_SourceRow) "
        f"FROM range(100) AS repetitions(repetition) CROSS JOIN billing.charges ORDER BY repetition, x_SourceRow) "
        f"TO '{bill}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
    )
    connection.execute("DROP TABLE billing.charges")
    connection.execute(f"CREATE VIEW billing.charges AS SELECT * FROM read_parquet('{bill}')")
    rules = rule_set(rule())
    contract = contracts()["allocation.charges"]
    found = []
    for threads in (1, 4):
        connection.execute(f"SET threads = {threads}")
        select = create_allocation(connection, rules, billing_period="2026-10").charges
        staged = lake_tables.stage(
            connection,
            select,
            contract,
            {"x_BillingPeriod": "2026-10"},
            token=f"threads-{threads}",
            inputs={},
            folder=tmp_path,
        )
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW staged AS SELECT *, '2026-10' AS x_BillingPeriod FROM read_parquet('{staged.file}')"
        )
        assert failed_audits(connection, "allocation.charges") == []
        found.append(connection.execute("SELECT x_SourceRow, x_PartNumber, hash(COLUMNS(*)) FROM staged").fetchall())
    assert found[0] == found[1]
    assert len(found[0]) > 20_000


def test_the_planner_never_buffers_the_bill() -> None:
    connection = session([hour_charge()], gpu_hours=[held("a", "1")], deliveries=GPUS)
    select = create_allocation(connection, rule_set(rule()), billing_period="2026-10").charges
    plan = connection.execute(f"EXPLAIN {select}").fetchall()[0][1]
    assert "DELIM" not in plan, "a lookup that the planner can't simplify: see charges_select"
