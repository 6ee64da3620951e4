"""chargeback.monthly: exact amounts, cents by largest remainder, how well they were measured, and their state."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_tables import Row, create_table, rows_of, run_model, session

_CENTS = ("cost_center", "BillingCurrency", "component", "amount", "amount_to_the_cent")
_SHARES = ("cost_center", "component", "amount", "share_exact", "share_proxy", "share_estimated", "state")


@pytest.fixture(scope="module")
def shared_session() -> duckdb.DuckDBPyConnection:
    return session()


def cents(totals: Sequence[Row], connection: duckdb.DuckDBPyConnection | None = None) -> list[tuple[object, ...]]:
    """Each row's exact amount and cents; ``connection`` saves the many runs of a property test a session each."""
    connection = connection or session()
    create_table(connection, "allocation.totals", totals)
    return rows_of(run_model(connection, "chargeback.monthly"), *_CENTS)


def test_a_third_each_of_a_dollar_gives_the_odd_cent_to_the_first_name() -> None:
    third = "0.333333333333333333"
    # 3 * 0.333… = 0.999999999999999999, rounded 1.00; floors 3 * 0.33 = 0.99; remainders equal, so bytes decide: A.
    assert cents([{"cost_center": name, "EffectiveCost": third} for name in ("a", "C", "A")]) == [
        ("A", "USD", "direct", third, "0.34"),
        ("C", "USD", "direct", third, "0.33"),
        ("a", "USD", "direct", third, "0.33"),
    ]


def test_credits_are_floored_downwards_and_share_the_same_total() -> None:
    # 10.006 - 1.004 - 3.005 = 5.997, rounded 6.00. Floors: 10.00, -1.01, -3.01 = 5.98: two cents are left.
    # Remainders: 0.006, 0.006 (-1.004 + 1.01), 0.005 (-3.005 + 3.01): the first two get one each.
    assert cents(
        [
            {"cost_center": "A", "EffectiveCost": "10.006"},
            {"cost_center": "B", "charge_category": "Credit", "EffectiveCost": "-1.004"},
            {"cost_center": "C", "charge_category": "Credit", "EffectiveCost": "-3.005"},
        ]
    ) == [
        ("A", "USD", "direct", "10.006", "10.01"),
        ("B", "USD", "direct", "-1.004", "-1"),
        ("C", "USD", "direct", "-3.005", "-3.01"),
    ]


def test_a_total_of_half_a_cent_rounds_away_from_zero_on_both_sides() -> None:
    # -0.005 rounds to -0.01, which is also its floor: no cent is left to give.
    assert cents([{"cost_center": "A", "EffectiveCost": "-0.005"}]) == [("A", "USD", "direct", "-0.005", "-0.01")]
    assert cents([{"cost_center": "A", "EffectiveCost": "0.005"}]) == [("A", "USD", "direct", "0.005", "0.01")]


def test_a_cost_centre_is_rounded_as_a_whole_before_its_components() -> None:
    # Period: A 0.008 + B 0.006 = 0.014, rounded 0.01: A's remainder is larger, so A has 0.01 and B 0.00.
    # Inside A the cent goes to the component with the larger remainder, shared (0.005 against 0.003).
    # Rounding all three at once would give it to B's 0.006.
    assert cents(
        [
            {"cost_center": "A", "component": "direct", "EffectiveCost": "0.003"},
            {"cost_center": "A", "component": "shared", "EffectiveCost": "0.005"},
            {"cost_center": "B", "component": "direct", "EffectiveCost": "0.006"},
        ]
    ) == [
        ("A", "USD", "direct", "0.003", "0"),
        ("A", "USD", "shared", "0.005", "0.01"),
        ("B", "USD", "direct", "0.006", "0"),
    ]


def test_cost_of_no_cost_centre_keeps_its_row_and_currencies_stay_apart() -> None:
    assert cents(
        [
            {"component": "unallocated", "EffectiveCost": "1.004"},
            {"cost_center": "A", "EffectiveCost": "2.004"},
            {"cost_center": "A", "BillingCurrency": "EUR", "EffectiveCost": "2.004"},
        ]
    ) == [
        # USD: 3.008, rounded 3.01, floors 3.00, remainders equal: no name comes before A.
        (None, "USD", "unallocated", "1.004", "1.01"),
        # EUR: 2.004, rounded 2.00.
        ("A", "EUR", "direct", "2.004", "2"),
        ("A", "USD", "direct", "2.004", "2"),
    ]


