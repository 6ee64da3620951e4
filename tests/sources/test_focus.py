"""Files in FOCUS as deliveries: their rows tell the periods, and a file that is known is not read again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipelines.config import FocusSource, Settings
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.lake.landing import LandedSource, land, note_look
from pipelines.lake.paths import Lake
from pipelines.lake.tables import ensure_table, relation_sql, table_files
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.normalisation import normalise
from pipelines.sources import focus
from pipelines.sources.deliveries import Delivery
from tests.normalise.focus_files import row, write_csv

AUGUST = {"BillingPeriodStart": "2026-08-01", "BillingPeriodEnd": "2026-09-01"}
SEPTEMBER = {"BillingPeriodStart": "2026-09-01", "BillingPeriodEnd": "2026-10-01"}


def _source(location: Path) -> FocusSource:
    return FocusSource(name="gpu-cloud", location=str(location))


def _described(delivery: Delivery) -> tuple[str, list[str], dict[str, str]]:
    return delivery.period, [file.name for file in delivery.files], dict(delivery.details)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """August in a file, September in another, and one with rows of both, in a newer version."""
    (tmp_path / "exports" / "late").mkdir(parents=True)
    write_csv(tmp_path / "exports" / "2026-08.csv", [row(**AUGUST)])
    write_csv(tmp_path / "exports" / "2026-09.csv", [row(**SEPTEMBER)])
    write_csv(
        tmp_path / "exports" / "late" / "fixes.csv", [row(**AUGUST, InvoiceId="1"), row(**SEPTEMBER, InvoiceId="")]
    )
    return tmp_path / "exports"


def test_each_billing_period_is_a_delivery_of_the_files_that_hold_its_rows(folder: Path) -> None:
    details = {"dialect": "focus-1.2", "format": "csv", "rows": "of-period"}
    assert [_described(delivery) for delivery in focus.deliveries(_source(folder))] == [
        ("2026-08", ["2026-08.csv", "late/fixes.csv"], details),
        ("2026-09", ["2026-09.csv", "late/fixes.csv"], details),
    ]


def test_one_period_may_be_asked_for(folder: Path) -> None:
    assert [delivery.period for delivery in focus.deliveries(_source(folder), "2026-09")] == ["2026-09"]


def test_single_files_are_deliveries_too(folder: Path) -> None:
    source = FocusSource(name="gpu-cloud", files=(folder / "2026-08.csv",))
    assert [_described(delivery) for delivery in focus.deliveries(source)] == [
        ("2026-08", ["2026-08.csv"], {"dialect": "focus-1.1", "format": "csv", "rows": "all"})
    ]


def test_the_version_names_the_content_and_not_when_it_was_copied(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    assert [delivery.version for delivery in focus.deliveries(_source(folder))] == [
        delivery.version for delivery in focus.deliveries(_source(tmp_path / "copy"))
    ]


def _landed(tmp_path: Path) -> LandedSource:
    return LandedSource(Lake(tmp_path / "lake"), "gpu-cloud")


def _reading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a known file was read")

    monkeypatch.setattr(focus, "_read", refuse)


def test_what_was_read_looks_the_same_without_a_file_being_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, landed = _source(folder), _landed(tmp_path)
    looks = focus.look(source, landed)
    _reading_fails(monkeypatch)

    # Nothing landed of it: a month that is never pulled is known all the same.
    assert focus.look(source, landed) == looks


def test_a_file_that_is_gone_changes_its_periods_and_the_others_are_still_known(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, landed = _source(folder), _landed(tmp_path)
    expected = focus.look(source, landed)
    (folder / "2026-09.csv").unlink()
    _reading_fails(monkeypatch)

    found = focus.look(source, landed)

    assert found["2026-08"] == expected["2026-08"]
    # September's own file is gone; what the shared one holds of it is still known.
    assert found["2026-09"] != expected["2026-09"]


def test_a_new_file_changes_only_the_periods_that_it_has_rows_of(folder: Path) -> None:
    source = _source(folder)
    before = focus.look(source)
    write_csv(folder / "more.csv", [row(**SEPTEMBER)])
    after = focus.look(source)
    assert {period for period in after if after[period] != before.get(period)} == {"2026-09"}


def test_rows_that_leave_a_period_change_it(folder: Path) -> None:
    source = _source(folder)
    before = focus.look(source)
    write_csv(folder / "late" / "fixes.csv", [row(**SEPTEMBER, InvoiceId="1")])
    after = focus.look(source)
    assert all(after[period] != before[period] for period in ("2026-08", "2026-09"))


def test_hidden_files_and_those_of_other_kinds_do_not_count(folder: Path) -> None:
    (folder / "README.txt").write_text("hello")
    (folder / "_committed_1").mkdir()
    write_csv(folder / "_committed_1" / "part.csv", [row(**AUGUST)])
    assert [_described(delivery)[1] for delivery in focus.deliveries(_source(folder))] == [
        ["2026-08.csv", "late/fixes.csv"],
        ["2026-09.csv", "late/fixes.csv"],
    ]


@pytest.mark.parametrize(
    ("manifest", "kind"),
    [("metadata/acme-Manifest.json", "aws-cur"), ("20260901-20260930/run/manifest.json", "azure-cost")],
)
def test_a_clouds_own_export_is_left_to_its_own_kind(folder: Path, manifest: str, kind: str) -> None:
    (folder / manifest).parent.mkdir(parents=True, exist_ok=True)
    (folder / manifest).write_text("{}")
    with pytest.raises(DeliveryError) as refused:
        focus.deliveries(_source(folder))
    assert refused.value.remedy == (
        f"set 'kind: {kind}' for this source; it reads native FOCUS exports by their manifests"
    )


def test_a_folder_without_focus_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bill.zip").write_bytes(b"")
    with pytest.raises(DeliveryError) as refused:
        focus.deliveries(_source(tmp_path))
    assert (refused.value.problem, refused.value.found) == ("gpu-cloud: no file in FOCUS found.", "bill.zip")


def test_a_file_of_the_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError) as refused:
        focus.deliveries(FocusSource(name="gpu-cloud", files=(tmp_path / "focus.csv",)))
    assert refused.value.where == str(tmp_path / "focus.csv")


def test_files_without_rows_are_no_delivery(tmp_path: Path) -> None:
    write_csv(tmp_path / "focus.csv", [row()])
    (tmp_path / "focus.csv").write_text((tmp_path / "focus.csv").read_text().split("\n", 1)[0])
    with pytest.raises(DeliveryError) as refused:
        focus.deliveries(_source(tmp_path))
    assert refused.value.problem == "gpu-cloud: the files have no row, so that they belong to no billing period."


def test_a_row_without_a_billing_period_names_its_source_and_file(folder: Path) -> None:
    write_csv(folder / "2026-09.csv", [row(BillingPeriodStart="NULL")])
    with pytest.raises(DeliveryError) as refused:
        focus.deliveries(_source(folder))
    assert (refused.value.problem, refused.value.where, refused.value.expected) == (
        "gpu-cloud: a line names no billing period.",
        f"{folder / '2026-09.csv'}, row 1",
        "a date in BillingPeriodEnd or BillingPeriodStart",
    )


def test_a_check_says_what_it_listed_and_read(folder: Path) -> None:
    size = sum(file.stat().st_size for file in folder.rglob("*.csv"))
    assert [(finding.subject, finding.state, finding.detail) for finding in focus.check(_source(folder))] == [
        (f"list {folder}", "works", f"3 file(s), {size:,} bytes"),
        (f"read {folder / '2026-08.csv'}", "works", "focus-1.1, 18 columns"),
    ]


def test_a_check_names_the_columns_that_a_file_lacks(tmp_path: Path) -> None:
    (tmp_path / "focus.csv").write_text("ServiceName,UsageQuantity\nGPU,1\n")
    [listed, read] = focus.check(_source(tmp_path))
    assert (listed.state, read.state) == ("works", "missing")
    assert "BilledCost, BillingAccountId" in read.detail


def test_a_delivery_becomes_charges_and_the_next_look_reads_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(folder)
    lineage = Lineage(Settings(lake=tmp_path / "lake", bills=(source,), file=tmp_path / "apportion.yaml"))
    for contract in contracts().values():
        if contract.kind == "table":
            ensure_table(lineage.lake, contract)
    looks = focus.look(source, LandedSource(lineage.lake, source.name))
    for delivery in focus.deliveries(source):
        land(lineage.lake, delivery)
        note_look(lineage.lake, source.name, delivery.period, looks[delivery.period])
        normalise(lineage, source.name, delivery.period)

    table = contracts()["billing.charges"]
    with connect() as connection:
        files = [part.path for part in table_files(lineage.lake, table)]
        made = connection.sql(
            "SELECT x_BillingPeriod, x_SourceFile, x_SourceRow, BilledCost "
            f"FROM ({relation_sql(connection, table, files)}) ORDER BY ALL"
        ).fetchall()
    assert [(period, file, number, str(cost).rstrip("0")) for period, file, number, cost in made] == [
        ("2026-08", "2026-08.csv", 1, "2."),
        ("2026-08", "late/fixes.csv", 1, "2."),
        ("2026-09", "2026-09.csv", 1, "2."),
        ("2026-09", "late/fixes.csv", 2, "2."),
    ]
    _reading_fails(monkeypatch)
    assert focus.look(source, LandedSource(lineage.lake, source.name)) == looks


def test_a_file_that_was_only_touched_is_known_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, lake = _source(folder), Lake(tmp_path / "lake")
    for touched in (1_780_000_000, 1_790_000_000):
        os.utime(folder / "2026-08.csv", (touched, touched))
        looks = focus.look(source, LandedSource(lake, source.name))
        for delivery in focus.deliveries(source, landed=LandedSource(lake, source.name)):
            land(lake, delivery)
            note_look(lake, source.name, delivery.period, looks[delivery.period])
    _reading_fails(monkeypatch)

    assert focus.look(source, LandedSource(lake, source.name)) == looks
