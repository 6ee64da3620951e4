"""All 600 published cases come out equal to the last digit, through the kernel that production uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake.database import connect
from tests.allocation import reference
from tests.allocation.kernel_tables import divide_in_sql, insert
from tests.allocation.reference import Entry, Measured, Policy, Window

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"
AMOUNTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity")

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the shared allocation vectors are not beside the repository"
)

Part = tuple[Any, ...]


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (VECTORS / name).read_text(encoding="utf-8").splitlines()]


def units(text: str) -> int:
    """A number with at most 12 places as an integer of its 12th."""
    return int(Decimal(text).scaleb(12))


def policy_of(rule: Mapping[str, Any]) -> Policy:
    unheld, _, owner = rule["idle"]["unheld"].partition(":")
    return Policy(
        blend=tuple(
            Entry((entry["driver"], *entry.get("fallback", ())), Fraction(entry["weight"])) for entry in rule["blend"]
        ),
        gap=rule["gap"],
        unheld=unheld,
        owner=owner or None,
        held=rule["idle"]["held"],
        on_zero=rule["on_zero_weight"],
    )


def window_of(hour: Mapping[str, Any]) -> Window:
    def in_units(values: Mapping[str, str]) -> dict[str, int]:
        return {target: units(value) for target, value in values.items()}

    return Window(
        capacity=units(hour["capacity"]),
        gap=units(hour["gap"]),
        held=in_units(hour["held"]),
        active=in_units(hour["active"]),
        drivers={
            driver: Measured(measured["state"], in_units(measured["values"]))
            for driver, measured in hour["drivers"].items()
        },
    )


def published() -> list[Part]:
    return [
        (
            part["key"],
            part["target"],
            part["component"],
            part["quality"],
            part["part"],
            *(Decimal(part[a]) for a in AMOUNTS),
        )
        for part in lines("allocation-expected.jsonl")
    ]


def test_the_kernel_gives_every_published_part_to_the_last_digit() -> None:
    cases: list[tuple[Policy, Window]] = []
    charges: list[tuple[Any, ...]] = []
    for case in lines("allocation-cases.jsonl"):
        window_ids = {hour: len(cases) + number for number, hour in enumerate(case["hours"])}
        cases.extend((policy_of(case["rule"]), window_of(hour)) for hour in case["hours"].values())
        for charge in case["charges"]:
            amounts = [charge[amount] for amount in AMOUNTS]
            charges.append((len(charges), charge["key"], window_ids[charge["hour"]], *amounts))

    connection = connect()
    divide_in_sql(connection, cases)
    columns = ", ".join(f"{amount} DECIMAL(38,18)" for amount in AMOUNTS)
    connection.execute(f"CREATE TABLE charges (position BIGINT, key VARCHAR, window_id BIGINT, {columns})")
    insert(connection, "charges", charges)
    split = ", ".join(
        f"split_amount(whole_part({a}), fraction_units({a}), share_before, share_through) AS {a}" for a in AMOUNTS
    )
    parts = connection.execute(
        f"""
        SELECT key, target, component, quality, part_number, {split}
        FROM charges
        INNER JOIN split.vector USING (window_id)
        INNER JOIN split.qualities USING (window_id)
        ORDER BY position, part_number
        """
    ).fetchall()

    expected = published()
    assert len(expected) > 10_000
    assert parts == expected
    assert {amount.as_tuple().exponent for part in parts for amount in part[5:]} == {-18}


def test_the_slow_reference_gives_every_published_part_to_the_last_digit() -> None:
    parts: list[Part] = []
    for case in lines("allocation-cases.jsonl"):
        policy = policy_of(case["rule"])
        divided = {hour: reference.divide(policy, window_of(measured)) for hour, measured in case["hours"].items()}
        for charge in case["charges"]:
            vector, quality = divided[charge["hour"]]
            shares = [share for _, _, share in vector]
            columns = [reference.amounts(Decimal(charge[amount]), shares) for amount in AMOUNTS]
            for number, ((target, component, _), *amounts) in enumerate(zip(vector, *columns, strict=True), start=1):
                parts.append((charge["key"], target, component, quality, number, *amounts))
    assert parts == published()
