"""Azure's cost exports as FOCUS charges: what each kind of line becomes, by docs/sources/azure-cost.md, with the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tests.normalise.azure_bills import (
    MACHINE,
    RESERVATION,
    SAVINGS_PLAN,
    Line,
    control,
    customer_line,
    failed_audits,
    line,
    normalised,
    rejected,
    write_export,
)
from tests.normalise.bills import rows

RESERVED = {"PricingModel": "Reservation", "benefitId": RESERVATION, "benefitName": "Nodes"}
PLANNED = {"PricingModel": "SavingsPlan", "benefitId": SAVINGS_PLAN, "benefitName": "Compute"}
PURCHASE = {
    "ConsumedService": "Microsoft.Capacity",
    "ResourceId": RESERVATION,
    "Frequency": "Recurring",
    "Quantity": "1",
    **RESERVED,
}
# A month's fee of 720: used for 480, unused for 240. 24 of on-demand use.
ACTUAL = [line("Purchase", "720", **PURCHASE), line("Usage", "0", **RESERVED), line("Usage", "24")]
AMORTISED = [
    line("Usage", "480", UnitPrice="30", PayGPrice="0", **RESERVED),
    line("UnusedReservation", "240", UnitPrice="30", PayGPrice="0", Quantity="8", **RESERVED),
    line("Usage", "24"),
]
COSTS = "BilledCost, EffectiveCost, ListCost, ContractedCost"


def _pair(tmp_path: Path, actual: Sequence[Line], amortised: Sequence[Line]) -> duckdb.DuckDBPyConnection:
    files = {
        "actual/1.csv": write_export(tmp_path / "actual" / "1.csv", actual),
        "amortised/1.csv": write_export(tmp_path / "amortised" / "1.csv", amortised),
    }
    return normalised(tmp_path / "scratch", files)


def _single(tmp_path: Path, lines: Sequence[Line], name: str = "actual/1.csv") -> duckdb.DuckDBPyConnection:
    return normalised(tmp_path / "scratch", {name: write_export(tmp_path / "1.csv", lines)})


def _only(connection: duckdb.DuckDBPyConnection) -> Mapping[str, object]:
    relation = connection.sql("SELECT * FROM staged")
    [row] = rows(connection, "SELECT * FROM staged")
    return dict(zip(relation.columns, row, strict=True))


def _controlled(connection: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """The control's figures, and those of the charges, which must be the same."""
    [found] = control(connection)
    [made] = connection.sql(
        "SELECT count(*), sum(BilledCost), sum(EffectiveCost), sum(ListCost), sum(ContractedCost) FROM staged"
    ).fetchall()
    assert found["rows_delivered"] - found["rows_netted"] - found["rows_rejected"] == made[0]
    costs = ("billed_control", "effective_control", "list_control", "contracted_control")
    assert tuple(found[cost] for cost in costs) == made[1:]
    return {key: f"{value:f}".rstrip("0").rstrip(".") if key in costs else value for key, value in found.items()}


def test_a_reservation_is_billed_where_it_was_bought_and_effective_where_it_was_used(tmp_path: Path) -> None:
    connection = _pair(tmp_path, ACTUAL, AMORTISED)
    assert rows(
        connection,
        f"SELECT x_SourceFile, x_SourceRow, ChargeCategory, CommitmentDiscountStatus, PricingCategory, {COSTS} FROM staged",
    ) == [
        ("actual/1.csv", 1, "Purchase", None, "Standard", "720", "0", "720", "720"),
        # 24 hours at 30; no public price for reserved use, so that the contract's stands.
        ("amortised/1.csv", 1, "Usage", "Used", "Committed", "0", "480", "720", "720"),
        ("amortised/1.csv", 2, "Usage", "Unused", "Committed", "0", "240", "0", "0"),
        ("amortised/1.csv", 3, "Usage", None, "Standard", "24", "24", "24", "24"),
    ]
    # Billed 720 + 0 + 24, effective 480 + 240 + 24; two actual lines are netted by the amortised report.
    assert _controlled(connection) == {
        "BillingCurrency": "EUR",
        "rows_delivered": 6,
        "rows_netted": 2,
        "rows_rejected": 0,
        "rows_added": 0,
        "billed_control": "744",
        "effective_control": "744",
        "list_control": "1464",
        "contracted_control": "1464",
    }
    assert failed_audits(connection) == {}


