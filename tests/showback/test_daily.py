"""showback.daily: sums by day and dimension, with the worst quality of what they hold."""

from __future__ import annotations

import random

from tests.small_tables import rows_of, run_model, session

_TOTALS = [
    # search: 1.5 + 2.25 = 3.75 effective over two pools, the worse measured one a proxy
    {"team": "search", "component": "shared", "pool": "gpu", "key_quality": "exact",
     "BilledCost": "1", "EffectiveCost": "1.5", "ListCost": "2", "ContractedCost": "1.75"},
    {"team": "search", "component": "shared", "pool": "storage", "key_quality": "proxy",
     "BilledCost": "2", "EffectiveCost": "2.25", "ListCost": "3", "ContractedCost": "2.5"},
    # the same team directly: never split, so without a quality
    {"team": "search", "BilledCost": "10", "EffectiveCost": "10", "ListCost": "10", "ContractedCost": "10"},
    # another environment in `dimensions`, another day, another currency: rows of their own
    {"team": "search", "dimensions": '{"region":"eu"}', "EffectiveCost": "0.000000000000000001"},
    {"team": "search", "day": "2026-09-30", "EffectiveCost": "-4"},
    {"team": "search", "BillingCurrency": "EUR", "EffectiveCost": "7"},
    # unallocated: what is known of it stays, quality estimated beats all
    {"component": "unallocated", "pool": "gpu", "unallocated_reason": "no_measurement", "key_quality": "exact",
     "EffectiveCost": "0.1"},
    {"component": "unallocated", "pool": "gpu", "unallocated_reason": "zero_weight", "key_quality": "estimated",
     "EffectiveCost": "0.2"},
    # another bill's total must not come in
    {"period": "2026-09", "team": "search", "EffectiveCost": "1000"},
]  # fmt: skip

_COLUMNS = ("day", "BillingCurrency", "team", "dimensions", "component", "BilledCost", "EffectiveCost", "ListCost",
            "ContractedCost", "key_quality")  # fmt: skip


def test_costs_are_summed_by_day_dimensions_component_and_currency() -> None:
    staged = run_model(session(allocation_totals=_TOTALS), "showback.daily")
    assert [(f"{day}", *rest) for day, *rest in rows_of(staged, *_COLUMNS)] == [
        ("2026-09-30", "USD", "search", None, "direct", "0", "-4", "0", "0", None),
        ("2026-10-01", "EUR", "search", None, "direct", "0", "7", "0", "0", None),
        ("2026-10-01", "USD", None, None, "unallocated", "0", "0.3", "0", "0", "estimated"),
        ("2026-10-01", "USD", "search", None, "direct", "10", "10", "10", "10", None),
        ("2026-10-01", "USD", "search", None, "shared", "3", "3.75", "5", "4.25", "proxy"),
        ("2026-10-01", "USD", "search", '{"region":"eu"}', "direct", "0", "0.000000000000000001", "0", "0", None),
    ]


def test_a_period_without_totals_has_no_rows() -> None:
    assert rows_of(run_model(session(), "showback.daily")) == []


def test_the_order_of_the_totals_changes_nothing() -> None:
    shuffled = random.Random(7).sample(_TOTALS, len(_TOTALS))
    rows = [rows_of(run_model(session(allocation_totals=totals), "showback.daily")) for totals in (_TOTALS, shuffled)]
    assert rows[0] == rows[1]
