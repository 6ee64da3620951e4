"""One billing period as each vendor delivers it, and the places it is delivered to: a folder, a bucket, a container."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import AwsCurSource, AzureCostSource, BillSource, FocusSource, GcpBillingSource
from pipelines.sources.stores.base import StoredObject
from pipelines.sources.stores.blob import BlobStore
from pipelines.sources.stores.s3 import S3Store
from tests.integration.servers.blob import BlobServer
from tests.integration.servers.s3 import S3Server
from tests.normalise import azure_bills, bills, google_bills

Line = Mapping[str, Any]


class Place(ABC):
    """Where exports are delivered to."""

    location: str
    options: Mapping[str, Any]

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Write an object, or overwrite it."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove an object."""

    @abstractmethod
    def before_each_read(self, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
        """Have something happen between the listing of an object and each reading of it."""

    def deliver(self, export: Export) -> None:
        """Write an export, its manifest last."""
        for name, content in export.objects().items():
            self.put(name, content)


class Folder(Place):
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.location, self.options = str(folder), {}

    def put(self, name: str, content: bytes) -> None:
        file = Path(self.location, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def remove(self, name: str) -> None:
        Path(self.location, name).unlink()

    def before_each_read(self, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
        copy = shutil.copyfile

        def copyfile(source: Path, target: Path) -> Path:
            if Path(source) == Path(self.location, name):
                act()
            return copy(source, target)

        monkeypatch.setattr("pipelines.sources.deliveries.shutil.copyfile", copyfile)


class Bucket(Place):
    """A bucket on S3."""

    def __init__(self, server: S3Server) -> None:
        self.name, self._client = server.bucket(), server.client()
        self.location, self.options = f"s3://{self.name}", {"endpoint_url": server.endpoint_url}

    def put(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=name, Body=content)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=name)

    def before_each_read(self, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
        _before_each_save(S3Store, monkeypatch, name, act)


class Container(Place):
    """A container of Blob Storage."""

    def __init__(self, server: BlobServer) -> None:
        name = server.container()
        self._client = server.client(name)
        self.location, self.options = f"az://{name}", {"account_url": server.account_url}

    def put(self, name: str, content: bytes) -> None:
        self._client.upload_blob(name, content, overwrite=True)

    def remove(self, name: str) -> None:
        self._client.delete_blob(name)

    def before_each_read(self, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
        _before_each_save(BlobStore, monkeypatch, name, act)


def _before_each_save(
    store: type[S3Store] | type[BlobStore], monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]
) -> None:
    read: Callable[..., None] = store.save

    def save(self: Any, found: StoredObject, target: Path) -> None:
        if name.endswith(found.name):
            act()
        read(self, found, target)

    monkeypatch.setattr(store, "save", save)


@dataclass
class Export:
    """One delivery: data files by name and, where the vendor writes one, the manifest that names them."""

    files: dict[str, bytes]
    manifest_name: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)

    def objects(self) -> dict[str, bytes]:
        """All that is written, in order."""
        manifest = {self.manifest_name: json.dumps(self.manifest).encode()} if self.manifest_name else {}
        return {**self.files, **manifest}


class Vendor(ABC):
    """How a vendor delivers one period in two files, and which of its columns hold what."""

    cost: str
    currency: str
    elsewhere: str = ""  # an address in another bucket or container, as a manifest would name it
    packed: str  # what its text files are called: .csv.gz, .json.gz

    @property
    def missing(self) -> str:
        """What a message calls the cost's column where it is missing."""
        return self.cost

    @abstractmethod
    def line(self, cost: str, **columns: Any) -> dict[str, Any]:
        """A line of usage."""

    @abstractmethod
    def source(self, name: str, place: Place) -> BillSource:
        """A source that reads the place."""

    @abstractmethod
    def export(self, place: Place, run: int, lines: Sequence[Line], suffix: str) -> Export:
        """The period's delivery number ``run``: the first line in one file, the others in another."""

    def name_in_manifest(self, export: Export, address: str) -> None:
        """Have the export's manifest name this instead of its first file."""
        raise NotImplementedError

    def address(self, place: Place, name: str) -> str:
        """How a manifest names an object of the place."""
        raise NotImplementedError

    def write(self, path: Path, lines: Sequence[Line]) -> None:
        """The lines in the format that the file's name tells."""
        if path.name.endswith(".parquet"):
            self.write_parquet(path, lines)
        else:
            _write_csv(path, lines, list(self.line("0")))

    def write_parquet(self, path: Path, lines: Sequence[Line]) -> None:
        """The lines as the vendor writes Parquet; without lines, the columns alone."""
        self.write_rows(path, lines or [self.line("0")])
        if not lines:
            pq.write_table(pq.read_table(path).slice(0, 0), path)

    def write_rows(self, path: Path, lines: Sequence[Line]) -> None:
        """At least one line as Parquet, every column as text."""
        names = list(dict.fromkeys(name for line in lines for name in line))
        pq.write_table(pa.table({name: [line.get(name) for line in lines] for name in names}), path)

    def files(self, folder: str, lines: Sequence[Line], suffix: str) -> dict[str, bytes]:
        """The lines in two files below a folder."""
        with TemporaryDirectory() as scratch:
            written = {}
            for number, part in enumerate((lines[:1], lines[1:])):
                path = Path(scratch, f"part-{number}{suffix}")
                self.write(path, part)
                written[f"{folder}{path.name}"] = path.read_bytes()
            return written


class Aws(Vendor):
    """A data export of CUR 2.0 that overwrites its files."""

    cost, currency, packed = "line_item_unblended_cost", "line_item_currency_code", ".csv.gz"
    elsewhere = "s3://elsewhere/acme-cur/data/BILLING_PERIOD=2026-09/part-0.parquet"

    def line(self, cost: str, **columns: Any) -> dict[str, Any]:
        return bills.line("Usage", cost, **columns)

    def source(self, name: str, place: Place) -> BillSource:
        return AwsCurSource(name=name, location=f"{place.location}/acme-cur", **place.options)

    def export(self, place: Place, run: int, lines: Sequence[Line], suffix: str) -> Export:
        files = self.files("acme-cur/data/BILLING_PERIOD=2026-09/", lines, suffix)
        return Export(
            files,
            "acme-cur/metadata/BILLING_PERIOD=2026-09/acme-cur-Manifest.json",
            {"executionId": f"execution-{run}", "dataFiles": [self.address(place, name) for name in files]},
        )

    def name_in_manifest(self, export: Export, address: str) -> None:
        export.manifest["dataFiles"][0] = address

    def address(self, place: Place, name: str) -> str:
        return f"{place.location if place.location.startswith('s3://') else 's3://acme-billing'}/{name}"

    def write_rows(self, path: Path, lines: Sequence[Line]) -> None:
        types = {self.cost: "BOOLEAN"} if lines[0].get(self.cost) is True else {}
        bills.write_cur2(path, lines, types={**types, "zz_new_column": "VARCHAR"})


class Azure(Vendor):
    """A daily export of the month to date that keeps its runs."""

    cost, currency, packed = "CostInBillingCurrency", "BillingCurrencyCode", ".csv.gz"
    elsewhere = "https://acme.blob.core.windows.net/elsewhere/acme-actual/part-0.parquet"

    @property
    def missing(self) -> str:
        # One of several spellings.
        return "cost_in_billing_currency"

    def line(self, cost: str, **columns: Any) -> dict[str, Any]:
        return azure_bills.line("Usage", cost, **{"BillingCurrencyCode": "USD", **columns})

    def source(self, name: str, place: Place) -> BillSource:
        return AzureCostSource(name=name, location=place.location, **place.options)

    def export(self, place: Place, run: int, lines: Sequence[Line], suffix: str) -> Export:
        folder = f"acme-actual/20260901-20260930/2026090{run}0200/run-{run}/"
        files = self.files(folder, lines, suffix)
        rows = [1, len(lines) - 1] if lines else [0, 0]
        return Export(
            files,
            f"{folder}manifest.json",
            {
                "manifestVersion": "2024-04-01",
                "blobCount": 2,
                "dataRowCount": sum(rows),
                "exportConfig": {"exportName": "acme-actual", "type": "ActualCost", "timeFrame": "MonthToDate"},
                "deliveryConfig": {"partitionData": True, "dataOverwriteBehavior": "CreateNewReport"},
                "runInfo": {
                    "submittedTime": f"2026-09-0{run}T02:00:00.000Z",
                    "runId": f"run-{run}",
                    "startDate": "2026-09-01T00:00:00",
                    "endDate": "2026-09-30T00:00:00",
                },
                "blobs": [{"blobName": name, "dataRowCount": count} for name, count in zip(files, rows, strict=True)],
            },
        )

    def name_in_manifest(self, export: Export, address: str) -> None:
        export.manifest["blobs"][0]["blobName"] = address

    def address(self, place: Place, name: str) -> str:
        return name


class Google(Vendor):
    """The detailed table as ``bq extract`` writes it."""

    cost, currency, packed = "cost", "currency", ".json.gz"

    def line(self, cost: str, **columns: Any) -> dict[str, Any]:
        return google_bills.line(cost, **columns)

    def source(self, name: str, place: Place) -> BillSource:
        return GcpBillingSource(name=name, location=place.location, **place.options)

    def export(self, place: Place, run: int, lines: Sequence[Line], suffix: str) -> Export:
        return Export(self.files("", lines, suffix))

    def write(self, path: Path, lines: Sequence[Line]) -> None:
        if path.name.endswith(".parquet"):
            self.write_parquet(path, lines)
        else:
            google_bills.write_json(path, lines)

    def write_parquet(self, path: Path, lines: Sequence[Line]) -> None:
        given = lines[0].get(self.cost) if lines else None
        google_bills.write_parquet(
            path, lines or [self.line("0")], types={"cost": "BOOLEAN"} if given is True else None
        )
        if not lines:
            pq.write_table(pq.read_table(path).slice(0, 0), path)


class Focus(Vendor):
    """Files in FOCUS 1.2, without a manifest."""

    cost, currency, packed = "BilledCost", "BillingCurrency", ".csv.gz"

    def line(self, cost: str, **columns: Any) -> dict[str, Any]:
        return {
            "BilledCost": cost,
            "BillingAccountId": "account-7",
            "BillingAccountName": "Acme",
            "BillingCurrency": "USD",
            "BillingPeriodStart": "2026-09-01T00:00:00Z",
            "BillingPeriodEnd": "2026-10-01T00:00:00Z",
            "ChargeCategory": "Usage",
            "ChargeClass": "",
            "ChargeDescription": "GPU hours",
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": "2026-09-03T07:00:00Z",
            "ChargePeriodEnd": "2026-09-03T08:00:00Z",
            "ContractedCost": cost,
            "EffectiveCost": cost,
            "InvoiceIssuerName": "Moonbeam",
            "ListCost": cost,
            "PricingQuantity": "1",
            "PricingUnit": "Hours",
            "ProviderName": "Moonbeam",
            "PublisherName": "Moonbeam",
            "ServiceCategory": "Compute",
            "ServiceName": "Moonbeam GPU",
            "SubAccountId": "team-7",
            **columns,
        }

    def source(self, name: str, place: Place) -> BillSource:
        return FocusSource(name=name, location=place.location, **place.options)

    def export(self, place: Place, run: int, lines: Sequence[Line], suffix: str) -> Export:
        return Export(self.files("", lines, suffix))


def _write_csv(path: Path, lines: Sequence[Line], columns: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)) or columns)
    writer.writeheader()
    writer.writerows(lines)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
