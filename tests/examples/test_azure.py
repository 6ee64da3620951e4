"""The demo company's Azure exports: two views of the same charges that tie out to the last digit."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from examples.acme.azure_bill import COLUMNS, WrittenMonth, write_azure_bill
from examples.acme.span import END_DAY, FIRST_DAY, Span

Row = dict[str, str]
MONTHS = ("20260801-20260831", "20260901-20260930", "20261001-20261031")
COMMITMENTS = ("Reservation", "SavingsPlan")


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the container that the exports are delivered to."""
    return tmp_path_factory.mktemp("azure")


@pytest.fixture(scope="module")
def written(container: Path) -> list[WrittenMonth]:
    """What the generator says that each month came to."""
    return list(write_azure_bill(container, Span(FIRST_DAY, END_DAY)))


@pytest.fixture(scope="module")
def views(container: Path, written: list[WrittenMonth]) -> dict[str, dict[str, list[Row]]]:
    """The rows of the latest run of each export and month."""
    assert written
    return {
        export: {month: rows_of(container, latest(container, export, month)) for month in MONTHS}
        for export in ("acme-actual", "acme-amortized")
    }


def manifests(container: Path, export: str, month: str) -> list[dict[str, Any]]:
    """The manifests of all runs of a month, the earliest first."""
    found = [json.loads(path.read_text()) for path in (container / "exports" / export / month).rglob("manifest.json")]
    return sorted(found, key=lambda manifest: str(manifest["runInfo"]["submittedTime"]))


def latest(container: Path, export: str, month: str) -> dict[str, Any]:
    """The manifest of the latest run."""
    return manifests(container, export, month)[-1]


def rows_of(container: Path, manifest: dict[str, Any]) -> list[Row]:
    """The rows of a run's blobs, which a manifest names from the container's root."""
    rows = []
    for blob in manifest["blobs"]:
        text = gzip.decompress((container / blob["blobName"]).read_bytes()).decode("utf-8-sig")
        rows += list(csv.DictReader(io.StringIO(text, newline="")))
    return rows


def cost(rows: list[Row]) -> Decimal:
    """The exact cost of rows."""
    return sum((Decimal(row["CostInBillingCurrency"]) for row in rows), Decimal(0))


def by_charge_type(rows: list[Row]) -> dict[str, Decimal]:
    """The exact cost by charge type."""
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        totals[row["ChargeType"]] += Decimal(row["CostInBillingCurrency"])
    return dict(totals)


def commitment_rows(rows: list[Row], pricing_model: str, *charge_types: str) -> list[Row]:
    """The rows of a kind of commitment."""
    return [row for row in rows if row["PricingModel"] == pricing_model and row["ChargeType"] in charge_types]


def test_each_month_is_what_the_rows_of_its_latest_runs_sum_to(
    views: dict[str, dict[str, list[Row]]], written: list[WrittenMonth]
) -> None:
    for month, totals in zip(MONTHS, written, strict=True):
        actual, amortised = (views[export][month] for export in ("acme-actual", "acme-amortized"))
        assert len(actual) + len(amortised) == totals.rows
        assert (by_charge_type(actual), by_charge_type(amortised)) == (totals.actual, totals.amortised)


def test_the_sums_that_the_demos_page_names(written: list[WrittenMonth]) -> None:
    assert [
        (month.label, month.rows, sum(month.actual.values()), sum(month.amortised.values())) for month in written
    ] == [
        ("2026-08", 3862, Decimal("20747.631941334"), Decimal("20747.631941334")),
        ("2026-09", 3791, Decimal("19414.077632766"), Decimal("19414.077632766")),
        ("2026-10", 1885, Decimal("11226.658921888"), Decimal("10197.385321888")),
    ]


@pytest.mark.parametrize("month", MONTHS)
def test_the_two_views_are_one_bill(views: dict[str, dict[str, list[Row]]], month: str) -> None:
    actual, amortised = (views[export][month] for export in ("acme-actual", "acme-amortized"))

    def plain(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["PricingModel"] not in COMMITMENTS]

    assert plain(actual) == plain(amortised)
    # Billed is the amortised view without what commitments cover, and what was bought and given back of them.
    bought = [
        row for row in actual if row["PricingModel"] in COMMITMENTS and row["ChargeType"] in ("Purchase", "Refund")
    ]
    assert cost(plain(amortised)) + cost(bought) == cost(actual)
    # Commitments' own purchases are in the actual view alone, what they release in the amortised one.
    assert cost([row for row in actual if row["PricingModel"] in COMMITMENTS and row["ChargeType"] == "Usage"]) == 0
    assert {row["ChargeType"] for row in amortised if row["PricingModel"] in COMMITMENTS} <= {
        "Usage",
        "UnusedReservation",
        "UnusedSavingsPlan",
    }


@pytest.mark.parametrize("month", MONTHS[:2])
@pytest.mark.parametrize("pricing_model", COMMITMENTS)
def test_a_closed_month_releases_what_was_paid_for_it(
    views: dict[str, dict[str, list[Row]]], month: str, pricing_model: str
) -> None:
    paid = cost(commitment_rows(views["acme-actual"][month], pricing_model, "Purchase", "Refund"))
    released = cost(commitment_rows(views["acme-amortized"][month], pricing_model, "Usage", f"Unused{pricing_model}"))

    assert paid == released


