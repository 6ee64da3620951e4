"""Conditions: what they accept, and the two-valued SQL they become."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pipelines.allocation.conditions import (
    TEXT_COLUMNS,
    All,
    AnyOf,
    Comparison,
    Condition,
    Not,
    comparisons,
    to_sql,
)
from pipelines.lake.database import literal

REPOSITORY = Path(__file__).parents[2]
CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)

CHARGES = """
CREATE TABLE charges AS SELECT * FROM (VALUES
    (1, 'Amazon EC2', 'search', 'train'),
    (2, 'Amazon S3', NULL, ''),
    (3, NULL, 'ads', NULL),
    (4, NULL, NULL, NULL)
) AS charge(position, ServiceName, team, cluster)
"""


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute(CHARGES)
        yield opened


def matching(connection: duckdb.DuckDBPyConnection, written: object) -> tuple[list[int], list[int]]:
    """The charges for which a condition is true, and those for which its negation is."""
    sql = to_sql(
        CONDITION.validate_python(written),
        columns={"ServiceName": "charges.ServiceName"},
        dimensions={"team": "charges.team"},
        tags={"cluster": "charges.cluster"},
    )
    true = connection.execute(f"SELECT position FROM charges WHERE {sql} ORDER BY position").fetchall()
    false = connection.execute(f"SELECT position FROM charges WHERE NOT {sql} ORDER BY position").fetchall()
    return [position for (position,) in true], [position for (position,) in false]


@pytest.mark.parametrize(
    ("written", "true", "false"),
    [
        ({"column": "ServiceName", "equals": "Amazon EC2"}, [1], [2, 3, 4]),
        ({"column": "ServiceName", "in": ["Amazon S3", "Amazon EC2"]}, [1, 2], [3, 4]),
        ({"column": "ServiceName", "prefix": "Amazon"}, [1, 2], [3, 4]),
        ({"column": "ServiceName", "prefix": "amazon"}, [], [1, 2, 3, 4]),
        ({"column": "ServiceName", "matches": "Amazon [A-Z]+[0-9]"}, [1, 2], [3, 4]),
        ({"column": "ServiceName", "matches": "Amazon"}, [], [1, 2, 3, 4]),
        ({"column": "ServiceName", "matches": "(?i)amazon s.*"}, [2], [1, 3, 4]),
        ({"column": "ServiceName", "present": True}, [1, 2], [3, 4]),
        ({"column": "ServiceName", "present": False}, [3, 4], [1, 2]),
        ({"dimension": "team", "equals": "ads"}, [3], [1, 2, 4]),
        ({"tag": "cluster", "equals": "train"}, [1], [2, 3, 4]),
        ({"tag": "cluster", "equals": ""}, [2], [1, 3, 4]),
        ({"tag": "cluster", "present": "true"}, [1, 2], [3, 4]),
        ({"not": {"dimension": "team", "equals": "ads"}}, [1, 2, 4], [3]),
        ({"all": [{"dimension": "team", "present": True}, {"tag": "cluster", "present": True}]}, [1], [2, 3, 4]),
        ({"any": [{"dimension": "team", "equals": "ads"}, {"tag": "cluster", "equals": "train"}]}, [1, 3], [2, 4]),
        ({"all": [{"not": {"any": [{"dimension": "team", "present": True}]}}]}, [2, 4], [1, 3]),
    ],
)
def test_every_charge_is_on_one_side_of_a_condition(
    connection: duckdb.DuckDBPyConnection, written: object, true: list[int], false: list[int]
) -> None:
    assert matching(connection, written) == (true, false)


def test_a_condition_lists_its_comparisons_in_the_order_written() -> None:
    condition = CONDITION.validate_python(
        {"any": [{"not": {"tag": "b", "present": True}}, {"all": [{"tag": "a", "equals": "x"}]}]}
    )
    assert list(comparisons(condition)) == [Comparison(tag="b", present=True), Comparison(tag="a", equals="x")]


def test_the_columns_that_conditions_read_are_text_columns_of_the_bill() -> None:
    contract = yaml.safe_load((REPOSITORY / "sql" / "billing" / "charges.yaml").read_text())
    text_columns = {column["name"] for column in contract["columns"] if column["type"] == "VARCHAR"}
    assert [name for name in TEXT_COLUMNS if name not in text_columns] == []


def test_the_documentation_lists_the_columns_that_conditions_read() -> None:
    documented = (REPOSITORY / "docs" / "rules.md").read_text()
    assert [name for name in TEXT_COLUMNS if f"`{name}`" not in documented] == []


def test_a_name_without_an_expression_is_refused() -> None:
    with pytest.raises(KeyError, match="cluster"):
        to_sql(Comparison(tag="cluster", present=True), columns={}, dimensions={}, tags={})


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["'", "''", "\\", "\\'", "'; DROP TABLE values; --", "$1", "%", "_", "é", "e\u0301", '"', "\n"]
)


@settings(max_examples=150, deadline=None)
@given(wanted=TEXT, values=st.lists(st.none() | TEXT, min_size=1, max_size=4))
def test_text_of_any_kind_is_compared_as_it_stands(wanted: str, values: list[str | None]) -> None:
    values = [*values, wanted]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE texts (position INTEGER, text VARCHAR)")
        connection.executemany("INSERT INTO texts VALUES (?, ?)", list(enumerate(values)))
        for comparison, expected in (
            (Comparison(tag="t", equals=wanted), [value == wanted for value in values]),
            (Comparison(tag="t", in_=(wanted, "x")), [value in (wanted, "x") for value in values]),
            (Comparison(tag="t", prefix=wanted or "p"), [(value or "").startswith(wanted or "p") for value in values]),
        ):
            sql = to_sql(comparison, columns={}, dimensions={}, tags={"t": "texts.text"})
            rows = connection.execute(f"SELECT {sql} AS met FROM texts ORDER BY position").fetchall()
            assert [met for (met,) in rows] == expected


LEAVES = st.builds(
    lambda name, operator: Comparison.model_validate({"tag": name, **operator}),
    st.sampled_from(["a", "b"]),
    st.sampled_from(
        [
            {"equals": "x"},
            {"in": ["x", "y"]},
            {"prefix": "x"},
            {"matches": "x+|y"},
            {"present": True},
            {"present": False},
        ]
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda each: All(all=tuple(each)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda each: AnyOf(any=tuple(each)))
        | inner.map(lambda each: Not(not_=each))
    ),
    max_leaves=6,
)


def holds(condition: Condition, row: dict[str, str | None]) -> bool:
    """What a condition says, in plain Python: absent fails every comparison but present: false."""
    if isinstance(condition, All):
        return all(holds(each, row) for each in condition.all)
    if isinstance(condition, AnyOf):
        return any(holds(each, row) for each in condition.any)
    if isinstance(condition, Not):
        return not holds(condition.not_, row)
    value = row[condition.name]
    if condition.present is not None:
        return (value is not None) == condition.present
    if value is None:
        return False
    if condition.equals is not None:
        return value == condition.equals
    if condition.in_ is not None:
        return value in condition.in_
    if condition.prefix is not None:
        return value.startswith(condition.prefix)
    return re.fullmatch(condition.matches or "", value) is not None


@settings(max_examples=60, deadline=None)
@given(condition=TREES)
def test_sql_says_what_the_condition_says_and_is_never_null(condition: Condition) -> None:
    values = [None, "", "x", "xx", "y", "z"]
    rows: list[dict[str, str | None]] = [{"a": a, "b": b} for a in values for b in values]
    sql = to_sql(condition, columns={}, dimensions={}, tags={"a": "a", "b": "b"})
    table = ", ".join(f"({position}, {text(row['a'])}, {text(row['b'])})" for position, row in enumerate(rows))
    with duckdb.connect() as connection:
        met = connection.execute(
            f"SELECT {sql} AS met FROM (VALUES {table}) AS row(position, a, b) ORDER BY position"
        ).fetchall()
    assert [value for (value,) in met] == [holds(condition, row) for row in rows]


def text(value: str | None) -> str:
    return "CAST(NULL AS VARCHAR)" if value is None else literal(value)
