"""All 600 published cases come out equal to the last digit, through the kernel that production uses."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars
import pytest

from pipelines.allocation.shares import create_input_tables, create_shares
from pipelines.lake.database import connect

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"
AMOUNTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity")

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="the shared allocation vectors are not beside the repository")


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (VECTORS / name).read_text(encoding="utf-8").splitlines()]


def units(text: str) -> int:
    """A number with at most 12 places as an integer of its 12th."""
    return int(Decimal(text).scaleb(12))


def test_every_part_of_every_case_is_equal_to_the_last_digit() -> None:
    rules: list[tuple[Any, ...]] = []
    entries: list[tuple[Any, ...]] = []
    windows: list[tuple[Any, ...]] = []
    held: list[tuple[Any, ...]] = []
    states: list[tuple[Any, ...]] = []
    values: list[tuple[Any, ...]] = []
    charges: list[tuple[Any, ...]] = []
    for case in lines("allocation-cases.jsonl"):
        rule = case["rule"]
        number = case["case"]
        unheld, _, owner = rule["idle"]["unheld"].partition(":")
        rules.append((number, f"case-{number}", rule["gap"], unheld, owner, rule["idle"]["held"], rule["on_zero_weight"]))
        for position, entry in enumerate(rule["blend"]):
            for preference, driver in enumerate([entry["driver"], *entry.get("fallback", [])]):
                entries.append((number, position, int(Decimal(entry["weight"]).scaleb(6)), preference, driver))
        window_of = {}
        for hour, measured in case["hours"].items():
            window = window_of[hour] = len(windows)
            windows.append((window, number, hour, units(measured["capacity"]), units(measured["gap"])))
            for target, hours in measured["held"].items():
                active = measured["active"].get(target)
                held.append((window, target, units(hours), None if active is None else units(active)))
            for driver, observed in measured["drivers"].items():
                states.append((window, driver, observed["state"]))
                values.extend((window, driver, target, units(value)) for target, value in observed["values"].items())
        for charge in case["charges"]:
            charges.append((len(charges), charge["key"], window_of[charge["hour"]], *(Decimal(charge[a]) for a in AMOUNTS)))

    connection = connect()
    create_input_tables(connection)
    for table, rows in (
        ("rules", rules),
        ("entries", entries),
        ("windows", windows),
        ("held", held),
        ("driver_states", states),
        ("driver_values", values),
    ):
        # HUGEINT goes through text: polars has no signed integer of 128 bits in every version.
        frame = polars.DataFrame(  # noqa: F841
            [[None if cell is None else str(cell) for cell in row] for row in rows],
            schema={f"c{i}": polars.String for i in range(len(rows[0]))},
            orient="row",
        )
        connection.execute(f"INSERT INTO split.{table} SELECT * FROM frame")
    create_shares(connection)
    schema = {"position": polars.Int64, "key": polars.String, "window_id": polars.Int64}
    bill = polars.DataFrame(  # noqa: F841
        charges, schema={**schema, **{amount: polars.Decimal(38, 18) for amount in AMOUNTS}}, orient="row"
    )
    amounts = ", ".join(
        f"split_amount(whole_part({a}), fraction_units({a}), share_before, share_through) AS {a}" for a in AMOUNTS
    )
    parts = connection.execute(
        f"""
        SELECT key, target, component, quality, part_number, {amounts}
        FROM bill
        INNER JOIN split.vector USING (window_id)
        INNER JOIN split.qualities USING (window_id)
        ORDER BY position, part_number
        """
    ).fetchall()

    expected = [
        (part["key"], part["target"], part["component"], part["quality"], part["part"], *(Decimal(part[a]) for a in AMOUNTS))
        for part in lines("allocation-expected.jsonl")
    ]
    assert len(parts) == len(expected)
    assert parts == expected