def test_shares_weigh_absolute_amounts_and_direct_cost_is_exact() -> None:
    rows = run_model(
        session(
            allocation_totals=[
                # shared of A: |3| + |2| + |-1| = 6, amount 4: exact 3/6, proxy 2/6, estimated 1/6
                {"cost_center": "A", "component": "shared", "key_quality": "exact", "state": "chargeback",
                 "EffectiveCost": "3"},
                {"cost_center": "A", "component": "shared", "key_quality": "proxy", "state": "shadow",
                 "EffectiveCost": "2"},
                {"cost_center": "A", "component": "shared", "key_quality": "estimated", "state": "chargeback",
                 "EffectiveCost": "-1"},
                {"cost_center": "A", "component": "direct", "EffectiveCost": "5"},
                # thirds: 1/3 is rounded down, the last share takes the rest so that they add up to 1
                {"cost_center": "B", "component": "shared", "key_quality": "exact", "state": "shadow",
                 "EffectiveCost": "1"},
                {"cost_center": "B", "component": "shared", "key_quality": "proxy", "state": "showback",
                 "EffectiveCost": "1"},
                {"cost_center": "B", "component": "shared", "key_quality": "estimated", "EffectiveCost": "1"},
                {"cost_center": "C", "component": "direct", "EffectiveCost": "0"},
            ]
        ),
        "chargeback.monthly",
    )  # fmt: skip
    third = "0.333333333333333333"
    assert rows_of(rows, *_SHARES) == [
        ("A", "direct", "5", "1", "0", "0", "chargeback"),
        ("A", "shared", "4", "0.5", third, "0.166666666666666667", "shadow"),
        ("B", "shared", "3", third, "0.333333333333333334", third, "showback"),
        ("C", "direct", "0", None, None, None, "chargeback"),
    ]


def test_billed_amount_is_the_invoice_behind_the_amount() -> None:
    rows = run_model(
        session(
            allocation_totals=[
                {"cost_center": "A", "BilledCost": "0", "EffectiveCost": "0.7"},  # covered by a commitment
                {"cost_center": "A", "BilledCost": "9.5", "EffectiveCost": "9.5"},
                {"period": "2026-09", "cost_center": "A", "BilledCost": "1", "EffectiveCost": "1"},
            ]
        ),
        "chargeback.monthly",
    )
    assert rows_of(rows, "amount", "billed_amount") == [("10.2", "9.5")]


_amounts = st.integers(-(10**21), 10**21).map(lambda units: f"{Decimal(units).scaleb(-18):f}")


@settings(max_examples=40, deadline=None)
@given(
    totals=st.lists(
        st.tuples(st.sampled_from([None, "A", "B", "b", "ä"]), st.sampled_from(["direct", "idle", "shared"]), _amounts),
        min_size=1,
        max_size=15,
    )
)
def test_cents_always_add_up_to_the_rounded_total_and_stay_near(
    shared_session: duckdb.DuckDBPyConnection, totals: list[tuple[str | None, str, str]]
) -> None:
    columns = ("cost_center", "component", "EffectiveCost")
    rows = cents([dict(zip(columns, row, strict=True)) for row in totals], shared_session)
    exact = sum((Decimal(amount) for *_, amount in totals), Decimal(0))
    assert sum(Decimal(str(row[4])) for row in rows) == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert all(abs(Decimal(str(row[4])) - Decimal(str(row[3]))) < Decimal("0.02") for row in rows)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_the_totals_changes_nothing(seed: int) -> None:
    totals = [
        {"cost_center": "ABC"[n % 3], "component": ("shared", "idle")[n % 2], "EffectiveCost": f"{n}.0{n}5"}
        for n in range(1, 10)
    ]
    assert cents(random.Random(seed).sample(totals, len(totals))) == cents(totals)
