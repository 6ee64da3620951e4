"""Azure's exports in Blob Storage, over the real protocol: listed, pinned, fetched, and noticed when they move."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import AzureCostSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import LandedSource
from pipelines.lake.paths import Lake
from pipelines.models.pull import pull
from pipelines.sources.azure_cost import check, deliveries, look
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.stores.base import StoredObject
from pipelines.sources.stores.blob import BlobStore
from tests.integration.servers.blob import ACCOUNT_KEY, BlobServer
from tests.normalise.azure_bills import line
from tests.sources.azure_deliveries import deliver

TWO = [line("Usage", "24"), line("Usage", "12")]


class Container:
    """A container that Azure delivers exports to, below ``exports/``."""

    def __init__(self, server: BlobServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.name = server.container()
        self.client = server.client(self.name)

    def deliver(self, report: str = "actual", **run: Any) -> None:
        """One run of an export, uploaded; blob names are those of the container."""
        deliver(self.folder, report, {"part_0_0001.csv": TWO}, **run)
        self.server.upload(self.folder, self.name, "exports/")

    def source(self, location: str = "exports") -> AzureCostSource:
        return AzureCostSource(
            name="azure", location=f"az://{self.name}/{location}".rstrip("/"), account_url=self.server.account_url
        )

    def store(self, location: str = "exports") -> BlobStore:
        return BlobStore.at(f"az://{self.name}/{location}".rstrip("/"), account_url=self.server.account_url)

    def fetched(self) -> list[str]:
        """The blobs read since the server started, of this container alone."""
        return [
            name.removeprefix(f"{self.name}/") for name in self.server.fetched() if name.startswith(f"{self.name}/")
        ]


@pytest.fixture
def container(blob_server: BlobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SAS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_STORAGE_KEY", ACCOUNT_KEY)
    return Container(blob_server, tmp_path / "delivered")


def test_exports_in_a_container_land_byte_for_byte(container: Container, tmp_path: Path) -> None:
    container.deliver("actual", run_id="a1")
    container.deliver("amortised", run_id="b1")
    source, lake = container.source(), Lake(tmp_path / "lake")
    assert pull(lake, source, "2026-09").copied == 1
    landed = LandedSource(lake, "azure").period("2026-09")
    assert landed is not None
    assert {file.name: file.path.read_bytes() for file in landed.files} == {
        f"{report}/part_0_0001.csv": next(container.folder.glob(f"acme-{report}/**/*.csv")).read_bytes()
        for report in ("actual", "amortised")
    }


def test_a_night_without_changes_reads_no_blob(container: Container, tmp_path: Path) -> None:
    for month in range(1, 10):
        container.deliver("actual", period=f"2026-0{month}", run_id=f"run-{month}")
    source, lake = container.source(), Lake(tmp_path / "lake")
    pull(lake, source, "2026-09")
    before = container.fetched()
    assert pull(lake, source, "2026-09").copied == 0
    assert len(look(source)) == 9
    assert container.fetched() == before
    # Of the month that was pulled the manifest and the data, of the others nothing.
    assert {name.split("/")[2] for name in before} == {"20260901-20260930"}


def test_a_month_that_was_delivered_anew_is_seen_alone(container: Container) -> None:
    for period in ("2024-03", "2026-09"):
        container.deliver("actual", period=period)
    before = look(container.source())
    container.deliver("actual", period="2024-03", submitted="2026-09-05T02:00:00.000Z", run_id="restated")
    after = look(container.source())
    # The upload writes every blob again: only what differs is told apart by name, so the closed month has more of them.
    assert sorted(after) == sorted(before) == ["2024-03", "2026-09"]
    assert after["2024-03"] != before["2024-03"]
    assert [delivery.version for delivery in deliveries(container.source(), "2024-03")] == ["restated"]


def test_a_listing_of_several_pages_is_whole(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"part-{number:02d}.csv" for number in range(23)]
    for name in names:
        container.client.upload_blob(f"exports/{name}", b"data")
    store = container.store()
    real = store.client.list_blobs
    monkeypatch.setattr(store.client, "list_blobs", lambda **options: real(results_per_page=5, **options))
    assert [found.name for found in store.objects()] == names


def test_a_prefix_does_not_reach_into_a_neighbour(container: Container) -> None:
    container.client.upload_blob("exports/a.csv", b"1")
    container.client.upload_blob("exports-old/b.csv", b"2")
    assert [found.name for found in container.store().objects()] == ["a.csv"]
    assert [found.name for found in container.store("").objects("exports")] == ["exports/a.csv"]
    assert [found.name for found in container.store("").below("exports-old").objects()] == ["b.csv"]


def test_a_blob_that_was_replaced_after_the_listing_is_noticed(container: Container, tmp_path: Path) -> None:
    container.client.upload_blob("exports/a.csv", b"first")
    [found] = container.store().objects()
    container.client.upload_blob("exports/a.csv", b"later", overwrite=True)
    for read in (lambda: container.store().read(found), lambda: container.store().save(found, tmp_path / "a.csv")):
        with pytest.raises(ObjectMoved, match="changed between the listing and the reading"):
            read()


def test_a_blob_that_went_after_the_listing_is_noticed(container: Container) -> None:
    container.client.upload_blob("exports/a.csv", b"first")
    [found] = container.store().objects()
    container.client.delete_blob("exports/a.csv")
    with pytest.raises(ObjectMoved, match="changed between the listing and the reading"):
        container.store().read(found)


def test_a_blob_shorter_than_listed_is_no_blob_of_the_delivery(container: Container) -> None:
    container.client.upload_blob("exports/a.csv", b"first")
    [found] = container.store().objects()
    with pytest.raises(ObjectMoved, match="5 bytes"):
        container.store().read(StoredObject(found.name, 6, found.pin))


def test_an_export_replaced_while_it_is_pulled_is_listed_again(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.deliver("actual", run_id="r1", folder="exports/acme-actual/20260901-20260930")
    real = BlobStore.save
    changed: list[str] = []

    def save(store: BlobStore, found: StoredObject, target: Path) -> None:
        if not changed:
            changed.append(found.name)
            container.deliver("actual", run_id="r2", folder="exports/acme-actual/20260901-20260930")
        real(store, found, target)

    monkeypatch.setattr(BlobStore, "save", save)
    pull(Lake(tmp_path / "lake"), container.source("exports/exports"), "2026-09")
    landed = LandedSource(Lake(tmp_path / "lake"), "azure").period("2026-09")
    assert landed is not None
    assert landed.version == "r2"


@pytest.mark.parametrize(
    "stated",
    [
        {
            "deliveryConfig": {
                "containerUri": "/subscriptions/4/storageAccounts/acme/blobServices/default/containers/other"
            }
        },
        {"blobs": [{"blobName": "https://acme.blob.core.windows.net/other/a/20260901-20260930/r/1.csv"}]},
    ],
)
def test_a_manifest_may_not_name_another_container(container: Container, stated: dict[str, Any]) -> None:
    deliver(container.folder, "actual", {"1.csv": TWO}, folder="a/20260901-20260930/r", **stated)
    container.server.upload(container.folder, container.name, "exports/")
    with pytest.raises(DeliveryError, match="names another container") as refused:
        deliveries(container.source())
    assert (refused.value.expected, refused.value.found) == (container.name, "other")


def test_a_manifest_that_names_its_own_container_is_followed(container: Container) -> None:
    uri = f"/subscriptions/4/storageAccounts/acme/blobServices/default/containers/{container.name}"
    deliver(container.folder, "actual", {"1.csv": TWO}, deliveryConfig={"containerUri": uri})
    container.server.upload(container.folder, container.name, "exports/")
    assert [delivery.period for delivery in deliveries(container.source())] == ["2026-09"]


def test_a_key_that_the_account_does_not_take_names_the_role(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", base64.b64encode(b"another key").decode())
    with pytest.raises(DeliveryError, match="lacks the role Storage Blob Data Reader") as refused:
        container.store().objects()
    assert "az role assignment create" in refused.value.remedy
    [finding] = check(container.source())
    assert (finding.state, "Storage Blob Data Reader" in finding.detail) == ("missing", True)


def test_a_container_that_is_not_there_is_named(container: Container) -> None:
    with pytest.raises(DeliveryError, match="The container doesn't exist") as refused:
        BlobStore.at("az://nowhere/exports", account_url=container.server.account_url).objects()
    assert "az://nowhere/exports/ of acme" in refused.value.where


def test_the_connection_string_of_the_account_is_taken_and_that_of_another_is_not(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.client.upload_blob("exports/a.csv", b"1")
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", container.server.connection_string)
    for account_url in (container.server.account_url, None):
        store = BlobStore.at(f"az://{container.name}/exports", account_url=account_url)
        assert [found.name for found in store.objects()] == ["a.csv"]
    other = BlobStore.at(f"az://{container.name}", account_url="https://globex.blob.core.windows.net")
    assert other.client.url == f"https://globex.blob.core.windows.net/{container.name}"


def test_a_location_without_an_account_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    with pytest.raises(DeliveryError, match="no storage account is named"):
        BlobStore.at("az://exports/acme")


def test_a_check_reads_the_first_byte_of_the_newest_month(container: Container) -> None:
    container.deliver("actual")
    container.deliver("amortised")
    assert [(finding.state, finding.subject.split(" ")[0]) for finding in check(container.source())] == [
        ("works", "list"),
        ("works", "read"),
    ]
