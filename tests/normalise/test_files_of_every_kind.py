"""What every bill kind reads and refuses alike: spellings, names and copies of files, and what isn't the file it was."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import AwsCurSource, AzureCostSource, BillSource, FocusSource, GcpBillingSource, Settings
from pipelines.errors import AuditFailed, DeliveryError
from pipelines.lake.database import connect
from pipelines.lake.landing import LandedSource
from pipelines.lake.tables import ensure_table, relation_sql, table_files
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.night import periods_to_run
from pipelines.models.normalisation import normalise
from pipelines.models.pull import pull
from pipelines.sources.kinds import source_kind
from tests.normalise import azure_bills, bills, focus_files, google_bills

PERIOD = "2026-09"


@dataclass(frozen=True)
class Kind:
    """How a kind's files are written, and how its source names them; ``column`` is where an amount stands."""

    ending: str
    column: str
    write: Callable[[Path, Sequence[Any]], Path]
    source: Callable[..., BillSource]

    def file(self, folder: Path, *amounts: str, name: str = "bill") -> Path:
        """A file of September 2026 with a line for each amount."""
        folder.mkdir(parents=True, exist_ok=True)
        return self.write(folder / f"{name}{self.ending}", amounts)

    def bill(self, *files: Path) -> BillSource:
        """A source that names these files."""
        return self.source(name="bill", files=files)


def _google(path: Path, amounts: Sequence[Any]) -> Path:
    # Google bills a line's quantity too; the line here has none.
    return google_bills.write_json(path, [google_bills.line(amount) for amount in amounts])


