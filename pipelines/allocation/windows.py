"""What was measured of each pool: windows, GPU-hours, drivers and their states, as the kernel reads them.

Reads ``billing.charges``, ``usage.gpu_hours``, ``usage.tokens``, ``usage.deliveries`` and the mappings; fills the input
tables of :mod:`pipelines.allocation.shares`. Beside them it leaves ``split.placements`` (which windows charges lie in),
``split.charged_windows`` and ``split.driver_units`` (how a driver's integers read as quantities).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.allocation.dimensions import Dimensions, dimension_columns, target_id_sql
from pipelines.allocation.pools import NO_RULE, ChargeKinds
from pipelines.allocation.rules import UNALLOCATED, Rule
from pipelines.allocation.shares import MeasurementError, create_input_tables
from pipelines.lake.database import literal
from pipelines.models.sql_models import load_sql

if TYPE_CHECKING:
    import duckdb

NAMED_TARGETS = "named_targets"
"""The driver that stands for the targets which an even or direct rule names itself."""

_GPU_FACTS = (
    "rule_number INTEGER, hour TIMESTAMP, source_name VARCHAR, gpu_model VARCHAR, target VARCHAR, "
    "capacity HUGEINT, gap HUGEINT, held HUGEINT, active HUGEINT, used HUGEINT"
)
_TOKEN_FACTS = (
    "rule_number INTEGER, hour TIMESTAMP, source_name VARCHAR, target VARCHAR, "
    "tokens_weighted HUGEINT, tokens_total HUGEINT, requests HUGEINT"
)


def create_windows(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], dimensions: Dimensions, kinds: ChargeKinds
) -> None:
    """Fill the kernel's input tables from the bill and the measurements.

    Raises MeasurementError for a pool of several GPU models one of which has no list price.
    """
    create_input_tables(connection)
    insert_rules(connection, rules)
    _create_pooled_charges(connection, kinds)
    for step in ("placements", "charged_windows", "window_hours", "pool_resources", "token_weights"):
        _create(connection, step)
    _create_gpu_facts(connection, rules, dimensions)
    _create_token_facts(connection, rules, dimensions)
    _create(connection, "relevant_sources")
    _create(connection, "billed_gpu_hours")
    _create_gpu_weights(connection, rules)
    for table in ("windows", "held", "driver_values", "driver_states"):
        connection.execute(f"INSERT INTO split.{table} {load_sql(f'allocation/windows/{table}')}")
    insert_named_targets(connection, rules)


def _create(connection: duckdb.DuckDBPyConnection, step: str) -> None:
    connection.execute(f"CREATE OR REPLACE TABLE split.{step} AS {load_sql(f'allocation/windows/{step}')}")


def insert_rules(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """Fill ``split.rules`` and ``split.entries``. An even or direct rule is a key of one driver that it measures itself."""
    for number, rule in enumerate(rules, start=1):
        connection.execute(
            "INSERT INTO split.rules VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                number,
                rule.name,
                rule.gap,
                "owner" if rule.idle_owner is not None else rule.idle_unheld,
                rule.idle_owner,
                rule.idle_held,
                rule.on_zero_weight,
            ],
        )
        for position, entry in enumerate(rule.blend):
            weight = int(entry.weight.scaleb(6))
            for preference, driver in enumerate((entry.driver, *entry.fallback)):
                connection.execute(
                    "INSERT INTO split.entries VALUES (?, ?, ?, ?, ?)", [number, position, weight, preference, driver]
                )
        if rule.target_ids:
            connection.execute("INSERT INTO split.entries VALUES (?, 0, 1000000, 0, ?)", [number, NAMED_TARGETS])


def _create_pooled_charges(connection: duckdb.DuckDBPyConnection, kinds: ChargeKinds) -> None:
    connection.execute(
        f"""
        CREATE OR REPLACE VIEW split.pooled_charges AS
        WITH charges AS (
            SELECT *, {kinds.key_columns} FROM billing.charges
        )

        SELECT
            kinds.rule_number,
            kinds.conflicts,
            allocation_window_start(kinds.grain, ChargePeriodStart, ChargePeriodEnd) AS window_start,
            allocation_window_end(kinds.grain, ChargePeriodStart, ChargePeriodEnd) AS window_end,
            ResourceId,
            ChargePeriodStart,
            ChargePeriodEnd,
            ChargeCategory,
            ChargeClass,
            ConsumedQuantity,
            ConsumedUnit,
            x_GpuModel,
            x_GpuCount
        FROM charges
        INNER JOIN split.kinds AS kinds ON {kinds.matches("charges")}
        WHERE kinds.rule_number <> {NO_RULE}
        """
    )


def _create_gpu_facts(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], dimensions: Dimensions) -> None:
    """Per rule, hour, model and target: hours of the pool's own resources, in units of the 18th place.

    ``used`` counts hours without activity telemetry as active. Rows that nobody held have no target.
    """
    connection.execute(f"CREATE OR REPLACE TABLE split.gpu_facts ({_GPU_FACTS})")
    columns = dimension_columns(dimensions, table="gpu_hours")
    for number, rule in enumerate(rules, start=1):
        target = target_id_sql([columns[name] for name in rule.target])
        connection.execute(
            f"""
            INSERT INTO split.gpu_facts
            WITH gpu_hours AS (
                SELECT
                    gpu_hours.*,
                    CASE WHEN workload IS NOT NULL THEN coalesce({target}, '{UNALLOCATED}') END AS target
                FROM usage.gpu_hours AS gpu_hours
                WHERE
                    resource_id IN (SELECT resource_id FROM split.pool_resources WHERE rule_number = {number})
                    AND hour IN (SELECT hour FROM split.window_hours WHERE rule_number = {number})
            ),

            summed AS (
                SELECT
                    hour,
                    source_name,
                    gpu_model,
                    target,
                    sum(gpu_hours_capacity) AS capacity,
                    sum(gpu_hours_gap) AS gap,
                    sum(gpu_hours_held) AS held,
                    sum(gpu_hours_active) AS active,
                    sum(coalesce(gpu_hours_active, gpu_hours_held)) AS used
                FROM gpu_hours
                GROUP BY hour, source_name, gpu_model, target
            )

            SELECT
                {number} AS rule_number,
                hour,
                source_name,
                gpu_model,
                target,
                coalesce(exact_units(capacity), 0) AS capacity,
                coalesce(exact_units(gap), 0) AS gap,
                coalesce(exact_units(held), 0) AS held,
                exact_units(active) AS active,
                coalesce(exact_units(used), 0) AS used
            FROM summed
            """
        )


def _create_token_facts(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], dimensions: Dimensions) -> None:
    """Per rule that reads tokens, hour and target: what its endpoints served. A token row feeds one rule only."""
    connection.execute(f"CREATE OR REPLACE TABLE split.token_facts ({_TOKEN_FACTS})")
    columns = dimension_columns(dimensions, table="tokens")
    for number, rule in enumerate(rules, start=1):
        if not rule.reads_tokens:
            continue
        target = target_id_sql([columns[name] for name in rule.target])
        connection.execute(
            f"""
            INSERT INTO split.token_facts
            WITH tokens AS (
                SELECT
                    tokens.*,
                    coalesce({target}, '{UNALLOCATED}') AS target,
                    coalesce(model_served, model_requested) AS weighed_model
                FROM usage.tokens AS tokens
                WHERE
                    {_feeds(rule, rules)}
                    AND hour IN (SELECT hour FROM split.window_hours WHERE rule_number = {number})
            ),

            summed AS (
                SELECT
                    hour,
                    source_name,
                    target,
                    weighed_model,
                    sum(tokens_input_uncached) AS input_uncached,
                    sum(tokens_cache_read) AS cache_read,
                    sum(tokens_cache_write) AS cache_write,
                    sum(tokens_output) AS output,
                    sum(requests) AS requests
                FROM tokens
                GROUP BY hour, source_name, target, weighed_model
            )

            SELECT
                {number} AS rule_number,
                summed.hour,
                summed.source_name,
                summed.target,
                summed.input_uncached * weights.input_uncached
                + summed.cache_read * weights.cache_read
                + summed.cache_write * weights.cache_write
                + summed.output * weights.output AS tokens_weighted,
                summed.input_uncached + summed.cache_read + summed.cache_write + summed.output AS tokens_total,
                summed.requests
            FROM summed
            INNER JOIN split.token_weights AS weights
                ON weights.model
                = CASE
                    WHEN summed.weighed_model IN (SELECT model FROM split.token_weights) THEN summed.weighed_model
                    ELSE '*'
                END
            """
        )


def _feeds(rule: Rule, rules: Sequence[Rule]) -> str:
    """Whether a token row feeds a rule: by its endpoint, or because no other rule that is valid then claims it."""
    if rule.endpoints is not None:
        return f"endpoint IN ({', '.join(literal(endpoint) for endpoint in rule.endpoints)})"
    claims = [
        f"(endpoint IN ({', '.join(literal(endpoint) for endpoint in other.endpoints)})"
        f" AND hour >= DATE '{other.valid_from}'" + (f" AND hour < DATE '{other.valid_to}')" if other.valid_to else ")")
        for other in rules
        if other.endpoints is not None
    ]
    return f"NOT coalesce({' OR '.join(claims)}, false)" if claims else "true"


def _create_gpu_weights(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """A model's weight: 1 in a pool of one model, else its list price as an integer, and how drivers read as quantities."""
    connection.execute(
        "CREATE OR REPLACE TABLE split.gpu_weights (rule_number INTEGER, gpu_model VARCHAR, weight HUGEINT)"
    )
    connection.execute(
        "CREATE OR REPLACE TABLE split.driver_units "
        "(rule_number INTEGER, driver VARCHAR, unit VARCHAR, multiplier HUGEINT, divisor HUGEINT)"
    )
    found = connection.execute(
        "SELECT rule_number, gpu_model FROM split.gpu_facts UNION SELECT rule_number, gpu_model FROM split.billed_gpu_hours "
        "ORDER BY rule_number, gpu_model NULLS FIRST"
    ).fetchall()
    prices = _list_prices(connection)
    for number, rule in enumerate(rules, start=1):
        models = [model for rule_number, model in found if rule_number == number]
        weights, multiplier = _weights(rule, models, prices)
        for model, weight in weights.items():
            connection.execute("INSERT INTO split.gpu_weights VALUES (?, ?, ?)", [number, model, str(weight)])
        one_model = len(models) <= 1
        gpu_unit = "GPU-Hours" if one_model else "GPU-Hours at list price"
        divisor = 1 if one_model else _PRICE_SCALE
        units = {
            "gpu_hours_held": (gpu_unit, multiplier, divisor),
            "gpu_hours_active": (gpu_unit, multiplier, divisor),
            "tokens_weighted": ("Weighted Tokens", 10**6, 1),
            "tokens_total": ("Tokens", 10**18, 1),
            "requests": ("Requests", 10**18, 1),
        }
        for driver in rule.drivers:
            unit, up, down = units[driver]
            connection.execute(
                "INSERT INTO split.driver_units VALUES (?, ?, ?, ?, ?)", [number, driver, unit, str(up), str(down)]
            )