def test_a_commitment_is_told_by_its_id_in_lower_case_its_kind_and_its_quantity(tmp_path: Path) -> None:
    plan = {**PLANNED, "ConsumedService": "Microsoft.BillingBenefits", "ResourceId": SAVINGS_PLAN}
    actual = [
        line("Purchase", "720", **PURCHASE),
        line("Purchase", "100", **{**plan, "Frequency": "OneTime", "Quantity": "1"}),
    ]
    amortised = [
        line("Usage", "480", **{**RESERVED, "Quantity": "16"}),
        line("UnusedReservation", "240", **{**RESERVED, "Quantity": "8"}),
        line("Usage", "60", **PLANNED),
        line("UnusedSavingsPlan", "40", **plan),
    ]
    columns = ", ".join(
        f"CommitmentDiscount{name}" for name in ("Category", "Id", "Name", "Type", "Status", "Quantity", "Unit")
    )
    reservation, plan_id = RESERVATION.lower(), SAVINGS_PLAN.lower()
    assert rows(_pair(tmp_path, actual, amortised), f"SELECT ChargeFrequency, {columns} FROM staged") == [
        ("Recurring", "Usage", reservation, "Nodes", "Reservation", None, "1", "Hours"),
        ("One-Time", "Spend", plan_id, "Compute", "Savings Plan", None, "100", "EUR"),
        ("Usage-Based", "Usage", reservation, "Nodes", "Reservation", "Used", "16", "Hours"),
        ("Usage-Based", "Usage", reservation, "Nodes", "Reservation", "Unused", "8", "Hours"),
        ("Usage-Based", "Spend", plan_id, "Compute", "Savings Plan", "Used", "60", "EUR"),
        ("Usage-Based", "Spend", plan_id, "Compute", "Savings Plan", "Unused", "40", "EUR"),
    ]


@pytest.mark.parametrize("spelling", ["Savings Plan", "savingsplan", "SavingsPlan"])
def test_a_pricing_model_is_known_however_it_is_written(tmp_path: Path, spelling: str) -> None:
    used = {**PLANNED, "PricingModel": spelling}
    connection = _pair(tmp_path, [line("Usage", "0", **used)], [line("Usage", "60", **used)])
    assert rows(connection, "SELECT CommitmentDiscountType, BilledCost, EffectiveCost FROM staged") == [
        ("Savings Plan", "0", "60")
    ]


def test_an_export_without_a_pricing_model_knows_commitments_by_their_ids(tmp_path: Path) -> None:
    used = {**line("Usage", "60", benefitId=RESERVATION), "ReservationId": "2c3d"}
    del used["PricingModel"]
    plain = {**used, "benefitId": "", "ReservationId": "00000000-0000-0000-0000-000000000000"}
    connection = _pair(tmp_path, [{**used, "CostInBillingCurrency": "0"}, plain], [used, plain])
    assert rows(connection, "SELECT CommitmentDiscountStatus, BilledCost, EffectiveCost FROM staged") == [
        ("Used", "0", "60"),
        (None, "60", "60"),
    ]


def test_refunds_are_corrections_and_keep_their_sign(tmp_path: Path) -> None:
    refund = line("Refund", "-100", **{**PURCHASE, "Quantity": "-1"})
    other = line("Refund", "-5", ConsumedService="Microsoft.Storage", ResourceId="", Quantity="-1")
    connection = _pair(tmp_path, [refund, other], [other])
    assert rows(connection, f"SELECT ChargeCategory, ChargeClass, ChargeFrequency, {COSTS} FROM staged") == [
        ("Purchase", "Correction", "Recurring", "-100", "0", "-100", "-100"),
        ("Purchase", "Correction", "One-Time", "-5", "-5", "-5", "-5"),
    ]
    _controlled(connection)