KINDS = {
    "aws-cur": Kind(
        ".csv",
        "lineItem/UnblendedCost",
        lambda path, amounts: bills.write_legacy(path, [bills.line("Usage", amount) for amount in amounts]),
        AwsCurSource,
    ),
    "azure-cost": Kind(
        ".csv",
        "CostInBillingCurrency",
        lambda path, amounts: azure_bills.write_export(path, [azure_bills.line("Usage", each) for each in amounts]),
        AzureCostSource,
    ),
    "gcp-billing": Kind(".json", "cost", _google, GcpBillingSource),
    "focus": Kind(
        ".csv",
        "BilledCost",
        lambda path, amounts: focus_files.write_csv(path, [focus_files.row(BilledCost=each) for each in amounts]),
        FocusSource,
    ),
}
CSV_KINDS = [name for name, kind in KINDS.items() if kind.ending == ".csv"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(params=CSV_KINDS)
def csv_kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def _lineage(tmp_path: Path, source: BillSource) -> Lineage:
    lineage = Lineage(Settings(lake=tmp_path / "lake", bills=(source,), file=tmp_path / "apportion.yaml"))
    for table in ("billing.charges", "quality.audits", "quality.control", "quality.claimed", "quality.rejected"):
        ensure_table(lineage.lake, contracts()[table])
    return lineage


def _bring(lineage: Lineage) -> None:
    """Pull the source's newest delivery of the period and normalise it."""
    pull(lineage.lake, lineage.settings.bills[0], PERIOD)
    normalise(Lineage(lineage.settings), "bill", PERIOD)


def _brought(tmp_path: Path, *files: Path, kind: Kind) -> Decimal:
    lineage = _lineage(tmp_path, kind.bill(*files))
    _bring(lineage)
    return _billed(lineage)


def _billed(lineage: Lineage) -> Decimal:
    charges = contracts()["billing.charges"]
    with connect() as connection:
        kept = relation_sql(connection, charges, [part.path for part in table_files(lineage.lake, charges)])
        [(billed,)] = connection.sql(f"SELECT sum(BilledCost) FROM ({kept})").fetchall()
    assert isinstance(billed, Decimal)
    return billed


def _refusal(tmp_path: Path, *files: Path, kind: Kind) -> DeliveryError:
    with pytest.raises(DeliveryError) as refused:
        _brought(tmp_path, *files, kind=kind)
    assert refused.value.exit_code == 3
    return refused.value


def test_a_copy_of_a_file_under_another_name_is_refused(tmp_path: Path, kind: Kind) -> None:
    file = kind.file(tmp_path / "in", "2.5")
    copy = Path(shutil.copyfile(file, file.with_name(f"copy{kind.ending}")))
    refused = _refusal(tmp_path, file, copy, kind=kind)
    folder = "actual/" if kind.source is AzureCostSource else ""
    assert refused.problem == "Two files of the delivery are the same, byte for byte: their charges would count twice."
    assert refused.where.endswith(f"files {folder}{file.name} and {folder}{copy.name}")
    assert refused.found == f"1 rows twice, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}"


def test_files_without_a_row_may_be_equal(tmp_path: Path, csv_kind: Kind) -> None:
    file, empty = csv_kind.file(tmp_path / "in", "2.5"), []
    header = file.read_bytes().split(b"\n", 1)[0] + b"\n"
    for name in ("one.csv", "two.csv"):
        (tmp_path / "in" / name).write_bytes(header)
        empty.append(tmp_path / "in" / name)
    if csv_kind.source is FocusSource:
        # Its files without a row belong to no period.
        empty = []
    assert _brought(tmp_path, file, *empty, kind=csv_kind) == Decimal("2.5")


def test_an_actual_and_an_amortised_report_may_be_equal(tmp_path: Path) -> None:
    kind = KINDS["azure-cost"]
    actual = kind.file(tmp_path / "in", "2.5")
    amortised = Path(shutil.copyfile(actual, actual.with_name("amortised.csv")))
    assert _brought(tmp_path, actual, amortised, kind=kind) == Decimal("2.5")


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_a_file_in_landing_that_is_not_what_landed_is_refused_and_fetched_anew_once_deleted(
    tmp_path: Path, kind: Kind, change: str
) -> None:
    file = kind.file(tmp_path / "in", "2.5")
    lineage = _lineage(tmp_path, kind.bill(file))
    pulled = pull(lineage.lake, lineage.settings.bills[0], PERIOD)
    look = LandedSource(lineage.lake, "bill").looks[PERIOD]
    [landed] = pulled.deliveries
    path = landed.files[0].path
    if change == "edit":
        content = path.read_bytes().replace(b"2.5", b"3.5")
        path.unlink()
        path.write_bytes(content)
        with pytest.raises(DeliveryError) as refused:
            normalise(Lineage(lineage.settings), "bill", PERIOD)
        assert refused.value.problem == "A file in landing was changed after it landed."
        assert refused.value.where == f"source bill, period {PERIOD}, version {landed.version}, file {path}"
        assert refused.value.expected == f"SHA-256 {landed.files[0].sha256}, as delivery.json says"
        assert refused.value.found == f"SHA-256 {hashlib.sha256(content).hexdigest()}"
        shutil.rmtree(path.parents[len(Path(landed.files[0].name).parts) - 1])
    else:
        path.unlink()

    with pytest.raises(DeliveryError, match="no longer in landing"):
        normalise(Lineage(lineage.settings), "bill", PERIOD)
    assert LandedSource(lineage.lake, "bill").looks == {PERIOD: ""}
    assert PERIOD in periods_to_run(lineage.settings, ()).reasons
    _bring(lineage)
    assert _billed(lineage) == Decimal("2.5")
    assert LandedSource(lineage.lake, "bill").looks == {PERIOD: look}


def test_of_a_file_of_two_months_the_one_that_was_deleted_from_landing_comes_back(tmp_path: Path) -> None:
    lines = [
        bills.line("Usage", cost, bill_billing_period_start_date=f"2026-{month}-01T00:00:00Z")
        for month, cost in (("08", "1"), ("09", "2.5"))
    ]
    source = AwsCurSource(name="bill", files=(bills.write_legacy(tmp_path / "bill.csv", lines),))
    lineage = _lineage(tmp_path, source)
    for period in ("2026-08", PERIOD):
        pull(lineage.lake, source, period)
    shutil.rmtree(next((lineage.lake.landing / "bill" / PERIOD).glob("[0-9a-f]*")))
    _bring(lineage)
    assert _billed(lineage) == Decimal("2.5")


@pytest.mark.parametrize("packed", [False, True])
def test_an_ending_in_capital_letters_is_the_same_ending(tmp_path: Path, kind: Kind, packed: bool) -> None:
    file = kind.file(tmp_path / "in", "2.5")
    shouted = file.with_name(f"BILL{kind.ending.upper()}{'.GZ' if packed else ''}")
    shouted.write_bytes(gzip.compress(file.read_bytes(), mtime=0) if packed else file.read_bytes())
    assert _brought(tmp_path, shouted, kind=kind) == Decimal("2.5")


def test_parquet_in_capital_letters_is_parquet(tmp_path: Path) -> None:
    written = {
        "aws-cur": bills.write_cur2(tmp_path / "aws.parquet", [bills.line("Usage", 2.5)]),
        "gcp-billing": google_bills.write_parquet(tmp_path / "google.parquet", [google_bills.line(2.5)]),
    }
    for name, file in written.items():
        shouted = file.rename(tmp_path / file.name.upper())
        assert _brought(tmp_path / name, shouted, kind=KINDS[name]) == Decimal("2.5")


def test_files_in_a_folder_with_capital_letters_count(tmp_path: Path) -> None:
    focus_files.write_csv(tmp_path / "in.csv", [focus_files.row(BilledCost="2.5")])
    (tmp_path / "in").mkdir()
    (tmp_path / "in.csv").rename(tmp_path / "in" / "SEPTEMBER.CSV")
    lineage = _lineage(tmp_path, FocusSource(name="bill", location=str(tmp_path / "in")))
    _bring(lineage)
    assert _billed(lineage) == Decimal("2.5")


@pytest.mark.parametrize(("name", "ending"), [("focus", "xlsx"), ("focus", "csv.zip"), ("gcp-billing", "avro")])
def test_a_file_of_an_unknown_ending_in_a_folder_is_named_and_refused(tmp_path: Path, name: str, ending: str) -> None:
    kind = KINDS[name]
    kind.file(tmp_path / "in", "2.5")
    unknown = tmp_path / "in" / f"more.{ending}"
    unknown.write_bytes(b"x")
    for beside in ("_SUCCESS", ".hidden", "README.md", "bill.csv.crc"):
        (tmp_path / "in" / beside).write_bytes(b"x")
    source = kind.source(name="bill", location=str(tmp_path / "in"))
    with pytest.raises(DeliveryError) as refused:
        source_kind(name).deliveries(source)
    assert (refused.value.where, refused.value.found) == (str(unknown), unknown.name)
    unknown.unlink()
    assert [delivery.period for delivery in source_kind(name).deliveries(source)] == [PERIOD]


@pytest.mark.parametrize("text", ["1_000", "1_0.000000000000001", " +-1", "inf", "1.000,50"])
def test_text_that_is_no_amount_is_refused_by_file_row_column_and_value(tmp_path: Path, kind: Kind, text: str) -> None:
    refused = str(_refusal(tmp_path, kind.file(tmp_path / "in", "2.5", text), kind=kind))
    folder = "actual/" if kind.source is AzureCostSource else ""
    assert f"{folder}bill{kind.ending}, row 2, column {kind.column}" in refused
    assert text in refused
    assert "a number below 10^20" in refused


def test_other_spellings_of_an_amount_are_that_amount(tmp_path: Path, kind: Kind) -> None:
    spellings = ["1e3", "1E-2", ".5", "5.", "+1", " 1.5 ", "\t-1.5", "-0001234567890.250000000000"]
    # 1000 + 0.01 + 0.5 + 5 + 1 + 1.5 - 1.5 - 1234567890.25
    assert _brought(tmp_path, kind.file(tmp_path / "in", *spellings), kind=kind) == Decimal("-1234566883.74")


@pytest.mark.parametrize("text", ["4/1/25", "epoch", "infinity", "05.10.2026", "20260901"])
def test_text_that_is_no_time_is_refused_by_file_row_column_and_value(tmp_path: Path, text: str) -> None:
    dated = {
        "aws-cur": ("line_item_usage_start_date", "lineItem/UsageStartDate"),
        "gcp-billing": ("usage_start_time", "usage_start_time"),
        "azure-cost": ("Date", "Date"),
        "focus": ("ChargePeriodStart", "ChargePeriodStart"),
    }
    lines: dict[str, Callable[[Path, dict[str, str]], Path]] = {
        "aws-cur": lambda path, value: bills.write_legacy(path, [bills.line("Usage", "1", **value)]),
        "gcp-billing": lambda path, value: google_bills.write_json(path, [google_bills.line(1, **value)]),
        "azure-cost": lambda path, value: azure_bills.write_export(path, [azure_bills.line("Usage", "1", **value)]),
        "focus": lambda path, value: focus_files.write_csv(path, [focus_files.row(**value)]),
    }
    for name, (column, header) in dated.items():
        (tmp_path / name).mkdir()
        file = lines[name](tmp_path / name / f"bill{KINDS[name].ending}", {column: text})
        if (name, text) == ("focus", "4/1/25"):
            # A spreadsheet's date, whose order the file tells.
            continue
        refused = str(_refusal(tmp_path / name, file, kind=KINDS[name]))
        assert f"bill{KINDS[name].ending}, row 1, column {header}" in refused
        assert text in refused


def test_a_date_that_says_no_billing_period_is_told_without_sql(tmp_path: Path) -> None:
    dates = {"Date": "05.09.2026", "BillingPeriodStartDate": "01.09.2026"}
    file = azure_bills.write_export(tmp_path / "bill.csv", [azure_bills.line("Usage", "1", **dates)])
    refused = _refusal(tmp_path, file, kind=KINDS["azure-cost"])
    assert (refused.where, refused.expected, refused.found) == (
        f"source bill, billing period {PERIOD}, {file}, row 1, column BillingPeriodStartDate",
        "a date, YYYY-MM-DD or MM/DD/YYYY",
        "'01.09.2026'",
    )


@pytest.mark.parametrize(
    ("changed", "problem", "found"),
    [
        (
            lambda content: content.replace(b",", b";"),
            "fields are separated by semicolons, not by commas.",
            ";",
        ),
        (lambda content: content.replace(b",", b"\t"), "fields are separated by tabs, not by commas.", "\t"),
        (lambda content: b"", "has no header.", "an empty file: 0 bytes"),
        (
            lambda content: content.decode("utf-8-sig").encode("utf-16"),
            "isn't written in UTF-8.",
            "UTF-16 or UTF-32: several bytes for each character",
        ),
        (
            lambda content: content.decode("utf-8-sig").encode("utf-16-le"),
            "isn't written in UTF-8.",
            "UTF-16 or UTF-32: several bytes for each character",
        ),
    ],
    ids=["semicolons", "tabs", "empty", "utf-16", "utf-16 without a mark"],
)
def test_a_csv_file_that_is_none_of_ours_is_told_what_it_is(
    tmp_path: Path, csv_kind: Kind, changed: Callable[[bytes], bytes], problem: str, found: str
) -> None:
    file = csv_kind.file(tmp_path / "in", "2.5")
    file.write_bytes(changed(file.read_bytes()))
    refused = _refusal(tmp_path, file, kind=csv_kind)
    assert problem in refused.problem
    assert found in refused.found
    assert str(file) in refused.where


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path, csv_kind: Kind) -> None:
    file = csv_kind.file(tmp_path / "in", "2.5", "3.5")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], lines[2].replace(b"42", b"\xfc", 1).replace(b"Nebius", b"N\xfc", 1)]))
    refused = _refusal(tmp_path, file, kind=csv_kind)
    assert refused.problem.endswith("CSV file isn't written in UTF-8.")
    assert refused.where.endswith(f"{file.name}, line 3")
    assert "\\xfc" in refused.found


def test_amounts_whose_sum_no_column_can_hold_are_told_by_the_largest(tmp_path: Path, kind: Kind) -> None:
    file = kind.file(tmp_path / "in", "2.5", *["90000000000000000000"] * 3)
    refused = _refusal(tmp_path, file, kind=kind)
    assert refused.problem == "A number is too large to be calculated with."
    assert f"{file.name}, row 2, column " in refused.where
    assert (refused.expected, refused.found) == ("sums and products below 10^20", "90000000000000000000")


def test_an_amortised_report_alone_is_told_first_that_the_actual_one_is_missing(tmp_path: Path) -> None:
    lines = [
        azure_bills.line(
            "Usage", "2.5", PricingModel="Reservation", benefitId=azure_bills.RESERVATION, benefitName="Reserved"
        )
    ]
    file = azure_bills.write_export(tmp_path / "amortised.csv", lines)
    with pytest.raises(AuditFailed) as refused:
        _brought(tmp_path, file, kind=KINDS["azure-cost"])
    first = refused.value.found.splitlines()[0]
    assert first.startswith("commitments_need_both_reports: ")
    assert "the actual cost export" in first
