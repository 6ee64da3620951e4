"""showback.unit_cost_amounts and showback.unit_costs: cost of a unit by month of use, with and without idle."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.models.sql_models import load_sql
from tests.small_tables import Row, create_table, rows_of, run_model, session

_WIDE = Context(prec=60)

_TOTALS: list[dict[str, Any]] = [
    # Pool gpu: llama used 60, mistral 30, work without a model 10; 20 nobody held, 5 without telemetry, 4 unallocated.
    {"pool": "gpu", "component": "shared", "model": "llama", "team": "search", "gpu_model": "H100",
     "key_quality": "exact", "EffectiveCost": "40"},
    {"pool": "gpu", "component": "shared", "model": "llama", "team": "chat", "gpu_model": "H100",
     "key_quality": "proxy", "EffectiveCost": "20"},
    {"pool": "gpu", "component": "shared", "model": "mistral", "team": "chat", "gpu_model": "H100",
     "key_quality": "exact", "EffectiveCost": "30"},
    {"pool": "gpu", "component": "shared", "team": "research", "gpu_model": "H100",
     "key_quality": "exact", "EffectiveCost": "10"},
    {"pool": "gpu", "component": "idle", "gpu_model": "H100", "key_quality": "exact", "EffectiveCost": "20"},
    {"pool": "gpu", "component": "gap", "gpu_model": "H100", "key_quality": "exact", "EffectiveCost": "5"},
    {"pool": "gpu", "component": "unallocated", "gpu_model": "H100", "unallocated_reason": "unmapped",
     "key_quality": "exact", "EffectiveCost": "4"},
    # Idle that a rule gave to its holder is that team's, not the models'.
    {"pool": "gpu", "component": "idle", "team": "research", "gpu_model": "H100", "key_quality": "exact",
     "EffectiveCost": "1"},
    # An API model, charged directly, and storage that has neither model nor GPU.
    {"model": "haiku", "team": "chat", "EffectiveCost": "6"},
    {"team": "chat", "EffectiveCost": "1000"},
    # An unused reservation of a GPU machine: paid, not used.
    {"component": "commitment_unused", "gpu_model": "H100", "EffectiveCost": "8"},
]  # fmt: skip

_TOKENS: list[dict[str, Any]] = [
    # llama: 1,000,000 + 500,000 + 300,000 + 200,000 = 2 million tokens; reasoning is inside output.
    {"model": "llama", "tokens_input_uncached": 1_000_000, "tokens_cache_read": 500_000, "tokens_cache_write": 300_000,
     "tokens_output": 200_000, "tokens_reasoning": 150_000, "requests": 4_100, "requests_failed": 100},
    {"model": "mistral", "tokens_output": 1_500_000, "requests": 1_000},
    {"model": "mistral", "x_Day": "2026-10-02", "tokens_output": 1_500_000, "requests": 1_000, "requests_failed": 1_000},
    {"model": "haiku", "tokens_input_uncached": 1, "requests": 3},
    {"model": "gpt", "tokens_output": 9_000_000, "requests": 9_000},  # its provider's bill is not loaded
    {"tokens_output": 77_000_000, "requests": 77_000},  # nobody knows the model
]  # fmt: skip

_GPU_HOURS = [
    {"gpu_model": "H100", "gpu_hours_capacity": "24", "gpu_hours_held": "12.5"},
    {"gpu_model": "H100", "x_Day": "2026-10-02", "gpu_hours_capacity": "24", "gpu_hours_held": "7.5"},
    {"gpu_model": "A100", "gpu_hours_capacity": "24", "gpu_hours_held": "4"},
]


def amounts(billing_period: str = "2026-10", **tables: Sequence[Row]) -> duckdb.DuckDBPyRelation:
    """The amounts that one billing period adds."""
    return run_model(session(**tables), "showback.unit_cost_amounts", billing_period)


def unit_costs(*stored: duckdb.DuckDBPyRelation) -> list[tuple[Any, ...]]:
    """The view over the amounts of some billing periods: all but the month and the dimension, in key order."""
    connection = session()
    parts = []
    for number, relation in enumerate(stored):
        connection.register(f"amounts_{number}", relation.to_arrow_table())
        parts.append(f"SELECT * FROM amounts_{number}")
    connection.execute("CREATE SCHEMA showback")
    connection.execute(f"CREATE TABLE showback.unit_cost_amounts AS {' UNION ALL '.join(parts)}")
    rows = connection.sql(f"SELECT * FROM ({load_sql('showback/unit_costs')}) ORDER BY ALL NULLS LAST")
    return rows_of(rows)


def october() -> duckdb.DuckDBPyRelation:
    return amounts(allocation_totals=_TOTALS, usage_tokens=_TOKENS, usage_gpu_hours=_GPU_HOURS)


def test_a_bill_adds_costs_by_currency_and_units_without_one() -> None:
    # Nobody's 20 idle + 5 gap = 25 go to the pool's users by what they used (10 without a model, 60, 30 of 100):
    # 2.5 to what has no model, 15 to llama, 7.5 to mistral.
    llama = ("75", "60", None, None, "proxy")
    mistral = ("37.5", "30", None, None, "exact")
    haiku = ("6", "6", None, None, None)
    assert rows_of(october()) == [
        ("2026-10", "2026-10", "cost_per_1000_requests", "model", "gpt", None, None, None, "9", "0", None),
        ("2026-10", "2026-10", "cost_per_1000_requests", "model", "haiku", None, None, None, "0.003", "0", None),
        ("2026-10", "2026-10", "cost_per_1000_requests", "model", "haiku", "USD", *haiku),
        ("2026-10", "2026-10", "cost_per_1000_requests", "model", "llama", None, None, None, "4", "0.1", None),
        ("2026-10", "2026-10", "cost_per_1000_requests", "model", "llama", "USD", *llama),
        ("2026-10", "2026-10", "cost_per_1000_requests", "model", "mistral", None, None, None, "1", "1", None),
        ("2026-10", "2026-10", "cost_per_1000_requests", "model", "mistral", "USD", *mistral),
        ("2026-10", "2026-10", "cost_per_gpu_hour", "gpu_model", "A100", None, None, None, "4", None, None),
        ("2026-10", "2026-10", "cost_per_gpu_hour", "gpu_model", "H100", None, None, None, "20", None, None),
        # With idle: 40 + 20 + 30 + 10 + 20 + 5 + 4 + 1 + 8 = 138; without 20 + 5 + 1 idle and gap and 8 unused: 104.
        ("2026-10", "2026-10", "cost_per_gpu_hour", "gpu_model", "H100", "USD", "138", "104", None, None, "proxy"),
        ("2026-10", "2026-10", "cost_per_million_tokens", "model", "gpt", None, None, None, "9", None, None),
        ("2026-10", "2026-10", "cost_per_million_tokens", "model", "haiku", None, None, None, "0.000001", None, None),
        ("2026-10", "2026-10", "cost_per_million_tokens", "model", "haiku", "USD", *haiku),
        ("2026-10", "2026-10", "cost_per_million_tokens", "model", "llama", None, None, None, "2", None, None),
        ("2026-10", "2026-10", "cost_per_million_tokens", "model", "llama", "USD", *llama),
        ("2026-10", "2026-10", "cost_per_million_tokens", "model", "mistral", None, None, None, "3", None, None),
        ("2026-10", "2026-10", "cost_per_million_tokens", "model", "mistral", "USD", *mistral),
    ]


def test_a_unit_cost_is_the_sum_of_costs_over_the_sum_of_units() -> None:
    month, requests, tokens, gpu = "2026-10", "cost_per_1000_requests", "cost_per_million_tokens", "cost_per_gpu_hour"
    assert unit_costs(october()) == [
        # 118.5 = 75 + 37.5 + 6 and 96 = 60 + 30 + 6 over 5.003 = 4 + 1 + 0.003; gpt has no cost and stays out
        (month, requests, "all", "", "USD", "118.5", "96", "5.003", "1.1",
         "23.685788526883869678", "19.188486907855286828", "proxy"),
        (month, requests, "model", "gpt", None, None, None, "9", "0", None, None, None),
        (month, requests, "model", "haiku", "USD", "6", "6", "0.003", "0", "2000", "2000", None),
        (month, requests, "model", "llama", "USD", "75", "60", "4", "0.1", "18.75", "15", "proxy"),
        (month, requests, "model", "mistral", "USD", "37.5", "30", "1", "1", "37.5", "30", "exact"),
        # 138 / 20 and 104 / 20; A100 has hours and no cost
        (month, gpu, "all", "", "USD", "138", "104", "20", None, "6.9", "5.2", "proxy"),
        (month, gpu, "gpu_model", "A100", None, None, None, "4", None, None, None, None),
        (month, gpu, "gpu_model", "H100", "USD", "138", "104", "20", None, "6.9", "5.2", "proxy"),
        # 118.5 / 5.000001 = 23.6999952600009479998… and 96 / 5.000001 = 19.1999961600007679998…, at 18 places
        (month, tokens, "all", "", "USD", "118.5", "96", "5.000001", None,
         "23.699995260000948", "19.199996160000768", "proxy"),
        (month, tokens, "model", "gpt", None, None, None, "9", None, None, None, None),
        (month, tokens, "model", "haiku", "USD", "6", "6", "0.000001", None, "6000000", "6000000", None),
        (month, tokens, "model", "llama", "USD", "75", "60", "2", None, "37.5", "30", "proxy"),
        (month, tokens, "model", "mistral", "USD", "37.5", "30", "3", None, "12.5", "10", "exact"),
    ]  # fmt: skip


def test_a_correction_on_a_later_bill_corrects_the_month_of_use_and_counts_its_units_once() -> None:
    november = amounts(
        "2026-11",
        allocation_totals=[
            {"period": "2026-11", "day": "2026-10-20", "pool": "gpu", "component": "shared", "model": "llama",
             "key_quality": "estimated", "EffectiveCost": "-10"},
            {"period": "2026-11", "day": "2026-10-20", "pool": "gpu", "component": "idle", "EffectiveCost": "-2"},
        ],
    )  # fmt: skip
    rows = [row for row in unit_costs(october(), november) if row[1:4] == ("cost_per_million_tokens", "model", "llama")]
    # 75 - 10 - 2 = 63 and 60 - 10 = 50 over October's 2 million tokens
    assert rows == [
        ("2026-10", "cost_per_million_tokens", "model", "llama", "USD",
         "63", "50", "2", None, "31.5", "25", "estimated"),
    ]  # fmt: skip


def test_each_currency_relates_its_own_cost_to_all_units() -> None:
    totals = [
        {"model": "llama", "EffectiveCost": "10"},
        {"model": "llama", "BillingCurrency": "EUR", "EffectiveCost": "4"},
    ]
    rows = unit_costs(amounts(allocation_totals=totals, usage_tokens=[{"model": "llama", "tokens_output": 2_000_000}]))
    assert [row[4:11] for row in rows if row[1:3] == ("cost_per_million_tokens", "model")] == [
        ("EUR", "4", "4", "2", None, "2", "2"),
        ("USD", "10", "10", "2", None, "5", "5"),
    ]


def test_a_model_that_cost_something_and_served_nothing_has_no_unit_cost_and_is_in_no_total() -> None:
    rows = unit_costs(amounts(allocation_totals=[{"model": "trained", "EffectiveCost": "9"}]))
    assert rows == [
        ("2026-10", "cost_per_1000_requests", "model", "trained", "USD", "9", "9", "0", None, None, None, None),
        ("2026-10", "cost_per_million_tokens", "model", "trained", "USD", "9", "9", "0", None, None, None, None),
    ]


def test_idle_of_a_pool_that_served_no_model_is_in_no_models_cost() -> None:
    totals = [
        {"pool": "batch", "component": "shared", "team": "research", "EffectiveCost": "10"},
        {"pool": "batch", "component": "idle", "EffectiveCost": "5"},
        {"pool": "unused", "component": "idle", "EffectiveCost": "7"},
    ]
    assert rows_of(amounts(allocation_totals=totals)) == []


@pytest.fixture(scope="module")
def shared_session() -> duckdb.DuckDBPyConnection:
    return session()


_parts = st.lists(
    st.tuples(
        st.sampled_from(["gpu", "cpu"]),
        st.sampled_from(["shared", "idle", "gap"]),
        st.sampled_from(["a", "b", "c", "ä"]),
        st.integers(-(10**26), 10**30),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(parts=_parts)
def test_the_idle_of_a_pool_is_spread_whole(
    shared_session: duckdb.DuckDBPyConnection, parts: list[tuple[str, str, str, int]]
) -> None:
    totals = [
        {"pool": pool, "component": component, "model": model if component == "shared" else None,
         "EffectiveCost": f"{units // 10**18}.{units % 10**18:018d}" if units >= 0 else f"-0.{-units % 10**18:018d}"}
        for pool, component, model, units in parts
    ]  # fmt: skip
    create_table(shared_session, "allocation.totals", totals)
    rows = rows_of(run_model(shared_session, "showback.unit_cost_amounts"), "metric", "numerator_with_idle")
    units = {n: _units(str(total["EffectiveCost"])) for n, total in enumerate(totals)}
    expected = 0
    for pool in ("gpu", "cpu"):
        used = sum(units[n] for n, total in enumerate(totals) if total["pool"] == pool and total["model"])
        rest = sum(units[n] for n, total in enumerate(totals) if total["pool"] == pool and not total["model"])
        expected += used + (rest if used else 0)
    spread = sum(_units(str(cost)) for metric, cost in rows if metric == "cost_per_million_tokens")
    assert spread == expected


def _units(amount: str) -> int:
    """An amount as a whole number of units of its 18th place."""
    return int(Decimal(amount).scaleb(18, _WIDE).to_integral_value(context=_WIDE))


def test_the_order_of_the_totals_changes_nothing() -> None:
    shuffled = random.Random(3).sample(_TOTALS, len(_TOTALS))
    other = amounts(allocation_totals=shuffled, usage_tokens=_TOKENS[::-1], usage_gpu_hours=_GPU_HOURS[::-1])
    assert rows_of(other) == rows_of(october())
