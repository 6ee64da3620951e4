"""Google Cloud's bill to FOCUS: every cost type and credit, worked by hand, from Parquet and from newline-delimited JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.normalise.google_bills import (
    charges,
    control,
    credit,
    failed_audits,
    fee,
    line,
    made,
    normalised,
    rejected,
    rows,
    write_json,
    write_parquet,
)

Writer = Callable[[Path, Sequence[dict[str, Any]]], Path]

_NOTHING = {"usage": None, "location": None, "labels": []}
_WHOLE_MONTH = {"usage_start_time": "2026-09-01 07:00:00+00", "usage_end_time": "2026-10-01 07:00:00+00"}

# Every cost type of docs/sources/gcp-billing.md and the cases that one has.
_DELIVERY = [
    line(10, cost_at_list="12", cost_at_effective_price_default="11"),
    line(2.93e-8, sku={"id": "S-2", "description": "Spot Preemptible N1 Predefined Instance Core running in Americas"}),
    line(
        8,
        cost_at_list="9",
        credits=[
            credit(-1, "SUSTAINED_USAGE_DISCOUNT"),
            credit(-0.5, "DISCOUNT"),
            credit(-0.25, "FREE_TIER"),
            credit(-0.1, "SUBSCRIPTION_BENEFIT"),
            credit(-0.05, "RESELLER_MARGIN"),
        ],
    ),
    line(5, credits=[credit(-5, "PROMOTION", full_name="Start-up grant"), credit(0, "PROMOTION"), credit(-1, None)]),
    line(-3),
    line(-2, adjustment_info={"id": "a", "description": "wrong price", "type": "PRICE", "mode": "PARTIAL_CORRECTION"}),
    line(1.75, cost_type="tax", service={"id": None, "description": "Invoice"}, sku={"id": None, "description": "Tax"}, project=None, **_NOTHING, **_WHOLE_MONTH),
    line(-20, cost_type="adjustment", project=None, **_NOTHING, **_WHOLE_MONTH),
    line(0.000001, cost_type="rounding_error", project=None, **_NOTHING, **_WHOLE_MONTH),
    fee(4),
    line(3, transaction_type="THIRD_PARTY_RESELLER", seller_name="Elastic"),
]  # fmt: skip

# line, part: type, category, class, frequency, pricing category, billed, effective, list, contracted
_EXPECTED = [
    (1, 1, "regular", "Usage", None, "Usage-Based", "Standard", "10", "10", "12", "11"),
    (2, 1, "regular", "Usage", None, "Usage-Based", "Dynamic", *["0.0000000293"] * 4),
    # 8 - 1 - 0.5 - 0.25 - 0.1 - 0.05 = 6.1; list and contract cost come before credits.
    (3, 1, "regular", "Usage", None, "Usage-Based", "Standard", "6.1", "6.1", "9", "8"),
    (4, 1, "regular", "Usage", None, "Usage-Based", "Standard", "5", "5", "5", "5"),
    (4, 2, "PROMOTION", "Credit", None, "One-Time", None, "-5", "-5", "-5", "-5"),
    # Credit 2 is 0 and becomes no row; credit 3 has no type.
    (4, 4, "credit", "Credit", None, "One-Time", None, "-1", "-1", "-1", "-1"),
    (5, 1, "regular", "Usage", None, "Usage-Based", "Standard", "-3", "-3", "-3", "-3"),
    (6, 1, "regular", "Usage", "Correction", "Usage-Based", "Standard", "-2", "-2", "-2", "-2"),
    (7, 1, "tax", "Tax", None, "Usage-Based", None, "1.75", "1.75", "1.75", "1.75"),
    (8, 1, "adjustment", "Adjustment", None, "One-Time", None, "-20", "-20", "-20", "-20"),
    (9, 1, "rounding_error", "Adjustment", None, "One-Time", None, *["0.000001"] * 4),
    (10, 1, "regular", "Purchase", None, "Recurring", "Standard", "4", "0", "4", "4"),
    (10, 2, "regular", "Usage", None, "Usage-Based", "Committed", "0", "4", "0", "0"),
    (11, 1, "regular", "Usage", None, "Usage-Based", "Standard", "3", "3", "3", "3"),
]
_COLUMNS = (
    "x_SourceLineItemType, ChargeCategory, ChargeClass, ChargeFrequency, PricingCategory, BilledCost, EffectiveCost, "
    "ListCost, ContractedCost"
)


def _write(folder: Path, name: str, lines: Sequence[dict[str, Any]]) -> Path:
    path = folder / name
    return write_parquet(path, lines) if name.endswith(".parquet") else write_json(path, lines)


@pytest.mark.parametrize("name", ["bill.parquet", "bill.json", "bill.ndjson.gz"])
def test_every_cost_type_becomes_what_the_page_says(name: str, tmp_path: Path) -> None:
    connection = normalised(tmp_path / "staged", [_write(tmp_path, name, _DELIVERY)])
    assert charges(connection, _COLUMNS) == _EXPECTED
    assert control(connection) == made(connection)
    assert rejected(connection) == []
    # A credit without a type is nobody's known kind.
    assert failed_audits(connection) == {"credits_are_known": [("credit", 1, "-1")]}


def test_the_sum_of_billed_cost_is_the_sum_of_cost_and_credits(tmp_path: Path) -> None:
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "bill.parquet", _DELIVERY)])
    # 10 + 0.0000000293 + 8 + 5 - 3 - 2 + 1.75 - 20 + 0.000001 + 4 + 3 = 6.7500010293; credits: -1.9 - 5 - 1 = -7.9
    assert rows(connection, "SELECT sum(BilledCost), sum(EffectiveCost) FROM staged") == [("-1.1499989707",) * 2]


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_a_day_of_a_very_large_bucket_is_counted_in_its_pricing_unit(tmp_path: Path, suffix: str) -> None:
    # 40 PiB for a day: 40 * 2^50 * 86,400 byte-seconds are 3.9 * 10^21; of a month of 730 hours it is 1/30.4167 of 41,943,040 GiB.
    stored = {
        "amount": 40 * 2**50 * 86_400,
        "unit": "byte-seconds",
        "amount_in_pricing_units": 1378949.26,
        "pricing_unit": "gibibyte month",
    }
    file = _write(tmp_path, f"a.{suffix}", [line(27578.99, usage=stored)])
    connection = normalised(tmp_path / "staged", [file])
    assert rows(
        connection, "SELECT ConsumedQuantity, ConsumedUnit, PricingQuantity, PricingUnit, BilledCost FROM staged"
    ) == [("1378949.26", "GiB-Months", "1378949.26", "GiB-Months", "27578.99")]


def test_a_line_of_a_machine_says_which_and_what_it_is_made_of(tmp_path: Path) -> None:
    machine = {
        "sku": {"id": "2390-DCAF-DA38", "description": "Nvidia Tesla A100 GPU running in Americas"},
        "system_labels": [
            {"key": "compute.googleapis.com/cores", "value": "96"},
            {"key": "compute.googleapis.com/machine_spec", "value": "a2-highgpu-8g"},
            {"key": "compute.googleapis.com/memory", "value": "696320"},
        ],
        "resource": {
            "name": "gke-train-a100-1",
            "global_name": "//compute.googleapis.com/projects/1234/zones/us-central1-a/instances/4567890123456789012",
        },
        "usage": {"amount": 28800, "unit": "seconds", "amount_in_pricing_units": 8, "pricing_unit": "hour"},
        "price": {
            "effective_price": "2.9",
            "tier_start_amount": "0",
            "unit": "hour",
            "pricing_unit_quantity": "1",
            "list_price": "2.933908",
        },
    }
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "a.parquet", [line(23.2, **machine)])])
    [row] = rows(
        connection,
        """
        SELECT ResourceId, ResourceName, ResourceType, x_InstanceType, x_GpuModel, x_GpuCount, SkuId, SkuPriceId, SkuMeter,
            SkuPriceDetails, ConsumedQuantity, ConsumedUnit, PricingQuantity, PricingUnit, ListUnitPrice,
            ContractedUnitPrice
        FROM staged
        """,
    )
    assert row == (
        # As Kubernetes knows the node: gce://acme-search/us-central1-a/gke-train-a100-1
        "//compute.googleapis.com/projects/acme-search/zones/us-central1-a/instances/gke-train-a100-1",
        "gke-train-a100-1",
        "instances",
        "a2-highgpu-8g",
        "NVIDIA A100 40GB",
        8,
        "2390-DCAF-DA38",
        "2390-DCAF-DA38|0",
        "Nvidia Tesla A100 GPU running in Americas",
        # 696,320 MB are 680 GiB.
        '{"CoreCount":96,"GpuCount":8,"InstanceSeries":"a2","InstanceType":"a2-highgpu-8g","MemorySize":680}',
        "28800",
        "Seconds",
        "8",
        "Hours",
        "2.933908",
        "2.9",
    )


def test_a_price_for_many_units_becomes_the_price_of_one(tmp_path: Path) -> None:
    price = {
        "list_price": "0.4",
        "effective_price": "0.4",
        "pricing_unit_quantity": "1000000",
        "tier_start_amount": "5000",
    }
    usage = {"amount": 3, "unit": "requests", "amount_in_pricing_units": 3, "pricing_unit": "count"}
    connection = normalised(
        tmp_path / "staged", [_write(tmp_path, "a.parquet", [line("0.0000012", price=price, usage=usage)])]
    )
    assert charges(connection, "ListUnitPrice, PricingUnit, SkuPriceId, ConsumedUnit") == [
        (1, 1, "0.0000004", "Units", "2E27-4F75-95CD|5000", "Requests")
    ]


def test_labels_of_every_origin_become_tags_that_tell_it(tmp_path: Path) -> None:
    marked = line(
        1,
        labels=[{"key": "team", "value": "search"}, {"key": "k8s-namespace", "value": "ml"}],
        project={
            "id": "acme-search",
            "name": "Acme Search",
            "labels": [{"key": "team", "value": "platform"}],
            "ancestors": [
                {"resource_name": "projects/1234", "display_name": "Acme Search"},
                {"resource_name": "folders/77", "display_name": "Research"},
                {"resource_name": "organizations/5", "display_name": "acme.example"},
            ],
        },
        system_labels=[{"key": "compute.googleapis.com/cores", "value": "4"}, {"key": "bare", "value": "x"}],
        tags=[{"key": "env", "value": "prod", "inherited": True, "namespace": "815"}],
    )
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "a.json", [marked])])
    assert charges(connection, "Tags") == [
        (
            1,
            1,
            '{"ancestor:folders/77":"Research","ancestor:organizations/5":"acme.example",'
            '"ancestor:projects/1234":"Acme Search","compute.googleapis.com/cores":"4","k8s-namespace":"ml",'
            '"project:team":"platform","system:bare":"x","tag:815/env":"prod","team":"search"}',
        )
    ]


def test_accounts_places_and_issuers_are_named(tmp_path: Path) -> None:
    lines = [
        line(1),
        line(1, project=None, location={"location": "us"}),
        line(1, location={"location": "global"}, transaction_type="THIRD_PARTY_AGENCY", seller_name="Elastic"),
        line(1, transaction_type="GOOGLE", seller_name="Google LLC"),
    ]
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "a.parquet", lines)])
    columns = (
        "BillingAccountId, SubAccountId, SubAccountName, SubAccountType, RegionId, RegionName, AvailabilityZone, "
        "InvoiceIssuerName, PublisherName, ServiceProviderName"
    )
    project = ("acme-search", "Acme Search", "Project")
    iowa = ("us-central1", "Iowa", "us-central1-a")
    google = ("Google Cloud",) * 3
    account = "012345-678901-ABCDEF"
    assert charges(connection, columns) == [
        (1, 1, account, *project, *iowa, *google),
        (2, 1, account, None, None, None, "us", "United States (multi-region)", None, *google),
        (3, 1, account, *project, None, None, None, "Elastic", "Elastic", "Elastic"),
        (4, 1, account, *project, *iowa, *google),
    ]


def test_late_use_is_billed_in_its_invoice_month_and_keeps_its_time(tmp_path: Path) -> None:
    late = line(1, usage_start_time="2026-08-31 23:00:00+00", usage_end_time="2026-09-01 00:00:00+00")
    moment = line(1, usage_end_time="2026-09-03 07:00:00+00")
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "a.parquet", [late, moment])])
    columns = "BillingPeriodStart, BillingPeriodEnd, ChargePeriodStart, ChargePeriodEnd"
    found = [tuple(str(value) for value in row[2:]) for row in charges(connection, columns)]
    september = ("2026-09-01 00:00:00", "2026-10-01 00:00:00")
    assert found == [
        (*september, "2026-08-31 23:00:00", "2026-09-01 00:00:00"),
        # FOCUS periods are half-open: a moment lasts a second.
        (*september, "2026-09-03 07:00:00", "2026-09-03 07:00:01"),
    ]
    assert failed_audits(connection) == {}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("cost_type", "surprise", "cost_type surprise has no treatment in docs/sources/gcp-billing.md"),
        ("cost", None, "cost is empty"),
        ("currency", None, "currency is empty"),
        ("billing_account_id", None, "billing_account_id is empty"),
        ("usage_start_time", None, "usage_start_time is empty"),
        ("credits", [credit(None, "DISCOUNT")], "credits.amount is empty"),  # type: ignore[arg-type]
    ],
)
def test_a_line_that_cannot_become_a_charge_is_kept_with_its_reason(
    field: str, value: Any, reason: str, tmp_path: Path
) -> None:
    lines = [line(1), {**line(2), field: value}]
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "a.parquet", lines)])
    assert [row[:4] for row in rejected(connection)] == [("a.parquet", 2, lines[1]["cost_type"], reason)]
    assert sum(int(row[3]) for row in control(connection)) == 1
    assert [row[:2] for row in charges(connection, "BilledCost")] == [(1, 1)]


def test_currencies_are_kept_apart(tmp_path: Path) -> None:
    offset = credit(-1, "FEE_UTILIZATION_OFFSET")
    priced = {"consumption_model": {"id": "x", "description": "Compute Flexible CUDs 1 Year"}}
    lines = [
        fee(1, credits=[offset]),
        line(1, **priced),
        fee(1, credits=[offset], currency="EUR"),
        line(4, currency="EUR"),
    ]
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "a.parquet", lines)])
    columns = "BillingCurrency, ChargeCategory, CommitmentDiscountStatus, BilledCost, EffectiveCost"
    assert charges(connection, columns) == [
        (1, 1, "USD", "Purchase", None, "1", "0"),
        (2, 1, "USD", "Usage", "Used", "0", "1"),
        # Nobody used the commitment in euros, and its offset has nothing against it.
        (3, 1, "EUR", "Purchase", None, "1", "0"),
        (3, 3, "EUR", "Usage", "Unused", "0", "1"),
        (3, 4, "EUR", "Adjustment", None, "-1", "-1"),
        (4, 1, "EUR", "Usage", None, "4", "4"),
    ]
    assert control(connection) == made(connection)


def test_a_line_of_another_invoice_month_refuses_the_delivery(tmp_path: Path) -> None:
    connection = normalised(
        tmp_path / "staged", [_write(tmp_path, "a.parquet", [line(1), line(2, invoice={"month": "202608"})])]
    )
    assert failed_audits(connection)["lines_belong_to_the_period"] == [("202608", 1, {"file": "a.parquet", "row": 2})]


def test_charges_stand_in_delivery_order_whatever_their_labels(tmp_path: Path) -> None:
    # More lines than DuckDB joins at a time, with labels that differ from line to line.
    lines = [
        line(
            number,
            labels=[{"key": "team", "value": f"t{number % 7}"}],
            system_labels=[{"key": "k", "value": f"{number % 3}"}],
        )
        for number in range(1, 5001)
    ]
    connection = normalised(tmp_path / "staged", [_write(tmp_path, "a.parquet", lines)])
    found = [row for (row,) in connection.sql("SELECT x_SourceRow FROM staged").fetchall()]
    assert found == list(range(1, 5001))
