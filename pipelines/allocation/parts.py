"""The parts that charges become: what each element of a window's vector says of its part, and the SELECT that writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars

from pipelines.allocation.dimensions import Dimensions, derive_dimensions, dimension_columns, parse_target_id
from pipelines.allocation.pools import NO_RULE, ChargeKinds
from pipelines.allocation.rules import RESERVED_TARGETS, Rule
from pipelines.lake.database import identifier, literal
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import load_sql

if TYPE_CHECKING:
    import duckdb

SPLIT_COLUMNS = (
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "PricingCurrencyEffectiveCost",
    "CommitmentDiscountQuantity",
    "ConsumedQuantity",
    "PricingQuantity",
)
"""Every cost and quantity of a charge: what FOCUS wants summed over the parts."""

_COLUMN_OF_DIMENSION = {
    "team": "x_Team",
    "product": "x_Product",
    "feature": "x_Feature",
    "model": "x_Model",
    "environment": "x_Environment",
    "customer": "x_Customer",
    "cost_center": "x_CostCenter",
    "dimensions": "x_Dimensions",
}

# What a charge's kind, a window's slot and an element say, looked up one row at a time.
_KIND = ("rule_number", "grain", "conflicts", "disposition", "target", *_COLUMN_OF_DIMENSION)
_SLOT = ("first_element", "parts")
_ELEMENT = (
    "part_number",
    "target",
    "component",
    "reason",
    "share_before",
    "share_through",
    "rule",
    "rule_hash",
    "quality",
    "method",
    "details",
    "resource",
    "allocated_tags",
    *_COLUMN_OF_DIMENSION,
)


def create_elements(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], dimensions: Dimensions) -> None:
    """Create ``split.slots`` and ``split.elements`` from the kernel's vectors."""
    for step in ("slots", "method_details"):
        connection.execute(f"CREATE OR REPLACE TABLE split.{step} AS {load_sql(f'allocation/parts/{step}')}")
    _create_methods(connection, rules)
    _create_target_dimensions(connection, rules, dimensions)
    reserved = ", ".join(literal(target) for target in RESERVED_TARGETS)
    inherited = ", ".join(f"targets.{name}" for name in _COLUMN_OF_DIMENSION)
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE split.elements AS
        SELECT
            slots.first_element + vector.part_number - 1 AS element_id,
            vector.part_number,
            vector.target,
            vector.component,
            vector.reason,
            vector.share_before,
            vector.share_through,
            methods.rule,
            methods.rule_hash,
            qualities.quality,
            methods.rule || '@' || substr(methods.rule_hash, 1, 12) AS method,
            method_details.details,
            CASE WHEN vector.target NOT IN ({reserved}) THEN vector.target END AS resource,
            {_allocated_tags(dimensions)} AS allocated_tags,
            {inherited}
        FROM split.slots AS slots
        INNER JOIN split.vector AS vector ON slots.window_id = vector.window_id
        INNER JOIN split.qualities AS qualities ON slots.window_id = qualities.window_id
        INNER JOIN split.methods AS methods ON slots.rule_number = methods.rule_number
        INNER JOIN split.method_details AS method_details
            ON vector.window_id = method_details.window_id AND vector.part_number = method_details.part_number
        LEFT JOIN split.target_dimensions AS targets
            ON slots.rule_number = targets.rule_number AND vector.target = targets.target_id
        """
    )
    # Element 0 stands for charges outside every pool: one part, the whole charge.
    connection.execute(
        "INSERT INTO split.elements (element_id, part_number, share_before, share_through) "
        "VALUES (0, 1, 0, 1000000000000000000)"
    )


def _allocated_tags(dimensions: Dimensions) -> str:
    """The target's dimensions as JSON text, but those whose names the charge's own tags already use (FOCUS 1.3)."""
    columns = dimension_columns(dimensions, table="targets")
    members = ", ".join(
        f"CASE WHEN NOT list_contains(string_split(slots.conflicts, ','), {literal(name)})"
        f" THEN '\"{name}\":' || to_json({columns[name]}) END"
        for name in sorted(columns)
    )
    return f"nullif('{{' || concat_ws(',', {members}) || '}}', '{{}}')"


def _create_methods(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    connection.execute("CREATE OR REPLACE TABLE split.methods (rule_number INTEGER, rule VARCHAR, rule_hash VARCHAR)")
    for number, rule in enumerate(rules, start=1):
        connection.execute("INSERT INTO split.methods VALUES (?, ?, ?)", [number, rule.name, rule.rule_hash])


def _create_target_dimensions(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], dimensions: Dimensions
) -> None:
    columns = ", ".join(f"{name} VARCHAR" for name in _COLUMN_OF_DIMENSION)
    connection.execute(
        f"CREATE OR REPLACE TABLE split.target_dimensions (rule_number INTEGER, target_id VARCHAR, {columns})"
    )
    for number, rule in enumerate(rules, start=1):
        found = connection.execute(
            "SELECT DISTINCT target FROM split.vector INNER JOIN split.windows USING (window_id) WHERE rule_number = ?",
            [number],
        ).fetchall()
        targets = [parse_target_id(target) for (target,) in found if target not in RESERVED_TARGETS]
        if not targets:
            continue
        frame = polars.DataFrame(targets, schema=dict.fromkeys(rule.target, polars.String), orient="row")
        connection.register("targets_of_rule", frame)
        derive_dimensions(
            connection, relation="targets_of_rule", target=rule.target, dimensions=dimensions, into="derived_targets"
        )
        connection.unregister("targets_of_rule")
        connection.execute(
            f"INSERT INTO split.target_dimensions SELECT {number}, target_id, {', '.join(_COLUMN_OF_DIMENSION)} "
            "FROM derived_targets"
        )


def charges_select(kinds: ChargeKinds, bill: str) -> str:
    """The SELECT of ``allocation.charges``: the parts of every row of a relation like ``billing.charges``, in its order.

    DuckDB keeps an order through joins only for ``COPY … (PRESERVE_ORDER true)``, then on one thread. Kind, slot and
    element are scalar subqueries, not joins: those are planned as lookups from the charge's side, however few charges
    there are, so that the bill streams through and is never buffered. This holds as long as each compares columns of
    one type by IS NOT DISTINCT FROM: with ``=`` DuckDB 1.5 filters NULLs out below the lookup, which keeps it from
    seeing that the next one needs no list of distinct keys.
    """
    computed = contracts()["billing.charges"].computed_columns
    charge_key = next(column.expression for column in computed if column.name == "x_ChargeKey")
    return f"""
        WITH charges AS (
            SELECT *, {kinds.key_columns} FROM {bill}
        ),

        known AS (
            SELECT charges.*, (SELECT {_packed(_KIND)} FROM split.kinds AS kinds WHERE {kinds.matches("charges")}) AS kind
            FROM charges
        ),

        placed AS (
            SELECT
                known.* EXCLUDE (kind),
                {_halves()},
                {_unpacked("kind", _KIND, "kind_")},
                {", ".join(f"kind.{name} AS {name}" for name in ("rule_number", "conflicts"))},
                {_window_bound("start")} AS window_start,
                {_window_bound("end")} AS window_end
            FROM known
        ),

        slotted AS (
            SELECT
                placed.*,
                (
                    SELECT {_packed(_SLOT)}
                    FROM split.slots AS slots
                    WHERE
                        slots.rule_number IS NOT DISTINCT FROM placed.rule_number
                        AND slots.conflicts IS NOT DISTINCT FROM placed.conflicts
                        AND slots.window_start IS NOT DISTINCT FROM placed.window_start
                        AND slots.window_end IS NOT DISTINCT FROM placed.window_end
                ) AS slot
            FROM placed
        ),

        numbered AS (
            SELECT
                slotted.* EXCLUDE (slot),
                unnest(range(slot.first_element, slot.first_element + slot.parts)) AS element_id
            FROM slotted
        ),

        parts AS (
            SELECT
                numbered.*,
                (
                    SELECT {_packed(_ELEMENT)} FROM split.elements AS elements
                    WHERE elements.element_id IS NOT DISTINCT FROM numbered.element_id
                ) AS element
            FROM numbered
        )

        SELECT
            {", ".join(_part_columns(charge_key))}
        FROM parts
    """


def _halves() -> str:
    """The two halves of each amount that is split, made once for a charge and not once for a part."""
    return ", ".join(
        f"{macro}(CASE WHEN kind.rule_number <> {NO_RULE} THEN {column} END) AS {half}_{column}"
        for column in SPLIT_COLUMNS
        for half, macro in (("whole", "whole_part"), ("fraction", "fraction_units"))
    )


def _packed(names: Sequence[str]) -> str:
    return "{" + ", ".join(f"'{name}': {name}" for name in names) + "}"


def _unpacked(struct: str, names: Sequence[str], prefix: str) -> str:
    return ", ".join(f"{struct}.{name} AS {prefix}{name}" for name in names)


def _window_bound(bound: str) -> str:
    return (
        f"CASE WHEN kind.rule_number = {NO_RULE} THEN TIMESTAMP '1970-01-01 00:00:00' "
        f"ELSE allocation_window_{bound}(kind.grain, ChargePeriodStart, ChargePeriodEnd) END"
    )


def _part_columns(charge_key: str) -> list[str]:
    pooled = f"rule_number <> {NO_RULE}"
    filled = {
        "AllocatedMethodDetails": "element.details",
        "AllocatedMethodId": "element.method",
        "AllocatedResourceId": "element.resource",
        "AllocatedResourceName": "element.resource",
        "AllocatedTags": "element.allocated_tags",
        **{
            column: f"coalesce(split_amount(whole_{column}, fraction_{column}, element.share_before, "
            f"element.share_through), {column})"
            for column in SPLIT_COLUMNS
        },
    }
    added = {
        "x_OriginChargeKey": charge_key,
        "x_TargetId": "coalesce(element.target, kind_target)",
        "x_Component": (
            f"CASE WHEN {pooled} THEN element.component "
            "WHEN kind_disposition = 'unallocated' THEN 'unallocated' "
            "WHEN CommitmentDiscountStatus = 'Unused' THEN 'commitment_unused' "
            "WHEN ChargeCategory = 'Tax' OR ServiceSubcategory = 'Support' THEN 'overhead' "
            "ELSE 'direct' END"
        ),
        "x_Disposition": "kind_disposition",
        "x_PoolId": "element.rule",
        "x_RuleId": "element.rule",
        "x_RuleHash": "element.rule_hash",
        "x_KeyQuality": "element.quality",
        "x_UnallocatedReason": "CASE WHEN kind_disposition = 'unallocated' THEN 'no_rule' ELSE element.reason END",
        "x_PartNumber": "element.part_number",
        **{column: f"coalesce(element.{name}, kind_{name})" for name, column in _COLUMN_OF_DIMENSION.items()},
    }
    kept = {column.name: identifier(column.name) for column in contracts()["billing.charges"].columns}
    return [f"{expression} AS {identifier(name)}" for name, expression in (kept | filled | added).items()]