def test_a_rounding_adjustment_is_an_adjustment(tmp_path: Path) -> None:
    connection = _single(tmp_path, [line("RoundingAdjustment", "0.000000000000000007", Quantity="1", ResourceId="")])
    assert rows(connection, f"SELECT ChargeCategory, PricingCategory, PricingQuantity, {COSTS} FROM staged") == [
        ("Adjustment", None, None, *["0.000000000000000007"] * 4)
    ]
    _controlled(connection)


def test_a_marketplace_line_has_its_publisher_and_no_public_price(tmp_path: Path) -> None:
    [charge] = [
        _only(
            _single(
                tmp_path,
                [
                    line(
                        "Purchase",
                        "99",
                        UnitPrice="0",
                        PayGPrice="0",
                        Quantity="1",
                        PublisherType="Marketplace",
                        PublisherName="Contoso",
                        MeterCategory="SaaS",
                        ConsumedService="Microsoft.SaaS",
                        ResourceId="",
                        PartNumber="-2",
                        UnitOfMeasure="1",
                    )
                ],
            )
        )
    ]
    assert {
        name: charge[name]
        for name in ("PublisherName", "ServiceProviderName", "ProviderName", "HostProviderName", "InvoiceIssuerName")
    } == {
        "PublisherName": "Contoso",
        "ServiceProviderName": "Contoso",
        "ProviderName": "Microsoft",
        "HostProviderName": "Microsoft",
        "InvoiceIssuerName": "Microsoft",
    }
    # Microsoft prints neither price: 0 stands, as in the source.
    assert (charge["BilledCost"], charge["ListCost"], charge["ContractedCost"]) == ("99", "0", "0")


def test_a_partner_issues_the_invoice(tmp_path: Path) -> None:
    charge = _only(_single(tmp_path, [{**customer_line("Usage", "1"), "partnerName": "Northwind"}]))
    assert (charge["InvoiceIssuerName"], charge["ProviderName"]) == ("Northwind", "Microsoft")


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        # 0.0129 blocks of 10,000 are 129 operations, at 0.05 a block: 0.000645.
        ("10K", ("0.0129", "10000 Units", "129", "Units", "0.05", "0.000645")),
        ("1 GB/Month", ("0.0129", "GB-Months", "0.0129", "GB-Months", "0.05", "0.000645")),
        # Of a block of hours the quantity counts hours: 0.000129 blocks, each at 100 times the price of an hour.
        ("100 Hours", ("0.000129", "100 Hours", "0.0129", "Hours", "5", "0.000645")),
        ("1 Hour", ("0.0129", "Hours", "0.0129", "Hours", "0.05", "0.000645")),
        ("", ("0.0129", "Units", "0.0129", "Units", "0.05", "0.000645")),
        ("7 Widgets", ("0.0129", "7 Widgets", "0.0129", "Widgets", "0.05", "0.000645")),
    ],
)
def test_prices_are_of_the_price_unit_and_times_the_quantity_are_the_cost(
    tmp_path: Path, unit: str, expected: tuple[str, ...]
) -> None:
    connection = _single(tmp_path, [line("Usage", "0.1", Quantity="0.0129", UnitPrice="0.05", UnitOfMeasure=unit)])
    assert rows(
        connection,
        "SELECT PricingQuantity, PricingUnit, ConsumedQuantity, ConsumedUnit, ContractedUnitPrice, ContractedCost FROM staged",
    ) == [expected]
    assert set(failed_audits(connection)) == ({"units_are_known"} if unit == "7 Widgets" else set())


def test_a_public_price_makes_the_list_cost_and_none_leaves_the_contract_s(tmp_path: Path) -> None:
    lines = [
        line("Usage", "20", UnitPrice="1", PayGPrice="1.5"),
        line("Usage", "20", UnitPrice="1", PayGPrice="0"),
        line("Usage", "20", UnitPrice="", PayGPrice=""),
    ]
    connection = _single(tmp_path, lines)
    # 24 hours: 24 x 1.5 = 36; 24 x 1 = 24; without a price the cost.
    assert rows(connection, f"SELECT ListUnitPrice, ContractedUnitPrice, {COSTS} FROM staged") == [
        ("1.5", "1", "20", "20", "36", "24"),
        ("1", "1", "20", "20", "24", "24"),
        (None, None, "20", "20", "20", "20"),
    ]
    _controlled(connection)


