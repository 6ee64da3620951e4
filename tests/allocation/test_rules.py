"""Rules: what the YAML means, and that everything wrong in it is said with file, line and remedy."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.allocation.conditions import All, AnyOf, Comparison, Not
from pipelines.allocation.dimensions import Dimensions, parse_dimensions
from pipelines.allocation.rule_files import RuleFilesError, RuleProblem
from pipelines.allocation.rules import (
    Blend,
    BlendEntry,
    Direct,
    Even,
    EvenTargets,
    Rule,
    RuleSet,
    RuleTest,
    RuleTestGiven,
    SingleDriver,
    load_rule_set,
    parse_rules,
    tags_mentioned,
)
from pipelines.errors import RuleError

# The line numbers in the tests below are those of this text.
HYBRID = """\
rule: gpu-cluster-shared
priority: 100
valid_from: 2026-08-01
state: showback
pool:
  where:
    all:
      - {column: ServiceName, in: [Amazon Elastic Compute Cloud]}
      - {tag: cluster, equals: train}
grain: hour
target: [team]
method:
  blend:
    - {driver: gpu_hours_held, weight: "0.5", fallback: [requests]}
    - {driver: tokens_weighted, weight: 0.50}
gap: own_line
idle:
  unheld: own_line
  held: in_key
on_zero_weight: renormalise
tests:
  - given: {cost: "100", gpu_hours_held: {a: 3, b: 1}, tokens_weighted: {a: 0, b: 10}}
    expect: {a: "37.5", b: "62.5"}
