"""Committed use discounts of Google Cloud, old model and new: Google's worked tables by row, and what they don't show."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.models.sql_models import bind, load_sql
from pipelines.sources.delivered_files import slices
from pipelines.sources.gcp_billing_relation import create_delivered, create_delivered_rows
from tests.normalise.google_bills import (
    COMMITMENT,
    FLEXIBLE_FEE,
    GOLDEN,
    charges,
    control,
    credit,
    failed_audits,
    fee,
    line,
    made,
    normalised,
    rows,
    write_parquet,
)

_COLUMNS = "ChargeCategory, CommitmentDiscountStatus, BilledCost, EffectiveCost"
# Google prints its tables to a millionth.
_PRINTED = Decimal("0.000001")

# line, part: category, status, billed, effective. A fee of 0.72 pays for use of 1 at on-demand prices.
_GOLDEN = {
    "over_old": [
        (1, 1, "Purchase", None, "0.046868", "0"),
        (2, 1, "Purchase", None, "0.025132", "0"),
        # 0.174496 - 0.065095 is left to pay; 0.065095 x 0.72 of the fee.
        (3, 1, "Usage", None, "0.109401", "0.109401"),
        (3, 2, "Usage", "Used", "0", "0.0468684"),
        # 0.093568 - 0.034905; 0.034905 x 0.72.
        (4, 1, "Usage", None, "0.058663", "0.058663"),
        (4, 2, "Usage", "Used", "0", "0.0251316"),
    ],
    "over_new": [
        (1, 1, "Purchase", None, "0.046868", "0"),
        (2, 1, "Purchase", None, "0.025132", "0"),
        (3, 1, "Usage", None, "0.109398", "0.109398"),
        (4, 1, "Usage", None, "0.058648", "0.058648"),
        (5, 1, "Usage", "Used", "0", "0.046868"),
        (6, 1, "Usage", "Used", "0", "0.025132"),
    ],
    # 0.216 of fees - (0.174496 + 0.093568) x 0.72 = 0.02299392 unused, to each fee in proportion: x 0.022994 / 0.216, ...
    "under_old": [
        (1, 1, "Purchase", None, "0.022994", "0"),
        (1, 2, "Usage", "Unused", "0", "0.002447787946666667"),
        (2, 1, "Purchase", None, "0.125637", "0"),
        (2, 2, "Usage", "Unused", "0", "0.01337447744"),
        (3, 1, "Purchase", None, "0.067369", "0"),
        (3, 2, "Usage", "Unused", "0", "0.007171654613333333"),
        (4, 1, "Usage", "Used", "0", "0.12563712"),
        (5, 1, "Usage", "Used", "0", "0.06736896"),
    ],
    # 0.216 - 0.193006 = 0.022994 unused, in proportion to what the offsets left of each fee: 0.022994, 0.0000022, 0.0000109.
    # The offsets came to 0.1929929 of 0.193006: 0.0000131 were billed beyond the fees.
    "under_new": [
        (1, 1, "Purchase", None, "0.022994", "0"),
        (1, 2, "Usage", "Unused", "0", "0.022980907459001786"),
        (2, 1, "Purchase", None, "0.125637", "0"),
        (2, 3, "Usage", "Unused", "0", "0.000002198747343211"),
        (3, 1, "Purchase", None, "0.067369", "0"),
        (3, 3, "Usage", "Unused", "0", "0.000010893793655003"),
        (3, 4, "Adjustment", None, "0.0000131", "0.0000131"),
        (4, 1, "Usage", "Used", "0", "0.125637"),
        (5, 1, "Usage", "Used", "0", "0.067369"),
    ],
}
# fees, used, unused, and all that is billed, as Google's tables add up.
_TOTALS = {
    "over_old": ("0.072000", "0.072000", "0", "0.240064"),
    "over_new": ("0.072000", "0.072000", "0", "0.240046"),
    "under_old": ("0.216000", "0.193006", "0.022994", "0.216000"),
    "under_new": ("0.216000", "0.193006", "0.022994", "0.216013"),
}


def _golden_lines(case: str) -> list[dict[str, Any]]:
    lines = []
    for sku, cost, credits, model, has_subscription in json.loads(GOLDEN.read_text(encoding="utf-8"))[case]:
        fields: dict[str, Any] = {"consumption_model": {"id": "7754-699E-0EBF", "description": model}} if model else {}
        if sku == "Fee":
            given = [credit(credits, "FEE_UTILIZATION_OFFSET")] if credits else []
            lines.append(fee(cost, credits=given, **fields))
        else:
            given = [credit(credits, "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE")] if credits else []
            subscription = {"subscription": {"instance_id": COMMITMENT}} if has_subscription else {}
            lines.append(line(cost, credits=given, **fields, **subscription))
    return lines


@pytest.mark.skipif(not GOLDEN.exists(), reason="Google's worked tables are not beside the repository")
@pytest.mark.parametrize("case", sorted(_GOLDEN))
def test_each_row_of_googles_worked_tables_becomes_what_the_contract_says(case: str, tmp_path: Path) -> None:
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", _golden_lines(case))])
    assert charges(connection, _COLUMNS) == _GOLDEN[case]
    assert control(connection) == made(connection)
    assert failed_audits(connection) == {}


@pytest.mark.skipif(not GOLDEN.exists(), reason="Google's worked tables are not beside the repository")
@pytest.mark.parametrize("case", sorted(_GOLDEN))
def test_googles_worked_tables_add_up_within_the_printed_rounding(case: str, tmp_path: Path) -> None:
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", _golden_lines(case))])
    [found] = rows(
        connection,
        """
        SELECT
            sum(BilledCost) FILTER (WHERE ChargeCategory = 'Purchase'),
            sum(EffectiveCost) FILTER (WHERE CommitmentDiscountStatus = 'Used'),
            coalesce(sum(EffectiveCost) FILTER (WHERE CommitmentDiscountStatus = 'Unused'), 0),
            sum(BilledCost)
        FROM staged
        """,
    )
    wrong = [
        (printed, amount)
        for printed, amount in zip(_TOTALS[case], found, strict=True)
        if abs(Decimal(printed) - Decimal(amount)) > _PRINTED
    ]
    assert wrong == []


def test_use_bears_the_whole_fee_and_says_so_where_the_commitments_rate_is_unknown(tmp_path: Path) -> None:
    lines = [
        fee("10", "Commitment v1: N2 Cpu in Americas for 1 Year"),
        line(7, credits=[credit(-7, "COMMITTED_USAGE_DISCOUNT", id="cud-1")]),
        line(3, credits=[credit(-2, "COMMITTED_USAGE_DISCOUNT", id="cud-1")]),
    ]
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", lines)])
    # 10 x 7/9 and the rest, 10 x 2/9: the last row takes what rounding leaves.
    assert charges(connection, f"{_COLUMNS}, CommitmentDiscountCategory, SkuPriceDetails") == [
        (1, 1, "Purchase", None, "10", "0", "Usage", None),
        (2, 1, "Usage", "Used", "0", "7.777777777777777777", "Usage", '{"x_CommitmentRate":"unknown"}'),
        (3, 1, "Usage", None, "1", "1", None, None),
        (3, 2, "Usage", "Used", "0", "2.222222222222222223", "Usage", '{"x_CommitmentRate":"unknown"}'),
    ]
    assert control(connection) == made(connection)
    assert list(failed_audits(connection)) == ["commitment_rates_are_known"]


def test_a_line_that_two_commitments_cover_becomes_a_row_for_each_and_one_for_what_is_left(tmp_path: Path) -> None:
    flexible, local = "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE", "COMMITTED_USAGE_DISCOUNT"
    lines = [
        fee("0.72"),
        fee("4", "Commitment v1: N1 Cpu in Americas for 1 Year", None),
        line(
            10,
            credits=[credit(-5, local, id="resource"), credit(-1, flexible, id="flexible"), credit(-2, "DISCOUNT")],
            cost_at_list="12.5",
            usage={"amount": 100, "unit": "seconds", "amount_in_pricing_units": 2, "pricing_unit": "hour"},
        ),
    ]
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", lines)])
    columns = f"{_COLUMNS}, ListCost, ConsumedQuantity, CommitmentDiscountId"
    # Of 10, 5 and 1 are covered; 2 less by discount: 2 to pay. List cost and quantity follow the shares 5/10, 1/10, 4/10.
    assert charges(connection, columns) == [
        (1, 1, "Purchase", None, "0.72", "0", "0.72", None, COMMITMENT),
        (2, 1, "Purchase", None, "4", "0", "4", None, "committed use discount without an id"),
        (3, 1, "Usage", None, "2", "2", "5", "40", None),
        (3, 2, "Usage", "Used", "0", "4", "6.25", "50", "resource"),
        # 1 x 0.72
        (3, 3, "Usage", "Used", "0", "0.72", "1.25", "10", COMMITMENT),
    ]
    assert control(connection) == made(connection)


def test_a_commitment_that_nobody_used_is_unused_whole(tmp_path: Path) -> None:
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", [fee("0.5"), fee("0.25")])])
    assert charges(connection, _COLUMNS) == [
        (1, 1, "Purchase", None, "0.5", "0"),
        (1, 2, "Usage", "Unused", "0", "0.5"),
        (2, 1, "Purchase", None, "0.25", "0"),
        (2, 2, "Usage", "Unused", "0", "0.25"),
    ]
    assert control(connection) == made(connection)
    assert failed_audits(connection) == {}


def test_quantities_of_a_commitment_are_money_or_what_was_bought(tmp_path: Path) -> None:
    def bought(cost: str, amount: int, description: str) -> dict[str, Any]:
        hours = {"amount": 3600 * amount, "unit": "seconds", "amount_in_pricing_units": amount, "pricing_unit": "hour"}
        return fee(cost, description, None, usage=hours)

    lines = [bought("2", 8, "Commitment v1: N2 Cpu in Americas for 1 Year"), bought("0.72", 1, FLEXIBLE_FEE)]
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", lines)])
    # Nobody used either: 8 hours, and 0.72 dollars.
    columns = "CommitmentDiscountQuantity, CommitmentDiscountUnit, PricingQuantity, PricingUnit"
    assert charges(connection, columns) == [
        (1, 1, "8", "Hours", "8", "Hours"),
        (1, 2, "8", "Hours", "2", "USD"),
        (2, 1, "0.72", "USD", "1", "Hours"),
        (2, 2, "0.72", "USD", "0.72", "USD"),
    ]
    assert failed_audits(connection) == {}


def test_a_commitments_credit_without_a_fee_in_the_delivery_lowers_the_price(tmp_path: Path) -> None:
    lines = [line(3, credits=[credit(-2, "COMMITTED_USAGE_DISCOUNT", id="elsewhere")])]
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", lines)])
    assert charges(connection, f"{_COLUMNS}, CommitmentDiscountId") == [(1, 1, "Usage", None, "1", "1", None)]
    assert control(connection) == made(connection)


def test_two_commitments_that_name_themselves_bear_their_own_fees(tmp_path: Path) -> None:
    model = {"consumption_model": {"id": "x", "description": "Compute Flexible CUDs 1 Year"}}

    def offset(cost: str, id_: str) -> dict[str, Any]:
        return fee(cost, subscription=id_, credits=[credit(f"-{cost}", "FEE_UTILIZATION_OFFSET")])

    lines = [
        offset("2", "one"),
        offset("5", "two"),
        line("2", subscription={"instance_id": "one"}, **model),
        line("4", subscription={"instance_id": "two"}, **model),
    ]
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", lines)])
    # Of two's fee of 5, 4 were used; its offset of 5 took 1 too much back: -1.
    assert charges(connection, f"CommitmentDiscountId, {_COLUMNS}") == [
        (1, 1, "one", "Purchase", None, "2", "0"),
        (2, 1, "two", "Purchase", None, "5", "0"),
        (2, 3, "two", "Usage", "Unused", "0", "1"),
        (2, 4, None, "Adjustment", None, "-1", "-1"),
        (3, 1, "one", "Usage", "Used", "0", "2"),
        (4, 1, "two", "Usage", "Used", "0", "4"),
    ]
    assert control(connection) == made(connection)
    assert failed_audits(connection) == {}


def test_fees_of_two_terms_without_ids_bear_at_their_mean_rate(tmp_path: Path) -> None:
    three_years = "Commitment - dollar based v1: GCE for 3 years"
    lines = [
        fee("0.72", FLEXIBLE_FEE, None),
        fee("0.54", three_years, None),
        line(1, credits=[credit(-1, "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE")]),
    ]
    connection = normalised(tmp_path, [write_parquet(tmp_path / "a.parquet", lines)])
    # The fees of 1.26 pay for use of 1 + 1 = 2: 0.63 for each unit of use, so that 0.63 go unused, 0.36 and 0.27.
    assert charges(connection, _COLUMNS) == [
        (1, 1, "Purchase", None, "0.72", "0"),
        (1, 2, "Usage", "Unused", "0", "0.36"),
        (2, 1, "Purchase", None, "0.54", "0"),
        (2, 2, "Usage", "Unused", "0", "0.27"),
        (3, 1, "Usage", "Used", "0", "0.63"),
    ]
    assert control(connection) == made(connection)


def test_a_slice_knows_the_fees_of_the_whole_delivery(tmp_path: Path) -> None:
    lines = [
        fee("10", "Commitment v1: N2 Cpu in Americas for 1 Year"),
        *[line(1, credits=[credit(-1, "COMMITTED_USAGE_DISCOUNT")]) for _ in range(3)],
    ]
    file = write_parquet(tmp_path / "a.parquet", lines)
    connection = normalised(tmp_path, [file])
    whole = charges(connection, _COLUMNS)
    read = create_delivered(connection, [file], [file.name], {}, billing_period="2026-09", scratch=tmp_path / "again")
    parts: list[Any] = []
    for members in slices(read, 2):
        create_delivered_rows(connection, members, {}, billing_period="2026-09")
        parts += rows(connection, _slice_sql())
    # 10 / 3 each; the last takes the rest.
    assert [part[-1] for part in parts] == ["0", "3.333333333333333333", "3.333333333333333333", "3.333333333333333334"]
    assert parts == whole


def _slice_sql() -> str:
    values = {"source_name": "g", "source_kind": "gcp-billing", "billing_period": "2026-09", "source_version": "v1"}
    return f"SELECT x_SourceRow, x_SourcePart, {_COLUMNS} FROM ({bind(load_sql('normalise/gcp-billing'), values)})"
