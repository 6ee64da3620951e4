"""AWS bills to FOCUS: every line item type, worked by hand, in both of AWS's formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.normalise.bills import (
    PLAN,
    RESERVATION,
    control,
    failed_audits,
    line,
    normalised,
    rejected,
    rows,
    write_cur2,
    write_legacy,
)

_PRICED = {"pricing_rate_code": "SKU1.JRTCKXETXF", "product_sku": "SKU1", "pricing_unit": "Hrs"}
_MACHINE = {
    **_PRICED,
    "product_instance_type": "p4d.24xlarge",
    "product_product_family": "Compute Instance",
    "product_region_code": "us-east-1",
    "product": {"product_name": "Amazon Elastic Compute Cloud", "operating_system": "Linux"},
}

# Every line item type of docs/sources/aws-cur.md, and the cases that a type has.
_DELIVERY = [
    line(
        "Usage",
        10,
        pricing_public_on_demand_cost=12,
        line_item_usage_amount=2,
        line_item_unblended_rate="5",
        pricing_public_on_demand_rate="6",
        line_item_usage_type="BoxUsage:p4d.24xlarge",
        line_item_resource_id="i-1",
        line_item_operation="RunInstances",
        resource_tags={"user_team": "search", "user_Name": "node", "aws_createdBy": "x"},
        cost_category={"unit": "u1"},
        **_MACHINE,
    ),
    line("Usage", 2.93e-8, line_item_product_code="AmazonS3", pricing_public_on_demand_cost=2.93e-8),
    line("Usage", 0.6, pricing_public_on_demand_cost=1.5, line_item_usage_type="SpotUsage:m5.large"),
    line("Usage", 0, line_item_operation="EKSPod-EC2", split_line_item_split_cost=3, line_item_resource_id="arn:pod"),
    line(
        "SavingsPlanCoveredUsage",
        8,
        pricing_public_on_demand_cost=9,
        savings_plan_savings_plan_effective_cost=5,
        savings_plan_savings_plan_a_r_n=PLAN,
    ),
    line("SavingsPlanNegation", -8, savings_plan_savings_plan_a_r_n=PLAN),
    line(
        "SavingsPlanRecurringFee",
        24,
        savings_plan_savings_plan_a_r_n=PLAN,
        savings_plan_total_commitment_to_date=24,
        savings_plan_used_commitment=20,
        line_item_product_code="ComputeSavingsPlans",
    ),
    line(
        "SavingsPlanRecurringFee",
        24,
        savings_plan_savings_plan_a_r_n=PLAN,
        savings_plan_total_commitment_to_date=24,
        savings_plan_used_commitment=24,
        line_item_product_code="ComputeSavingsPlans",
    ),
    line(
        "SavingsPlanUpfrontFee", 100, savings_plan_savings_plan_a_r_n=PLAN, line_item_product_code="ComputeSavingsPlans"
    ),
    line(
        "DiscountedUsage",
        0,
        pricing_public_on_demand_cost=4,
        reservation_effective_cost=2.5,
        reservation_reservation_a_r_n=RESERVATION,
        line_item_usage_amount=1,
        line_item_normalized_usage_amount=4,
    ),
    line(
        "RIFee",
        3,
        reservation_reservation_a_r_n=RESERVATION,
        reservation_unused_recurring_fee=1,
        reservation_unused_amortized_upfront_fee_for_billing_period=0.5,
        reservation_unused_quantity=6,
        reservation_total_reserved_units=720,
        pricing_unit="Hrs",
    ),
    line("Fee", 50, reservation_reservation_a_r_n=RESERVATION),
    line("Fee", 7, line_item_product_code="AWSSupportEnterprise"),
    line("FlatRateSubscription", 6, line_item_product_code="AmazonCloudFront"),
    line(
        "Refund",
        -12,
        line_item_product_code="ComputeSavingsPlans",
        line_item_line_item_description=f"Refund for one-time fee for Savings Plan ID: {PLAN.rpartition('/')[2]}",
    ),
    line("Refund", -2, bill_bill_type="Refund"),
    line("Refund", -1),
    line("Credit", -1.5),
    line(
        "Tax",
        1.75,
        line_item_usage_start_date="2026-09-01T00:00:00Z",
        line_item_usage_end_date="2026-10-01T00:00:00Z",
        product_sku="NOT-FOR-TAX",
        line_item_usage_amount=1,
    ),
    line("EdpDiscount", -0.4),
    line("PrivateRateDiscount", -0.3),
    line("BundledDiscount", -0.2),
    line("Discount", -0.1),
]

# line, part: category, class, frequency, pricing category, commitment status, billed, effective, list, contracted
_EXPECTED = [
    (1, 1, "Usage", "Usage", None, "Usage-Based", "Standard", None, "10", "10", "12", "10"),
    (2, 1, "Usage", "Usage", None, "Usage-Based", "Standard", None, *["0.0000000293"] * 4),
    (3, 1, "Usage", "Usage", None, "Usage-Based", "Dynamic", None, "0.6", "0.6", "1.5", "0.6"),
    (4, 1, "Usage", "Usage", None, "Usage-Based", "Standard", None, "0", "0", "0", "0"),
    (5, 1, "SavingsPlanCoveredUsage", "Usage", None, "Usage-Based", "Committed", "Used", "0", "5", "9", "8"),
    # 6 is netted: 8 - 8 = 0.
    (7, 1, "SavingsPlanRecurringFee", "Purchase", None, "Recurring", "Standard", None, "24", "0", "24", "24"),
    # 24 committed - 20 used = 4 unused.
    (7, 2, "SavingsPlanRecurringFee", "Usage", None, "Usage-Based", "Committed", "Unused", "0", "4", "0", "0"),
    # 24 - 24 = 0: no unused row.
    (8, 1, "SavingsPlanRecurringFee", "Purchase", None, "Recurring", "Standard", None, "24", "0", "24", "24"),
    (9, 1, "SavingsPlanUpfrontFee", "Purchase", None, "One-Time", "Standard", None, "100", "0", "100", "100"),
    (10, 1, "DiscountedUsage", "Usage", None, "Usage-Based", "Committed", "Used", "0", "2.5", "4", "4"),
    (11, 1, "RIFee", "Purchase", None, "Recurring", "Standard", None, "3", "0", "3", "3"),
    # 0.5 upfront + 1 recurring, unused.
    (11, 2, "RIFee", "Usage", None, "Usage-Based", "Committed", "Unused", "0", "1.5", "0", "0"),
    (12, 1, "Fee", "Purchase", None, "One-Time", "Standard", None, "50", "0", "50", "50"),
    (13, 1, "Fee", "Purchase", None, "Recurring", "Standard", None, "7", "7", "7", "7"),
    (14, 1, "FlatRateSubscription", "Purchase", None, "Recurring", "Standard", None, "6", "6", "6", "6"),
    (15, 1, "Refund", "Purchase", "Correction", "One-Time", "Standard", None, "-12", "0", "-12", "-12"),
    (16, 1, "Refund", "Adjustment", "Correction", "One-Time", None, None, "-2", "-2", "-2", "-2"),
    (17, 1, "Refund", "Adjustment", None, "One-Time", None, None, "-1", "-1", "-1", "-1"),
    (18, 1, "Credit", "Credit", None, "One-Time", None, None, "-1.5", "-1.5", "-1.5", "-1.5"),
    (19, 1, "Tax", "Tax", None, "Usage-Based", None, None, "1.75", "1.75", "1.75", "1.75"),
    (20, 1, "EdpDiscount", "Adjustment", None, "Usage-Based", None, None, "-0.4", "-0.4", "0", "-0.4"),
    (21, 1, "PrivateRateDiscount", "Adjustment", None, "Usage-Based", None, None, "-0.3", "-0.3", "0", "-0.3"),
    (22, 1, "BundledDiscount", "Adjustment", None, "Usage-Based", None, None, "-0.2", "-0.2", "0", "-0.2"),
    (23, 1, "Discount", "Adjustment", None, "Usage-Based", None, None, "-0.1", "-0.1", "0", "-0.1"),
]

# Billed: 10 + 0.0000000293 + 0.6 + 24 + 24 + 100 + 3 + 50 + 7 + 6 - 12 - 2 - 1 - 1.5 + 1.75 - 0.4 - 0.3 - 0.2 - 0.1
_BILLED = "208.8500000293"
# Effective: 10 + 0.0000000293 + 0.6 + 5 + 4 + 2.5 + 1.5 + 7 + 6 - 2 - 1 - 1.5 + 1.75 - 0.4 - 0.3 - 0.2 - 0.1
_EFFECTIVE = "32.8500000293"
# List: 12 + 0.0000000293 + 1.5 + 9 + 24 + 24 + 100 + 4 + 3 + 50 + 7 + 6 - 12 - 2 - 1 - 1.5 + 1.75
_LIST = "225.7500000293"
# Contracted: 10 + 0.0000000293 + 0.6 + 8 + 24 + 24 + 100 + 4 + 3 + 50 + 7 + 6 - 12 - 2 - 1 - 1.5 + 1.75 - 1
_CONTRACTED = "220.8500000293"

_COSTS = "sum(BilledCost), sum(EffectiveCost), sum(ListCost), sum(ContractedCost)"
_TREATMENT = """
    SELECT x_SourceRow, x_SourcePart, x_SourceLineItemType, ChargeCategory, ChargeClass, ChargeFrequency, PricingCategory,
        CommitmentDiscountStatus, BilledCost, EffectiveCost, ListCost, ContractedCost
    FROM staged ORDER BY x_SourceRow, x_SourcePart
