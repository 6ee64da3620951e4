"""Azure cost exports in a folder: which runs count, which blobs, what is refused before a byte lands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import AzureCostSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import LandedSource
from pipelines.lake.paths import Lake
from pipelines.models.pull import pull
from pipelines.sources.azure_cost import check, deliveries, look
from pipelines.sources.deliveries import Delivery
from pipelines.sources.findings import Finding
from tests.normalise.azure_bills import SAMPLES, line, write_export
from tests.sources.azure_deliveries import deliver

USAGE = line("Usage", "24")
TWO = [USAGE, line("Usage", "12")]


def _source(location: Path) -> AzureCostSource:
    return AzureCostSource(name="azure", location=str(location))


def _names(delivery: Delivery) -> list[str]:
    return [file.name for file in delivery.files]


def test_actual_and_amortised_exports_of_a_month_are_one_delivery(tmp_path: Path) -> None:
    deliver(tmp_path, "actual", {"part_0_0001.csv": TWO, "part_1_0001.csv": [USAGE]}, run_id="a1")
    deliver(tmp_path, "amortised", {"part_0_0001.csv": TWO}, run_id="b1")
    [delivery] = deliveries(_source(tmp_path))
    assert _names(delivery) == ["actual/part_0_0001.csv", "actual/part_1_0001.csv", "amortised/part_0_0001.csv"]
    assert (delivery.period, delivery.details["mapping"], delivery.details["format"], delivery.details["reports"]) == (
        "2026-09",
        "azure-cost",
        "csv",
        "actual amortised",
    )
    assert json.loads(delivery.details["row_counts"]) == {
        "actual/part_0_0001.csv": 2,
        "actual/part_1_0001.csv": 1,
        "amortised/part_0_0001.csv": 2,
    }


def test_of_month_to_date_runs_the_newest_counts_whatever_its_folder_is_called(tmp_path: Path) -> None:
    deliver(
        tmp_path, "actual", {"1.csv": [USAGE]}, submitted="2026-09-04T02:00:00.000Z", run_id="first", folder="z/run"
    )
    deliver(tmp_path, "actual", {"1.csv": TWO}, submitted="2026-09-05T02:00:00.000Z", run_id="second", folder="a/run")
    [delivery] = deliveries(_source(tmp_path))
    assert (delivery.version, [file.path or file.where for file in delivery.files]) == (
        "second",
        [f"{tmp_path}/a/run/1.csv"],
    )


def test_actual_and_amortised_cost_are_taken_from_the_newest_day_that_both_have(tmp_path: Path) -> None:
    for day in ("04", "05"):
        deliver(tmp_path, "actual", {"1.csv": TWO}, submitted=f"2026-09-{day}T02:00:00Z", run_id=f"actual-{day}")
    deliver(tmp_path, "amortised", {"1.csv": TWO}, submitted="2026-09-04T03:00:00Z", run_id="amortised-04")
    [delivery] = deliveries(_source(tmp_path))
    assert delivery.details["run_submitted"] == "2026-09-04T02:00:00Z, 2026-09-04T03:00:00Z"


def test_a_run_of_the_last_month_stands_for_the_daily_one_of_the_same_scope(tmp_path: Path) -> None:
    deliver(tmp_path, "actual", {"1.csv": [USAGE]}, submitted="2026-09-30T02:00:00Z", run_id="daily")
    once = deliver(tmp_path, "actual", {"1.csv": TWO}, submitted="2026-10-05T02:00:00Z", run_id="once", folder="last/x")
    manifest = json.loads((once / "manifest.json").read_text())
    manifest["exportConfig"] |= {"exportName": "last", "resourceId": manifest["exportConfig"]["resourceId"] + "-last"}
    (once / "manifest.json").write_text(json.dumps(manifest))
    assert [delivery.version for delivery in deliveries(_source(tmp_path))] == ["once"]


def test_a_report_that_is_overwritten_is_a_new_delivery(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    deliver(exports, "actual", {"1.csv": [USAGE]}, run_id="r1", folder="acme-actual/20260901-20260930")
    source, lake = _source(exports), Lake(tmp_path / "lake")
    seen = look(source)
    assert pull(lake, source, "2026-09").copied == 1
    assert (look(source), pull(lake, source, "2026-09").copied) == (seen, 0)
    deliver(exports, "actual", {"1.csv": TWO}, run_id="r2", folder="acme-actual/20260901-20260930")
    assert look(source) != seen
    assert pull(lake, source, "2026-09").copied == 1
    landed = LandedSource(lake, "azure").period("2026-09")
    assert landed is not None
    assert landed.version == "r2"


def test_the_older_shape_is_read_by_its_folders(tmp_path: Path) -> None:
    for report in ("actual", "amortised"):
        for moment in ("2026-09-04T02:00", "2026-09-05T02:00"):
            deliver(tmp_path, report, {"000001.csv": TWO}, submitted=moment, older_shape=True)
    [delivery] = deliveries(_source(tmp_path))
    assert (delivery.period, _names(delivery)) == ("2026-09", ["actual/000001.csv", "amortised/000001.csv"])
    assert all("202609050200" in file.where for file in delivery.files)


def test_the_older_suffix_is_a_manifest(tmp_path: Path) -> None:
    run = deliver(tmp_path, "actual", {"000001.csv": TWO})
    (run / "manifest.json").rename(run / "acme-actual_manifest.json")
    assert [_names(delivery) for delivery in deliveries(_source(tmp_path))] == [["actual/000001.csv"]]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the sample exports are not at {SAMPLES}")
def test_the_sample_manifest_is_followed(tmp_path: Path) -> None:
    manifest = json.loads((SAMPLES / "manifest_2021-01-01.json").read_text())
    blob = tmp_path / manifest["blobs"][0]["blobName"]
    blob.parent.mkdir(parents=True)
    # 423,869 bytes, as the manifest says; nothing reads them here.
    blob.write_bytes(b"x" * 423_869)
    shutil.copyfile(SAMPLES / "manifest_2021-01-01.json", blob.parent / "manifest.json")
    [delivery] = deliveries(_source(tmp_path))
    assert (delivery.period, _names(delivery)) == ("2023-01", ["actual/000001.csv"])
    assert json.loads(delivery.details["row_counts"]) == {"actual/000001.csv": 490}
    blob.write_bytes(b"x" * 423_868)
    with pytest.raises(DeliveryError, match="423,868 bytes: the delivery is incomplete"):
        deliveries(_source(tmp_path))


def test_a_focus_export_is_a_delivery_of_the_focus_mapping(tmp_path: Path) -> None:
    deliver(tmp_path, "focus", {"1.csv": TWO})
    [delivery] = deliveries(_source(tmp_path))
    assert (delivery.details["mapping"], _names(delivery)) == ("focus", ["1.csv"])


def test_reports_that_are_no_bill_are_left_alone(tmp_path: Path) -> None:
    deliver(tmp_path, "actual", {"1.csv": TWO})
    deliver(tmp_path, "focus", {"1.csv": TWO}, exportConfig={"exportName": "prices", "type": "PriceSheet"})
    assert [_names(delivery) for delivery in deliveries(_source(tmp_path))] == [["actual/1.csv"]]


def test_a_look_changes_only_for_the_month_that_was_delivered_anew(tmp_path: Path) -> None:
    deliver(tmp_path, "actual", {"1.csv": TWO}, period="2026-08", run_id="august")
    deliver(tmp_path, "actual", {"1.csv": TWO}, period="2026-09")
    before = look(_source(tmp_path))
    deliver(tmp_path, "actual", {"1.csv": TWO}, period="2026-09", submitted="2026-09-05T02:00:00Z", run_id="run-2")
    after = look(_source(tmp_path))
    assert sorted(before) == sorted(after) == ["2026-08", "2026-09"]
    assert [period for period in before if before[period] != after[period]] == ["2026-09"]


def _without_file(root: Path) -> None:
    run = deliver(root, "actual", {"1.csv": TWO})
    (run / "1.csv").unlink()


def _short_file(root: Path) -> None:
    run = deliver(root, "actual", {"1.csv": TWO})
    (run / "1.csv").write_bytes((run / "1.csv").read_bytes()[:-10])


def _blob_named(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        deliver(root, "actual", {"1.csv": TWO}, blobs=[{"blobName": name}], blobCount=1)

    return change


def _manifest(**content: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        deliver(root, "actual", {"1.csv": TWO}, **content)

    return change


def _no_manifest(root: Path) -> None:
    (deliver(root, "actual", {"1.csv": TWO}) / "manifest.json").unlink()


def _torn_manifest(root: Path) -> None:
    (deliver(root, "actual", {"1.csv": TWO}) / "manifest.json").write_text('{"blobs": [')


def _two_scopes(root: Path) -> None:
    deliver(root, "actual", {"1.csv": TWO})
    deliver(root, "actual", {"1.csv": TWO}, folder="other/20260901-20260930/202609040200/x", scope="/subscriptions/42")


def _beside_focus(root: Path) -> None:
    deliver(root, "actual", {"1.csv": TWO})
    deliver(root, "focus", {"1.csv": TWO})


def _empty_amortised(root: Path) -> None:
    deliver(root, "actual", {"1.csv": TWO})
    deliver(root, "amortised", {"1.csv": [dict.fromkeys(USAGE, "")]}, dataRowCount=0, blobs=[
        {"blobName": "acme-amortised/20260901-20260930/202609040200/run-1/1.csv", "dataRowCount": 0}
    ], byteCount=0)  # fmt: skip


def _undated(root: Path) -> None:
    for folder in ("a/20260901-20260930/x", "a/20260901-20260930/y"):
        deliver(root, "actual", {"1.csv": TWO}, folder=folder, older_shape=True)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_without_file, "a blob that the manifest of 2026-09 names isn't there"),
        (_short_file, "is not as long as its manifest says"),
        (_blob_named("../secrets/1.csv"), "outside its own folder"),
        (_blob_named("acme-actual/20260901-20260930/202609040200/run-1/../../1.csv"), "outside its own folder"),
        (_blob_named("elsewhere/1.csv"), "outside its own folder"),
        (_manifest(blobCount=2), "contradicts itself"),
        (_manifest(dataRowCount=3), "contradicts itself"),
        (_manifest(byteCount=3), "contradicts itself"),
        (_manifest(blobs=[], blobCount=0, byteCount=0, dataRowCount=0), "names no blob"),
        (
            _manifest(runInfo={"startDate": "2026-08-15T00:00:00", "endDate": "2026-09-14T00:00:00"}),
            "spans more than a calendar month",
        ),
        (_no_manifest, "no manifest found"),
        (_torn_manifest, "no JSON"),
        (_two_scopes, "exports of actual cost of two scopes"),
        (_beside_focus, "a FOCUS export beside others"),
        (_empty_amortised, "the amortised cost export of 2026-09 is empty"),
        (_undated, "nothing says which is the newest"),
    ],
)
def test_what_can_not_be_followed_is_refused(tmp_path: Path, prepare: Callable[[Path], None], message: str) -> None:
    prepare(tmp_path)
    with pytest.raises(DeliveryError, match=message) as refused:
        deliveries(_source(tmp_path))
    assert refused.value.remedy
    assert "azure" in refused.value.problem


def test_bare_files_are_told_apart_by_their_names_and_months_by_their_lines(tmp_path: Path) -> None:
    october = {
        **USAGE,
        "Date": "10/01/2026",
        "BillingPeriodStartDate": "10/01/2026",
        "BillingPeriodEndDate": "10/31/2026",
    }
    files = (
        write_export(tmp_path / "ActualCost.csv", [USAGE, october]),
        write_export(tmp_path / "AmortizedCost.csv", [USAGE, october]),
    )
    source = AzureCostSource(name="azure", files=files)
    assert [(delivery.period, _names(delivery), delivery.details["rows"]) for delivery in deliveries(source)] == [
        (period, ["actual/ActualCost.csv", "amortised/AmortizedCost.csv"], "of-period")
        for period in ("2026-09", "2026-10")
    ]
    assert sorted(look(source)) == ["2026-09", "2026-10"]


def test_a_check_says_what_is_there_and_which_report_is_missing(tmp_path: Path) -> None:
    run = deliver(tmp_path, "actual", {"1.csv": TWO})
    size = (run / "1.csv").stat().st_size
    assert check(_source(tmp_path)) == [
        Finding(f"list {tmp_path}", "works", "1 billing periods, the newest 2026-09"),
        Finding(f"read {run}/1.csv", "works", f"{size:,} bytes"),
        Finding(
            "actual and amortised cost",
            "warning",
            "there is no export of amortised cost for 2026-09",
            "with reservations or savings plans both are needed: create it with the same schedule (docs/connect/azure.md)",
        ),
    ]
    deliver(tmp_path, "amortised", {"1.csv": TWO})
    assert [finding.state for finding in check(_source(tmp_path))] == ["works", "works"]


def test_a_check_of_a_folder_without_a_manifest_says_so(tmp_path: Path) -> None:
    [listed, followed] = check(_source(tmp_path))
    assert (listed.state, followed.state) == ("works", "missing")
    assert "Azure writes the manifest last" in followed.remedy
