"""AWS exports on S3, over the real protocol: listed, pinned, fetched, and noticed when they move."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import AwsCurSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import LandedSource, land
from pipelines.lake.paths import Lake
from pipelines.models.pull import pull
from pipelines.sources.aws_cur import check, deliveries, look
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.findings import Finding
from pipelines.sources.stores.s3 import S3Store
from tests.integration.servers.s3 import S3Server
from tests.normalise.bills import line, write_cur2

EXPORT = "acme-cur"
_FIRST = "2026-10-01T02:00:00.000Z-aaaa"
_SECOND = "2026-10-02T02:00:00.000Z-bbbb"


class Bucket:
    """A bucket that AWS delivers the export to, below ``billing/``."""

    def __init__(self, server: S3Server, *, versioned: bool = False) -> None:
        self.server = server
        self.name = server.bucket(versioned=versioned)
        self.client = server.client()

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"billing/{key}", Body=body)

    def deliver(
        self, period: str, files: dict[str, bytes], *, execution: str = "e1", folder: str = "", **manifest: Any
    ) -> None:
        """Data files, then the manifest that names them; ``folder`` is that of an execution that is kept."""
        below = f"BILLING_PERIOD={period}/" + (f"{folder}/" if folder else "")
        for name, body in files.items():
            self.put(f"{EXPORT}/data/{below}{name}", body)
        content = {
            "executionId": execution,
            "dataFiles": [f"s3://{self.name}/billing/{EXPORT}/data/{below}{name}" for name in files],
            **manifest,
        }
        self.put(f"{EXPORT}/metadata/{below}{EXPORT}-Manifest.json", json.dumps(content).encode())

    def source(self, location: str = f"billing/{EXPORT}", **options: Any) -> AwsCurSource:
        return AwsCurSource(
            name="payer",
            location=f"s3://{self.name}/{location}".rstrip("/"),
            endpoint_url=self.server.endpoint_url,
            **options,
        )

    def fetched(self) -> list[str]:
        """The keys read since the server started, of this bucket alone."""
        return [name.removeprefix(f"{self.name}/") for name in self.server.fetched() if name.startswith(self.name)]


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def versioned(s3: S3Server) -> Bucket:
    return Bucket(s3, versioned=True)


def _landed(lake: Lake, source: AwsCurSource, period: str = "2026-09") -> dict[str, bytes]:
    delivery = LandedSource(lake, source.name).period(period)
    assert delivery is not None
    return {file.name: file.path.read_bytes() for file in delivery.files}


def test_an_export_in_a_bucket_lands_byte_for_byte(bucket: Bucket, tmp_path: Path) -> None:
    file = write_cur2(tmp_path / "part-1.parquet", [line("Usage", 1)]).read_bytes()
    bucket.deliver("2026-08", {"part-1.parquet": b"august"})
    bucket.deliver("2026-09", {"part-1.parquet": file, "part-2.parquet": b""})
    source, lake = bucket.source(), Lake(tmp_path / "lake")
    pulled = pull(lake, source, "2026-09")
    assert pulled.copied == 1
    assert _landed(lake, source) == {"part-1.parquet": file, "part-2.parquet": b""}
    (delivery,) = pulled.deliveries
    assert dict(delivery.details) == {"dialect": "cur-2.0", "export": EXPORT, "format": "parquet", "rows": "all"}
    # The other period's files were never asked for.
    assert not [key for key in bucket.fetched() if "2026-08" in key]


def test_a_night_without_changes_is_one_listing(bucket: Bucket, tmp_path: Path) -> None:
    for month in range(1, 13):
        bucket.deliver(f"2026-{month:02d}", {"part-1.parquet": b"data"})
    source, lake = bucket.source(), Lake(tmp_path / "lake")
    pull(lake, source, "2026-09")
    before = bucket.fetched()
    assert pull(lake, source, "2026-09").copied == 0
    assert len(look(source)) == 12
    assert bucket.fetched() == before


def test_a_closed_month_that_aws_refreshed_is_seen(bucket: Bucket) -> None:
    for period in ("2024-03", "2026-09"):
        bucket.deliver(period, {"part-1.parquet": b"data"})
    before = look(bucket.source())
    bucket.deliver("2024-03", {"part-1.parquet": b"refund"}, execution="e2")
    after = look(bucket.source())
    assert {period for period in after if after[period] != before[period]} == {"2024-03"}


@pytest.mark.parametrize("versions_are_listed", [True, False])
def test_a_listing_of_several_pages_is_whole(versioned: Bucket, versions_are_listed: bool) -> None:
    names = [f"part-{number}.parquet" for number in range(7)]
    for name in [*names, *names]:
        versioned.put(name, b"data")
    store = S3Store.at(f"s3://{versioned.name}/billing", endpoint_url=versioned.server.endpoint_url)

    def three_a_page(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 3

    for operation in ("ListObjectVersions", "ListObjectsV2"):
        store.client.meta.events.register(f"provide-client-params.s3.{operation}", three_a_page)
    listed = store.objects() if versions_are_listed else store._current(store.prefix)
    assert [found.name for found in listed] == names


def test_only_the_newest_execution_of_a_kept_export_is_delivered(bucket: Bucket, tmp_path: Path) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"first"}, execution="e1", folder=_FIRST)
    first = look(bucket.source())
    bucket.put(f"{EXPORT}/data/BILLING_PERIOD=2026-09/{_SECOND}/part-1.parquet", b"second")
    # Its manifest isn't there yet: nothing was delivered.
    assert look(bucket.source()) == first
    bucket.deliver("2026-09", {"part-1.parquet": b"second"}, execution="e2", folder=_SECOND)
    source, lake = bucket.source(), Lake(tmp_path / "lake")
    assert look(source) != first
    (delivery,) = pull(lake, source, "2026-09").deliveries
    assert delivery.version == "e2"
    assert _landed(lake, source) == {"part-1.parquet": b"second"}


def test_an_unchanged_file_of_a_new_delivery_is_not_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"same", "part-2.parquet": b"before"})
    source, lake = bucket.source(), Lake(tmp_path / "lake")
    pull(lake, source, "2026-09")
    before = len(bucket.fetched())
    bucket.deliver("2026-09", {"part-2.parquet": b"after!"}, execution="e2")
    prefix = f"{EXPORT}/data/BILLING_PERIOD=2026-09"
    bucket.put(
        f"{EXPORT}/metadata/BILLING_PERIOD=2026-09/{EXPORT}-Manifest.json",
        json.dumps(
            {
                "executionId": "e2",
                "dataFiles": [f"s3://{bucket.name}/billing/{prefix}/part-{n}.parquet" for n in (1, 2)],
            }
        ).encode(),
    )
    pull(lake, source, "2026-09")
    assert _landed(lake, source) == {"part-1.parquet": b"same", "part-2.parquet": b"after!"}
    assert [key for key in bucket.fetched()[before:] if key.endswith("part-1.parquet")] == []


@pytest.mark.parametrize("body", [b"other", b"longer than it was"])
def test_an_object_replaced_after_the_listing_is_noticed(bucket: Bucket, tmp_path: Path, body: bytes) -> None:
    bucket.put("a.csv", b"first")
    store = S3Store.at(f"s3://{bucket.name}/billing", endpoint_url=bucket.server.endpoint_url)
    (found,) = store.objects()
    bucket.put("a.csv", body)
    with pytest.raises(ObjectMoved) as moved:
        store.save(found, tmp_path / "a.csv")
    assert moved.value.where == f"s3://{bucket.name}/billing/a.csv"
    with pytest.raises(ObjectMoved):
        store.read(found)


def test_an_object_deleted_after_the_listing_is_noticed(bucket: Bucket) -> None:
    bucket.put("a.csv", b"first")
    store = S3Store.at(f"s3://{bucket.name}/billing", endpoint_url=bucket.server.endpoint_url)
    (found,) = store.objects()
    bucket.client.delete_object(Bucket=bucket.name, Key="billing/a.csv")
    with pytest.raises(ObjectMoved):
        store.read(found)


def test_a_bucket_that_keeps_versions_gives_what_was_listed(versioned: Bucket, tmp_path: Path) -> None:
    versioned.put("a.csv", b"first")
    versioned.put("gone.csv", b"gone")
    versioned.client.delete_object(Bucket=versioned.name, Key="billing/gone.csv")
    store = S3Store.at(f"s3://{versioned.name}/billing", endpoint_url=versioned.server.endpoint_url)
    (found,) = store.objects()
    assert found.name == "a.csv"
    versioned.put("a.csv", b"second")
    store.save(found, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b"first"
    (newer,) = store.objects()
    assert newer.pin != found.pin
    assert store.read(newer) == b"second"


def test_objects_older_than_the_versioning_are_pinned_by_etag(bucket: Bucket) -> None:
    bucket.put("a.csv", b"first")
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    bucket.put("b.csv", b"second")
    store = S3Store.at(f"s3://{bucket.name}/billing", endpoint_url=bucket.server.endpoint_url)
    older, newer = store.objects()
    assert (older.pin[:1], newer.pin[:1] == '"') == ('"', False)
    assert (store.read(older), store.read(newer)) == (b"first", b"second")


def test_a_pull_starts_again_when_the_export_is_refreshed_under_it(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"first 1", "part-2.parquet": b"first 2"})
    source, lake = bucket.source(), Lake(tmp_path / "lake")
    save, refreshed = S3Store.save, []

    def refresh_first(store: S3Store, found: Any, target: Path) -> None:
        if not refreshed:
            refreshed.append(True)
            bucket.deliver("2026-09", {"part-1.parquet": b"second 1", "part-2.parquet": b"second 2"}, execution="e2")
        save(store, found, target)

    monkeypatch.setattr(S3Store, "save", refresh_first)
    (delivery,) = pull(lake, source, "2026-09").deliveries
    assert delivery.version == "e2"
    assert _landed(lake, source) == {"part-1.parquet": b"second 1", "part-2.parquet": b"second 2"}


def test_files_that_changed_before_their_manifest_are_a_refresh_that_is_under_way(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"first"})
    source, lake = bucket.source(), Lake(tmp_path / "lake")
    pull(lake, source, "2026-09")
    bucket.put(f"{EXPORT}/data/BILLING_PERIOD=2026-09/part-1.parquet", b"half")
    with pytest.raises(DeliveryError, match="the export is being refreshed") as refused:
        pull(lake, source, "2026-09")
    assert "run again in an hour" in refused.value.remedy
    assert _landed(lake, source) == {"part-1.parquet": b"first"}
    bucket.deliver("2026-09", {"part-1.parquet": b"half"}, execution="e2")
    pull(lake, source, "2026-09")
    assert _landed(lake, source) == {"part-1.parquet": b"half"}


def _another_bucket(bucket: Bucket) -> list[str]:
    return [f"s3://somebody-elses/billing/{EXPORT}/data/BILLING_PERIOD=2026-09/part-1.parquet"]


def _another_prefix(bucket: Bucket) -> list[str]:
    return [f"s3://{bucket.name}/payroll/{EXPORT}/data/BILLING_PERIOD=2026-09/part-1.parquet"]


def _another_export(bucket: Bucket) -> list[str]:
    return [f"s3://{bucket.name}/billing/{EXPORT}-2/data/BILLING_PERIOD=2026-09/part-1.parquet"]


def _upwards(bucket: Bucket) -> list[str]:
    return [f"s3://{bucket.name}/billing/{EXPORT}/data/BILLING_PERIOD=2026-09/../../../secret.parquet"]


@pytest.mark.parametrize("keys", [_another_bucket, _another_prefix, _another_export, _upwards])
def test_a_manifest_that_names_what_is_not_its_own_is_refused(
    bucket: Bucket, keys: Callable[[Bucket], list[str]]
) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"data"}, dataFiles=keys(bucket))
    with pytest.raises(DeliveryError, match="payer: a data file's address doesn't lead into the export's folder") as no:
        deliveries(bucket.source())
    assert no.value.found == keys(bucket)[0]
    assert no.value.where.endswith("BILLING_PERIOD=2026-09/acme-cur-Manifest.json")


def test_a_half_delivered_period_is_refused(bucket: Bucket) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"data", "part-2.parquet": b"data"})
    key = f"billing/{EXPORT}/data/BILLING_PERIOD=2026-09/part-2.parquet"
    bucket.client.delete_object(Bucket=bucket.name, Key=key)
    with pytest.raises(DeliveryError, match="names isn't there") as refused:
        deliveries(bucket.source())
    assert refused.value.expected == f"s3://{bucket.name}/{key}"


def test_a_legacy_report_names_its_files_by_key(bucket: Bucket) -> None:
    folder = "globex-cur/20260901-20261001"
    key = f"billing/{folder}/assembly-1/globex-cur-1.csv.gz"
    bucket.put(f"{folder}/assembly-1/globex-cur-1.csv.gz", b"data")
    manifest = {"assemblyId": "assembly-1", "bucket": bucket.name, "reportKeys": [key]}
    bucket.put(f"{folder}/globex-cur-Manifest.json", json.dumps(manifest).encode())
    (delivery,) = deliveries(bucket.source("billing"))
    assert (delivery.period, delivery.version, [file.where for file in delivery.files]) == (
        "2026-09",
        "assembly-1",
        [f"s3://{bucket.name}/{key}"],
    )
    bucket.put(f"{folder}/globex-cur-Manifest.json", json.dumps({**manifest, "bucket": "somebody-elses"}).encode())
    with pytest.raises(DeliveryError, match="doesn't lead into the export's folder"):
        deliveries(bucket.source("billing"))


def test_one_of_several_exports_below_a_prefix_is_picked_by_name(bucket: Bucket) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"data"})
    bucket.put("other/metadata/BILLING_PERIOD=2026-09/other-Manifest.json", b"{}")
    with pytest.raises(DeliveryError, match="two exports under one location"):
        deliveries(bucket.source("billing"))
    (delivery,) = deliveries(bucket.source("billing", export=EXPORT))
    assert delivery.details["export"] == EXPORT


@pytest.mark.parametrize(("columns", "dialect"), [(["BilledCost", "ChargePeriodStart"], "focus-1.0"),
                                                   (["BillingAccountType", "ChargePeriodStart"], "focus-1.2")])  # fmt: skip
def test_a_native_focus_export_is_told_by_its_columns(bucket: Bucket, columns: list[str], dialect: str) -> None:
    bucket.deliver("2026-09", {"part-1.parquet": b"data"}, columns=[{"name": column} for column in columns])
    (delivery,) = deliveries(bucket.source())
    assert (delivery.details["mapping"], delivery.details["dialect"]) == ("focus", dialect)


def test_keys_that_need_escaping_are_read(bucket: Bucket) -> None:
    for name in ("a b.csv", "ü%20+&.csv", "x=1/y.csv"):
        bucket.put(name, name.encode())
    store = S3Store.at(f"s3://{bucket.name}", endpoint_url=bucket.server.endpoint_url).below("billing")
    assert {found.name: store.read(found).decode() for found in store.objects()} == {
        name: name for name in ("a b.csv", "ü%20+&.csv", "x=1/y.csv")
    }
    assert [found.name for found in store.objects("x=1")] == ["x=1/y.csv"]


def test_a_bucket_that_is_not_there_is_refused(s3: S3Server) -> None:
    source = AwsCurSource(name="payer", location="s3://no-such-bucket/x", endpoint_url=s3.endpoint_url)
    with pytest.raises(DeliveryError, match="payer: the bucket doesn't exist") as refused:
        look(source)
    assert "location" in refused.value.remedy


def test_check_says_what_works(bucket: Bucket) -> None:
    bucket.deliver("2026-08", {"part-1.parquet": b"data"})
    bucket.deliver("2026-09", {"part-1.parquet": b"data", "part-2.parquet": b"more"})
    address = f"s3://{bucket.name}/billing/{EXPORT}"
    assert check(bucket.source()) == [
        Finding(f"list {address}", "works", "2 billing period(s), the newest 2026-09"),
        Finding(
            f"list versions in {address}",
            "works",
            "objects are pinned by version where the bucket keeps versions, else by ETag",
        ),
        Finding("read the manifest of 2026-09", "works", "2 file(s), 8 bytes, cur-2.0 in parquet"),
        Finding(f"read {address}/data/BILLING_PERIOD=2026-09/part-1.parquet", "works", "its first byte was read"),
    ]


def test_check_says_what_is_missing(bucket: Bucket) -> None:
    (finding,) = check(bucket.source())
    assert (finding.subject, finding.state) == (f"list s3://{bucket.name}/billing/{EXPORT}", "missing")
    assert "no manifest found" in finding.detail


def test_a_landed_delivery_of_the_same_bytes_is_accepted_when_versions_are_listed_for_the_first_time(
    versioned: Bucket, tmp_path: Path
) -> None:
    versioned.deliver("2026-09", {"part-1.parquet": b"data"})
    source, lake = versioned.source(), Lake(tmp_path / "lake")
    (by_version,) = deliveries(source)
    store = S3Store.at(f"s3://{versioned.name}/billing/{EXPORT}", endpoint_url=versioned.server.endpoint_url)
    etags = {found.name: found.pin for found in store._current(store.prefix)}
    by_etag = replace(
        by_version,
        signature="before",
        files=tuple(
            replace(file, pin=etags["data/BILLING_PERIOD=2026-09/part-1.parquet"]) for file in by_version.files
        ),
    )
    land(lake, by_etag)
    assert pull(lake, source, "2026-09").copied == 0
    assert _landed(lake, source) == {"part-1.parquet": b"data"}
