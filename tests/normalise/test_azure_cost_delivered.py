"""Azure's exports as one relation: every spelling, date form and byte order mark; exact amounts; what can't be read is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import AcceptedDifference, AzureCostSource, Settings
from pipelines.errors import ApportionError, AuditFailed, DeliveryError
from pipelines.lake.database import connect
from pipelines.lake.landing import land
from pipelines.lake.tables import ensure_table, relation_sql, table_files
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.normalisation import normalise
from pipelines.sources.azure_cost import deliveries
from pipelines.sources.azure_cost_columns import COLUMNS, canonical_column
from tests.normalise.azure_bills import (
    PERIOD,
    SAMPLES,
    control,
    customer_line,
    exact,
    failed_audits,
    line,
    normalised,
    product,
    rejected,
    sample_lines,
    write_export,
)
from tests.normalise.bills import rows
from tests.sources.azure_deliveries import deliver

_needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the sample exports are not at {SAMPLES}")
_session = connect()
_ACTUAL, _AMORTISED = "EA_ActualCost_Small.csv", "EA_AmortizedCost_Small.csv"


def _delivered(tmp_path: Path, *lines: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    return normalised(tmp_path / "scratch", {"actual/1.csv": write_export(tmp_path / "1.csv", lines)})


def _lineage(tmp_path: Path, source: AzureCostSource, **options: Any) -> Lineage:
    lineage = Lineage(Settings(lake=tmp_path / "lake", bills=(source,), file=tmp_path / "apportion.yaml", **options))
    for contract in contracts().values():
        if contract.kind == "table":
            ensure_table(lineage.lake, contract)
    return lineage


def _normalise(lineage: Lineage, source: AzureCostSource, period: str) -> dict[str, Decimal]:
    """Land the period and normalise it; the sums of its charges."""
    [delivery] = deliveries(source, period)
    land(lineage.lake, delivery)
    normalise(lineage, source.name, period)
    charges = contracts()["billing.charges"]
    costs = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
    with connect() as connection:
        kept = relation_sql(connection, charges, [part.path for part in table_files(lineage.lake, charges)])
        [sums] = connection.sql(f"SELECT {', '.join(f'sum({cost})' for cost in costs)} FROM ({kept})").fetchall()
    return dict(zip(costs, sums, strict=True))


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("CostInBillingCurrency", "cost_in_billing_currency"),
        ("costInBillingCurrency", "cost_in_billing_currency"),
        ("Cost", "cost_in_billing_currency"),
        ("PreTaxCost", "cost_in_billing_currency"),
        ("Cost In Billing Currency ", "cost_in_billing_currency"),
        ("\ufeffInvoiceSectionName", "invoice_section_name"),
        ("benefitId", "benefit_id"),
        ("ProductId", "product_id"),
        ("MeterSubcategory", "meter_sub_category"),
        ("SubscriptionGuid", "subscription_id"),
        ("InstanceName", "resource_id"),
        ("UsageDateTime", "charge_date"),
        ("Anything", None),
    ],
)
def test_every_spelling_of_a_header_is_its_column(header: str, column: str | None) -> None:
    assert canonical_column(header) == column


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("9/2/2026", datetime(2026, 9, 2)),
        ("09/02/2026", datetime(2026, 9, 2)),
        ("09/02/2026 00:00:00", datetime(2026, 9, 2)),
        ("2026-09-02", datetime(2026, 9, 2)),
        ("2026-09-02 00:00:00", datetime(2026, 9, 2)),
        ("2026-09-02T00:00:00Z", datetime(2026, 9, 2)),
        ("2026-09-02T02:00:00+02:00", datetime(2026, 9, 2)),
    ],
)
def test_every_form_of_a_date_is_read_month_first(tmp_path: Path, text: str, moment: datetime) -> None:
    connection = _delivered(tmp_path, line("Usage", "1", Date=text))
    assert connection.sql("SELECT charge_date FROM delivered").fetchall() == [(moment,)]


@pytest.mark.parametrize("text", ["13/09/2026", "09/31/2026", "9/2/26", "2026-13-01", "yesterday", "2.9.2026"])
def test_an_impossible_date_is_refused_and_never_read_day_first(tmp_path: Path, text: str) -> None:
    with pytest.raises(DeliveryError, match="is not a date") as refused:
        _delivered(tmp_path, line("Usage", "1"), line("Usage", "1", Date=text))
    assert (refused.value.where, refused.value.found) == ("actual/1.csv, row 2, column Date", repr(text))


def test_a_day_first_file_is_refused_by_its_billing_period(tmp_path: Path) -> None:
    # The second of September would pass for the ninth of February; the end of the month has no 30th month.
    ambiguous = line(
        "Usage", "1", Date="02/09/2026", BillingPeriodStartDate="01/09/2026", BillingPeriodEndDate="30/09/2026"
    )
    with pytest.raises(DeliveryError, match="column BillingPeriodEndDate"):
        _delivered(tmp_path, ambiguous)


def test_an_amount_that_is_no_number_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="is not a number") as refused:
        _delivered(tmp_path, line("Usage", "1"), line("Usage", "1,5"))
    assert refused.value.where == "actual/1.csv, row 2, column CostInBillingCurrency"


@pytest.mark.parametrize("column", ["ChargeType", "CostInBillingCurrency", "BillingCurrencyCode", "Date", "Quantity"])
def test_a_dropped_column_that_counts_is_refused(tmp_path: Path, column: str) -> None:
    with pytest.raises(DeliveryError, match="it lacks columns") as refused:
        _delivered(tmp_path, {name: value for name, value in line("Usage", "1").items() if name != column})
    assert refused.value.expected == canonical_column(column)


def test_a_new_column_changes_nothing(tmp_path: Path) -> None:
    before = _delivered(tmp_path, line("Usage", "1")).sql("SELECT * FROM staged").fetchall()
    assert _delivered(tmp_path, line("Usage", "1", NewThing="x")).sql("SELECT * FROM staged").fetchall() == before


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="has a column twice"):
        _delivered(tmp_path, {**line("Usage", "1"), "chargetype": "Usage"})


def test_headers_of_another_language_are_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="lacks columns") as refused:
        _delivered(tmp_path, {"Datum": "2026-09-02", "Kosten": "1"})
    assert "English headers" in refused.value.remedy


def test_a_parquet_export_is_read_as_its_csv(tmp_path: Path) -> None:
    given = customer_line("Usage", "21.6", unitPrice="1", payGPrice="1.5", tags='{"team":"search"}')
    table = pyarrow.table(
        {
            name: pyarrow.array([datetime(2026, 9, 3) if name == "date" else value or None])
            for name, value in {**given, "date": datetime(2026, 9, 3)}.items()
        }
    )
    for name, type_ in (
        ("quantity", pyarrow.decimal128(38, 18)),
        ("costInBillingCurrency", pyarrow.float64()),
        ("unitPrice", pyarrow.decimal128(20, 10)),
    ):
        values = [Decimal(given[name]) if pyarrow.types.is_decimal(type_) else float(given[name])]
        table = table.set_column(table.column_names.index(name), name, pyarrow.array(values, type_))
    pyarrow.parquet.write_table(table, tmp_path / "1.parquet", compression="snappy")
    parquet = normalised(tmp_path / "parquet", {"actual/1": tmp_path / "1.parquet"})
    text = normalised(tmp_path / "text", {"actual/1": write_export(tmp_path / "1.csv.gz", [given])})
    assert parquet.sql("SELECT * FROM staged").fetchall() == text.sql("SELECT * FROM staged").fetchall()


def test_a_type_that_changed_is_refused(tmp_path: Path) -> None:
    table = pyarrow.table({**{name: [value] for name, value in line("Usage", "1").items()}, "Quantity": [[1]]})
    pyarrow.parquet.write_table(table, tmp_path / "1.parquet")
    with pytest.raises(DeliveryError, match="type that we can't read") as refused:
        normalised(tmp_path / "scratch", {"actual/1.parquet": tmp_path / "1.parquet"})
    assert refused.value.where == "actual/1.parquet, column Quantity"


def test_rows_that_the_manifest_does_not_know_refuse_the_delivery(tmp_path: Path) -> None:
    deliver(
        tmp_path / "exports",
        "actual",
        {"1.csv": [line("Usage", "1"), line("Usage", "2")]},
        dataRowCount=3,
        blobs=[{"blobName": "acme-actual/20260901-20260930/202609040200/run-1/1.csv", "dataRowCount": 3}],
    )
    source = AzureCostSource(name="azure", location=str(tmp_path / "exports"))
    with pytest.raises(DeliveryError, match="not as many rows as its manifest says") as refused:
        _normalise(_lineage(tmp_path, source), source, PERIOD)
    assert (refused.value.expected, refused.value.found) == ("3 rows", "2 rows")


def test_a_pair_of_exports_becomes_charges_that_pass_every_audit(tmp_path: Path) -> None:
    from tests.normalise.test_azure_cost import ACTUAL, AMORTISED

    deliver(tmp_path / "exports", "actual", {"1.csv.gz": ACTUAL})
    deliver(tmp_path / "exports", "amortised", {"1.csv.gz": AMORTISED})
    source = AzureCostSource(name="azure", location=str(tmp_path / "exports"))
    assert _normalise(_lineage(tmp_path, source), source, PERIOD) == {
        "BilledCost": Decimal(744),
        "EffectiveCost": Decimal(744),
        "ListCost": Decimal(1464),
        "ContractedCost": Decimal(1464),
    }


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_any_tag_comes_back_equal_with_and_without_braces(tags: dict[str, str], has_braces: bool) -> None:
    text = json.dumps(tags, ensure_ascii=False)
    given_text = text if has_braces else text[1:-1]
    [(read,)] = _session.execute("SELECT azure_cost_tags_json(?)", [given_text]).fetchall()
    assert json.loads(read) == tags


@settings(max_examples=200, deadline=None)
@given(
    st.decimals(min_value=Decimal(-(10**9)), max_value=Decimal(10**9), places=18),
    st.decimals(min_value=Decimal(-(10**9)), max_value=Decimal(10**9), places=18),
)
def test_a_product_is_exact_to_the_last_place(first: Decimal, second: Decimal) -> None:
    assert _session.execute(
        "SELECT exact_product(CAST(? AS DECIMAL(38,18)), CAST(? AS DECIMAL(38,18)))", [f"{first:f}", f"{second:f}"]
    ).fetchone() == (product(f"{first:f}", f"{second:f}"),)


def _text(row: Mapping[str, str], *columns: str) -> str:
    return next((row[column] for column in columns if row.get(column)), "")


def _figures(name: str) -> tuple[int, Decimal, Decimal, Decimal]:
    """Rows, cost, list and contracted cost of a sample, from its text alone: price times quantity, or the cost without one."""
    cost = listed = contracted = Decimal(0)
    lines = sample_lines(name)
    for row in lines:
        of_line = exact(_text(row, "costinbillingcurrency", "cost", "pretaxcost"))
        price, quantity = _text(row, "unitprice", "resourcerate"), _text(row, "quantity", "usagequantity")
        at_contract = product(price, quantity) if price else of_line
        public = (
            exact(row["paygcostinbillingcurrency"])
            if row.get("paygcostinbillingcurrency")
            else product(row.get("paygprice") or "0", quantity)
        )
        cost += of_line
        contracted += at_contract
        listed += public or at_contract
    return len(lines), cost, listed, contracted


@_needs_samples
@pytest.mark.parametrize(
    ("name", "period", "currency", "cost"),
    [
        ("ea_anonymous_2023-09.csv", "2023-09", "CAD", "1.26136926505726"),
        ("azure_camelCased.csv", "2019-07", "USD", "0.00011016"),
        ("costreport_payg_2019.csv", "2019-07", "USD", "0.00011016"),
        ("camel_azure_version_2.csv", "2023-08", "USD", "0.0000262412"),
    ],
)
def test_a_sample_ingests_and_its_control_is_that_of_its_text(
    tmp_path: Path, name: str, period: str, currency: str, cost: str
) -> None:
    source = AzureCostSource(name="azure", files=(SAMPLES / name,))
    count, billed, listed, contracted = _figures(name)
    assert billed == Decimal(cost)
    sums = {"BilledCost": billed, "EffectiveCost": billed, "ListCost": listed, "ContractedCost": contracted}
    assert _normalise(_lineage(tmp_path, source), source, period) == sums
    connection = normalised(tmp_path / "scratch", {f"actual/{name}": SAMPLES / name}, period=period)
    assert control(connection, period) == [
        {
            "BillingCurrency": currency,
            "rows_delivered": count,
            "rows_netted": 0,
            "rows_rejected": 0,
            "rows_added": 0,
            "billed_control": billed,
            "effective_control": billed,
            "list_control": listed,
            "contracted_control": contracted,
        }
    ]
    # Every service, unit, tag and piece of information in it is known.
    assert failed_audits(connection, period) == {}
    assert connection.sql("SELECT count(*) FROM staged WHERE ServiceCategory = 'Other'").fetchall() == [(0,)]


@_needs_samples
def test_the_sample_whose_currency_was_replaced_is_refused_for_it(tmp_path: Path) -> None:
    source = AzureCostSource(name="azure", files=(SAMPLES / "azure_version_2.csv",))
    with pytest.raises(AuditFailed, match=r"MC: 5 delivered row\(s\) were not mapped \(5 of them rejected\)"):
        _normalise(_lineage(tmp_path, source), source, "2020-09")
    connection = normalised(tmp_path / "scratch", {"actual/1.csv": SAMPLES / "azure_version_2.csv"}, period="2020-09")
    assert {row[3] for row in rejected(connection, "2020-09")} == {"the billing currency MC is no three-letter code"}


@_needs_samples
@pytest.mark.parametrize(
    ("name", "missing"), [(_ACTUAL, "the amortised cost export"), (_AMORTISED, "the actual cost export")]
)
def test_one_sample_of_the_pair_alone_is_refused_for_its_commitments(tmp_path: Path, name: str, missing: str) -> None:
    source = AzureCostSource(name="azure", files=(SAMPLES / name,))
    with pytest.raises(AuditFailed, match=f"commitments_need_both_reports.*{missing}"):
        _normalise(_lineage(tmp_path, source), source, "2023-09")


def _pair() -> AzureCostSource:
    return AzureCostSource(name="azure", files=(SAMPLES / _ACTUAL, SAMPLES / _AMORTISED))


@_needs_samples
def test_the_sample_pair_is_refused_with_the_difference_that_it_has(tmp_path: Path) -> None:
    billed = sum((exact(row["cost"]) for row in sample_lines(_ACTUAL)), Decimal(0))
    amortised = sample_lines(_AMORTISED)
    used = [row for row in amortised if row["pricingmodel"] in ("Reservation", "SavingsPlan")]
    effective = sum((exact(row["cost"]) for row in amortised), Decimal(0))
    covered = sum((exact(row["cost"]) for row in used), Decimal(0))
    # The actual report says 8.5450077867419368. The charges have its purchase of 3.25 and, of the amortised report's
    # 16.296932136636644627, all but the 0.499152000468 that commitments cover: 19.047780136168644627.
    assert billed == Decimal("8.5450077867419368")
    assert (effective, covered) == (Decimal("16.296932136636644627"), Decimal("0.499152000468"))
    assert billed - (Decimal("3.25") + effective - covered) == Decimal("-10.502772349426707827")
    # The reservation that was bought is none of those that were used.
    assert {row["benefitid"].split("/")[4] for row in sample_lines(_ACTUAL) if row["benefitid"]}.isdisjoint(
        row["benefitid"].split("/")[4] for row in used
    )
    with pytest.raises(
        AuditFailed, match=r"USD: BilledCost of the charges lacks -10\.502772349426707827 against the delivery"
    ):
        _normalise(_lineage(tmp_path, _pair()), _pair(), "2023-09")


@_needs_samples
def test_the_sample_pair_ingests_once_its_difference_is_named(tmp_path: Path) -> None:
    known = AcceptedDifference(
        source="azure",
        period="2023-09",
        currency="USD",
        cost="BilledCost",
        amount=Decimal("-10.502772349426707827"),
        reason="two trimmed reports that were never of one bill",
    )
    sums = _normalise(_lineage(tmp_path, _pair(), accepted_differences=(known,)), _pair(), "2023-09")
    assert (sums["BilledCost"], sums["EffectiveCost"]) == (
        Decimal("19.047780136168644627"),
        Decimal("16.296932136636644627"),
    )


_FOCUS_SAMPLE = SAMPLES.parent / "focus" / "focus_sample_1.0.csv"


@pytest.mark.skipif(not _FOCUS_SAMPLE.is_file(), reason=f"the FOCUS sample is not at {_FOCUS_SAMPLE}")
def test_a_native_focus_export_becomes_charges_by_the_focus_mapping(tmp_path: Path) -> None:
    with _FOCUS_SAMPLE.open(encoding="utf-8-sig", newline="") as file:
        lines = [row for row in csv.DictReader(file) if row["ProviderName"] == "Microsoft"]
    deliver(tmp_path / "exports", "focus", {"part_0_0001.csv.gz": lines}, period="2024-09")
    source = AzureCostSource(name="azure", location=str(tmp_path / "exports"))
    costs = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
    assert len(lines) == 51
    assert _normalise(_lineage(tmp_path, source), source, "2024-09") == {
        cost: sum((exact(row[cost]) for row in lines), Decimal(0)) for cost in costs
    }


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(("name", "damage"), [("1.csv.gz", _truncated), ("1.parquet", _truncated)])
def test_a_truncated_file_is_refused_by_its_name(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    run = deliver(tmp_path / "exports", "actual", {"1.csv.gz": [line("Usage", str(n)) for n in range(500)]})
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["blobs"][0] = {"blobName": manifest["blobs"][0]["blobName"].replace("1.csv.gz", name)}
    manifest.pop("byteCount")
    (run / "manifest.json").write_text(json.dumps(manifest))
    if name.endswith(".parquet"):
        table = pyarrow.table({key: [value] * 500 for key, value in line("Usage", "1").items()})
        pyarrow.parquet.write_table(table, run / name)
    damage(run / name)
    source = AzureCostSource(name="azure", location=str(tmp_path / "exports"))
    with pytest.raises(ApportionError, match=f"actual/{name}"):
        _normalise(_lineage(tmp_path, source), source, PERIOD)


def test_two_currencies_in_a_month_stay_apart(tmp_path: Path) -> None:
    connection = _delivered(tmp_path, line("Usage", "1"), line("Usage", "2", BillingCurrencyCode="USD"))
    assert [(found["BillingCurrency"], found["billed_control"]) for found in control(connection)] == [
        ("EUR", Decimal(1)),
        ("USD", Decimal(2)),
    ]
    assert rows(connection, "SELECT BillingCurrency, BilledCost FROM staged") == [("EUR", "1"), ("USD", "2")]


def test_columns_have_one_place_each() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
