"""Deliveries as AWS lays them out: manifests decide what is delivered, never a listing of data files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import AwsCurSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import LandedSource
from pipelines.lake.paths import Lake
from pipelines.sources.aws_cur import check, deliveries, look
from pipelines.sources.aws_cur_columns import Place, canonical_place
from pipelines.sources.deliveries import Delivery
from pipelines.sources.findings import Finding
from tests.normalise.bills import line, write_cur2, write_legacy

_EARLIER, _LATER = "20260930T010000Z-aaaa", "20261001T020000Z-bbbb"


def _source(location: Path) -> AwsCurSource:
    return AwsCurSource(name="payer", location=str(location))


def _cur2(
    export: Path,
    period: str,
    files: Sequence[str] = ("part-1.parquet",),
    *,
    execution: str | None = None,
    **manifest: Any,
) -> Path:
    """A CUR 2.0 delivery whose data files hold their own names; returns its manifest."""
    below = f"BILLING_PERIOD={period}" + (f"/{execution}" if execution else "")
    for name in files:
        file = export / "data" / below / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    target = export / "metadata" / below / f"{export.name}-Manifest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "executionId": f"execution-{execution or period}",
        "exportArn": "arn:aws:bcm-data-exports:us-east-1:012345678901:export/x",
        "dataFiles": [f"s3://bucket/some/prefix/{export.name}/data/{below}/{name}" for name in files],
    }
    target.write_text(json.dumps({**content, **manifest}))
    return target


def _legacy(report: Path, folder: str, period: str, assembly: str, files: Sequence[str] = ("report-1.csv.gz",)) -> Path:
    """A legacy delivery; returns its manifest."""
    for name in files:
        file = report / folder / assembly / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    target = report / folder / f"{report.name}-Manifest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        json.dumps(
            {
                "assemblyId": assembly,
                "billingPeriod": {"start": f"{period.replace('-', '')}01T000000.000Z", "end": "20990101T000000.000Z"},
                "compression": "GZIP",
                "contentType": "text/csv",
                "reportKeys": [f"prefix/{report.name}/{folder}/{assembly}/{name}" for name in files],
            }
        )
    )
    return target


def _described(delivery: Delivery) -> tuple[str, str, list[str], dict[str, str]]:
    return delivery.period, delivery.version, [file.name for file in delivery.files], dict(delivery.details)


def test_a_cur_2_export_is_one_delivery_for_each_period(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-10", ["part-1.parquet", "part-2.parquet"])
    _cur2(export, "2026-09")
    details = {"dialect": "cur-2.0", "format": "parquet", "export": "acme-cur", "rows": "all"}
    assert [_described(delivery) for delivery in deliveries(_source(export))] == [
        ("2026-09", "execution-2026-09", ["part-1.parquet"], details),
        ("2026-10", "execution-2026-10", ["part-1.parquet", "part-2.parquet"], details),
    ]


def test_a_legacy_report_is_told_by_its_manifest(tmp_path: Path) -> None:
    report = tmp_path / "globex-cur"
    # AWS prints the period's end exclusive in real accounts and inclusive in its documentation.
    _legacy(report, "20260801-20260901", "2026-08", "assembly-8")
    _legacy(report, "20260901-20260930", "2026-09", "assembly-9", ["report-1.csv.gz", "report-2.csv.gz"])
    details = {"dialect": "cur-1", "format": "csv", "export": "globex-cur", "rows": "all"}
    assert [_described(delivery) for delivery in deliveries(_source(report))] == [
        ("2026-08", "assembly-8", ["report-1.csv.gz"], details),
        ("2026-09", "assembly-9", ["report-1.csv.gz", "report-2.csv.gz"], details),
    ]


def test_files_and_manifest_are_where_they_lie(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    manifest = _cur2(export, "2026-09")
    (delivery,) = deliveries(_source(export))
    assert [file.path for file in delivery.all_files] == [
        export / "data" / "BILLING_PERIOD=2026-09" / "part-1.parquet",
        manifest,
    ]
    assert [file.size for file in delivery.files] == [len("part-1.parquet")]


def test_only_the_newest_execution_of_a_period_counts(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-09", execution=_LATER)
    _cur2(export, "2026-09", execution=_EARLIER)
    (delivery,) = deliveries(_source(export))
    assert delivery.version == f"execution-{_LATER}"
    assert [file.path.parent.name for file in delivery.files] == [_LATER]


def test_an_execution_without_an_id_is_named_by_its_folder(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-09", execution="2026-10-01T02:00:00.000Z-bbbb", executionId=None)
    assert [delivery.version for delivery in deliveries(_source(export))] == ["2026-10-01T02-00-00.000Z-bbbb"]


def test_a_delivery_that_names_itself_nowhere_is_named_by_its_content(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _cur2(tmp_path / name / "acme-cur", "2026-09", executionId=None)
    (first,) = deliveries(_source(tmp_path / "a" / "acme-cur"))
    (second,) = deliveries(_source(tmp_path / "b" / "acme-cur"))
    assert first.version == second.version
    first.files[0].path.write_text("other")
    (changed,) = deliveries(_source(tmp_path / "a" / "acme-cur"))
    assert changed.version != first.version


def test_data_files_that_no_manifest_names_are_left_alone(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-09")
    (export / "data" / "BILLING_PERIOD=2026-09" / "half-written.parquet").write_text("")
    (export / "data" / "BILLING_PERIOD=2026-10").mkdir()
    (delivery,) = deliveries(_source(export))
    assert [file.name for file in delivery.files] == ["part-1.parquet"]


def test_the_prefix_above_an_export_may_be_given(tmp_path: Path) -> None:
    _cur2(tmp_path / "exports" / "acme-cur", "2026-09")
    (tmp_path / "exports" / "notes").mkdir()
    assert [delivery.period for delivery in deliveries(_source(tmp_path / "exports"))] == ["2026-09"]


def test_a_report_in_parquet_lies_in_folders_of_year_and_month(tmp_path: Path) -> None:
    report = tmp_path / "globex"
    data = report / "globex" / "year=2026" / "month=9" / "globex-00001.snappy.parquet"
    data.parent.mkdir(parents=True)
    data.write_text("data")
    manifest = _legacy(report, "20260901-20261001", "2026-09", "assembly", [])
    content = json.loads(manifest.read_text()) | {"reportKeys": [f"prefix/globex/{data.relative_to(report)}"]}
    manifest.write_text(json.dumps(content))
    (delivery,) = deliveries(_source(report))
    assert [file.path for file in delivery.files] == [data]
    assert delivery.details["format"] == "parquet"


def test_the_signature_changes_with_what_is_delivered_and_with_nothing_else(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-09")
    (before,) = deliveries(_source(export))
    (again,) = deliveries(_source(export))
    file = before.files[0].path
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    (touched,) = deliveries(_source(export))
    assert again.signature == before.signature
    assert touched.signature != before.signature


def test_files_with_one_name_in_two_folders_keep_their_folders(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-09", ["a/part.parquet", "b/part.parquet"])
    (delivery,) = deliveries(_source(export))
    assert [file.name for file in delivery.files] == ["a/part.parquet", "b/part.parquet"]


def _missing_file(export: Path) -> None:
    _cur2(export, "2026-09", ["part-1.parquet", "part-2.parquet"])
    (export / "data" / "BILLING_PERIOD=2026-09" / "part-2.parquet").unlink()


def _no_json(export: Path) -> None:
    _cur2(export, "2026-09").write_text('{"dataFiles": [')


def _json_list(export: Path) -> None:
    _cur2(export, "2026-09").write_text("[]")


def _no_files(export: Path) -> None:
    _cur2(export, "2026-09", [])


def _twice(export: Path) -> None:
    manifest = _cur2(export, "2026-09")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"dataFiles": content["dataFiles"] * 2}))


def _stated_period(export: Path) -> None:
    _cur2(export, "2026-09", billingPeriod={"start": "2026-08-01T00:00:00.000Z"})


def _files_of_another_period(export: Path) -> None:
    _cur2(export, "2026-08")
    _cur2(export, "2026-09", dataFiles=[f"s3://bucket/{export.name}/data/BILLING_PERIOD=2026-08/part-1.parquet"])


def _outside(export: Path) -> None:
    _cur2(export, "2026-09", dataFiles=["s3://bucket/data/BILLING_PERIOD=2026-09/../../../secret.parquet"])


def _elsewhere(export: Path) -> None:
    _cur2(export, "2026-09", dataFiles=["s3://bucket/other/part-1.parquet"])


def _another_export(export: Path) -> None:
    _cur2(export, "2026-09", dataFiles=["s3://bucket/other/data/BILLING_PERIOD=2026-09/part-1.parquet"])


def _two_buckets(export: Path) -> None:
    key = f"{export.name}/data/BILLING_PERIOD=2026-09"
    _cur2(export, "2026-09", dataFiles=[f"s3://bucket/{key}/part-1.parquet", f"s3://other/{key}/part-2.parquet"])


def _unread_format(export: Path) -> None:
    _cur2(export, "2026-09", ["part-1.csv.zst"])


def _two_exports_in_one_folder(export: Path) -> None:
    manifest = _cur2(export, "2026-09")
    manifest.with_name("other-Manifest.json").write_bytes(manifest.read_bytes())


def _overwritten_and_kept(export: Path) -> None:
    _cur2(export, "2026-09")
    _cur2(export, "2026-09", execution=_LATER)


def _no_manifest(export: Path) -> None:
    (export / "data").mkdir(parents=True)


@pytest.mark.parametrize(
    ("damage", "problem", "detail"),
    [
        (_missing_file, "a data file that the manifest of 2026-09 names isn't there", "part-2.parquet"),
        (_no_json, "the manifest is no JSON", "acme-cur-Manifest.json"),
        (_json_list, "the manifest is no JSON object", "list"),
        (_no_files, "the manifest names no data file", "dataFiles"),
        (_twice, "the manifest names a data file twice", "part-1.parquet"),
        (_stated_period, "the manifest's billingPeriod is not the period of its folder", "2026-08"),
        (_files_of_another_period, "the period of part-1.parquet is not the period of its folder", "2026-08"),
        (_outside, "a data file's address doesn't lead into the export's folder", "secret.parquet"),
        (_elsewhere, "a data file's address doesn't lead into the export's folder", "s3://bucket/other/part-1.parquet"),
        (_another_export, "a data file's address doesn't lead into the export's folder", "s3://bucket/other/data"),
        (_two_buckets, "the manifest names files in two buckets", "bucket, other"),
        (_unread_format, "the delivery has files that we don't read", ".csv.zst"),
        (_two_exports_in_one_folder, "two exports under one location", "other-Manifest.json"),
        (_overwritten_and_kept, "nothing says which is newer", _LATER),
        (_no_manifest, "no manifest found", "BILLING_PERIOD"),
    ],
)
def test_a_delivery_that_contradicts_itself_is_refused(tmp_path: Path, damage: Any, problem: str, detail: str) -> None:
    export = tmp_path / "acme-cur"
    damage(export)
    with pytest.raises(DeliveryError) as refused:
        deliveries(_source(export))
    assert f"payer: {problem}" in str(refused.value) or problem in refused.value.problem
    assert detail in str(refused.value)
    assert str(tmp_path) in refused.value.where
    assert refused.value.remedy


def test_a_report_in_zip_archives_is_a_delivery_in_csv(tmp_path: Path) -> None:
    _legacy(tmp_path / "globex", "20260901-20261001", "2026-09", "assembly", ["report-1.csv.zip", "report-2.csv.zip"])
    (delivery,) = deliveries(_source(tmp_path / "globex"))
    assert (delivery.details["format"], [file.name for file in delivery.files]) == (
        "csv",
        ["report-1.csv.zip", "report-2.csv.zip"],
    )


@pytest.mark.parametrize(
    ("columns", "dialect"),
    [
        (["BilledCost", "ChargePeriodStart"], "focus-1.0"),
        ({"query": "SELECT BilledCost, ChargePeriodStart FROM x"}, "focus-1.0"),
        ([{"name": "BillingAccountType"}, {"name": "ChargePeriodStart"}], "focus-1.2"),
    ],
)
def test_a_native_focus_export_is_read_as_focus(tmp_path: Path, columns: Any, dialect: str) -> None:
    _cur2(tmp_path / "acme-focus", "2026-09", columns=columns)
    (delivery,) = deliveries(_source(tmp_path / "acme-focus"))
    assert dict(delivery.details) == {
        "dialect": dialect,
        "export": "acme-focus",
        "format": "parquet",
        "mapping": "focus",
        "rows": "all",
    }


def test_an_export_is_found_by_its_name_at_any_depth(tmp_path: Path) -> None:
    _cur2(tmp_path / "exports" / "eu" / "acme-cur", "2026-09")
    _cur2(tmp_path / "exports" / "us" / "other-cur", "2026-08")
    source = AwsCurSource(name="payer", location=str(tmp_path), export="acme-cur")
    assert [delivery.period for delivery in deliveries(source)] == ["2026-09"]
    assert list(look(source)) == ["2026-09"]


def test_one_period_alone_is_read_when_one_is_asked_for(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-08").write_text("no JSON")
    _cur2(export, "2026-09")
    assert [delivery.period for delivery in deliveries(_source(export), "2026-09")] == ["2026-09"]


def test_an_export_looks_otherwise_in_the_period_that_was_delivered_anew(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2024-01")
    manifest = _cur2(export, "2026-09")
    before = look(_source(export))
    assert look(_source(export)) == before
    os.utime(manifest, ns=(0, manifest.stat().st_mtime_ns + 1))
    after = look(_source(export))
    assert (after["2024-01"], list(after)) == (before["2024-01"], ["2024-01", "2026-09"])
    assert after["2026-09"] != before["2026-09"]


def test_an_export_looks_otherwise_when_a_data_file_was_replaced(tmp_path: Path) -> None:
    report = tmp_path / "globex"
    data = report / "globex" / "year=2026" / "month=9" / "globex-00001.snappy.parquet"
    data.parent.mkdir(parents=True)
    data.write_text("data")
    _legacy(report, "20260901-20261001", "2026-09", "assembly", [])
    before = look(_source(report))
    data.write_text("other")
    assert look(_source(report)) != before


def test_an_execution_whose_manifest_is_still_to_come_changes_nothing(tmp_path: Path) -> None:
    export = tmp_path / "acme-cur"
    _cur2(export, "2026-09", execution=_EARLIER)
    before = look(_source(export))
    _cur2(export, "2026-09", execution=_LATER).unlink()
    assert look(_source(export)) == before


def test_bare_files_that_were_read_are_not_read_again_to_be_looked_at(tmp_path: Path) -> None:
    file = write_legacy(tmp_path / "bill.csv", [line("Usage", 2)])
    source = AwsCurSource(name="payer", files=(file,))
    landed = LandedSource(Lake(tmp_path / "lake"), "payer")
    looks = look(source, landed)
    assert list(looks) == ["2026-09"]
    state = file.stat()
    file.write_bytes(b"x" * state.st_size)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert look(source, landed) == looks
    os.utime(file, ns=(0, 1))
    with pytest.raises(DeliveryError):
        look(source, landed)


def test_check_tells_what_a_folder_holds(tmp_path: Path) -> None:
    _cur2(tmp_path / "acme-cur", "2026-08")
    _cur2(tmp_path / "acme-cur", "2026-09", ["part-1.parquet", "part-2.parquet"])
    assert check(_source(tmp_path)) == [
        Finding(f"list {tmp_path}", "works", "2 billing period(s), the newest 2026-09"),
        Finding("read the manifest of 2026-09", "works", "2 file(s), 28 bytes, cur-2.0 in parquet"),
    ]


def test_check_tells_what_keeps_a_folder_from_being_pulled(tmp_path: Path) -> None:
    _missing_file(tmp_path / "acme-cur")
    works, missing = check(_source(tmp_path))
    assert (works.state, missing.subject, missing.state) == ("works", "read the manifest of 2026-09", "missing")
    assert "isn't there" in missing.detail
    (absent,) = check(_source(tmp_path / "absent"))
    assert (absent.state, absent.subject) == ("missing", f"list {tmp_path / 'absent'}")


def test_check_tries_bare_files(tmp_path: Path) -> None:
    file = write_legacy(tmp_path / "bill.csv", [line("Usage", 2)])
    there, absent = check(AwsCurSource(name="payer", files=(file, tmp_path / "absent.csv")))
    assert (there.state, absent.state, absent.subject) == ("works", "missing", f"read {tmp_path / 'absent.csv'}")


def test_two_exports_under_one_prefix_are_refused(tmp_path: Path) -> None:
    _cur2(tmp_path / "one", "2026-09")
    _legacy(tmp_path / "two", "20260901-20261001", "2026-09", "assembly")
    with pytest.raises(DeliveryError, match="two exports under one location"):
        deliveries(_source(tmp_path))


def test_a_location_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="the location is no folder"):
        deliveries(_source(tmp_path / "absent"))


def test_bare_files_take_their_period_from_their_lines_and_their_version_from_their_content(tmp_path: Path) -> None:
    file = write_cur2(tmp_path / "bill.parquet", [line("Usage", 1, resource_tags={"user_team": "search"})])
    (delivery,) = deliveries(AwsCurSource(name="payer", files=(file,)))
    assert (delivery.period, dict(delivery.details), delivery.manifest) == (
        "2026-09",
        {"dialect": "cur-2.0", "format": "parquet", "rows": "all"},
        None,
    )
    copy = tmp_path / "copy" / "bill.parquet"
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    (copied,) = deliveries(AwsCurSource(name="payer", files=(copy,)))
    assert len(delivery.version) == 16
    assert copied.version == delivery.version


def test_bare_files_of_several_periods_are_a_delivery_for_each(tmp_path: Path) -> None:
    august = line("Usage", 1, bill_billing_period_start_date="2026-08-01T00:00:00Z")
    file = write_legacy(tmp_path / "bill.csv", [line("Usage", 2), august])
    found = deliveries(AwsCurSource(name="payer", files=(file,)))
    assert [(delivery.period, delivery.details["rows"], delivery.details["dialect"]) for delivery in found] == [
        ("2026-08", "of-period", "cur-1"),
        ("2026-09", "of-period", "cur-1"),
    ]


def test_a_bare_file_with_a_line_of_no_period_is_refused(tmp_path: Path) -> None:
    file = write_legacy(tmp_path / "bill.csv", [line("Usage", 2, bill_billing_period_start_date="")])
    with pytest.raises(DeliveryError, match="A line names no billing period"):
        deliveries(AwsCurSource(name="payer", files=(file,)))


def test_a_bare_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="isn't there"):
        deliveries(AwsCurSource(name="payer", files=(tmp_path / "bill.csv",)))


@pytest.mark.parametrize(
    ("header", "place"),
    [
        ("lineItem/UnblendedCost", Place("line_item_unblended_cost")),
        ("line_item_unblended_cost", Place("line_item_unblended_cost")),
        ("savingsPlan/SavingsPlanARN", Place("savings_plan_savings_plan_a_r_n")),
        ("savingsPlan/SavingsPlanArn", Place("savings_plan_savings_plan_a_r_n")),
        ("reservation/ReservationARN", Place("reservation_reservation_a_r_n")),
        ("pricing/publicOnDemandRate", Place("pricing_public_on_demand_rate")),
        ("product/instanceType", Place("product_instance_type")),
        ("product/operatingSystem", Place("product", "operating_system")),
        ("product_operating_system", Place("product", "operating_system")),
        ("resourceTags/user:Cost Center", Place("resource_tags", "user:Cost Center")),
        ("resource_tags_user_team", Place("resource_tags", "user_team")),
        ("costCategory/Charge type", Place("cost_category", "Charge type")),
        ("resource_tags", Place("resource_tags")),
        ("noTags/user:app", None),
        ("year", None),
    ],
)
def test_a_column_is_known_by_any_of_its_spellings(header: str, place: Place | None) -> None:
    assert canonical_place(header) == place