"""

KEYS = (
    "rule, priority, valid_from, valid_to, state, pool, grain, target, method, gap, idle, on_zero_weight, "
    "endpoints, tests"
)
DRIVERS = "gpu_hours_held, gpu_hours_active, tokens_weighted, tokens_total, requests"
COMPARISON_KEYS = "column, dimension, tag, equals, in, prefix, matches, present"


def test_a_rule_means_what_it_says() -> None:
    (rule,) = parse_rules(HYBRID)
    assert rule.model_dump() == {
        "name": "gpu-cluster-shared",
        "priority": 100,
        "valid_from": date(2026, 8, 1),
        "valid_to": None,
        "state": "showback",
        "pool": All(
            all=(
                Comparison(column="ServiceName", in_=("Amazon Elastic Compute Cloud",)),
                Comparison(tag="cluster", equals="train"),
            )
        ).model_dump(),
        "grain": "hour",
        "target": ("team",),
        "method": {
            "blend": (
                {"driver": "gpu_hours_held", "weight": Decimal("0.5"), "fallback": ("requests",)},
                {"driver": "tokens_weighted", "weight": Decimal("0.5"), "fallback": ()},
            )
        },
        "gap": "own_line",
        "idle_unheld": "own_line",
        "idle_held": "in_key",
        "on_zero_weight": "renormalise",
        "endpoints": None,
        "tests": (
            RuleTest(
                given=RuleTestGiven(
                    cost=Decimal(100),
                    gpu_hours_held={"a": Decimal(3), "b": Decimal(1)},
                    tokens_weighted={"a": Decimal(0), "b": Decimal(10)},
                ),
                expect={"a": Decimal("37.5"), "b": Decimal("62.5")},
            ).model_dump(),
        ),
    }
    assert (rule.text, rule.file, rule.line) == (HYBRID, "rule.yaml", 1)
    assert rule.drivers == ("gpu_hours_held", "tokens_weighted", "requests")
    assert rule.reads_tokens
    assert rule.tests[0].given.drivers == {
        "gpu_hours_held": {"a": Decimal(3), "b": Decimal(1)},
        "tokens_weighted": {"a": Decimal(0), "b": Decimal(10)},
    }


SHORTEST = """\
rule: r
priority: 1
valid_from: 2026-08-01
state: shadow
pool: {where: {tag: a, present: true}}
grain: month
target: [team]
method: {driver: gpu_hours_held}
"""


def test_what_is_left_out_has_its_default() -> None:
    (rule,) = parse_rules(SHORTEST)
    assert (rule.gap, rule.idle_unheld, rule.idle_held, rule.on_zero_weight) == (
        "own_line",
        "own_line",
        "in_key",
        "renormalise",
    )
    assert (rule.valid_to, rule.endpoints, rule.tests) == (None, None, ())
    assert not rule.reads_tokens


@pytest.mark.parametrize(
    ("written", "method", "blend", "target_ids"),
    [
        (
            "{driver: gpu_hours_active, fallback: [gpu_hours_held]}",
            SingleDriver(driver="gpu_hours_active", fallback=("gpu_hours_held",)),
            (BlendEntry(driver="gpu_hours_active", weight=Decimal(1), fallback=("gpu_hours_held",)),),
            (),
        ),
        ("{even: {targets: [a, b]}}", Even(even=EvenTargets(targets=("a", "b"))), (), ("a", "b")),
        ("{direct: a}", Direct(direct="a"), (), ("a",)),
        (
            "{blend: [{driver: requests, weight: 1}]}",
            Blend(blend=(BlendEntry(driver="requests", weight=Decimal(1)),)),
            (BlendEntry(driver="requests", weight=Decimal(1)),),
            (),
        ),
    ],
)
def test_methods(written: str, method: object, blend: tuple[BlendEntry, ...], target_ids: tuple[str, ...]) -> None:
    (rule,) = parse_rules(SHORTEST.replace("{driver: gpu_hours_held}", written))
    assert (rule.method, rule.blend, rule.target_ids) == (method, blend, target_ids)


def test_conditions_nest() -> None:
    (rule,) = parse_rules(
        SHORTEST.replace(
            "{tag: a, present: true}", '{any: [{not: {dimension: team, matches: "a|b"}}, {column: SkuId, prefix: 00}]}'
        )
    )
    assert rule.pool == AnyOf(
        any=(Not(not_=Comparison(dimension="team", matches="a|b")), Comparison(column="SkuId", prefix="00"))
    )


def test_the_owner_of_idle_is_a_target() -> None:
    (rule,) = parse_rules(SHORTEST + 'idle: {unheld: "owner:plat/form"}\n'.replace("plat/form", "platform"))
    assert (rule.idle_unheld, rule.idle_owner) == ("owner:platform", "platform")
    assert parse_rules(SHORTEST)[0].idle_owner is None


def test_a_rule_is_valid_from_its_first_day_until_before_its_last() -> None:
    (rule,) = parse_rules(SHORTEST + "valid_to: 2026-09-01\n")
    days = [date(2026, 7, 31), date(2026, 8, 1), date(2026, 8, 31), date(2026, 9, 1)]
    assert [rule.applies_on(day) for day in days] == [False, True, True, False]
    assert parse_rules(SHORTEST)[0].applies_on(date(2100, 1, 1))


def test_scalars_are_the_text_that_was_written() -> None:
    (rule,) = parse_rules(SHORTEST.replace("{tag: a, present: true}", "{column: SubAccountId, in: [012345678901, no]}"))
    assert rule.pool == Comparison(column="SubAccountId", in_=("012345678901", "no"))


def test_anchors_and_merges_are_read() -> None:
    text = SHORTEST.replace(
        "{driver: gpu_hours_held}",
        "\n  blend:\n    - &one {driver: requests, weight: 0.25, fallback: &others [tokens_total]}\n"
        "    - {<<: *one, driver: gpu_hours_held, weight: 0.75}",
    )
    assert parse_rules(text)[0].blend == (
        BlendEntry(driver="requests", weight=Decimal("0.25"), fallback=("tokens_total",)),
        BlendEntry(driver="gpu_hours_held", weight=Decimal("0.75"), fallback=("tokens_total",)),
    )


def test_the_hash_is_of_what_a_rule_says_not_of_how() -> None:
    otherwise = """\
