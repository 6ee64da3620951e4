"""The macro ratio() against exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.lake.database import connect

_UNIT = 10**18
_LIMIT = 10**38 - 1


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return connect()


def decimal_text(units: int) -> str:
    """A number of units of the 18th place as decimal text."""
    sign = "-" if units < 0 else ""
    return f"{sign}{abs(units) // _UNIT}.{abs(units) % _UNIT:018d}"


def rounded_quotient(dividend: int, divisor: int) -> int:
    """dividend / divisor in units of the 18th place, rounded half away from zero."""
    exact = Fraction(dividend, divisor) * _UNIT
    whole = int(abs(exact) + Fraction(1, 2))
    return whole if exact >= 0 else -whole


@pytest.mark.parametrize(
    ("dividend", "divisor", "expected"),
    [
        ("1", "3", "0.333333333333333333"),
        ("2", "3", "0.666666666666666667"),
        ("-2", "3", "-0.666666666666666667"),
        ("2", "-3", "-0.666666666666666667"),
        ("0", "7", "0.000000000000000000"),
        ("0.000000000000000001", "2", "0.000000000000000001"),  # half a unit goes away from zero
        ("-0.000000000000000001", "2", "-0.000000000000000001"),
        ("0.000000000000000001", "2.000000000000000001", "0.000000000000000000"),
        ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999", "1.000000000000000000"),
        ("99999999999999999999.999999999999999999", "1", "99999999999999999999.999999999999999999"),
        ("1", "99999999999999999999.999999999999999999", "0.000000000000000000"),
        ("5", "0", None),
        ("0", "0", None),
    ],
)
def test_a_quotient_is_exact_and_rounds_half_away_from_zero(
    connection: duckdb.DuckDBPyConnection, dividend: str, divisor: str, expected: str | None
) -> None:
    row = connection.execute(
        "SELECT CAST(ratio(CAST(? AS DECIMAL(38,18)), CAST(? AS DECIMAL(38,18))) AS VARCHAR)", [dividend, divisor]
    ).fetchone()
    assert row == (expected,)


def test_a_missing_number_has_no_quotient(connection: duckdb.DuckDBPyConnection) -> None:
    assert connection.sql("SELECT ratio(NULL, 1), ratio(1, NULL)").fetchall() == [(None, None)]


def test_the_result_is_a_decimal_of_18_places(connection: duckdb.DuckDBPyConnection) -> None:
    assert connection.sql("SELECT typeof(ratio(1, 3)), ratio(7, 8)").fetchall() == [
        ("DECIMAL(38,18)", Decimal("0.875000000000000000"))
    ]


def test_a_result_that_does_not_fit_is_an_error(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error):
        connection.sql("SELECT ratio(100, CAST('0.000000000000000001' AS DECIMAL(38,18)))").fetchall()


_numbers = st.one_of(
    st.integers(-_LIMIT, _LIMIT),
    st.integers(-(10**24), 10**24),
    st.integers(-1000, 1000),
    st.integers(0, 38).map(lambda places: min(10**places, _LIMIT)),
)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(_numbers, _numbers.filter(bool)), min_size=1, max_size=40))
# A divisor just below and just at the width from which it is no longer widened.
@example(pairs=[(10**20 - 1, 10**20 - 1), (10**20, 10**20 + 1), (10**29 - 1, 10**29), (7, 10**20 - 1)])
# The estimate of nine digits is one too large where the rest of the division is all nines.
@example(pairs=[(10**18 - 1, 10**18 + 10**9 - 1), (10**37 - 1, 10**37 + 10**9 - 1), (10**27 - 1, 10**27 + 10**9 - 1)])
def test_every_quotient_agrees_with_exact_fractions(
    connection: duckdb.DuckDBPyConnection, pairs: list[tuple[int, int]]
) -> None:
    expected = [rounded_quotient(*pair) for pair in pairs]
    fitting = [(pair, quotient) for pair, quotient in zip(pairs, expected, strict=True) if abs(quotient) <= _LIMIT]
    values = ", ".join(f"({n}, '{decimal_text(a)}', '{decimal_text(b)}')" for n, ((a, b), _) in enumerate(fitting))
    if not fitting:
        return
    rows = connection.sql(
        "SELECT CAST(ratio(dividend, divisor) AS VARCHAR) FROM (SELECT n, CAST(a AS DECIMAL(38,18)) AS dividend, "
        f"CAST(b AS DECIMAL(38,18)) AS divisor FROM (VALUES {values}) AS numbers (n, a, b)) ORDER BY n"
    ).fetchall()
    assert [row[0] for row in rows] == [decimal_text(quotient) for _, quotient in fitting]
