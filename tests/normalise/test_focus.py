"""Rows of FOCUS files as charges: what stands, what is filled and counted, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.normalise.bills import rows
from tests.normalise.focus_files import charges, control, failed_audits, normalised, rejected, row, write_csv

EXAMPLE = {"file": "focus.csv", "row": 1}


def test_costs_stand_as_delivered(tmp_path: Path) -> None:
    line = row(BilledCost="0", EffectiveCost="1.25", ListCost="3.000000000000000001", ContractedCost="2.5")
    assert charges(tmp_path, [line], "BilledCost, EffectiveCost, ListCost, ContractedCost") == [
        ("0", "1.25", "3.000000000000000001", "2.5")
    ]


def test_rows_say_where_they_come_from(tmp_path: Path) -> None:
    lines = [row(), row(ChargeCategory="Adjustment", ChargeClass="Correction", InvoiceId="42")]
    assert charges(
        tmp_path,
        lines,
        "x_SourceKind, x_SourceFile, x_SourceRow, x_SourcePart, x_SourceLineItemType, x_IsFinal",
    ) == [
        ("focus", "focus.csv", 1, 1, "FOCUS Usage", False),
        ("focus", "focus.csv", 2, 1, "FOCUS Adjustment Correction", True),
    ]


# What is delivered, the ContractedCost and ListCost made of it, and how the audit says it.
MISSING_COSTS = [
    pytest.param(
        {"ContractedUnitPrice": "0.333333333333", "PricingQuantity": "3", "ListUnitPrice": "0.5"},
        # 3 x 0.333333333333 and 3 x 0.5
        ("0.999999999999", "1.5"),
        [
            "ContractedCost is ContractedUnitPrice times PricingQuantity",
            "ListCost is ListUnitPrice times PricingQuantity",
        ],
        id="prices",
    ),
    pytest.param({}, ("2", "2"), ["ContractedCost is BilledCost", "ListCost is ContractedCost"], id="nothing"),
    pytest.param(
        {
            "BilledCost": "0",
            "EffectiveCost": "1.5",
            "CommitmentDiscountId": "r-1",
            "CommitmentDiscountStatus": "Used",
            "PricingCategory": "Committed",
        },
        ("1.5", "1.5"),
        ["ContractedCost is EffectiveCost", "ListCost is ContractedCost"],
        id="covered usage",
    ),
    pytest.param(
        {
            "ChargeCategory": "Purchase",
            "EffectiveCost": "0",
            "CommitmentDiscountId": "r-1",
            "ChargeFrequency": "One-Time",
        },
        ("2", "2"),
        ["ContractedCost is BilledCost", "ListCost is ContractedCost"],
        id="purchase of a commitment",
    ),
]


@pytest.mark.parametrize(("delivered", "costs", "repairs"), MISSING_COSTS)
def test_a_missing_list_or_contracted_cost_is_made_of_prices_else_of_the_next_cost_and_counted(
    tmp_path: Path, delivered: dict[str, str], costs: tuple[str, str], repairs: list[str]
) -> None:
    file = write_csv(tmp_path / "focus.csv", [row(**{"ListCost": "", "ContractedCost": "NULL", **delivered})])

    connection = normalised(tmp_path / "delivered", [file])

    assert rows(connection, "SELECT ContractedCost, ListCost FROM staged") == [costs]
    [(*_, list_control, contracted_control)] = control(connection)
    assert (contracted_control, list_control) == costs
    assert failed_audits(connection)["costs_are_delivered"] == [(repair, 1, EXAMPLE) for repair in repairs]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"BilledCost": ""}, "BilledCost is empty"),
        ({"EffectiveCost": "NULL"}, "EffectiveCost is empty"),
        ({"BillingAccountId": ""}, "BillingAccountId is empty"),
        ({"BillingCurrency": "NULL"}, "BillingCurrency is empty"),
        ({"ChargePeriodStart": ""}, "ChargePeriodStart is empty"),
        ({"ChargePeriodEnd": ""}, "ChargePeriodEnd is empty"),
        ({"ChargePeriodEnd": "2026-09-03T06:59:59Z"}, "ChargePeriodEnd is before ChargePeriodStart"),
        ({"ChargeCategory": ""}, "ChargeCategory is empty"),
        ({"ChargeCategory": "Fee"}, "ChargeCategory is Fee, which FOCUS doesn't know"),
        (
            {"ProviderName": "", "PublisherName": "", "InvoiceIssuerName": ""},
            "InvoiceIssuerName, ProviderName, ServiceProviderName and PublisherName are all empty: nobody sends the bill",
        ),
    ],
)
def test_a_row_that_is_no_charge_is_rejected_with_its_reason(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    connection = normalised(tmp_path / "delivered", [write_csv(tmp_path / "focus.csv", [row(), row(**changes)])])

    [(file, number, _, why, text)] = rejected(connection)
    assert (file, number, why) == ("focus.csv", 2, reason)
    assert json.loads(text)["ServiceName"] == "Compute Cloud"
    assert sum(counts[3] for counts in control(connection)) == 1
    assert rows(connection, "SELECT x_SourceRow FROM staged") == [(1,)]


# What is delivered, what the charge has instead, and how the audit says it.
FILLED = [
    ({"InvoiceIssuerName": ""}, "InvoiceIssuerName", "Nebius", "InvoiceIssuerName is Nebius"),
    ({"ProviderName": ""}, "ProviderName", "Nebius", "ProviderName is Nebius"),
    ({"ServiceName": ""}, "ServiceName", "Not named by the source", "ServiceName is Not named by the source"),
    ({"ChargeCategory": "usage"}, "ChargeCategory", "Usage", "ChargeCategory usage is Usage"),
    (
        {"ChargePeriodEnd": "2026-09-03T07:00:00Z"},
        "CAST(ChargePeriodEnd AS VARCHAR)",
        "2026-09-03 07:00:01",
        "ChargePeriodEnd is a second after ChargePeriodStart",
    ),
    ({"RegionName": "eu-north1"}, "RegionId", "eu-north1", "RegionId is RegionName"),
    ({"RegionId": "eu-north1"}, "RegionName", "eu-north1", "RegionName is RegionId"),
    (
        {
            "BilledCost": "0",
            "CommitmentDiscountId": "r-1",
            "ConsumedQuantity": "1",
            "ConsumedUnit": "Hours",
            "PricingCategory": "committed",
        },
        "CommitmentDiscountStatus",
        "Used",
        "CommitmentDiscountStatus NULL is Used",
    ),
    (
        {
            "BilledCost": "0",
            "CommitmentDiscountId": "r-1",
            "ChargeSubcategory": "Unused Commitment",
            "PricingCategory": "Committed",
        },
        "CommitmentDiscountStatus",
        "Unused",
        "CommitmentDiscountStatus NULL is Unused",
    ),
]


@pytest.mark.parametrize(("changes", "column", "value", "repair"), FILLED)
def test_what_misses_and_can_be_told_is_filled_and_counted(
    tmp_path: Path, changes: dict[str, str], column: str, value: str, repair: str
) -> None:
    connection = normalised(tmp_path / "delivered", [write_csv(tmp_path / "focus.csv", [row(**changes)])])

    assert rows(connection, f"SELECT {column} FROM staged") == [(value,)]
    assert failed_audits(connection)["columns_are_as_focus_asks"] == [(repair, 1, EXAMPLE)]


def test_a_service_of_a_cloud_tells_its_category_and_subcategory(tmp_path: Path) -> None:
    line = row(
        ProviderName="AWS", ServiceName="Amazon Simple Storage Service", ServiceCategory="", ServiceSubcategory=""
    )
    assert charges(tmp_path, [line], "ServiceCategory, ServiceSubcategory, x_SourceColumns") == [
        ("Storage", "Object Storage", None)
    ]


REPLACED = [
    (
        {"ServiceCategory": "Database", "ServiceSubcategory": "No-SQL DB"},
        "ServiceCategory, ServiceSubcategory",
        ("Other", None),
        {"ServiceCategory": "Database", "ServiceSubcategory": "No-SQL DB"},
    ),
    (
        {"ChargeCategory": "Adjustment", "ConsumedQuantity": "8", "ConsumedUnit": "Hours"},
        "ConsumedQuantity, ConsumedUnit",
        (None, None),
        {"ConsumedQuantity": "8.000000000000000000", "ConsumedUnit": "Hours"},
    ),
    (
        # 40 PiB for a day.
        {"ConsumedQuantity": "3891110078048108544000", "ConsumedUnit": "Byte-Seconds"},
        "ConsumedQuantity, ConsumedUnit",
        (None, None),
        {"ConsumedQuantity": "3891110078048108544000", "ConsumedUnit": "Byte-Seconds"},
    ),
    ({"ListUnitPrice": "-0.5"}, "ListUnitPrice", (None,), {"ListUnitPrice": "-0.500000000000000000"}),
    ({"ResourceType": "disk"}, "ResourceType", (None,), {"ResourceType": "disk"}),
    (
        {"BillingPeriodStart": "2026-09-30", "BillingPeriodEnd": "2026-10-01"},
        "CAST(BillingPeriodStart AS VARCHAR)",
        ("2026-09-01 00:00:00",),
        {"BillingPeriodStart": "2026-09-30 00:00:00"},
    ),
]


@pytest.mark.parametrize(("changes", "columns", "values", "kept"), REPLACED)
def test_what_focus_forbids_is_replaced_counted_and_kept_as_delivered(
    tmp_path: Path, changes: dict[str, str], columns: str, values: tuple[str | None, ...], kept: dict[str, str]
) -> None:
    file = write_csv(tmp_path / "focus.csv", [row(**changes, x_Own="1")])

    connection = normalised(tmp_path / "delivered", [file])

    [(*found, source_columns)] = rows(connection, f"SELECT {columns}, x_SourceColumns FROM staged")
    assert (tuple(found), json.loads(source_columns)) == (values, {"x_Own": "1", **kept})
    assert "columns_are_as_focus_asks" in failed_audits(connection)


def test_prices_stand_in_the_billing_currency_unless_another_is_named(tmp_path: Path) -> None:
    plain = row(
        ListUnitPrice="3", ContractedUnitPrice="2", PricingQuantity="1", PricingUnit="Hours", BillingCurrency="usd"
    )
    virtual = {**plain, "PricingCurrency": "Token", "PricingCurrencyListUnitPrice": "1"}
    assert charges(
        tmp_path,
        [plain, virtual],
        "BillingCurrency, PricingCurrency, PricingCurrencyListUnitPrice, PricingCurrencyContractedUnitPrice, PricingCurrencyEffectiveCost",
    ) == [("USD", "USD", "3", "2", "2"), ("USD", "Token", "1", None, None)]


def test_a_machine_type_in_the_price_details_names_its_gpus(tmp_path: Path) -> None:
    known = row(ProviderName="AWS", SkuPriceDetails='{"InstanceType":"p4d.24xlarge"}')
    told = row(SkuPriceDetails='{"InstanceType":"gpu-h100-sxm","GpuCount":8}')
    assert charges(tmp_path, [known, told], "x_InstanceType, x_GpuModel, x_GpuCount") == [
        ("p4d.24xlarge", "NVIDIA A100 40GB", 8),
        ("gpu-h100-sxm", None, 8),
    ]


def test_rows_of_another_period_refuse_the_delivery(tmp_path: Path) -> None:
    other = row(BillingPeriodStart="2026-08-01", BillingPeriodEnd="2026-09-01")
    connection = normalised(tmp_path / "delivered", [write_csv(tmp_path / "focus.csv", [row(), other])])
    assert failed_audits(connection)["rows_belong_to_the_period"] == [("2026-08", 1, {"file": "focus.csv", "row": 2})]


def test_a_cost_that_is_not_its_price_times_its_quantity_is_pointed_out(tmp_path: Path) -> None:
    # 3 x 1.000002 is 3.000006: beyond a millionth of a dollar and of the cost of 3.
    line = row(ListUnitPrice="1.000002", PricingQuantity="3", PricingUnit="Hours")
    connection = normalised(tmp_path / "delivered", [write_csv(tmp_path / "focus.csv", [line])])
    assert failed_audits(connection)["costs_follow_prices"] == [
        ("ListCost is not ListUnitPrice times PricingQuantity", 1, EXAMPLE)
    ]


def test_rows_keep_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [row(ServiceName=f"Service {number % 7}", ResourceId=str(number)) for number in range(500)]
    connection = normalised(tmp_path / "delivered", [write_csv(tmp_path / "focus.csv", lines)])
    assert [found for (found,) in rows(connection, "SELECT ResourceId FROM staged")] == [str(n) for n in range(500)]
