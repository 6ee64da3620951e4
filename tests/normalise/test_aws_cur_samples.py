"""Every sample bill of AWS, from landing to charges: its costs are those of its text, to 18 places, or it is refused and says why."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines.config import AwsCurSource, Settings
from pipelines.errors import AuditFailed
from pipelines.lake.database import connect
from pipelines.lake.paths import Lake
from pipelines.lake.tables import relation_sql, table_files
from pipelines.models.build import ensure_tables
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.normalisation import normalise
from pipelines.models.pull import pull
from tests.normalise.bills import SAMPLES

_needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the sample bills are not at {SAMPLES}")

Row = Mapping[str, str]


class Costs(NamedTuple):
    """Rows and the four costs of a bill."""

    rows: int
    billed: Decimal
    effective: Decimal
    list: Decimal
    contracted: Decimal


def _lake(tmp_path: Path, sample: str) -> tuple[Lineage, AwsCurSource]:
    source = AwsCurSource(name="payer", files=(SAMPLES / sample,))
    settings = Settings(lake=tmp_path / "lake", bills=(source,), file=tmp_path / "apportion.yaml")
    lake = Lake(settings.lake)
    ensure_tables(lake)
    return Lineage(settings), source


def _query(lineage: Lineage, table: str, select: str) -> list[tuple[object, ...]]:
    contract = contracts()[table]
    with connect() as connection:
        files = [file.path for file in table_files(lineage.lake, contract)]
        return connection.sql(f"SELECT {select} FROM ({relation_sql(connection, contract, files)})").fetchall()


def _text_of(sample: str) -> list[Row]:
    with (SAMPLES / sample).open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _sum(rows: list[Row], amount: Callable[[Row], str]) -> Decimal:
    with localcontext() as context:
        context.prec = 80
        return sum(
            (Decimal(amount(row) or "0").quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP) for row in rows), Decimal(0)
        )


def _legacy(row: Row) -> str:
    return row["lineItem/UnblendedCost"]


def _legacy_public(row: Row) -> str:
    # Tax has no public price, though AWS prints 0.0: its list cost is the tax.
    return row["pricing/publicOnDemandCost"] if row["lineItem/LineItemType"] == "Usage" else _legacy(row)


def _athena(row: Row) -> str:
    return row["line_item_unblended_cost"]


def _athena_public(row: Row) -> str:
    return row["pricing_public_on_demand_cost"] or _athena(row)


@_needs_samples
@pytest.mark.parametrize(
    ("sample", "period", "unblended", "public", "rows"),
    [
        ("cur1_anonymous_2023-11.csv", "2023-11", _legacy, _legacy_public, 1281),
        ("2022-07-01-alt-columns.csv", "2022-07", _athena, _athena_public, 2),
        ("test_cur.csv", "2018-06", _legacy, _legacy_public, 19),
    ],
)
def test_a_sample_adds_up_to_its_text(
    tmp_path: Path,
    sample: str,
    period: str,
    unblended: Callable[[Row], str],
    public: Callable[[Row], str],
    rows: int,
) -> None:
    text = _text_of(sample)
    # Plain usage and tax: billed, effective and contracted cost are all what the line costs.
    cost = _sum(text, unblended)
    expected = Costs(rows, cost, cost, _sum(text, public), cost)
    lineage, source = _lake(tmp_path, sample)
    pull(lineage.lake, source, period)
    normalise(lineage, source.name, period)
    costs = "BilledCost", "EffectiveCost", "ListCost", "ContractedCost"
    sums = ", ".join(f"CAST(sum({column}) AS DECIMAL(38,18))" for column in costs)
    assert _query(lineage, "billing.charges", f"count(*), {sums}") == [expected]
    assert _query(
        lineage,
        "quality.control",
        "rows_delivered, billed_control, effective_control, list_control, contracted_control",
    ) == [expected]
    assert _query(lineage, "quality.control", "rows_mapped, rows_netted, rows_rejected, rows_added") == [
        (rows, 0, 0, 0)
    ]


@_needs_samples
@pytest.mark.parametrize("sample", ["2023-06-01.csv", "2023-06-01-not-final.csv"])
def test_a_sample_without_its_negation_lines_is_refused_with_the_amount(tmp_path: Path, sample: str) -> None:
    text = _text_of(sample)
    assert {row["lineItem/LineItemType"] for row in text} == {"SavingsPlanCoveredUsage"}
    assert _sum(text, _legacy) == 30
    lineage, source = _lake(tmp_path, sample)
    pull(lineage.lake, source, "2023-06")
    with pytest.raises(AuditFailed) as refused:
        normalise(lineage, source.name, "2023-06")
    # 3 lines of 10 NOK that a savings plan covers, and nothing takes them back.
    assert "BilledCost of the charges lacks 30 against the delivery" in refused.value.found
    assert "savings_plan_netting_cancels" in refused.value.found
    assert "source payer, billing period 2023-06" in refused.value.where
    assert _query(lineage, "billing.charges", "*") == []
    assert sorted(_query(lineage, "quality.rejected", "reason, audit")) == [
        ("delivery refused", "control_totals"),
        ("delivery refused", "savings_plan_netting_cancels"),
    ]