"""


@pytest.mark.parametrize("format_", ["cur-2.0", "legacy"])
def test_each_line_item_type_gets_its_treatment(tmp_path: Path, format_: str) -> None:
    connection = normalised(tmp_path / "scratch", [_delivered(tmp_path, format_)])
    assert rows(connection, _TREATMENT) == _EXPECTED
    assert rows(connection, f"SELECT {_COSTS} FROM staged") == [(_BILLED, _EFFECTIVE, _LIST, _CONTRACTED)]


@pytest.mark.parametrize("format_", ["cur-2.0", "legacy"])
def test_the_control_comes_to_the_same_figures_on_its_own(tmp_path: Path, format_: str) -> None:
    connection = normalised(tmp_path / "scratch", [_delivered(tmp_path, format_)])
    # 23 lines: 22 mapped and 1 netted; two fees add an unused row each.
    assert control(connection) == [("USD", 23, 1, 0, 2, _BILLED, _EFFECTIVE, _LIST, _CONTRACTED)]
    assert rejected(connection) == []
    assert failed_audits(connection) == {}


def test_the_invoice_is_bridged_to_the_effective_cost_without_a_rest(tmp_path: Path) -> None:
    connection = normalised(tmp_path / "scratch", [_delivered(tmp_path, "cur-2.0")])
    # Released: plan 5 + 4, reservation 2.5 + 1.5. Bought: plan 24 + 24 + 100 - 12, reservation 3 + 50.
    # Plan: 136 + 9 - 136 = 9. Reservation: 53 + 4 - 53 = 4. The rest: 19.8500000293 both.
    released = "coalesce(sum(EffectiveCost) FILTER (WHERE CommitmentDiscountStatus IS NOT NULL), 0)"
    bought = (
        "coalesce(sum(BilledCost) FILTER (WHERE ChargeCategory = 'Purchase' AND CommitmentDiscountId IS NOT NULL), 0)"
    )
    assert rows(
        connection,
        f"SELECT CommitmentDiscountType, sum(BilledCost), {released}, {bought}, sum(EffectiveCost) FROM staged "
        "GROUP BY CommitmentDiscountType ORDER BY CommitmentDiscountType",
    ) == [
        ("Reserved Instance", "53", "4", "53", "4"),
        ("Savings Plan", "136", "9", "136", "9"),
        (None, "19.8500000293", "0", "0", "19.8500000293"),
    ]


def test_both_formats_give_the_same_charges_for_the_same_facts(tmp_path: Path) -> None:
    everything = "SELECT * EXCLUDE (x_SourceFile) FROM staged ORDER BY x_SourceRow, x_SourcePart"
    cur2 = normalised(tmp_path / "a", [_delivered(tmp_path, "cur-2.0")]).sql(everything).fetchall()
    legacy = normalised(tmp_path / "b", [_delivered(tmp_path, "legacy")]).sql(everything).fetchall()
    assert legacy == cur2


def test_a_machine_is_described_by_the_bill_and_the_mappings(tmp_path: Path) -> None:
    connection = normalised(tmp_path / "scratch", [_delivered(tmp_path, "cur-2.0")])
    described = (
        "SELECT ServiceName, ServiceCategory, ServiceSubcategory, RegionId, RegionName, ResourceId, ResourceName, "
        "ResourceType, PricingQuantity, PricingUnit, ListUnitPrice, ContractedUnitPrice, ConsumedQuantity, ConsumedUnit, "
        "SkuId, SkuMeter, SkuPriceId, SkuPriceDetails, Tags, x_CostCategories, x_InstanceType, x_GpuModel, x_GpuCount "
        "FROM staged WHERE x_SourceRow = 1"
    )
    assert rows(connection, described) == [
        (
            "Amazon Elastic Compute Cloud", "Compute", "Virtual Machines", "us-east-1", "US East (N. Virginia)", "i-1",
            "node", "instance", "2", "Hours", "6", "5", "2", "Hours", "SKU1", "BoxUsage:p4d.24xlarge", "SKU1.JRTCKXETXF",
            '{"CoreCount":96,"GpuCount":8,"InstanceSeries":"p4d","InstanceType":"p4d.24xlarge","MemorySize":1152,'
            '"OperatingSystem":"Linux"}',
            '{"Name":"node","aws:createdBy":"x","team":"search"}', '{"unit":"u1"}', "p4d.24xlarge", "NVIDIA A100 40GB", 8,
        )
    ]  # fmt: skip


def test_commitment_quantities_are_in_money_for_plans_and_in_units_for_reservations(tmp_path: Path) -> None:
    connection = normalised(tmp_path / "scratch", [_delivered(tmp_path, "cur-2.0")])
    assert rows(
        connection,
        "SELECT x_SourceRow, x_SourcePart, CommitmentDiscountId, CommitmentDiscountCategory, CommitmentDiscountQuantity, "
        "CommitmentDiscountUnit FROM staged WHERE CommitmentDiscountId IS NOT NULL ORDER BY x_SourceRow, x_SourcePart",
    ) == [
        (5, 1, PLAN, "Spend", "5", "USD"),
        (7, 1, PLAN, "Spend", "24", "USD"),
        (7, 2, PLAN, "Spend", "4", "USD"),
        (8, 1, PLAN, "Spend", "24", "USD"),
        (9, 1, PLAN, "Spend", "100", "USD"),
        (10, 1, RESERVATION, "Usage", "4", "Normalized Unit-Hours"),
        (11, 1, RESERVATION, "Usage", "720", "Hours"),
        (11, 2, RESERVATION, "Usage", "6", "Hours"),
        (12, 1, RESERVATION, "Usage", None, None),
        (15, 1, PLAN.rpartition("/")[2], "Spend", None, None),
    ]


def test_a_month_of_tax_has_no_article_and_spans_the_month(tmp_path: Path) -> None:
    connection = normalised(tmp_path / "scratch", [_delivered(tmp_path, "cur-2.0")])
    assert rows(
        connection,
        "SELECT CAST(ChargePeriodStart AS VARCHAR), CAST(ChargePeriodEnd AS VARCHAR), SkuId, PricingQuantity, PricingUnit, "
        "ConsumedQuantity, PricingCategory FROM staged WHERE ChargeCategory = 'Tax'",
    ) == [("2026-09-01 00:00:00", "2026-10-01 00:00:00", None, None, None, None, None)]


def test_net_columns_are_what_is_charged_where_the_bill_has_them(tmp_path: Path) -> None:
    file = write_cur2(
        tmp_path / "net.parquet",
        [
            line("Usage", 10, line_item_net_unblended_cost=9.3, pricing_public_on_demand_cost=12),
            line("Usage", 5, line_item_net_unblended_cost=None, pricing_public_on_demand_cost=None),
            line("DiscountedUsage", 0, reservation_effective_cost=2, reservation_net_effective_cost=1.9,
                 reservation_reservation_a_r_n=RESERVATION),
        ],
    )  # fmt: skip
    connection = normalised(tmp_path / "scratch", [file])
    assert rows(connection, "SELECT BilledCost, EffectiveCost, ListCost, ContractedCost FROM staged") == [
        ("9.3", "9.3", "12", "9.3"),
        # Without a public price the list cost is what was paid.
        ("5", "5", "5", "5"),
        ("0", "1.9", "1.9", "1.9"),
    ]
    # Billed 9.3 + 5, effective 9.3 + 5 + 1.9, list 12 + 5 + 1.9, contracted 9.3 + 5 + 1.9
    assert control(connection) == [("USD", 3, 0, 0, 0, "14.3", "16.2", "18.9", "16.2")]


def test_discounts_in_columns_and_in_lines_are_refused_together(tmp_path: Path) -> None:
    file = write_cur2(
        tmp_path / "twice.parquet",
        [line("Usage", 10, line_item_net_unblended_cost=9), line("EdpDiscount", -1, line_item_net_unblended_cost=None)],
    )
    assert failed_audits(normalised(tmp_path / "scratch", [file])) == {"discounts_count_once": [("USD", "1", "-1")]}


def test_an_unknown_type_is_kept_aside_and_breaks_the_control(tmp_path: Path) -> None:
    file = write_cur2(tmp_path / "new.parquet", [line("Usage", 10), line("MysteryFee", 3), line("", 2)])
    connection = normalised(tmp_path / "scratch", [file])
    assert [row[:4] for row in rejected(connection)] == [
        ("new.parquet", 2, "MysteryFee", "line item type MysteryFee has no treatment in docs/sources/aws-cur.md"),
        ("new.parquet", 3, "", "line item type (none) has no treatment in docs/sources/aws-cur.md"),
    ]
    assert '"line_item_line_item_type":"MysteryFee"' in rejected(connection)[0][4]
    assert rows(connection, "SELECT x_SourceRow, BilledCost FROM staged") == [(1, "10")]
    # 3 delivered, 2 rejected; 10 + 3 + 2 delivered against 10 charged.
    assert control(connection) == [("USD", 3, 0, 2, 0, "15", "15", "15", "15")]


@pytest.mark.parametrize(
    ("incomplete", "reason"),
    [
        (line("Usage", 1, line_item_unblended_cost=None), "line_item_unblended_cost is empty"),
        (line("Usage", 1, line_item_currency_code=""), "line_item_currency_code is empty"),
        (line("Usage", 1, bill_payer_account_id=""), "bill_payer_account_id is empty"),
        (
            line("SavingsPlanCoveredUsage", 1, savings_plan_savings_plan_a_r_n=PLAN),
            "savings_plan_savings_plan_effective_cost is empty on usage that a savings plan covers",
        ),
        (
            line("DiscountedUsage", 0, reservation_reservation_a_r_n=RESERVATION),
            "reservation_effective_cost is empty on usage that a reservation covers",
        ),
        (
            line("SavingsPlanRecurringFee", 24, savings_plan_savings_plan_a_r_n=PLAN),
            "savings_plan_total_commitment_to_date or savings_plan_used_commitment is empty on a recurring fee",
        ),
        (
            line("RIFee", 3, reservation_reservation_a_r_n=RESERVATION),
            "reservation_unused_amortized_upfront_fee_for_billing_period and reservation_unused_recurring_fee are empty "
            "on a reservation fee",
        ),
    ],
)
def test_a_missing_amount_is_never_taken_for_zero(tmp_path: Path, incomplete: dict[str, object], reason: str) -> None:
    file = write_cur2(tmp_path / "incomplete.parquet", [line("Usage", 10), incomplete])
    connection = normalised(tmp_path / "scratch", [file])
    assert [row[1:4] for row in rejected(connection)] == [(2, incomplete["line_item_line_item_type"], reason)]
    assert rows(connection, "SELECT count(*) FROM staged") == [(1,)]
    assert sum(currency[3] for currency in control(connection)) == 1


def test_covered_usage_without_negation_is_refused_with_the_missing_amount(tmp_path: Path) -> None:
    covered = line(
        "SavingsPlanCoveredUsage",
        8.25,
        savings_plan_savings_plan_effective_cost=5,
        savings_plan_savings_plan_a_r_n=PLAN,
    )
    negation = line("SavingsPlanNegation", -8, savings_plan_savings_plan_a_r_n=PLAN)
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", [covered, negation])])
    # 8.25 - 8 = 0.25 is on the invoice and in no charge.
    assert failed_audits(connection) == {"savings_plan_netting_cancels": [("USD", PLAN, "8.25", "-8", "-0.25")]}


def test_a_line_of_another_month_is_refused(tmp_path: Path) -> None:
    stray = line("Usage", 1, bill_billing_period_start_date="2026-08-01T00:00:00Z")
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", [line("Usage", 1), stray])])
    assert failed_audits(connection) == {
        "lines_belong_to_the_period": [("2026-08", 1, {"file": "bill.parquet", "row": 2})]
    }


def test_a_container_share_that_costs_something_is_pointed_out(tmp_path: Path) -> None:
    share = line("Usage", 3, line_item_operation="EKSPod-EC2")
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", [share])])
    assert failed_audits(connection) == {
        "container_shares_cost_nothing": [("USD", "EKSPod-EC2", 1, "3", {"file": "bill.parquet", "row": 1})]
    }


def test_a_service_that_no_mapping_names_keeps_its_own_name(tmp_path: Path) -> None:
    unknown = line("Usage", 1, line_item_product_code="AmazonFuture", product={"product_name": "Amazon Future"})
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", [unknown])])
    assert rows(connection, "SELECT ServiceName, ServiceCategory, ServiceSubcategory FROM staged") == [
        ("Amazon Future", "Other", "Other (Other)")
    ]
    assert failed_audits(connection) == {"services_are_known": [("AmazonFuture", 1, "1")]}


def test_marketplace_software_names_its_seller(tmp_path: Path) -> None:
    sold = line("Usage", 1, bill_billing_entity="AWS Marketplace", line_item_legal_entity="Red Hat, Inc.")
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", [sold])])
    assert rows(
        connection,
        "SELECT ServiceProviderName, PublisherName, ProviderName, HostProviderName, InvoiceIssuerName FROM staged",
    ) == [("Red Hat, Inc.", "Red Hat, Inc.", "AWS", "AWS", "AWS")]


def test_an_invoice_id_makes_a_line_final_and_a_blank_one_does_not(tmp_path: Path) -> None:
    lines = [line("Usage", 1, bill_invoice_id="0042"), line("Usage", 1, bill_invoice_id="  "), line("Usage", 1)]
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", lines)])
    assert rows(connection, "SELECT InvoiceId, x_IsFinal FROM staged") == [("0042", True), (None, False), (None, False)]


def test_a_charge_of_a_moment_lasts_a_second(tmp_path: Path) -> None:
    moment = line("Fee", 1, line_item_usage_end_date="2026-09-03T07:00:00Z")
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", [moment])])
    assert rows(connection, "SELECT CAST(ChargePeriodEnd AS VARCHAR) FROM staged") == [("2026-09-03 07:00:01",)]


def test_rows_keep_delivery_order_and_added_parts_follow(tmp_path: Path) -> None:
    fee = line(
        "SavingsPlanRecurringFee", 2, savings_plan_savings_plan_a_r_n=PLAN, savings_plan_total_commitment_to_date=2,
        savings_plan_used_commitment=1,
    )  # fmt: skip
    lines = [line("Usage", 1, line_item_product_code="NotListed"), fee, line("Usage", 1), line("Credit", -1), fee]
    connection = normalised(tmp_path / "scratch", [write_cur2(tmp_path / "bill.parquet", lines)])
    assert rows(connection, "SELECT x_SourceRow, x_SourcePart FROM staged") == [
        (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (2, 2), (5, 2),
    ]  # fmt: skip


def _delivered(folder: Path, format_: str) -> Path:
    if format_ == "legacy":
        return write_legacy(folder / "bill.csv.gz", _DELIVERY)
    return write_cur2(folder / "bill.parquet", _DELIVERY)
