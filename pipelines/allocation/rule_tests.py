"""Runs the worked cases that rules carry (``tests:``) through the kernel that divides the bill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.allocation.rules import Rule
from pipelines.allocation.shares import create_input_tables, create_shares
from pipelines.allocation.windows import insert_named_targets, insert_rules
from pipelines.errors import RuleError

if TYPE_CHECKING:
    import duckdb

_PLACES = 12
"""Measures in a rule's test have at most as many decimal places as a driver."""


@dataclass(frozen=True)
class FailedRuleTest:
    """A test of a rule that came out otherwise; ``number`` counts the rule's tests from 1."""

    rule: Rule
    number: int
    expected: Mapping[str, Decimal]
    found: Mapping[str, Decimal]

    def as_error(self) -> RuleError:
        """What to tell the person who wrote it."""
        return RuleError(
            f"test {self.number} of the rule {self.rule.name!r} doesn't come out as it says",
            where=f"{self.rule.file}:{self.rule.line}",
            expected=_listed(self.expected),
            found=_listed(self.found),
            remedy="correct the rule, or what its test expects",
        )


def failed_rule_tests(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> list[FailedRuleTest]:
    """The tests that fail, in the order of the rules. Each is one window with one charge of the given cost.

    Replaces the schema ``split``. Raises MeasurementError and ZeroWeightError (:mod:`pipelines.allocation.shares`).
    """
    cases = [
        (number, rule, position) for number, rule in enumerate(rules, start=1) for position in range(len(rule.tests))
    ]
    create_input_tables(connection)
    insert_rules(connection, rules)
    for window_id, (number, rule, position) in enumerate(cases):
        _insert_window(connection, window_id, number, rule, position)
    insert_named_targets(connection, rules)
    create_shares(connection)
    failed = []
    for window_id, (_, rule, position) in enumerate(cases):
        test = rule.tests[position]
        found = _amounts(connection, window_id, test.given.cost)
        if found != {target: amount for target, amount in test.expect.items() if amount != 0}:
            failed.append(FailedRuleTest(rule, position + 1, test.expect, found))
    return failed


def _insert_window(
    connection: duckdb.DuckDBPyConnection, window_id: int, rule_number: int, rule: Rule, position: int
) -> None:
    given = rule.tests[position].given
    capacity, gap = (None if hours is None else _units(hours) for hours in (given.capacity, given.gap))
    connection.execute(
        "INSERT INTO split.windows VALUES (?, ?, ?, ?, ?)",
        [window_id, rule_number, f"of test {position + 1}", capacity, gap],
    )
    active = given.gpu_hours_active or {}
    for target, hours in (given.gpu_hours_held or {}).items():
        used = _units(active[target]) if target in active else None
        connection.execute("INSERT INTO split.held VALUES (?, ?, ?, ?)", [window_id, target, _units(hours), used])
    for driver, values in given.drivers.items():
        connection.execute("INSERT INTO split.driver_states VALUES (?, ?, 'measured')", [window_id, driver])
        for target, value in values.items():
            connection.execute(
                "INSERT INTO split.driver_values VALUES (?, ?, ?, ?)", [window_id, driver, target, _units(value)]
            )


def _amounts(connection: duckdb.DuckDBPyConnection, window_id: int, cost: Decimal) -> dict[str, Decimal]:
    rows = connection.execute(
        """
        SELECT target, sum(split_amount(whole_part(cost), fraction_units(cost), share_before, share_through)) AS amount
        FROM split.vector
        CROSS JOIN (SELECT CAST(? AS DECIMAL(38,18)) AS cost)
        WHERE window_id = ?
        GROUP BY target
        """,
        [f"{cost:f}", window_id],
    ).fetchall()
    return {target: amount for target, amount in rows if amount != 0}


def _units(measure: Decimal) -> str:
    return str(int(measure.scaleb(_PLACES)))


def _listed(amounts: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{target}: {amount.normalize():f}" for target, amount in sorted(amounts.items()))
