"""The kernel: how a window's cost is divided, as integers over 10^18 that depend on nothing but the measurements.

One implementation serves the bill, ``explain``, ``plan``, a rule's own tests and the published vectors. It reads six
tables of the schema ``split``, which :func:`create_input_tables` makes empty:

===================== =================================================================================================
``rules``             rule_number, rule, gap, idle_unheld (own_line | owner | proportional | even), idle_owner,
                      idle_held, on_zero_weight
``entries``           rule_number, entry_number, weight (millionths), preference (0: the driver, then its fallbacks),
                      driver
``windows``           window_id, rule_number, window (words for errors), capacity, gap; capacity NULL: unknown
``held``              window_id, target, held, active; active NULL: no activity telemetry
``driver_states``     window_id, driver, state (measured | late | missing); no row: missing
``driver_values``     window_id, driver, target, value
===================== =================================================================================================

Hours and values are HUGEINT counts of any unit that is one unit within a window (hours) or a window and driver, so that
no scale is lost and none matters; their totals are at most 10^32 (10^20 with 12 places). A target is its id, or
``__unallocated__`` for what no target could be found for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ApportionError
from pipelines.models.sql_models import load_sql

if TYPE_CHECKING:
    import duckdb

LARGEST_TOTAL = 10**32
"""What the carried division takes: driver totals up to 10^20 with 12 places (CONTRACTS.md §5)."""

_INPUT_TABLES = {
    "rules": "rule_number INTEGER, rule VARCHAR, gap VARCHAR, idle_unheld VARCHAR, idle_owner VARCHAR, "
    "idle_held VARCHAR, on_zero_weight VARCHAR",
    "entries": "rule_number INTEGER, entry_number INTEGER, weight HUGEINT, preference INTEGER, driver VARCHAR",
    "windows": "window_id BIGINT, rule_number INTEGER, window_name VARCHAR, capacity HUGEINT, gap HUGEINT",
    "held": "window_id BIGINT, target VARCHAR, held HUGEINT, active HUGEINT",
    "driver_states": "window_id BIGINT, driver VARCHAR, state VARCHAR",
    "driver_values": "window_id BIGINT, driver VARCHAR, target VARCHAR, value HUGEINT",
}

_STEPS = (
    "hours",
    "held_idle",
    "weighed_values",
    "entries_in_use",
    "listed_targets",
    "key",
    "key_parts",
    "vector",
    "qualities",
)


class MeasurementError(ApportionError):
    """Measurements that no share can be made from; the window's cost was not divided."""

    exit_code = 3


class ZeroWeightError(ApportionError):
    """A driver summed to zero in a window whose rule says ``on_zero_weight: error``."""

    exit_code = 3


def create_input_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the kernel's input tables, empty."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS split")
    for table, columns in _INPUT_TABLES.items():
        connection.execute(f"CREATE OR REPLACE TABLE split.{table} ({columns})")


def create_shares(connection: duckdb.DuckDBPyConnection) -> None:
    """Divide every window of the input tables.

    Creates, among others, ``split.vector`` (window_id, part_number, parts, target, component, reason, share_before,
    share_through: BIGINT of 10^18, in vector order), ``split.qualities`` (window_id, quality) and ``split.key``
    (window_id, entry_number, weight, driver, target, value, share, reason: what each blend entry contributed).

    Raises MeasurementError for a gap above its capacity, a negative measurement or a total above 10^32, and
    ZeroWeightError as the rule says.
    """
    _refuse_impossible_hours(connection)
    _refuse_impossible_values(connection)
    for step in _STEPS:
        connection.execute(f"CREATE OR REPLACE TABLE split.{step} AS {load_sql(f'allocation/kernel/{step}')}")
        if step == "entries_in_use":
            _refuse_zero_weights(connection)


def _refuse_impossible_hours(connection: duckdb.DuckDBPyConnection) -> None:
    row = connection.execute(
        f"""
        WITH held AS (
            SELECT window_id, sum(held) AS held, min(least(held, coalesce(active, 0))) AS least_hours
            FROM split.held
            GROUP BY window_id
        )

        SELECT rule, window_name, capacity, windows.gap, coalesce(held, 0), coalesce(least_hours, 0)
        FROM split.windows
        INNER JOIN split.rules USING (rule_number)
        LEFT JOIN held USING (window_id)
        WHERE
            (windows.capacity > 0 AND windows.gap > windows.capacity)
            OR least(windows.capacity, windows.gap, least_hours) < 0
            OR greatest(windows.capacity, held) > {LARGEST_TOTAL}::HUGEINT
        ORDER BY rule, window_name
        """
    ).fetchone()
    if row is None:
        return
    rule, window, capacity, gap, held, least_hours = row
    if capacity is not None and gap is not None and gap > capacity:
        raise MeasurementError(
            "The hours without telemetry exceed the capacity.",
            where=f"rule {rule}, window {window}",
            expected=f"a gap of at most {capacity} units of GPU time",
            found=f"{gap}",
            remedy="Correct the telemetry of these hours, or the GPU count of the instance type in "
            "sql/mappings/instance_types.csv, and run again.",
        )
    raise MeasurementError(
        "The GPU hours of a window are out of range.",
        where=f"rule {rule}, window {window}",
        expected=f"hours from 0 to {LARGEST_TOTAL} units of GPU time",
        found=f"capacity {capacity}, gap {gap}, held {held}, least held or active {least_hours}",
        remedy="Correct the telemetry of these hours and run again.",
    )


def _refuse_impossible_values(connection: duckdb.DuckDBPyConnection) -> None:
    row = connection.execute(
        f"""
        SELECT rule, window_name, driver, min(value) AS least, sum(value) AS total
        FROM split.driver_values
        INNER JOIN split.windows USING (window_id)
        INNER JOIN split.rules USING (rule_number)
        GROUP BY rule, window_name, driver
        HAVING least < 0 OR total > {LARGEST_TOTAL}::HUGEINT
        ORDER BY rule, window_name, driver
        """
    ).fetchone()
    if row is None:
        return
    rule, window, driver, least, total = row
    raise MeasurementError(
        "The values of a driver are out of range.",
        where=f"rule {rule}, window {window}, driver {driver}",
        expected=f"values from 0, together at most {LARGEST_TOTAL} of the driver's smallest units",
        found=f"least {least}, total {total}",
        remedy="Correct the measurements of these hours and run again.",
    )


def _refuse_zero_weights(connection: duckdb.DuckDBPyConnection) -> None:
    row = connection.execute(
        """
        SELECT rule, window_name, driver
        FROM split.entries_in_use
        INNER JOIN split.windows USING (window_id, rule_number)
        INNER JOIN split.rules USING (rule_number)
        WHERE use = 'zero' AND on_zero_weight = 'error'
        ORDER BY rule, window_name, driver
        """
    ).fetchone()
    if row is None:
        return
    rule, window, driver = row
    raise ZeroWeightError(
        "A driver measured nothing in a window, and the rule says on_zero_weight: error.",
        where=f"rule {rule}, window {window}, driver {driver}",
        expected=f"at least one target with {driver} above zero",
        found="zero for every target",
        remedy="Find out why nothing was measured; if that is how it is, set on_zero_weight to renormalise, "
        "unallocated or even.",
    )
