"""Files in FOCUS from anyone: what is read, as what, and what is refused with its reason."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.delivered_files import billing_periods
from pipelines.sources.focus_columns import canonical_column, dialect
from pipelines.sources.focus_relation import layout_of
from tests.normalise.bills import rows
from tests.normalise.focus_files import charges, control, failed_audits, normalised, rejected, row, write_csv

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "focus"
EXAMPLES = SAMPLES / "spec_1.2_examples"
NEEDS_SAMPLES = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the FOCUS samples beside the repository")


def _delivered(tmp_path: Path, lines: list[dict[str, str]], columns: str) -> list[tuple[Any, ...]]:
    connection = normalised(tmp_path / "delivered", [write_csv(tmp_path / "focus.csv", lines)])
    return rows(connection, f"SELECT {columns} FROM delivered ORDER BY x_SourceRow")


@pytest.mark.parametrize(
    ("new", "version"),
    [
        ((), "focus-1.0"),
        (("SkuMeter",), "focus-1.1"),
        (("SkuMeter", "InvoiceId"), "focus-1.2"),
        (("InvoiceId", "ServiceProviderName"), "focus-1.3"),
        (("ServiceProviderName", "InvoiceDetailId"), "focus-1.4"),
        (("Provider", "Region"), "focus-0.5"),
    ],
)
def test_the_version_is_told_by_the_columns(new: tuple[str, ...], version: str) -> None:
    headers = row().keys() - {"ServiceSubcategory"} - ({"ProviderName"} if "Provider" in new else set())
    assert dialect([*headers, *new]) == version


@pytest.mark.parametrize("header", ["SkuPriceid", "skupriceid", "sku_price_id", "Sku Price Id"])
def test_a_header_means_its_column_in_any_case(header: str) -> None:
    assert canonical_column(header) == "SkuPriceId"


def test_a_column_of_somebodys_own_is_not_taken_for_focus() -> None:
    assert canonical_column("x_Tags") is None


@pytest.mark.parametrize("nothing", ["", "NULL", "null"])
def test_the_words_for_nothing_are_null_in_every_sort_of_column(tmp_path: Path, nothing: str) -> None:
    line = row(ResourceId=nothing, ListUnitPrice=nothing, Tags=nothing, x_Discounts=nothing)
    assert _delivered(tmp_path, [line, row()], "ResourceId, ListUnitPrice, Tags, x_SourceColumns") == [
        (None, None, None, None),
        (None, None, None, None),
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-09-03T07:00:00Z", "2026-09-03 07:00:00"),
        ("2026-09-03 07:00:00", "2026-09-03 07:00:00"),
        ("2026-09-03T07:00Z", "2026-09-03 07:00:00"),
        ("2026-09-03T07:00", "2026-09-03 07:00:00"),
        ("2026-09-03T09:00:00+02:00", "2026-09-03 07:00:00"),
        ("2026-09-03T09:00+0200", "2026-09-03 07:00:00"),
        ("2026-09-03T07:00:00.123456Z", "2026-09-03 07:00:00.123456"),
        ("2026-09-03 07:00:00 UTC", "2026-09-03 07:00:00"),
        ("2026-09-03", "2026-09-03 00:00:00"),
    ],
)
def test_a_time_is_read_in_utc_whatever_iso_form_it_has(tmp_path: Path, written: str, read: str) -> None:
    line = row(ChargePeriodStart=written)
    assert _delivered(tmp_path, [line], "CAST(ChargePeriodStart AS VARCHAR)") == [(read,)]


@pytest.mark.parametrize("written", ["2026-09-03T30:00:00Z", "03-09-2026", "1788418800", "September"])
def test_what_is_no_iso_time_is_refused_by_row(tmp_path: Path, written: str) -> None:
    file = write_csv(tmp_path / "focus.csv", [row(), row(ChargePeriodEnd=written)])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [file])
    assert refused.value.where == "focus.csv, row 2, column ChargePeriodEnd"
    assert refused.value.found == repr(written)


def test_dates_with_slashes_are_read_where_one_order_alone_fits_the_billing_periods(tmp_path: Path) -> None:
    american = row(
        BillingPeriodStart="9/1/26",
        BillingPeriodEnd="10/1/26",
        ChargePeriodStart="9/3/26",
        ChargePeriodEnd="9/4/2026 0:00",
    )
    assert _delivered(tmp_path, [american], "CAST(ChargePeriodStart AS VARCHAR), CAST(ChargePeriodEnd AS VARCHAR)") == [
        ("2026-09-03 00:00:00", "2026-09-04 00:00:00")
    ]


def test_dates_with_the_day_first_are_read_likewise(tmp_path: Path) -> None:
    european = row(
        BillingPeriodStart="01/09/2026",
        BillingPeriodEnd="01/10/2026",
        ChargePeriodStart="03/09/2026",
        ChargePeriodEnd="04/09/2026",
    )
    assert _delivered(tmp_path, [european], "CAST(ChargePeriodStart AS VARCHAR)") == [("2026-09-03 00:00:00",)]


@pytest.mark.parametrize(
    ("period_end", "problem"),
    [("1/1/27", "The file's dates may be read in two ways."), ("1/2/2x", "The file's dates can't be read.")],
)
def test_dates_that_both_orders_or_neither_make_sense_of_are_refused(
    tmp_path: Path, period_end: str, problem: str
) -> None:
    line = row(
        BillingPeriodStart="1/1/26", BillingPeriodEnd=period_end, ChargePeriodStart="1/1/26", ChargePeriodEnd="2/2/26"
    )
    file = write_csv(tmp_path / "focus.csv", [line])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [file])
    assert (refused.value.problem, refused.value.where) == (problem, "focus.csv")


def test_what_focus_has_no_name_for_is_kept_as_delivered(tmp_path: Path) -> None:
    line = row(Id="00042", x_SkuMeterCategory='a "b"', x_Rate="0.1000000000000000000001", x_Empty="")
    assert _delivered(tmp_path, [line], "x_SourceColumns") == [
        ('{"Id":"00042","x_SkuMeterCategory":"a \\"b\\"","x_Rate":"0.1000000000000000000001"}',)
    ]


def test_names_from_before_1_0_stand_for_their_successors(tmp_path: Path) -> None:
    line = row(UsageQuantity="8", UsageUnit="OCPU Hours", Region="us-phoenix-1", InvoiceIssuer="Oracle")
    early = {name: value for name, value in line.items() if name not in ("InvoiceIssuerName", "ContractedCost")}
    assert _delivered(
        tmp_path, [early], "InvoiceIssuerName, ConsumedQuantity, ConsumedUnit, RegionId, RegionName, ContractedCost"
    ) == [("Oracle", "8", "OCPU Hours", "us-phoenix-1", "us-phoenix-1", None)]


def test_a_successor_counts_before_its_forerunner_which_is_kept(tmp_path: Path) -> None:
    line = row(Provider="OCI", ProviderName="Oracle")
    assert _delivered(tmp_path, [line], "ProviderName, x_SourceColumns") == [("Oracle", '{"Provider":"OCI"}')]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"team":"a","n":1}', '{"team":"a","n":1}'),
        (' {"team": "a"}\n', '{"team": "a"}'),
        ('"team": "a"', '{"team": "a"}'),
        ('[{"key":"team","value":"a"},{"key":"n","value":null}]', '{"team":"a","n":null}'),
    ],
)
def test_tags_are_one_json_object(tmp_path: Path, written: str, read: str) -> None:
    assert _delivered(tmp_path, [row(Tags=written)], "Tags") == [(read,)]


@pytest.mark.parametrize("written", ["team=a", "[1]", "7", '{"team":'])
def test_tags_that_are_no_object_are_refused(tmp_path: Path, written: str) -> None:
    file = write_csv(tmp_path / "focus.csv", [row(Tags="NULL"), row(Tags=written)])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [file])
    assert (refused.value.where, refused.value.expected) == ("focus.csv, row 2, column Tags", "a JSON object")


def test_an_amount_with_a_currency_sign_is_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "focus.csv", [row(BilledCost="NULL"), row(BilledCost="$10,000.00 ")])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [file])
    assert (refused.value.where, refused.value.found) == ("focus.csv, row 2, column BilledCost", "'$10,000.00 '")


def test_a_row_of_another_length_is_refused_by_its_line(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "focus.csv", [row(), row()])
    file.write_text(file.read_text() + "1,2\n")
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [file])
    assert refused.value.where == "focus.csv"
    assert "Line: 4" in (refused.value.found or "")


def test_two_columns_that_are_one_are_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "focus.csv", [row(billed_cost="7")])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [file])
    assert (refused.value.expected, refused.value.found) == ("one column BilledCost", "BilledCost, billed_cost")


def test_quantities_without_cost_are_no_bill(tmp_path: Path) -> None:
    line = {name: value for name, value in row().items() if name not in ("BilledCost", "EffectiveCost")}
    file = write_csv(tmp_path / "focus.csv", [line])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [file])
    assert refused.value.expected == "BilledCost, EffectiveCost"


def test_aws_parquet_with_maps_and_doubles_is_read_like_csv(tmp_path: Path) -> None:
    """As FOCUS_1_2_AWS: Tags and SkuPriceDetails are maps of texts, x_Discounts a map of doubles, costs doubles."""
    texts = {name: pa.array([value]) for name, value in row().items() if "Cost" not in name and "Period" not in name}
    table = pa.table(
        {
            **texts,
            **{name: pa.array([0.1 + 0.2]) for name in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")},
            **{
                name: pa.array([pa.scalar(row()[name][:-1]).cast(pa.timestamp("ms"))])
                for name in row()
                if "Period" in name
            },
            "Tags": pa.array([[("team", "a"), ("aws:x", "b")]], pa.map_(pa.string(), pa.string())),
            "SkuPriceDetails": pa.array([[("CoreCount", "8")]], pa.map_(pa.string(), pa.string())),
            "x_Discounts": pa.array([[("EDP", -0.25)]], pa.map_(pa.string(), pa.float64())),
            "x_ServiceCode": pa.array(["AmazonEC2"]),
        }
    )
    pq.write_table(table, tmp_path / "aws.parquet")

    connection = normalised(tmp_path / "delivered", [tmp_path / "aws.parquet"])

    assert rows(
        connection,
        "SELECT BilledCost, CAST(ChargePeriodStart AS VARCHAR), Tags, SkuPriceDetails, x_SourceColumns, x_ServiceCode FROM staged",
    ) == [
        (
            "0.30000000000000004",
            "2026-09-03 07:00:00",
            '{"team":"a","aws:x":"b"}',
            '{"CoreCount":"8"}',
            '{"x_Discounts":{"EDP":-0.25}}',
            "AmazonEC2",
        )
    ]


def test_pairs_of_key_and_value_in_parquet_are_an_object(tmp_path: Path) -> None:
    pairs = pa.array(
        [[{"key": "team", "value": "a"}], []], pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
    )
    columns: Mapping[str, pa.Array] = {name: pa.array([value, value]) for name, value in row().items()}
    pq.write_table(pa.table({**columns, "Tags": pairs}), tmp_path / "focus.parquet")
    connection = normalised(tmp_path / "delivered", [tmp_path / "focus.parquet"])
    assert rows(connection, "SELECT Tags FROM delivered ORDER BY x_SourceRow") == [('{"team":"a"}',), ("{}",)]


def test_a_byte_order_mark_and_gzip_make_no_difference(tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "plain.csv", [row(Tags='{"team":"ä"}')])
    marked = tmp_path / "marked.csv.gz"
    marked.write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.read_bytes()))
    found = [
        rows(normalised(tmp_path / f"{file.name}.delivered", [file]), "SELECT * EXCLUDE (x_SourceFile) FROM delivered")
        for file in (plain, marked)
    ]
    assert found[0] == found[1]


def test_files_of_one_delivery_may_be_of_several_versions(tmp_path: Path) -> None:
    old = write_csv(tmp_path / "1.csv", [row()])
    new = write_csv(tmp_path / "2.csv", [row(InvoiceDetailId="7", ServiceProviderName="Nebius")])
    connection = normalised(tmp_path / "delivered", [old, new])
    assert rows(connection, "SELECT x_SourceFile, x_SourceRow, InvoiceDetailId FROM staged") == [
        ("1.csv", 1, None),
        ("2.csv", 1, "7"),
    ]


# BillingPeriod and the month it is of.
PERIODS = {
    "a month": ("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"),
    "a month in Pacific time": ("2026-09-01T07:00:00Z", "2026-10-01T07:00:00Z"),
    "a month in Central European time": ("2026-08-31T22:00:00Z", "2026-09-30T22:00:00Z"),
    "a month to its last day": ("2026-09-01", "2026-09-30"),
    "a day of it": ("2026-09-30", "2026-10-01"),
    "no end": ("2026-09-01", ""),
}


@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS.keys())
def test_a_billing_period_is_the_calendar_month_of_its_middle(tmp_path: Path, period: tuple[str, str]) -> None:
    line = row(BillingPeriodStart=period[0], BillingPeriodEnd=period[1])
    assert charges(tmp_path, [line], "CAST(BillingPeriodStart AS VARCHAR), CAST(BillingPeriodEnd AS VARCHAR)") == [
        ("2026-09-01 00:00:00", "2026-10-01 00:00:00")
    ]


@NEEDS_SAMPLES
def test_the_sample_of_1_0_adds_up_to_its_text(tmp_path: Path) -> None:
    file = SAMPLES / "focus_sample_1.0.csv"
    with file.open(encoding="utf-8-sig", newline="") as text:
        lines = list(csv.DictReader(text))
    for period, start, count in (("2024-09", "2024-09-01 00:00:00", 999), ("2024-10", "2024-10-01 00:00:00", 1)):
        of_period = [line for line in lines if line["BillingPeriodStart"] == start]
        # Oracle prints no ContractedCost; without a commitment it is what was billed.
        expected = [
            sum((Decimal(line[cost]) for line in of_period), Decimal(0))
            for cost in ("BilledCost", "EffectiveCost", "ListCost")
        ] + [
            sum(
                (
                    Decimal(line["BilledCost" if line["ContractedCost"] == "NULL" else "ContractedCost"])
                    for line in of_period
                ),
                Decimal(0),
            )
        ]

        connection = normalised(tmp_path / period, [file], period=period, details={"rows": "of-period"})

        assert connection.sql(
            "SELECT count(*), sum(BilledCost), sum(EffectiveCost), sum(ListCost), sum(ContractedCost) FROM staged"
        ).fetchall() == [(count, *expected)]
        assert control(connection, period) == rows(
            connection,
            "SELECT 'USD', count(*), 0, 0, 0, sum(BilledCost), sum(EffectiveCost), sum(ListCost), sum(ContractedCost) FROM staged",
        )
        assert rejected(connection, period) == []
        assert set(failed_audits(connection, period)) <= {
            "columns_are_as_focus_asks",
            "costs_are_delivered",
            "costs_follow_prices",
            "rows_are_good_focus",
        }


# Billed and effective cost of each example that is a bill, over all its periods, added by hand from its text.
BILLS = {
    "saas_spend_agreements_a1": ("1200", "1200", 4),
    "saas_spend_agreements_a2": ("1200", "1200", 12),
    "saas_spend_agreements_b1": ("1200", "1200", 4),
    "saas_spend_agreements_b2": ("1200", "1200", 12),
    "virtual_currency_pricing_model_a1": ("200000", "0", 1),
    "virtual_currency_pricing_model_a2": ("0", "1230", 1),
    "virtual_currency_pricing_model_b1": ("100000", "0", 1),
    "virtual_currency_pricing_model_b2": ("0", "615", 1),
    "virtual_currency_pricing_model_b3": ("0", "495", 1),
    "virtual_currency_pricing_model_c": ("53000", "0", 1),
}
NO_ACCOUNT = "BillingAccountId, BillingCurrency"
REFUSED = {
    "commitment_discount_purchase_scenario_1": NO_ACCOUNT,
    "commitment_discount_purchase_scenario_2": NO_ACCOUNT,
    "commitment_discount_purchase_scenario_3": NO_ACCOUNT,
    "commitment_discount_usage_scenario_1": NO_ACCOUNT,
    "commitment_discount_usage_scenario_2": NO_ACCOUNT,
    "commitment_discount_usage_scenario_3": NO_ACCOUNT,
    "commitment_discount_usage_scenario_4": NO_ACCOUNT,
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_1_resource": NO_ACCOUNT,
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_2_resources": NO_ACCOUNT,
    "one_hundred_percent_utilization_without_commitment_discount_flexibility": NO_ACCOUNT,
    "zero_percent_utilization_without_commitment_discount_flexibility": NO_ACCOUNT,
    # Amounts as a spreadsheet prints them: "$10,000.00 ".
    "simple_saas_agreements_a1": "a number below 10^20",
    "simple_saas_agreements_a2": "a number below 10^20",
    "simple_saas_agreements_a3": "a number below 10^20",
    "simple_saas_agreements_b": "a number below 10^20",
    "simple_saas_agreements_c": "a number below 10^20",
}


@NEEDS_SAMPLES
def test_each_example_of_the_specification_is_a_bill_or_refused() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.csv")} == BILLS.keys() | REFUSED.keys()


@NEEDS_SAMPLES
@pytest.mark.parametrize("name", BILLS)
def test_an_example_that_is_a_bill_adds_up_to_its_text(tmp_path: Path, name: str) -> None:
    file = EXAMPLES / f"{name}.csv"
    billed, effective, months = BILLS[name]
    with connect() as connection:
        periods = billing_periods(connection, layout_of(connection, file, file.name), file)
    totals = {"BilledCost": Decimal(0), "EffectiveCost": Decimal(0)}
    for period in periods:
        connection = normalised(tmp_path / period, [file], period=period, details={"rows": "of-period"})
        for cost in totals:
            [(total,)] = connection.sql(f"SELECT sum({cost}) FROM staged").fetchall()
            totals[cost] += total
        assert rejected(connection, period) == []
    assert (totals, len(periods)) == ({"BilledCost": Decimal(billed), "EffectiveCost": Decimal(effective)}, months)


@NEEDS_SAMPLES
@pytest.mark.parametrize("name", REFUSED)
def test_an_example_that_is_no_bill_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "delivered", [EXAMPLES / f"{name}.csv"], period="2025-04")
    assert refused.value.expected == REFUSED[name]
