"""Parameters become SQL literals, and nothing else does."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest

from pipelines.errors import ConfigurationError
from pipelines.lake.database import connect
from pipelines.models.sql_models import bind


def test_each_kind_of_value_reads_back_as_itself() -> None:
    values = {
        "text": "O'Brien; -- $day",
        "number": 12,
        "amount": Decimal("-1.000000000000000001"),
        "day": date(2026, 10, 1),
        "moment": datetime(2026, 10, 1, 2, 3, 4),
        "nothing": None,
    }
    sql = bind("SELECT $text, $number, $amount, $day, $moment, $nothing", values)
    assert connect().sql(sql).fetchall() == [tuple(values.values())]


def test_a_dollar_inside_text_names_or_comments_is_left_alone() -> None:
    sql = "SELECT '$a it''s $a' AS \"$a\" -- costs $a\n, $a AS a"
    assert bind(sql, {"a": 1}) == "SELECT '$a it''s $a' AS \"$a\" -- costs $a\n, 1 AS a"


def test_a_name_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\$billing_period, which has no value"):
        bind("SELECT $billing_period", {})


def test_a_value_that_nothing_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none of the parameters period"):
        bind("SELECT 1", {"period": "2026-10"})
