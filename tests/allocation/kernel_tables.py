"""Fills the kernel's input tables from the reference's own types and reads back what it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import duckdb
import polars

from pipelines.allocation.shares import create_input_tables, create_shares
from tests.allocation.reference import Policy, Window

Cases = Sequence[tuple[Policy, Window]]
Vector = list[tuple[str, str, int]]


def divide_in_sql(connection: duckdb.DuckDBPyConnection, cases: Cases) -> list[tuple[Vector, str]]:
    """The vector and key quality of each window, each under its own policy, from one run of the kernel."""
    create_input_tables(connection)
    rows: dict[str, list[tuple[object, ...]]] = {
        name: [] for name in ("rules", "entries", "windows", "held", "driver_states", "driver_values")
    }
    for number, (policy, window) in enumerate(cases):
        rows["rules"].append(
            (number, f"rule-{number}", policy.gap, policy.unheld, policy.owner, policy.held, policy.on_zero)
        )
        for position, entry in enumerate(policy.blend):
            for preference, driver in enumerate(entry.drivers):
                rows["entries"].append((number, position, int(entry.weight * 10**6), preference, driver))
        rows["windows"].append((number, number, "the window", window.capacity, window.gap))
        rows["held"].extend((number, target, held, window.active.get(target)) for target, held in window.held.items())
        for driver, measured in window.drivers.items():
            rows["driver_states"].append((number, driver, measured.state))
            rows["driver_values"].extend((number, driver, target, value) for target, value in measured.values.items())
    for table, values in rows.items():
        insert(connection, f"split.{table}", values)
    create_shares(connection)
    vectors: list[Vector] = [[] for _ in cases]
    for number, target, component, through in connection.execute(
        "SELECT window_id, target, component, share_through FROM split.vector ORDER BY window_id, part_number"
    ).fetchall():
        vectors[number].append((target, component, through))
    qualities = dict(connection.execute("SELECT window_id, quality FROM split.qualities").fetchall())
    return [(vector, qualities[number]) for number, vector in enumerate(vectors)]


def split_in_sql(
    connection: duckdb.DuckDBPyConnection, costs: Sequence[Decimal], cumulated: Sequence[int]
) -> list[list[Decimal]]:
    """The parts of each cost by one list of cumulative shares."""
    connection.execute("CREATE OR REPLACE TEMP TABLE costs (position BIGINT, cost DECIMAL(38,18))")
    insert(connection, "costs", [(position, f"{cost:f}") for position, cost in enumerate(costs)])
    connection.execute("CREATE OR REPLACE TEMP TABLE shares (part BIGINT, share_before BIGINT, share_through BIGINT)")
    insert(
        connection,
        "shares",
        [
            (part, before, through)
            for part, (before, through) in enumerate(zip([0, *cumulated], cumulated, strict=False))
        ],
    )
    parts: list[list[Decimal]] = [[] for _ in costs]
    for position, amount in connection.execute(
        "SELECT position, split_amount(whole_part(cost), fraction_units(cost), share_before, share_through) "
        "FROM costs CROSS JOIN shares ORDER BY position, part"
    ).fetchall():
        parts[position].append(amount)
    return parts


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[object]]) -> None:
    """Append rows through text, which carries integers of 128 bits and decimals exactly."""
    if not rows:
        return
    texts = polars.DataFrame(
        [[None if cell is None else str(cell) for cell in row] for row in rows],
        schema=dict.fromkeys((f"c{number}" for number in range(len(rows[0]))), polars.String),
        orient="row",
    )
    connection.register("texts", texts)
    connection.execute(f"INSERT INTO {table} SELECT * FROM texts")
    connection.unregister("texts")
