"""Rules carry worked cases; they run through the kernel that divides the bill."""

from __future__ import annotations

from pathlib import Path

from pipelines.allocation.rule_tests import failed_rule_tests
from pipelines.allocation.rules import load_rule_set, parse_rules
from pipelines.lake.database import connect

RULE = """
rule: pool
priority: 1
valid_from: 2026-08-01
state: showback
pool: {where: {column: ServiceName, present: true}}
grain: hour
target: [team]
method: METHOD
"""

HYBRID = """{blend: [{driver: gpu_hours_held, weight: "0.5"}, {driver: tokens_weighted, weight: "0.5"}]}"""


def rules(method: str, tests: str) -> str:
    return RULE.replace("METHOD", method) + "tests:\n" + tests


def test_a_case_that_comes_out_as_it_says_passes() -> None:
    # a 50 x 3/4 + 50 x 0, b 50 x 1/4 + 50 x 1.
    text = rules(
        HYBRID,
        """
  - given: {cost: "100", gpu_hours_held: {a: 3, b: 1}, tokens_weighted: {a: 0, b: 10}}
    expect: {a: "37.5", b: "62.5"}
""",
    )
    assert failed_rule_tests(connect(), parse_rules(text)) == []


def test_gap_and_idle_of_a_case_are_on_their_own_lines() -> None:
    # Of 8 GPU-hours 2 are gap and 2 idle: 25 each; a and b share 50 as 3 to 1.
    text = rules(
        "{driver: gpu_hours_held}",
        """
  - given: {cost: "100", capacity: 8, gap: 2, gpu_hours_held: {a: 3, b: 1}}
    expect: {a: "37.5", b: "12.5", __gap__: "25", __idle__: "25"}
""",
    )
    assert failed_rule_tests(connect(), parse_rules(text)) == []


def test_a_driver_that_a_case_does_not_give_is_missing() -> None:
    text = rules(
        HYBRID,
        """
  - given: {cost: "-3", gpu_hours_held: {a: 1}}
    expect: {a: "-1.5", __unallocated__: "-1.5"}
""",
    )
    assert failed_rule_tests(connect(), parse_rules(text)) == []


def test_even_and_direct_rules_need_no_drivers() -> None:
    even = rules("{even: {targets: [a, b]}}", '  - {given: {cost: "1"}, expect: {a: "0.5", b: "0.5"}}')
    direct = rules("{direct: c}", '  - {given: {cost: "1"}, expect: {c: "1"}}')
    both = even + "\n---\n" + direct.replace("rule: pool", "rule: other").replace("priority: 1", "priority: 2")
    assert failed_rule_tests(connect(), parse_rules(both)) == []


def test_a_case_that_comes_out_otherwise_says_what_was_expected_and_found() -> None:
    text = rules(
        "{driver: requests}",
        """
  - {given: {cost: "4", requests: {a: 1, b: 1}}, expect: {a: "2", b: "2"}}
  - {given: {cost: "4", requests: {a: 3, b: 1}}, expect: {a: "2", b: "2"}}
""",
    )
    (failed,) = failed_rule_tests(connect(), parse_rules(text, file="pool.yaml"))
    assert str(failed.as_error()) == (
        "test 2 of the rule 'pool' doesn't come out as it says\n"
        "  where: pool.yaml:2\n"
        "  expected: a: 2, b: 2\n"
        "  found: a: 3, b: 1\n"
        "  what to do: correct the rule, or what its test expects"
    )


def test_the_demo_company_s_rules_pass_their_own_tests() -> None:
    rule_set = load_rule_set(Path(__file__).resolve().parents[2] / "allocation_rules")
    assert sum(len(rule.tests) for rule in rule_set.rules) >= 7
    assert failed_rule_tests(connect(), rule_set.rules) == []