def test_the_reservations_figures_by_hand(views: dict[str, dict[str, list[Row]]]) -> None:
    september = MONTHS[1]
    actual, amortised = (views[export][september] for export in ("acme-actual", "acme-amortized"))

    # Four instances of 720 hours; one of them given back for ten days of 24 hours.
    assert cost(commitment_rows(actual, "Reservation", "Purchase")) == 4 * 720 * Decimal("0.2268")
    assert cost(commitment_rows(actual, "Reservation", "Refund")) == -240 * Decimal("0.2268")
    # Three machines all month; the fourth 12 hours on the 14 weekdays up to the 20th, of 20 days.
    used = 3 * 720 + 14 * 12
    assert cost(commitment_rows(amortised, "Reservation", "Usage")) == used * Decimal("0.2268")
    assert cost(commitment_rows(amortised, "Reservation", "UnusedReservation")) == (480 - 168) * Decimal("0.2268")


def test_the_savings_plans_figures_by_hand(views: dict[str, dict[str, list[Row]]]) -> None:
    september = MONTHS[1]
    amortised = views["acme-amortized"][september]

    assert cost(commitment_rows(views["acme-actual"][september], "SavingsPlan", "Purchase")) == 720 * Decimal("2.00")
    # 22 weekdays with 264 office hours, in which all is used; in the other 456 hours two machines use 0.7056.
    used = 264 * Decimal("2.00") + 456 * Decimal("0.7056")
    assert cost(commitment_rows(amortised, "SavingsPlan", "Usage")) == used
    assert cost(commitment_rows(amortised, "SavingsPlan", "UnusedSavingsPlan")) == 1440 - used


def test_every_kind_of_charge_occurs(views: dict[str, dict[str, list[Row]]]) -> None:
    kinds = {
        (row["ChargeType"], row["Frequency"], row["PricingModel"], row["PublisherType"])
        for export in views.values()
        for rows in export.values()
        for row in rows
    }

    assert kinds == {
        ("Usage", "UsageBased", "OnDemand", "Azure"),
        ("Usage", "UsageBased", "Reservation", "Azure"),
        ("Usage", "UsageBased", "SavingsPlan", "Azure"),
        ("UnusedReservation", "UsageBased", "Reservation", "Azure"),
        ("UnusedSavingsPlan", "UsageBased", "SavingsPlan", "Azure"),
        ("Purchase", "Recurring", "Reservation", "Azure"),
        ("Purchase", "Recurring", "SavingsPlan", "Azure"),
        ("Refund", "OneTime", "Reservation", "Azure"),
        ("RoundingAdjustment", "OneTime", "OnDemand", "Azure"),
        ("Purchase", "Recurring", "OnDemand", "Marketplace"),
        ("Purchase", "OneTime", "OnDemand", "Marketplace"),
        ("Refund", "OneTime", "OnDemand", "Marketplace"),
    }


def test_usage_costs_its_price_times_its_quantity(views: dict[str, dict[str, list[Row]]]) -> None:
    wrong = [
        row
        for export in views.values()
        for rows in export.values()
        for row in rows
        if Decimal(row["Quantity"]) * Decimal(row["EffectivePrice"]) != Decimal(row["CostInBillingCurrency"])
    ]

    assert wrong == []


@pytest.mark.parametrize("month", MONTHS)
@pytest.mark.parametrize("export", ["acme-actual", "acme-amortized"])
def test_an_older_run_of_the_month_lies_beside_the_latest(
    container: Path, written: list[WrittenMonth], export: str, month: str
) -> None:
    assert written
    older, newest = manifests(container, export, month)

    assert older["runInfo"]["runId"] != newest["runInfo"]["runId"]
    assert older["dataRowCount"] < newest["dataRowCount"]
    for manifest in (older, newest):
        assert manifest["deliveryConfig"]["dataOverwriteBehavior"] == "CreateNewReport"
        assert manifest["blobCount"] == len(manifest["blobs"]) == 2
        assert len(rows_of(container, manifest)) == manifest["dataRowCount"]
        assert manifest["byteCount"] == sum((container / blob["blobName"]).stat().st_size for blob in manifest["blobs"])


def test_files_are_as_an_enterprise_agreement_exports_them(container: Path, written: list[WrittenMonth]) -> None:
    assert written
    manifest = latest(container, "acme-amortized", MONTHS[0])
    text = gzip.decompress((container / manifest["blobs"][0]["blobName"]).read_bytes())
    rows = rows_of(container, manifest)

    assert text.startswith(b"\xef\xbb\xbfInvoiceSectionName,AccountName,")
    assert tuple(rows[0]) == COLUMNS
    assert {row["Date"] for row in rows} == {f"08/{day:02}/2026" for day in range(1, 32)}
    assert {"BillingPeriodStartDate": "08/01/2026", "BillingPeriodEndDate": "08/31/2026"}.items() <= rows[0].items()
    tags = {row["ResourceName"]: row["Tags"] for row in rows}
    assert tags["search-ranker-1"] == '"Team": "Search","env": "prod"'
    assert tags["jump-disk-1"] == ""


def test_the_same_days_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        list(write_azure_bill(tmp_path / name, Span(date(2026, 9, 9), date(2026, 9, 10))))

    # A single day has no day before it to be an older run of.
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 2 * 3
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