_PRICE_SCALE = 10**12


def _list_prices(connection: duckdb.DuckDBPyConnection) -> dict[str | None, Decimal]:
    rows = connection.execute(
        "SELECT DISTINCT gpu_model, list_price_per_gpu_hour FROM mappings.gpu_models "
        "WHERE list_price_per_gpu_hour IS NOT NULL"
    ).fetchall()
    return {model: Decimal(price) for model, price in rows}


def _weights(
    rule: Rule, models: Sequence[str | None], prices: dict[str | None, Decimal]
) -> tuple[dict[str | None, int], int]:
    """Integer weights in proportion to list price, as small as can be, and the factor that was divided out of them."""
    if len(models) <= 1:
        return dict.fromkeys(models, 1), 1
    unpriced = [model or "(unknown model)" for model in models if not prices.get(model)]
    if unpriced:
        raise MeasurementError(
            "A pool holds GPUs of several models, and one of them has no list price to weigh its hours by.",
            where=f"rule {rule.name}",
            expected="a list price above 0 for each of " + ", ".join(model or "(unknown model)" for model in models),
            found="none for " + ", ".join(unpriced),
            remedy="Add the model and its price to sql/mappings/gpu_models.csv (and the instance type to "
            "instance_types.csv if the model is unknown), or give each model a pool of its own.",
        )
    scaled = {model: int(prices[model] * _PRICE_SCALE) for model in models}
    divisor = math.gcd(*scaled.values())
    return {model: price // divisor for model, price in scaled.items()}, divisor


def insert_named_targets(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """Give every window of an even or direct rule the targets that the rule names, each weighing the same."""
    for number, rule in enumerate(rules, start=1):
        for target in rule.target_ids:
            connection.execute(
                "INSERT INTO split.driver_values SELECT window_id, ?, ?, 1 FROM split.windows WHERE rule_number = ?",
                [NAMED_TARGETS, target, number],
            )
        if rule.target_ids:
            connection.execute(
                "INSERT INTO split.driver_states SELECT window_id, ?, 'measured' FROM split.windows WHERE rule_number = ?",
                [NAMED_TARGETS, number],
            )
