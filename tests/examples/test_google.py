"""The demo company's Google bill: what the export's files hold, exact to the last digit."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from examples.acme.google_bill import NEW_MODEL_COLUMNS, WrittenInvoice, write_google_bill
from examples.acme.span import END_DAY, FIRST_DAY, Span
from examples.acme.telemetry import write_telemetry

Line = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole demo's files lie."""
    return tmp_path_factory.mktemp("gcp")


@pytest.fixture(scope="module")
def invoices(folder: Path) -> list[WrittenInvoice]:
    """What the generator says that each invoice month came to."""
    return list(write_google_bill(folder, Span(FIRST_DAY, END_DAY)))


@pytest.fixture(scope="module")
def lines(folder: Path, invoices: list[WrittenInvoice]) -> list[Line]:
    """Every line of every file, of which August's lack some columns."""
    assert invoices
    found = []
    for file in sorted(folder.iterdir()):
        found += pq.ParquetFile(file).read().to_pylist()
    return found


def exact(value: float) -> Decimal:
    """A double as the decimal of its shortest text."""
    return Decimal(repr(value))


def total(lines: list[Line]) -> Decimal:
    """The exact cost of lines before credits."""
    return sum((exact(line["cost"]) for line in lines), Decimal(0))


def credits_of(lines: list[Line]) -> dict[str, Decimal]:
    """The exact sum of credits by type."""
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        for credit in line["credits"]:
            totals[credit["type"]] += exact(credit["amount"])
    return dict(totals)


def of_month(lines: list[Line], month: str) -> list[Line]:
    """The lines of an invoice month."""
    return [line for line in lines if line["invoice"]["month"] == month]


def fees(lines: list[Line], description: str) -> list[Line]:
    """The fee lines of a commitment."""
    return [line for line in lines if line["sku"]["description"].startswith(description)]


def test_each_invoice_month_is_what_its_lines_sum_to(lines: list[Line], invoices: list[WrittenInvoice]) -> None:
    for invoice in invoices:
        month = of_month(lines, invoice.label.replace("-", ""))
        by_type: defaultdict[str, Decimal] = defaultdict(Decimal)
        for line in month:
            by_type[line["cost_type"]] += exact(line["cost"])
        assert (len(month), dict(by_type)) == (invoice.lines, invoice.costs)
        assert {kind: amount for kind, amount in credits_of(month).items() if amount} == {
            kind: amount for kind, amount in invoice.credits.items() if amount
        }


def test_the_sums_that_the_demos_page_names(invoices: list[WrittenInvoice]) -> None:
    assert [(invoice.label, invoice.lines, invoice.total) for invoice in invoices] == [
        ("2026-08", 25771, Decimal("137430.20291302")),
        ("2026-09", 25433, Decimal("134123.8794766")),
        ("2026-10", 12255, Decimal("58892.62962888")),
    ]


def test_a_file_holds_what_was_exported_on_its_day(folder: Path, invoices: list[WrittenInvoice]) -> None:
    assert len(invoices) == 3
    files = sorted(folder.iterdir())
    for file in files:
        days = {moment.date() for moment in pq.ParquetFile(file).read(["export_time"]).column(0).to_pylist()}
        assert {str(day) for day in days} == {file.stem}
    assert len(files) == (END_DAY - FIRST_DAY).days


def test_the_columns_of_the_new_commitment_model_come_with_it(folder: Path, invoices: list[WrittenInvoice]) -> None:
    assert invoices
    august, september = (pq.read_schema(folder / f"2026-{day}.parquet") for day in ("08-31", "09-01"))

    assert set(september.names) - set(august.names) == set(NEW_MODEL_COLUMNS)
    assert str(september.field("cost").type) == "double"
    assert str(september.field("cost_at_list").type) == "decimal128(38, 9)"
    assert str(september.field("usage_start_time").type) == "timestamp[us, tz=UTC]"


