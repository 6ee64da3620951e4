"""Where a charge goes: the pool of the first rule that matches it, else who its tags name, else nowhere.

Decided once for each kind of charge, that is each distinct set of what the rules and dimensions read of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from pipelines.allocation.conditions import comparisons, to_sql
from pipelines.allocation.dimensions import SEVEN, dimension_columns, resolve_dimensions, tag_columns, target_id_sql
from pipelines.allocation.rules import UNALLOCATED, Rule, RuleSet, tags_mentioned
from pipelines.lake.database import identifier, literal

if TYPE_CHECKING:
    import duckdb

NO_RULE = 0
"""The rule number of charges outside every pool; rules count from 1 in the order in which they are tried."""


class ChargeKinds:
    """The kinds of charges of ``billing.charges``, in the table ``split.kinds``.

    Columns: those of :meth:`key`, rule_number, grain, conflicts (the dimensions whose names the charge's tags already
    use, joined by commas), disposition, target (NULL in a pool), the seven dimensions and ``dimensions``. The
    dimensions are those of the charge's own tags and NULL in a pool.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, rule_set: RuleSet) -> None:
        self._rules = rule_set.rules
        self._boundaries = _validity_boundaries(connection, rule_set.rules)
        self._columns = sorted(
            {
                comparison.name
                for rule in rule_set.rules
                for comparison in comparisons(rule.pool)
                if comparison.subject == "column"
            }
        )
        self._create(connection, rule_set)

    @property
    def key(self) -> dict[str, str]:
        """What tells kinds apart: the column of ``split.kinds`` and its expression over ``billing.charges``."""
        return {
            "key_tags": "Tags",
            "key_account": "SubAccountId",
            "key_era": self._era(),
            **{f"key_{position}": identifier(name) for position, name in enumerate(self._columns)},
        }

    def matches(self, charges: str) -> str:
        """Whether a row of a table that has the columns of the key is of the kind of a row of ``split.kinds``.

        Never ``=``, also where no NULL can be: see :func:`pipelines.allocation.parts.charges_select`.
        """
        return " AND ".join(f"kinds.{column} IS NOT DISTINCT FROM {charges}.{column}" for column in self.key)

    def _era(self) -> str:
        """How many of the days on which a rule starts or ends lie at or before the charge's first day."""
        passed = [f"CAST(ChargePeriodStart >= DATE '{day}' AS INTEGER)" for day in self._boundaries]
        return " + ".join(["0", *passed])

    @property
    def key_columns(self) -> str:
        """The key's columns, for a SELECT from ``billing.charges``."""
        return ", ".join(f"{expression} AS {column}" for column, expression in self.key.items())

    def _create(self, connection: duckdb.DuckDBPyConnection, rule_set: RuleSet) -> None:
        tags = tags_mentioned(rule_set)
        dimensions = rule_set.dimensions
        resolve_dimensions(
            connection,
            relation="billing.charges",
            tags_column="Tags",
            account_column="SubAccountId",
            dimensions=dimensions,
            into="charge_dimensions",
            tag_keys=tags,
        )
        named = dimension_columns(dimensions, table="charge_dimensions")
        expressions = {
            "columns": {name: f"kinds.key_{position}" for position, name in enumerate(self._columns)},
            "dimensions": named,
            "tags": tag_columns(tags, table="charge_dimensions"),
        }
        matches = "".join(
            f"WHEN {self._applies(rule)} AND {to_sql(rule.pool, **expressions)} THEN {number} "
            for number, rule in enumerate(self._rules, start=1)
        )
        rule_number = f"CASE {matches}ELSE {NO_RULE} END" if matches else str(NO_RULE)
        grains = "".join(f"WHEN {number} THEN '{rule.grain}' " for number, rule in enumerate(self._rules, start=1))
        grain = f"CASE rule_number {grains}END" if grains else "CAST(NULL AS VARCHAR)"
        names = ", ".join(literal(name) for name in dimensions.names)
        direct_by = [named[name] for name in dimensions.direct_by]
        # A charge can be direct by a later dimension alone: its target then starts with an empty value.
        targets = ["CAST(NULL AS VARCHAR)"] + [
            literal("/" * position) + " || " + target_id_sql(direct_by[position:]) for position in range(len(direct_by))
        ]
        own = ", ".join(
            f"CASE WHEN rule_number = {NO_RULE} THEN {name} END AS {name}" for name in (*SEVEN, "dimensions")
        )
        connection.execute(
            f"""
            CREATE OR REPLACE TABLE split.kinds AS
            WITH kinds AS (
                SELECT DISTINCT {self.key_columns} FROM billing.charges
            ),

            matched AS (
                SELECT
                    kinds.*,
                    charge_dimensions.* EXCLUDE (tags, account),
                    {rule_number} AS rule_number,
                    coalesce({", ".join(targets)}) AS direct_target
                FROM kinds
                INNER JOIN charge_dimensions
                    ON kinds.key_tags IS NOT DISTINCT FROM charge_dimensions.tags
                    AND kinds.key_account IS NOT DISTINCT FROM charge_dimensions.account
            )

            SELECT
                {", ".join(self.key)},
                rule_number,
                {grain} AS grain,
                CASE
                    WHEN rule_number = {NO_RULE} OR coalesce(trim(key_tags), '') = '' THEN ''
                    ELSE array_to_string(list_sort(list_intersect(json_keys(key_tags), [{names}])), ',')
                END AS conflicts,
                CASE
                    WHEN rule_number <> {NO_RULE} THEN 'shared'
                    WHEN direct_target IS NOT NULL THEN 'direct'
                    ELSE 'unallocated'
                END AS disposition,
                CASE WHEN rule_number = {NO_RULE} THEN coalesce(direct_target, '{UNALLOCATED}') END AS target,
                {own}
            FROM matched
            """
        )

    def _applies(self, rule: Rule) -> str:
        """Whether a rule is valid in the kind's era. The first era starts before every boundary."""
        days = [date.min, *self._boundaries]
        eras = [str(era) for era, day in enumerate(days) if rule.applies_on(day)]
        return f"kinds.key_era IN ({', '.join(eras)})" if eras else "false"


def _validity_boundaries(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> list[date]:
    """The days on which a rule starts or ends, up to the last day charged."""
    row = connection.execute("SELECT max(ChargePeriodStart) FROM billing.charges").fetchone()
    if row is None or row[0] is None:
        return []
    days = {day for rule in rules for day in (rule.valid_from, rule.valid_to) if day is not None}
    return sorted(day for day in days if day <= row[0].date())