def test_a_customer_agreement_has_three_currencies_and_is_invoiced_in_one(tmp_path: Path) -> None:
    priced = customer_line(
        "Usage", "21.6", costInPricingCurrency="24", paygCostInBillingCurrency="32.4", unitPrice="1", payGPrice="1.5"
    )
    connection = _single(tmp_path, [priced])
    charge = _only(connection)
    # USD 1 an hour is EUR 0.9; 24 hours are EUR 21.6. The public price: 1.5 x 0.9 = 1.35, 24 hours 32.4.
    assert {
        name: charge[name]
        for name in (
            *("BillingCurrency", "PricingCurrency", "BilledCost", "ListCost", "ContractedCost", "ListUnitPrice"),
            *("ContractedUnitPrice", "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice"),
            *("PricingCurrencyEffectiveCost", "BillingAccountId", "BillingAccountType", "BillingAccountName"),
            *("InvoiceId", "SkuId", "ResourceName", "x_IsFinal"),
        )
    } == {
        "BillingCurrency": "EUR",
        "PricingCurrency": "USD",
        "BilledCost": "21.6",
        "ListCost": "32.4",
        "ContractedCost": "21.6",
        "ListUnitPrice": "1.35",
        "ContractedUnitPrice": "0.9",
        "PricingCurrencyListUnitPrice": "1.5",
        "PricingCurrencyContractedUnitPrice": "1",
        "PricingCurrencyEffectiveCost": "24",
        "BillingAccountId": "NF5V-BI6B",
        "BillingAccountType": "Billing Profile",
        "BillingAccountName": "Acme Research",
        "InvoiceId": "G012345678",
        "SkuId": "DZH318Z0BNZJ005D",
        "ResourceName": "Node-1",
        "x_IsFinal": True,
    }
    _controlled(connection)


def test_without_a_rate_no_price_is_known_in_the_billing_currency(tmp_path: Path) -> None:
    connection = _single(
        tmp_path, [{**customer_line("Usage", "21.6", unitPrice="1"), "exchangeRatePricingToBilling": ""}]
    )
    charge = _only(connection)
    assert (charge["ContractedUnitPrice"], charge["PricingCurrencyContractedUnitPrice"]) == (None, "1")
    assert charge["ContractedCost"] == "21.6"
    _controlled(connection)


def test_an_enterprise_agreement_s_line_says_where_when_what_and_whose(tmp_path: Path) -> None:
    information = '"ServiceType": "Standard_ND96isr_H100_v5", "VCPUs": 96, "UsageType": "ComputeHR"'
    tags = '"team": "search","cost-center": "1234","aks-managed-poolName": ""'
    connection = _single(
        tmp_path,
        [
            line(
                "Usage",
                "24",
                AdditionalInfo=information,
                Tags=tags,
                CostCenter="CC-7",
                InvoiceSectionName="Research",
                AvailabilityZone="2",
            )
        ],
    )
    charge = _only(connection)
    expected = {
        "BillingAccountId": "8611537",
        "BillingAccountType": "Billing Account",
        "BillingPeriodStart": "2026-09-01 00:00:00",
        "BillingPeriodEnd": "2026-10-01 00:00:00",
        "ChargePeriodStart": "2026-09-03 00:00:00",
        "ChargePeriodEnd": "2026-09-04 00:00:00",
        "ServiceName": "Virtual Machines",
        "ServiceCategory": "Compute",
        "ServiceSubcategory": "Virtual Machines",
        "RegionId": "westeurope",
        "RegionName": "West Europe",
        "AvailabilityZone": "2",
        "ResourceId": MACHINE.lower(),
        "ResourceName": "Node-1",
        "ResourceType": "microsoft.compute/virtualmachines",
        "SubAccountId": "00000000-0000-0000-0000-000000000042",
        "SubAccountType": "Subscription",
        "InvoiceId": None,
        "SkuId": "f48cba03-db89-4cec-9536-67f7f4e5515f",
        "SkuPriceId": "AAA-33445",
        "SkuMeter": "D4s v3",
        "Tags": '{"aks-managed-poolName":"","cost-center":"1234","team":"search"}',
        "x_InstanceType": "Standard_ND96isr_H100_v5",
        "x_GpuModel": "NVIDIA H100 80GB",
        "x_GpuCount": 8,
        "x_Operation": "ComputeHR",
        "x_CostCategories": '{"CostCenter":"CC-7","InvoiceSection":"Research"}',
        "x_IsFinal": False,
    }
    assert {name: str(charge[name]) if "Period" in name else charge[name] for name in expected} == expected
    assert json.loads(str(charge["SkuPriceDetails"])) == {
        "CoreCount": 96,
        "GpuCount": 8,
        "InstanceSeries": "ND_H100_v5",
        "InstanceType": "Standard_ND96isr_H100_v5",
        "MemorySize": 1900,
    }
    assert failed_audits(connection) == {}