# the same rule, in another order, with the defaults left out
method:
  blend:
  - weight: '0.500000'
    fallback:
    - requests
    driver: gpu_hours_held
  - {weight: "0.5", driver: tokens_weighted, fallback: []}
target: [team]
grain: "hour"
pool: {where: {all: [{in: ["Amazon Elastic Compute Cloud"], column: ServiceName}, {equals: 'train', tag: cluster}]}}
state: showback
valid_to:
valid_from: '2026-08-01'
priority: 0100
rule: gpu-cluster-shared
"""
    (rule,) = parse_rules(HYBRID)
    (same,) = parse_rules(otherwise, file="elsewhere.yaml")
    # pinned: allocation rows of closed periods carry it
    assert rule.rule_hash == same.rule_hash == "39230fbd951163c8e606dd501ada0a9bafb06dfaa195831e702f6bede2c2e9b7"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("priority: 100", "priority: 101"),
        ("rule: gpu-cluster-shared", "rule: other"),
        ("equals: train", "equals: Train"),
        ("equals: train", "prefix: train"),
        ("state: showback", "state: chargeback"),
        ("gap: own_line", "gap: in_key"),
        ("  unheld: own_line", "  unheld: even"),
        ("[requests]", "[tokens_total]"),
        ("gap: own_line", "gap: own_line\nvalid_to: 2027-01-01"),
        ("gap: own_line", "gap: own_line\nendpoints: [llm]"),
    ],
)
def test_another_rule_has_another_hash(old: str, new: str) -> None:
    assert parse_rules(HYBRID)[0].rule_hash != parse_rules(HYBRID.replace(old, new))[0].rule_hash


def test_a_rule_made_in_python_is_checked_too() -> None:
    rule = Rule(
        name="r",
        priority=1,
        valid_from=date(2026, 8, 1),
        state="shadow",
        pool=Comparison(tag="a", present=True),
        grain="month",
        target=("team",),
        method=SingleDriver(driver="gpu_hours_held"),
    )
    assert rule.rule_hash == parse_rules(SHORTEST)[0].rule_hash
    with pytest.raises(ValidationError, match="don't sum to 1"):
        Blend(blend=(BlendEntry(driver="requests", weight=Decimal("0.3")),))
    with pytest.raises(ValidationError, match="isn't an exact decimal number"):
        BlendEntry(driver="requests", weight=0.5)  # type: ignore[arg-type]


def problems(text: str, dimensions: Dimensions | None = None) -> list[RuleProblem]:
    with pytest.raises(RuleFilesError) as caught:
        parse_rules(text, dimensions=dimensions)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("old", "new", "line", "problem", "expected", "found", "remedy"),
    [
        (
            "gap: own_line",
            "gapp: own_line",
            16,
            "unknown key 'gapp'",
            KEYS,
            "",
            "did you mean 'gap'?",
        ),
        (
            "  held: in_key",
            "  hold: in_key",
            19,
            "unknown key 'hold'",
            "unheld, held",
            "",
            "did you mean 'held'?",
        ),
        ("gap: own_line", "idle_held: holder", 16, "unknown key 'idle_held'", KEYS, "", "did you mean 'idle'?"),
        (
            "tag: cluster, equals",
            "tag: cluster, equal",
            9,
            "unknown key 'equal'",
            COMPARISON_KEYS,
            "",
            "did you mean 'equals'?",
        ),
        (
            "fallback: [requests]",
            "fallbacks: [requests]",
            14,
            "unknown key 'fallbacks'",
            "driver, weight, fallback",
            "",
            "did you mean 'fallback'?",
        ),
        (
            "{cost:",
            "{costs: 1, cost:",
            22,
            "unknown key 'costs'",
            f"cost, capacity, gap, {DRIVERS}",
            "",
            "did you mean 'cost'?",
        ),
        ("priority: 100\n", "", 1, "'priority' is missing", "", "", "add 'priority'"),
        ("priority: 100", "priority:", 2, "'priority' is missing", "", "", "add 'priority'"),
        (
            "priority: 100",
            "priority: 1e2",
            2,
            "'priority' isn't a whole number",
            "a whole number, such as 100",
            "1e2",
            "write digits",
        ),
        (
            "rule: gpu-cluster-shared",
            "rule: gpu cluster",
            1,
            "'gpu cluster' can't be the name of a rule",
            "letters, digits, '.', '_' and '-', a letter or digit first",
            "gpu cluster",
            "rename the rule",
        ),
        (
            "valid_from: 2026-08-01",
            "valid_from: 2026-02-30",
            3,
            "'valid_from' isn't a date",
            "a day of the calendar, YYYY-MM-DD",
            "2026-02-30",
            "correct the date",
        ),
        (
            "state: showback",
            "valid_to: 2026-08-01\nstate: showback",
            4,
            "the rule ends before it starts",
            "a day after valid_from, 2026-08-01",
            "2026-08-01",
            "valid_to is the first day on which the rule is no longer valid; correct it or delete it",
        ),
        (
            "state: showback",
            "state: chargback",
            4,
            "'state' can't be 'chargback'",
            "'showback', 'shadow' or 'chargeback'",
            "chargback",
            "did you mean 'chargeback'?",
        ),
        (
            "grain: hour",
            "grain: week",
            10,
            "'grain' can't be 'week'",
            "'hour', 'day' or 'month'",
            "week",
            "write one of these",
        ),
        (
            "target: [team]",
            "target: [tema]",
            11,
            "unknown dimension 'tema'",
            "cost_center, customer, environment, feature, model, product, team",
            "tema",
            "did you mean 'team'?",
        ),
        (
            "target: [team]",
            "target:\n  - team\n  - squad",
            13,
            "unknown dimension 'squad'",
            "cost_center, customer, environment, feature, model, product, team",
            "squad",
            "add 'squad' to dimensions.yaml",
        ),
        (
            "target: [team]",
            "target: []",
            11,
            "'target' can't be read",
            "at least one entry",
            "[]",
            "write at least one entry here",
        ),
        (
            "target: [team]",
            "target: team",
            11,
            "'target' can't be read",
            "a list ([one, two])",
            "team",
            "write a list ([one, two]) here",
        ),
        (
            "{tag: cluster, equals: train}",
            "{dimension: tem, equals: train}",
            9,
            "unknown dimension 'tem'",
            "cost_center, customer, environment, feature, model, product, team",
            "tem",
            "did you mean 'team'?",
        ),
        (
            "column: ServiceName",
            "column: servicename",
            8,
            "a condition can't read the column 'servicename'",
            "a text column of billing.charges",
            "servicename",
            "did you mean 'ServiceName'?",
        ),
        (
            "column: ServiceName",
            "column: BilledCost",
            8,
            "a condition can't read the column 'BilledCost'",
            "a text column of billing.charges",
            "BilledCost",
            "see the columns in docs/rules.md; tags and dimensions have comparisons of their own",
        ),
        (
            "{tag: cluster, equals: train}",
            "{tag: cluster, equals: train, prefix: t}",
            9,
            "a comparison has exactly one of equals, in, prefix, matches, present",
            "",
            "equals, prefix",
            "write one comparison each and join them with all or any",
        ),
        (
            "{tag: cluster, equals: train}",
            "{equals: train}",
            9,
            "a comparison names exactly one column, dimension or tag",
            "",
            "none",
            "write one comparison each and join them with all or any",
        ),
        (
            "{tag: cluster, equals: train}",
            "{tag: cluster, present: maybe}",
            9,
            "'present' is neither true nor false",
            "true or false",
            "maybe",
            "write true or false",
        ),
        (
            "{tag: cluster, equals: train}",
            "{tag: cluster, matches: '(?=a)b'}",
            9,
            "the pattern isn't a regular expression that RE2 reads",
            "a pattern of https://github.com/google/re2/wiki/Syntax (no lookaround, no backreference)",
            "(?=a)b (invalid perl operator: (?=)",
            "correct the pattern; a backslash in double quotes is written twice",
        ),
        (
            "{tag: cluster, equals: train}",
            "train",
            9,
            "entry 2 of 'all' can't be read",
            "a mapping with all, any, not, column, dimension or tag",
            "train",
            "write a mapping with all, any, not, column, dimension or tag here",
        ),
        (
            "  blend:",
            "  blen:",
            13,
            "'method' can't be read",
            "a mapping with one of blend, driver, even, direct",
            "{'blen': [{'driver': 'gpu_hours_held', 'weight': '0.5', 'fallback': ['request...",
            "write a mapping with one of blend, driver, even, direct here",
        ),
        (
            "weight: 0.50",
            "weight: 0.51",
            14,
            "the weights of the blend don't sum to 1",
            "1",
            "0.5 + 0.51 = 1.01",
            "correct the weights; thirds are written 0.333333, 0.333333, 0.333334",
        ),
        (
            "weight: 0.50",
            "weight: 5e-1",
            15,
            "'weight' isn't an exact decimal number",
            'decimal text that isn\'t negative, such as "0.5"',
            "5e-1",
            "write it in plain digits, without exponent, blanks or separators",
        ),
        (
            "weight: 0.50",
            "weight: -0.5",
            15,
            "'weight' isn't an exact decimal number",
            'decimal text that isn\'t negative, such as "0.5"',
            "-0.5",
            "write it in plain digits, without exponent, blanks or separators",
        ),
        (
            "weight: 0.50",
            "weight: 0.5000000",
            15,
            "'weight' has more than 6 decimal places",
            "at most 6 places",
            "0.5000000",
            "round it to 6 places",
        ),
        (
            "weight: 0.50",
            "weight: 0.0",
            15,
            "'weight' is 0",
            "a weight above 0",
            "0.0",
            "delete the entry",
        ),
        (
            "driver: tokens_weighted",
            "driver: token_weighted",
            15,
            "unknown driver 'token_weighted'",
            DRIVERS,
            "token_weighted",
            "did you mean 'tokens_weighted'?",
        ),
        (
            "[requests]",
            "[request]",
            14,
            "unknown driver 'request'",
            DRIVERS,
            "request",
            "did you mean 'requests'?",
        ),
        (
            "[requests]",
            "[requests, requests]",
            14,
            "the fallback names 'requests' twice",
            "",
            "",
            "delete the second 'requests'",
        ),
        (
            "[requests]",
            "[gpu_hours_held]",
            14,
            "'gpu_hours_held' falls back to itself",
            "",
            "",
            "delete 'gpu_hours_held' from its fallback",
        ),
        (
            "driver: tokens_weighted",
            "driver: gpu_hours_held",
            15,
            "the blend has 'gpu_hours_held' twice",
            "",
            "",
            "join the two entries and add their weights",
        ),
        (
            "  unheld: own_line",
            "  unheld: proportionate",
            18,
            "idle.unheld can't be 'proportionate'",
            "own_line, proportional, even, or owner:NAME with a target",
            "proportionate",
            "did you mean 'proportional'?",
        ),
        (
            "  unheld: own_line",
            "  unheld: 'owner:'",
            18,
            "idle.unheld can't be 'owner:'",
            "own_line, proportional, even, or owner:NAME with a target",
            "owner:",
            "write who owns the idle hours, such as owner:platform",
        ),
        (
            "  unheld: own_line",
            "  unheld: owner:__idle__",
            18,
            "the target name '__idle__' is reserved",
            "the name of a target of yours",
            "__idle__",
            "a value of yours that starts with two underscores is written \\__idle__",
        ),
        (
            "  unheld: own_line",
            "  unheld: owner:a/b",
            18,
            "the target 'a/b' doesn't name team",
            "1 value(s) joined by '/', the first not empty",
            "a/b",
            "write a '/' or backslash that belongs to a value with a backslash before it",
        ),
        (
            "idle:\n  unheld: own_line\n  held: in_key\n",
            "idle: own_line\n",
            17,
            "'idle' can't be read",
            "a mapping (key: value)",
            "own_line",
            "write the keys of 'idle' below it",
        ),
        (
            "gap: own_line",
            "endpoints: [llm, llm]",
            16,
            "endpoints names 'llm' twice",
            "",
            "",
            "delete the second 'llm'",
        ),
        (
            'a: "37.5"',
            'a: "37.4"',
            23,
            "the expected parts don't sum to the cost",
            "100",
            "37.4 + 62.5 = 99.9",
            "correct the parts, or add those of __gap__, __idle__ and __unallocated__",
        ),
        (
            "{a: 3, b: 1}",
            "{a: 3, b: -1}",
            22,
            "'b' isn't an exact decimal number",
            'decimal text that isn\'t negative, such as "0.5"',
            "-1",
            "write it in plain digits, without exponent, blanks or separators",
        ),
        (
            "{a: 3, b: 1}",
            "{a: 3, __idle__: 1}",
            22,
            "the target name '__idle__' is reserved",
            "the name of a target of yours",
            "__idle__",
            "a value of yours that starts with two underscores is written \\__idle__",
        ),
        (
            'cost: "100"',
            "cost: 1,000",
            22,
            "unknown key '000'",
            f"cost, capacity, gap, {DRIVERS}",
            "",
            "delete '000' or write one of the expected keys",
        ),
        (
            "gap: own_line",
            "gap: own_line\ngap: in_key",
            17,
            "the key 'gap' is given twice",
            "",
            "",
            "keep one of them; the first is in line 16",
        ),
        (
            "gap: own_line",
            "\tgap: own_line",
            16,
            "the file isn't YAML: found character '\\t' that cannot start any token",
            "",
            "",
            "correct the line, or the one before it: indent with blanks, never tabs; quote text that has ': ' or ' #' in it",
        ),
        (
            "gap: own_line",
            "gap: own_line: x",
            16,
            "the file isn't YAML: mapping values are not allowed here",
            "",
            "",
            "correct the line, or the one before it: indent with blanks, never tabs; quote text that has ': ' or ' #' in it",
        ),
        ("gap: own_line", "gap: !own own_line", 16, "unknown YAML tag !own", "", "", "delete the tag"),
        (
            "gap: own_line",
            "gap: &gap [*gap]",
            16,
            "a YAML alias that contains itself",
            "",
            "",
            "write the values out",
        ),
        (
            "gap: own_line",
            "gap: own\x07line",
            16,
            "the file has a character that YAML doesn't allow",
            "",
            "U+0007",
            "delete the character, or write it as an escape in double quotes",
        ),
        ("gap: own_line", "[gap]: own_line", 16, "a key that isn't text", "", "", "write the key as text"),
        (
            "equals: train",
            'equals: "\\0"',
            9,
            "text with a character that isn't one (NUL, or half a surrogate pair)",
            "",
            "",
            "delete it",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    old: str, new: str, line: int, problem: str, expected: str, found: str, remedy: str
) -> None:
    assert old in HYBRID
    assert problems(HYBRID.replace(old, new, 1)) == [RuleProblem("rule.yaml", line, problem, expected, found, remedy)]


@pytest.mark.parametrize(
    ("method", "problem", "expected"),
    [
        ("{even: {targets: [a, a]}}", "even names 'a' twice", ""),
        ("{even: {targets: []}}", "'targets' can't be read", "at least one entry"),
        ("{direct: __idle__}", "the target name '__idle__' is reserved", "the name of a target of yours"),
        ("{direct: Ads}", "no charge or measurement ever has the target 'Ads'", "ads"),
        ("{direct: searching}", "no charge or measurement ever has the target 'searching'", "search"),
        ("{direct: 'a\\b'}", "no charge or measurement ever has the target 'a\\\\b'", "ab"),
        ("{direct: 'a\\'}", "'a\\\\' ends with a backslash that escapes nothing", ""),
        ("{direct: ''}", "'direct' can't be read", "text that isn't empty"),
    ],
)
def test_targets_are_those_that_charges_can_have(method: str, problem: str, expected: str) -> None:
    dimensions = parse_dimensions("dimensions: {team: {fold_case: true, aliases: {search: [searching]}}}")
    text = SHORTEST.replace("{driver: gpu_hours_held}", method)
    assert [(each.line, each.problem, each.expected) for each in problems(text, dimensions)] == [(8, problem, expected)]


def test_endpoints_without_a_token_driver_are_refused() -> None:
    assert problems(SHORTEST + "endpoints: [llm]\n") == [
        RuleProblem(
            "rule.yaml",
            9,
            "endpoints say which token rows feed the rule, but no driver of it reads tokens",
            remedy="delete endpoints, or use one of requests, tokens_total, tokens_weighted",
        )
    ]


def rule_text(name: str, priority: int, driver: str = "gpu_hours_held", more: str = "") -> str:
    text = SHORTEST.replace("rule: r\n", f"rule: {name}\n").replace("priority: 1\n", f"priority: {priority}\n")
    return text.replace("gpu_hours_held", driver) + more


def test_a_folder_is_read_whole_in_order_of_priority(tmp_path: Path) -> None:
    (tmp_path / "dimensions.yaml").write_text("dimensions: {squad: {sources: [{tag: squad}]}}\n")
    (tmp_path / "rules").mkdir()
    two = "# two rules\n" + rule_text("second", 20) + "---\n" + rule_text("first", 10).replace("team", "squad")
    (tmp_path / "rules" / "a.yaml").write_text(two)
    (tmp_path / "b.yml").write_text(rule_text("zeroth", 5).replace("tag: a", "tag: b/c"))
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    (tmp_path / ".b.yaml").write_text("an editor's copy: [")
    (tmp_path / "notes.txt").write_text("no rule")
    rule_set = load_rule_set(tmp_path)
    assert [(rule.name, rule.file, rule.line, rule.target) for rule in rule_set.rules] == [
        ("zeroth", "b.yml", 1, ("team",)),
        ("first", "rules/a.yaml", 11, ("squad",)),
        ("second", "rules/a.yaml", 2, ("team",)),
    ]
    assert rule_set.rules[2].text == rule_text("second", 20)
    assert rule_set.dimensions == parse_dimensions("dimensions: {squad: {sources: [{tag: squad}]}}")
    assert tags_mentioned(rule_set) == ("a", "b/c")


def test_an_empty_folder_has_no_rules(tmp_path: Path) -> None:
    assert load_rule_set(tmp_path) == RuleSet(rules=(), dimensions=Dimensions())


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError) as caught:
        load_rule_set(tmp_path / "rules")
    assert (caught.value.exit_code, caught.value.where) == (2, str(tmp_path / "rules"))
    assert "create the folder" in caught.value.remedy


def test_all_problems_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "dimensions.yaml").write_text("dimensions:\n  squad:\n    source: []\n")
    (tmp_path / "a.yaml").write_text(rule_text("same", 10).replace("target: [team]", "target: [squad, tema]"))
    (tmp_path / "b.yaml").write_text(rule_text("same", 10, more="gaps: x\n"))
    (tmp_path / "c.yaml").write_text("rule: [\n")
    (tmp_path / "d.yaml").write_bytes(b"rule: a\npriority: \xff\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "dimensions.yaml").write_text("dimensions: {}\n")
    with pytest.raises(RuleFilesError) as caught:
        load_rule_set(tmp_path)
    assert [(each.file.removeprefix(f"{tmp_path}/"), each.line, each.problem) for each in caught.value.problems] == [
        ("a.yaml", 7, "unknown dimension 'tema'"),
        ("b.yaml", 1, "'same' is also the name of another rule"),
        ("b.yaml", 2, "'10' is also the priority of another rule"),
        ("b.yaml", 9, "unknown key 'gaps'"),
        ("c.yaml", 2, "the file isn't YAML: expected the node content, but found '<stream end>'"),
        ("d.yaml", 2, "the file isn't UTF-8 text"),
        ("dimensions.yaml", 3, "unknown key 'source'"),
        ("sub/dimensions.yaml", 1, "dimensions in a place where they aren't read"),
    ]
    assert caught.value.problems[1].found == f"same in {tmp_path}/a.yaml:1"
    message = str(caught.value)
    assert message.startswith("8 problems in the allocation rules; none was loaded\nunknown dimension 'tema'\n")
    assert f"  where: {tmp_path}/b.yaml:9\n" in message
    assert caught.value.exit_code == 2


def test_nesting_without_end_is_refused() -> None:
    problem = RuleProblem("rule.yaml", 1, "the file is nested too deeply to be read", remedy="write it flatter")
    assert problems("[" * 5000) == [problem]


def test_one_problem_is_told_as_any_error() -> None:
    with pytest.raises(RuleFilesError) as caught:
        parse_rules(SHORTEST + "gaps: own_line\n", file="rules/gpu.yaml")
    assert str(caught.value) == (
        f"unknown key 'gaps'\n  where: rules/gpu.yaml:9\n  expected: {KEYS}\n  what to do: did you mean 'gap'?"
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            rule_text("one", 1, "requests"),
            rule_text("two", 2, "tokens_total"),
            [(17, "the rules 'one' and 'two' both read all token rows")],
        ),
        (
            rule_text("one", 1, "gpu_hours_held, fallback: [requests]"),
            rule_text("two", 2, "tokens_total"),
            [(17, "the rules 'one' and 'two' both read all token rows")],
        ),
        (
            rule_text("one", 1, "requests", "endpoints: [a, b]\n"),
            rule_text("two", 2, "requests", "endpoints: [c, b]\n"),
            [(19, "the endpoint 'b' feeds the rules 'one' and 'two'")],
        ),
        (rule_text("one", 1, "requests", "endpoints: [a]\n"), rule_text("two", 2, "requests"), []),
        (rule_text("one", 1), rule_text("two", 2, "requests"), []),
        (
            rule_text("one", 1, "requests", "valid_to: 2026-08-02\n"),
            rule_text("two", 2, "requests").replace("2026-08-01", "2026-08-02"),
            [],
        ),
        (
            rule_text("one", 1, "requests", "valid_to: 2026-08-03\n"),
            rule_text("two", 2, "requests").replace("2026-08-01", "2026-08-02"),
            [(18, "the rules 'one' and 'two' both read all token rows")],
        ),
    ],
)
def test_token_rows_feed_one_rule(first: str, second: str, expected: list[tuple[int, str]]) -> None:
    text = first + "---\n" + second
    if expected:
        assert [(each.line, each.problem) for each in problems(text)] == expected
    else:
        assert [rule.name for rule in parse_rules(text)] == ["one", "two"]


def test_the_examples_of_the_documentation_load() -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    rule, condition, dimensions = re.findall(r"^```yaml\n(.*?)^```$", documentation, re.DOTALL | re.MULTILINE)
    known = parse_dimensions(dimensions)
    assert [each.name for each in parse_rules(rule, dimensions=known)] == ["gpu-cluster-shared"]
    assert parse_rules(SHORTEST.replace("pool: {where: {tag: a, present: true}}\n", condition), dimensions=known)


def test_the_rules_of_the_demo_company_load() -> None:
    rule_set = load_rule_set(Path(__file__).parents[2] / "allocation_rules")
    assert [rule.priority for rule in rule_set.rules] == sorted(rule.priority for rule in rule_set.rules)
    assert rule_set.rules
