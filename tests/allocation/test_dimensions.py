"""Dimensions: what dimensions.yaml accepts, and what tags, accounts and targets resolve to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.allocation.dimensions import (
    SEVEN,
    Dimension,
    Dimensions,
    TagSource,
    derive_dimensions,
    dimension_columns,
    fingerprint,
    load_dimensions,
    parse_dimensions,
    parse_target_id,
    resolve_dimensions,
    tag_columns,
    target_id,
    target_id_sql,
)
from pipelines.allocation.rule_files import RuleFilesError, RuleProblem
from pipelines.errors import ApportionError

ACME = """\
direct_by: [team, cost_center]
dimensions:
  team:
    sources: [{tag: team}, {tag: Team}, {account: {"012345678901": platform}}]
    fold_case: true
    aliases: {search: [searching, "Search Team"]}
  environment:
    sources: [{tag: env}]
  cost_center:
    sources: [{tag: cost-center}, {lookup: {dimension: team, values: {Searching: CC-1001, platform: CC-9}}}]
  division:
    sources: [{lookup: {dimension: cost_center, values: {CC-1001: 'the "core"'}}}]
  order:
    sources: [{tag: order}]
"""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def resolved(
    connection: duckdb.DuckDBPyConnection,
    rows: list[tuple[str | None, str | None]],
    dimensions: Dimensions,
    tag_keys: tuple[str, ...] = (),
) -> list[tuple[object, ...]]:
    connection.execute('CREATE TABLE bill ("Tags" VARCHAR, "SubAccountId" VARCHAR)')
    connection.executemany("INSERT INTO bill VALUES (?, ?)", rows)
    resolve_dimensions(
        connection,
        relation="bill",
        tags_column="bill.Tags",
        account_column="bill.SubAccountId",
        dimensions=dimensions,
        into="resolved",
        tag_keys=tag_keys,
    )
    return connection.execute("SELECT * FROM resolved ORDER BY tags NULLS FIRST, account NULLS FIRST").fetchall()


def test_every_distinct_set_of_tags_is_resolved_once(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        ('{"team":" SEARCHING "}', "1"),
        ('{"team":" SEARCHING "}', "1"),
        ('{"team":"","Team":"Ads","env":"Prod"}', "012345678901"),
        ('{"cost-center":"CC-7","order":true}', "012345678901"),
        ("{}", "2"),
        ("", None),
        (None, "012345678901"),
    ]
    found = resolved(connection, rows, parse_dimensions(ACME), tag_keys=("order", "team"))
    # tags, account, team, product, feature, model, environment, customer, cost_center, dimensions, tag_1, tag_2
    none = (None,) * 3
    assert found == [
        (None, "012345678901", "platform", *none, None, None, "CC-9", None, None, None),
        ("", None, None, *none, None, None, None, None, None, None),
        (
            *('{"cost-center":"CC-7","order":true}', "012345678901", "platform"),
            *(*none, None, None, "CC-7", '{"order":"true"}', "true", None),
        ),
        (
            *('{"team":" SEARCHING "}', "1", "search"),
            *(*none, None, None, "CC-1001", '{"division":"the \\"core\\""}', None, " SEARCHING "),
        ),
        ('{"team":"","Team":"Ads","env":"Prod"}', "012345678901", "ads", *none, "Prod", None, None, None, None, ""),
        ("{}", "2", None, *none, None, None, None, None, None, None),
    ]


def test_the_resolved_columns_have_the_documented_names(connection: duckdb.DuckDBPyConnection) -> None:
    resolved(connection, [(None, None)], parse_dimensions(ACME), tag_keys=("x",))
    names = [name for (name, *_) in connection.execute("DESCRIBE resolved").fetchall()]
    types = {kind for (_, kind, *_) in connection.execute("DESCRIBE resolved").fetchall()}
    assert names == ["tags", "account", *SEVEN, "dimensions", "tag_1"]
    assert types == {"VARCHAR"}
    assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("bill",), ("resolved",)]


def test_without_entries_or_accounts_every_dimension_is_absent(connection: duckdb.DuckDBPyConnection) -> None:
    resolve_dimensions(
        connection,
        relation='(VALUES (\'{"team":"a"}\')) AS label(labels)',
        tags_column="labels",
        account_column=None,
        dimensions=Dimensions(),
        into="resolved",
    )
    assert connection.execute("SELECT * FROM resolved").fetchall() == [('{"team":"a"}',) + (None,) * 9]


AWKWARD = ["a.b", 'a"b', "a'b", "a/b", "a\\b", "~", "~1", "$.x", "$", "*", "", "0", "[0]", " a", "a\nb", "é", "k8s:x/y"]


def test_awkward_tag_keys_are_read(connection: duckdb.DuckDBPyConnection) -> None:
    tags = json.dumps({key: f"value {position}" for position, key in enumerate(AWKWARD)})
    dimensions = Dimensions(
        dimensions={
            f"d{position}": Dimension(sources=(TagSource(tag=key),)) for position, key in enumerate(AWKWARD) if key
        }
    )
    resolved(connection, [(tags, None)], dimensions, tag_keys=tuple(AWKWARD))
    expressions = tag_columns(AWKWARD, table="resolved")
    found = connection.execute(f"SELECT {', '.join(expressions[key] for key in AWKWARD)} FROM resolved").fetchone()
    assert found == tuple(f"value {position}" for position in range(len(AWKWARD)))
    (others,) = connection.execute("SELECT dimensions FROM resolved").fetchall()[0]
    assert json.loads(others) == {f"d{position}": f"value {position}" for position, key in enumerate(AWKWARD) if key}
    assert list(json.loads(others)) == sorted(json.loads(others))


def test_numbers_true_and_null_are_tags_too(connection: duckdb.DuckDBPyConnection) -> None:
    tags = '{"n":15,"t":true,"z":null,"e":""}'
    found = resolved(connection, [(tags, None), ("null", None)], Dimensions(), tag_keys=("n", "t", "z", "e", "absent"))
    assert [row[10:] for row in found] == [(None,) * 5, ("15", "true", None, "", None)]


@pytest.mark.parametrize("tags", ["[1]", '"text"', "{", "team=search"])
def test_tags_that_are_no_object_are_refused(connection: duckdb.DuckDBPyConnection, tags: str) -> None:
    with pytest.raises(ApportionError) as caught:
        resolved(connection, [(tags, None), ("{}", None)], Dimensions())
    assert (caught.value.where, caught.value.found) == ("bill", f"{tags} (1 different values like it)")


def test_own_dimensions_are_read_from_the_json_column(connection: duckdb.DuckDBPyConnection) -> None:
    dimensions = parse_dimensions(ACME)
    resolved(connection, [('{"team":"search","order":"o\\"1"}', None)], dimensions)
    columns = dimension_columns(dimensions, table="resolved")
    found = connection.execute(
        f"SELECT {columns['division']}, {columns['order']}, {columns['team']}, {columns['model']} FROM resolved"
    ).fetchone()
    assert found == ('the "core"', 'o"1', "search", None)


def test_blanks_of_every_kind_are_dropped_before_a_value_counts(connection: duckdb.DuckDBPyConnection) -> None:
    rows: list[tuple[str | None, str | None]] = [
        ('{"team":"\\t\\u00a0","Team":"\\u2003search team\\n"}', "012345678901"),
    ]
    assert [row[2] for row in resolved(connection, rows, parse_dimensions(ACME))] == ["search"]


def test_a_target_brings_what_is_looked_up_from_it(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """CREATE TABLE parts AS SELECT * FROM (VALUES
            ('search', 'x'), ('search', 'x'), ('search', NULL), ('a/b', ''), ('__idle__', 'y\\z'), (NULL, 'x'), ('', 'x')
        ) AS part(team, "order")"""
    )
    derive_dimensions(
        connection, relation="parts", target=["team", "order"], dimensions=parse_dimensions(ACME), into="derived"
    )
    # target_id, team, product, feature, model, environment, customer, cost_center, dimensions
    nothing = (None,) * 5
    assert connection.execute("SELECT * FROM derived ORDER BY target_id").fetchall() == [
        ("\\__idle__/y\\\\z", "__idle__", *nothing, None, '{"order":"y\\\\z"}'),
        ("a\\/b/", "a/b", *nothing, None, None),
        ("search/", "search", *nothing, "CC-1001", '{"division":"the \\"core\\""}'),
        ("search/x", "search", *nothing, "CC-1001", '{"division":"the \\"core\\"","order":"x"}'),
    ]


def test_a_target_of_a_looked_up_dimension_keeps_its_own_value(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE parts AS SELECT 'CC-1001' AS cost_center")
    derive_dimensions(
        connection, relation="parts", target=["cost_center"], dimensions=parse_dimensions(ACME), into="derived"
    )
    assert connection.execute("SELECT * FROM derived").fetchall() == [
        ("CC-1001", None, None, None, None, None, None, "CC-1001", '{"division":"the \\"core\\""}')
    ]


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(
        st.none() | st.text(st.sampled_from(["a", "/", "\\", "_", "é"]), max_size=5), min_size=1, max_size=3
    )
)
def test_target_ids_are_read_back_and_the_same_in_sql(values: list[str | None]) -> None:
    identifier = target_id(values)
    columns = [f"${position}::VARCHAR" for position in range(1, len(values) + 1)]
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT {target_id_sql(columns)}", values).fetchone() == (identifier,)
    if identifier is None:
        assert not values[0]
    else:
        assert not identifier.startswith("__")
        assert parse_target_id(identifier) == tuple(value or None for value in values)


@pytest.mark.parametrize(
    ("values", "identifier"),
    [
        (["search"], "search"),
        (["search", "web"], "search/web"),
        (["search", None], "search/"),
        (["a/b\\c"], "a\\/b\\\\c"),
        (["__gap__"], "\\__gap__"),
        ([None, "web"], None),
        (["", "web"], None),
    ],
)
def test_a_target_id_joins_the_escaped_values(values: list[str | None], identifier: str | None) -> None:
    assert target_id(values) == identifier


def test_a_target_id_with_a_lone_backslash_is_refused() -> None:
    with pytest.raises(ValueError, match="ends with a backslash"):
        parse_target_id("search\\")


def problems(text: str) -> list[RuleProblem]:
    with pytest.raises(RuleFilesError) as caught:
        parse_dimensions(text)
    return list(caught.value.problems)


FILE = "dimensions.yaml"
SEVEN_TEXT = "team, product, feature, model, environment, customer, cost_center"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "dimensions:\n  team:\n    sources: []\n    foldcase: true\n",
            RuleProblem(
                FILE,
                4,
                "unknown key 'foldcase'",
                "sources, fold_case, aliases",
                "",
                "did you mean 'fold_case'?",
            ),
        ),
        (
            "dimensions:\n  team: {}\ndirect_by:\n  - team\n  - teem\n",
            RuleProblem(FILE, 5, "unknown dimension 'teem'", SEVEN_TEXT, "teem", "did you mean 'team'?"),
        ),
        (
            "direct_by:\n  - team\n  - team\n",
            RuleProblem(FILE, 3, "direct_by names 'team' twice", remedy="delete the second 'team'"),
        ),
        (
            "dimensions:\n  team:\n    sources:\n      - {tags: team}\n",
            RuleProblem(
                FILE,
                4,
                "entry 1 of 'sources' can't be read",
                "a mapping with one of tag, account, lookup",
                "{'tags': 'team'}",
                "write a mapping with one of tag, account, lookup here",
            ),
        ),
        (
            "dimensions:\n  team:\n    sources: [{tag: team}]\n    fold_case: yes\n",
            RuleProblem(FILE, 4, "'fold_case' can't be read", "true or false", "yes", "write true or false here"),
        ),
        (
            "dimensions:\n  team:\n    aliases:\n      search: [a]\n      ads: [b, a]\n",
            RuleProblem(
                FILE,
                5,
                "'a' is an alias of two values of team: 'search' and 'ads'",
                remedy="write 'a' under one of them; an alias doesn't lead to another alias",
            ),
        ),
        (
            "dimensions:\n  team:\n    fold_case: true\n    aliases:\n      search: [finder]\n      finder: [SEEK]\n",
            RuleProblem(
                FILE,
                6,
                "'finder' is an alias of two values of team: 'search' and 'finder'",
                remedy="write 'finder' under one of them; an alias doesn't lead to another alias",
            ),
        ),
        (
            "dimensions:\n  team:\n    sources:\n      - lookup: {dimension: squad, values: {a: b}}\n",
            RuleProblem(FILE, 4, "unknown dimension 'squad'", SEVEN_TEXT, "squad", "add 'squad' to dimensions.yaml"),
        ),
        (
            "dimensions:\n  team:\n    fold_case: true\n  product:\n    sources:\n      - lookup:\n"
            "          dimension: team\n          values:\n            Ads: x\n            ads: y\n",
            RuleProblem(FILE, 10, "'Ads' and 'ads' are the same value of team: 'ads'", remedy="keep one of them"),
        ),
        (
            "dimensions:\n  a:\n    sources: [{lookup: {dimension: b, values: {x: y}}}]\n"
            "  b:\n    sources: [{lookup: {dimension: c, values: {x: y}}}]\n"
            "  c:\n    sources: [{lookup: {dimension: a, values: {x: y}}}]\n",
            RuleProblem(
                FILE,
                3,
                "dimensions are looked up by each other: a -> b -> c -> a",
                remedy="delete one of these lookups",
            ),
        ),
        (
            "dimensions:\n  Team: {}\n",
            RuleProblem(
                FILE,
                2,
                "'Team' can't be the name of a dimension",
                "lower-case letters, digits and _, a letter first; not tags, account, dimensions, target_id or tag_1",
                "Team",
                "rename the dimension",
            ),
        ),
        (
            "dimensions:\n  team:\n    sources: [{account: {}}]\n",
            RuleProblem(
                FILE, 3, "'account' can't be read", "at least one entry", "{}", "write at least one entry here"
            ),
        ),
        (
            "dimensions:\n  team:\n    sources:\n      - account:\n          '1':\n",
            RuleProblem(FILE, 5, "'1' can't be read", "text", "nothing", "write text here"),
        ),
        (
            "direct_by: [team]\n---\ndimensions: {}\n",
            RuleProblem(
                FILE,
                3,
                "a second YAML document",
                remedy="delete the '---' and join the two under one 'dimensions:'",
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, expected: RuleProblem) -> None:
    assert problems(text) == [expected]


def test_everything_wrong_is_said_at_once() -> None:
    assert [
        (each.line, each.problem) for each in problems("direct_by: [teem]\ndimensions:\n  A: {}\n  tags: {}\n")
    ] == [
        (1, "unknown dimension 'teem'"),
        (3, "'A' can't be the name of a dimension"),
        (4, "'tags' can't be the name of a dimension"),
    ]


def test_a_file_is_read_with_its_accounts_as_text(tmp_path: Path) -> None:
    path = tmp_path / "dimensions.yaml"
    path.write_text("dimensions: {team: {sources: [{account: {012345678901: no}}]}}\n")
    assert load_dimensions(path) == Dimensions.model_validate(
        {"dimensions": {"team": {"sources": [{"account": {"012345678901": "no"}}]}}}
    )


def test_an_empty_file_says_nothing() -> None:
    assert parse_dimensions("# nothing yet\n") == Dimensions(direct_by=("team", "cost_center"), dimensions={})


def test_the_fingerprint_is_of_what_is_said_not_of_how() -> None:
    written = "direct_by: [team, cost_center]\ndimensions: {team: {fold_case: false, sources: [{tag: a}]}, model: {}}"
    otherwise = "dimensions:\n  model:\n    sources: []\n  team:\n    sources:\n      - tag: 'a'\n"
    assert fingerprint(parse_dimensions(written)) == fingerprint(parse_dimensions(otherwise))
    assert fingerprint(parse_dimensions(written)) != fingerprint(parse_dimensions(written.replace("tag: a", "tag: b")))