def test_what_is_billed_on_a_capacity_reservation_ran_nothing(tmp_path: Path) -> None:
    reserved = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/g1/capacityReservations/c1"
    charge = _only(_single(tmp_path, [line("Usage", "24", ResourceId=reserved)]))
    assert (charge["CapacityReservationId"], charge["CapacityReservationStatus"]) == (reserved.lower(), "Unused")
    assert charge["ResourceType"] == "microsoft.compute/capacityreservationgroups/capacityreservations"


def test_zeros_for_a_subscription_are_none(tmp_path: Path) -> None:
    unused = line("UnusedReservation", "5", **RESERVED)
    unused["SubscriptionId"] = "00000000-0000-0000-0000-000000000000"
    connection = _pair(tmp_path, [line("Purchase", "5", **PURCHASE)], [unused])
    assert rows(
        connection, "SELECT SubAccountId, SubAccountType FROM staged WHERE CommitmentDiscountStatus = 'Unused'"
    ) == [(None, None)]


def test_spot_machines_are_priced_dynamically(tmp_path: Path) -> None:
    assert _only(_single(tmp_path, [line("Usage", "1", PricingModel="Spot")]))["PricingCategory"] == "Dynamic"


def test_one_export_alone_is_accepted_without_commitments(tmp_path: Path) -> None:
    for name in ("actual/1.csv", "amortised/1.csv"):
        connection = _single(tmp_path, [line("Usage", "24")], name)
        assert failed_audits(connection) == {}
        assert (_controlled(connection)["billed_control"], _controlled(connection)["effective_control"]) == ("24", "24")


@pytest.mark.parametrize(
    ("name", "lines", "missing"),
    [
        ("actual/1.csv", ACTUAL, "the amortised cost export"),
        ("amortised/1.csv", AMORTISED, "the actual cost export"),
    ],
)
def test_one_export_alone_is_refused_with_commitments_and_names_the_other(
    tmp_path: Path, name: str, lines: Sequence[Line], missing: str
) -> None:
    [(found, *_)] = failed_audits(_single(tmp_path, lines, name))["commitments_need_both_reports"]
    assert found == missing


