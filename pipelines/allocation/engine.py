"""The allocation engine: every charge of a billing period into the place or places where it ends up, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.allocation.parts import charges_select, create_elements
from pipelines.allocation.pools import ChargeKinds
from pipelines.allocation.rules import RuleSet
from pipelines.allocation.shares import create_shares
from pipelines.allocation.windows import create_windows
from pipelines.errors import DeliveryError

if TYPE_CHECKING:
    import duckdb

COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
LARGEST_TOTAL_COST = Decimal(10) ** 20
"""Where DECIMAL(38,18) ends: the totals of a billing period and the audits that compare them stay below."""


@dataclass(frozen=True)
class AllocationRelations:
    """What an allocation gives, as SELECTs over the session in which it was made."""

    kinds: ChargeKinds
    rules: str

    @property
    def charges(self) -> str:
        """The parts of the whole bill. It streams: memory holds the small tables of the schema ``split``, never the bill."""
        return self.charges_of("billing.charges")

    def charges_of(self, relation: str) -> str:
        """The parts of a slice of the bill: a relation with the columns of ``billing.charges`` and some of its rows.

        Cursors of the session may write several slices at once; a charge's parts don't depend on the others.
        """
        return charges_select(self.kinds, relation)


def create_allocation(
    connection: duckdb.DuckDBPyConnection, rule_set: RuleSet, *, billing_period: str
) -> AllocationRelations:
    """Decide where each charge of ``billing.charges`` ends up, and return the SELECTs that write it.

    The session holds ``billing.charges`` with one billing period, the ``usage`` tables with every day that its charges
    were made for, and the mappings. Leaves the schema ``split``.

    Raises MeasurementError and ZeroWeightError (:mod:`pipelines.allocation.shares`), DeliveryError for costs whose
    totals don't fit, and ApportionError for tags that are no JSON object.
    """
    _refuse_costs_without_a_total(connection, billing_period)
    connection.execute("CREATE SCHEMA IF NOT EXISTS split")
    kinds = ChargeKinds(connection, rule_set)
    create_windows(connection, rule_set.rules, rule_set.dimensions, kinds)
    create_shares(connection)
    create_elements(connection, rule_set.rules, rule_set.dimensions)
    return AllocationRelations(kinds, create_rules(connection, rule_set, billing_period=billing_period))


def _refuse_costs_without_a_total(connection: duckdb.DuckDBPyConnection, billing_period: str) -> None:
    """Refuse costs that sum, without their signs, to 10^20 or more: no table could hold their total."""
    for column in COSTS:
        largest, charges = connection.execute(
            f"SELECT coalesce(greatest(max({column}), -min({column})), 0), count(*) FROM billing.charges"
        ).fetchall()[0]
        if largest < LARGEST_TOTAL_COST // max(charges, 1):
            continue
        too_large = connection.execute(
            f"""
            SELECT
                BillingCurrency,
                sum(abs(CAST(whole_part({column}) AS HUGEINT))) + count(*) AS total,
                arg_max(x_SourceName || ', ' || x_SourceFile || ', row ' || x_SourceRow, abs({column})) AS largest_at
            FROM billing.charges
            GROUP BY BillingCurrency
            HAVING total >= {LARGEST_TOTAL_COST:f}::HUGEINT
            ORDER BY BillingCurrency NULLS FIRST
            """
        ).fetchone()
        if too_large is not None:
            currency, total, largest_at = too_large
            raise DeliveryError(
                f"The costs of a billing period are too large to be totalled: column {column}.",
                where=f"billing period {billing_period}, {column} in {currency}; the largest is in {largest_at}",
                expected=f"amounts that sum, without their signs, to less than {LARGEST_TOTAL_COST:f}",
                found=f"about {total}",
                remedy="Look at that row: a bill of this size is almost always a wrong unit or a damaged file. Have the "
                "provider deliver the bill again, then run again.",
            )


def create_rules(connection: duckdb.DuckDBPyConnection, rule_set: RuleSet, *, billing_period: str) -> str:
    """Create ``split.rule_texts``, the rules as ``allocation.rules`` keeps them, and return its SELECT."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS split")
    connection.execute(
        "CREATE OR REPLACE TABLE split.rule_texts (period VARCHAR, rule VARCHAR, rule_hash VARCHAR, pool VARCHAR, "
        "state VARCHAR, priority BIGINT, valid_from DATE, valid_to DATE, rule_text VARCHAR)"
    )
    for rule in rule_set.rules:
        connection.execute(
            "INSERT INTO split.rule_texts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                billing_period,
                rule.name,
                rule.rule_hash,
                rule.name,
                rule.state,
                rule.priority,
                rule.valid_from,
                rule.valid_to,
                rule.text,
            ],
        )
    return (
        "SELECT period, rule, rule_hash, pool, state, priority, valid_from, valid_to, rule_text "
        "FROM split.rule_texts ORDER BY rule"
    )