def test_the_same_days_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        list(write_google_bill(tmp_path / name, Span(date(2026, 9, 9), date(2026, 9, 11))))

    names = [file.name for file in sorted((tmp_path / "one").iterdir())]
    assert names == ["2026-09-09.parquet", "2026-09-10.parquet"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_usage_costs_its_price_times_its_amount(lines: list[Line]) -> None:
    wrong = [
        line
        for line in lines
        if line["price"] is not None
        and exact(line["usage"]["amount_in_pricing_units"]) * line["price"]["effective_price"] != exact(line["cost"])
    ]

    assert wrong == []


def test_invoice_months_are_those_of_los_angeles(lines: list[Line]) -> None:
    usage = [line for line in of_month(lines, "202608") if line["cost_type"] == "regular"]

    assert min(line["usage_start_time"] for line in usage) == datetime(2026, 8, 1, 7, tzinfo=UTC)
    assert max(line["usage_end_time"] for line in usage) == datetime(2026, 9, 1, 7, tzinfo=UTC)


def test_late_lines_are_on_a_later_invoice_than_their_usage(lines: list[Line]) -> None:
    late = [line for line in of_month(lines, "202609") if line["usage_end_time"] <= datetime(2026, 9, 1, 7, tzinfo=UTC)]

    # Six hours of analysis, exported two days after, and the correction of an hour in August.
    assert Counter(line["sku"]["description"] for line in late) == {
        "Analysis (us-central1)": 6,
        "Nvidia H100 80GB GPU running in Americas": 1,
    }


def test_every_kind_of_charge_and_credit_occurs(lines: list[Line]) -> None:
    assert {line["cost_type"] for line in lines} == {"regular", "tax", "adjustment", "rounding_error"}
    assert set(credits_of(lines)) == {
        "COMMITTED_USAGE_DISCOUNT",
        "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE",
        "FEE_UTILIZATION_OFFSET",
        "SUSTAINED_USAGE_DISCOUNT",
        "DISCOUNT",
        "FREE_TIER",
        "PROMOTION",
    }
    assert {line["transaction_type"] for line in lines} == {"GOOGLE", "THIRD_PARTY_RESELLER"}
    assert {line["adjustment_info"]["mode"] for line in lines if line["adjustment_info"]} == {
        "PARTIAL_CORRECTION",
        "MANUAL_ADJUSTMENT",
    }
    # Tax, support and rounding belong to no project; a month gets them once it is closed.
    without = [line for line in lines if line["project"] is None]
    assert Counter((line["invoice"]["month"], line["sku"]["description"]) for line in without) == {
        (month, charge): 1 for month in ("202608", "202609") for charge in ("Enhanced Support", "Tax", "Rounding error")
    }


def test_a_correction_takes_back_what_two_hours_of_eight_gpus_cost(lines: list[Line]) -> None:
    (line,) = [line for line in lines if exact(line["cost"]) < 0 and line["cost_type"] == "regular"]

    # -2 * 8 * 9.31
    assert exact(line["cost"]) == Decimal("-148.96")
    assert line["usage_start_time"] == datetime(2026, 8, 14, 9, tzinfo=UTC)


def test_the_gpu_commitment_is_paid_every_hour_and_used_on_weekdays(lines: list[Line]) -> None:
    october = of_month(lines, "202610")

    # From 1 October 07:00 to 15 October 19:00 there are 348 hours: 348 * 4 * 1.764.
    assert total(fees(october, "Commitment v1: Nvidia Tesla A100")) == Decimal("2455.488")
    # Two GPUs all the time, two but for 48 hours on two weekends: (2 * 348 + 2 * 252) * 2.94.
    assert credits_of(october)["COMMITTED_USAGE_DISCOUNT"] == Decimal("-3528")


def test_in_the_old_model_covered_usage_has_a_credit_and_fees_the_rest(lines: list[Line]) -> None:
    august = of_month(lines, "202608")
    usage = [
        line
        for line in august
        if any(credit["type"] == "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE" for credit in line["credits"])
    ]
    paid = fees(august, "Commitment - dollar based v1")
    used = [line for line in paid if line["labels"]]

    # 744 hours of 1.50 at 0.72.
    assert total(paid) == Decimal("803.52")
    assert total(used) == -credits_of(usage)["COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE"] * Decimal("0.72")
    # Three nodes of 8 * 0.0316 + 32 * 0.004 around the clock; 1.50 in the 252 office hours of August's 21 weekdays.
    assert credits_of(usage)["COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE"] == -(
        492 * 3 * Decimal("0.3808") + 252 * Decimal("1.50")
    )


def test_in_the_new_model_covered_usage_has_the_commitments_price_and_offsets_its_fee(lines: list[Line]) -> None:
    september = of_month(lines, "202609")
    covered = [line for line in september if line["consumption_model"]["description"] != "Default"]
    offset = [line for line in fees(september, "Commitment - dollar based v1") if line["credits"]]
    paid = fees(september, "Commitment - dollar based v1")

    assert {line["consumption_model"]["description"] for line in covered} == {"Compute Flexible CUDs 1 Year"}
    # 720 hours of 1.50 at 0.72.
    assert total(paid) == Decimal("777.6")
    assert total(covered) == total(offset)
    # Once a day the offsets of cores and of memory fall a millionth short each.
    assert total(offset) + credits_of(offset)["FEE_UTILIZATION_OFFSET"] == 30 * 2 * Decimal("0.000001")


def test_the_gpu_nodes_of_the_bill_are_those_of_the_telemetry(lines: list[Line], tmp_path: Path) -> None:
    day = date(2026, 9, 9)
    list(write_telemetry(tmp_path, Span(day, date(2026, 9, 10))))
    response = json.loads((tmp_path / f"{day}/kube_node_info.json").read_text())
    known = {series["metric"]["provider_id"] for series in response["data"]["result"]}
    billed = {
        f"gce://{line['project']['id']}/{line['location']['zone']}/{line['resource']['name']}"
        for line in lines
        if "Nvidia" in line["sku"]["description"] and line["labels"] and "cluster-name" in str(line["labels"])
    }

    assert billed == {provider_id for provider_id in known if provider_id.startswith("gce:")}
    assert len(billed) == 3


def test_the_sustained_use_discount_grows_by_quarters_of_the_month(lines: list[Line]) -> None:
    core = [
        line
        for line in of_month(lines, "202608")
        if line["sku"]["description"] == "N1 Predefined Instance Core running in Americas"
    ]

    # 186 hours in each quarter, of 8 * 0.0316 an hour: none, a fifth, two and three fifths off.
    assert credits_of(core) == {"SUSTAINED_USAGE_DISCOUNT": -186 * Decimal("0.2528") * 6 / 5}