def test_reports_that_do_not_tie_out_differ_in_the_billed_cost(tmp_path: Path) -> None:
    connection = _pair(tmp_path, ACTUAL, [*AMORTISED, line("Usage", "5")])
    [found] = control(connection)
    [(billed, effective)] = connection.sql("SELECT sum(BilledCost), sum(EffectiveCost) FROM staged").fetchall()
    # The amortised report has a use of 5 that the actual one doesn't.
    assert (found["billed_control"] - billed, found["effective_control"] - effective) == (Decimal(-5), Decimal(0))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ChargeType": "Gift"}, "charge type Gift has no treatment in docs/sources/azure-cost.md"),
        ({"ChargeType": ""}, "charge type (none) has no treatment in docs/sources/azure-cost.md"),
        ({"CostInBillingCurrency": ""}, "the cost in billing currency is empty"),
        ({"BillingCurrencyCode": ""}, "the billing currency is empty"),
        ({"BillingCurrencyCode": "MC"}, "the billing currency MC is no three-letter code"),
        ({"Date": ""}, "the date is empty"),
        (
            {"BillingAccountId": "", "SubscriptionId": ""},
            "the line names no billing account, billing profile or subscription",
        ),
    ],
)
def test_a_line_that_can_not_become_a_charge_is_kept_aside_with_its_reason(
    tmp_path: Path, changed: Mapping[str, str], reason: str
) -> None:
    connection = _single(tmp_path, [line("Usage", "24"), {**line("Usage", "5"), **changed}])
    assert [row[:4] for row in rejected(connection)] == [
        ("actual/1.csv", 2, changed.get("ChargeType", "Usage") or None, reason)
    ]
    assert rows(connection, "SELECT x_SourceRow FROM staged") == [(1,)]
    assert sum(found["rows_rejected"] for found in control(connection)) == 1


def test_a_purchase_of_a_commitment_in_the_amortised_report_has_no_cost_of_its_own(tmp_path: Path) -> None:
    connection = _pair(tmp_path, ACTUAL, [*AMORTISED, line("Purchase", "0", **PURCHASE)])
    assert _controlled(connection)["rows_netted"] == 3
    counted = _pair(tmp_path, ACTUAL, [*AMORTISED, line("Purchase", "720", **PURCHASE)])
    assert [row[1:4] for row in rejected(counted)] == [
        (
            4,
            "Purchase",
            "a commitment's purchase or refund has a cost in the amortised report, whose use bears it already",
        )
    ]


def test_tags_and_information_that_can_not_be_read_stay_and_are_counted(tmp_path: Path) -> None:
    connection = _single(
        tmp_path, [line("Usage", "1", Tags="team=search"), line("Usage", "1", AdditionalInfo="VCPUs 4")]
    )
    assert rows(connection, "SELECT Tags, SkuPriceDetails FROM staged") == [
        ('{"x_UnreadTags":"team=search"}', None),
        (None, None),
    ]
    assert {name: found[0][0] for name, found in failed_audits(connection).items()} == {
        "tags_can_be_read": 1,
        "additional_information_can_be_read": 1,
    }


def test_a_line_of_another_month_refuses_the_delivery(tmp_path: Path) -> None:
    other = line("Usage", "1", BillingPeriodStartDate="10/01/2026", Date="10/02/2026")
    connection = _single(tmp_path, [line("Usage", "24"), other])
    assert [row[:2] for row in failed_audits(connection)["lines_belong_to_the_period"]] == [("2026-10", 1)]


def test_a_service_without_a_mapping_has_the_category_of_its_family(tmp_path: Path) -> None:
    unknown = {"ConsumedService": "Microsoft.NewThing", "ResourceId": "", "MeterCategory": "New Thing"}
    connection = _single(tmp_path, [line("Usage", "1", ServiceFamily="Storage", **unknown)])
    charge = _only(connection)
    assert (
        charge["ServiceName"],
        charge["ServiceCategory"],
        charge["ServiceSubcategory"],
        charge["x_ServiceCode"],
    ) == (
        "New Thing",
        "Storage",
        "Other (Storage)",
        "microsoft.newthing",
    )
    assert failed_audits(connection) == {"services_are_known": [("microsoft.newthing", 1, "1")]}


@pytest.mark.parametrize("threads", [1, 4])
def test_charges_stand_in_delivery_order_whatever_the_threads(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPORTION_THREADS", str(threads))
    kinds = [
        line("Usage", "1", Tags='"team": "search"'),
        line("Usage", "1", ConsumedService="Microsoft.NewThing", UnitOfMeasure="7 Widgets", ResourceLocation="Mars"),
        line("Usage", "1", AdditionalInfo='"ServiceType": "Standard_D4s_v3"'),
    ]
    connection = _single(tmp_path, [kinds[number % 3] for number in range(6000)])
    assert connection.sql("SELECT x_SourceRow FROM staged").fetchall() == [(number,) for number in range(1, 6001)]
