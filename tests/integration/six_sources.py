"""Six sources of a company, a line for each billing period, where their vendors would deliver them."""

from __future__ import annotations

import csv
import json
from calendar import monthrange
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pipelines.config import Settings
from pipelines.lake.landing import LandedSource, land, note_look
from pipelines.lake.paths import Lake
from pipelines.sources.kinds import source_kind
from tests.integration.servers.blob import BlobServer
from tests.integration.servers.s3 import S3Server
from tests.normalise import azure_bills, bills, google_bills
from tests.sources.azure_deliveries import deliver as deliver_azure

# 24 billing periods, the last one of them running on the day that figures are as of.
PERIODS = [f"{year}-{month:02}" for year in (2024, 2025, 2026) for month in range(1, 13)][10:34]
AS_OF = "2026-10-16T00:00:00"
EXPORTS = ("acme-cur", "globex-cur")


def deliver(folder: Path, s3: S3Server, azure: BlobServer, periods: Sequence[str] = PERIODS) -> Path:
    """Write every source's deliveries and put them where they belong; returns the configuration that names them.

    A bucket has two AWS exports, files in FOCUS, and files of Google Cloud's billing export; a container Azure's; a folder
    the request log.
    """
    bucket, container = s3.bucket(), azure.container()
    for period in periods:
        for export in EXPORTS:
            deliver_aws(folder / "bucket", bucket, export, period, "1.25")
        _deliver_google(folder / "bucket" / "google", period)
        _deliver_focus(folder / "bucket" / "focus", period)
        _deliver_azure(folder / "container", period)
        _deliver_requests(folder / "logs", period)
    s3.upload(folder / "bucket", bucket)
    azure.upload(folder / "container", container, "exports/")
    place = f"endpoint_url: {s3.endpoint_url}"
    configuration = folder / "apportion.yaml"
    configuration.write_text(
        f"lake: ./lake\nas_of: {AS_OF}\nbills:\n"
        f'  - {{name: aws-payer, kind: aws-cur, location: "s3://{bucket}/aws/acme-cur", {place}}}\n'
        f'  - {{name: aws-subsidiary, kind: aws-cur, location: "s3://{bucket}/aws/globex-cur", {place}}}\n'
        f'  - {{name: gcp-org, kind: gcp-billing, location: "s3://{bucket}/google", {place}}}\n'
        f'  - {{name: gpu-cloud, kind: focus, location: "s3://{bucket}/focus", {place}}}\n'
        f'  - {{name: azure-ea, kind: azure-cost, location: "az://{container}/exports", account_url: {azure.account_url}}}\n'
        "usage:\n  - {name: gateway, kind: litellm, location: ./logs}\n",
        encoding="utf-8",
    )
    return configuration


def land_everything(settings: Settings) -> None:
    """Land what every source has, of all periods in one listing, as a pull of each period would."""
    lake = Lake(settings.lake)
    for source in (*settings.bills, *settings.usage):
        kind = source_kind(source.kind)
        for delivery in kind.deliveries(source):
            land(lake, delivery)
        for period, look in kind.look(source, LandedSource(lake, source.name)).items():
            note_look(lake, source.name, period, look)


def deliver_aws(folder: Path, bucket: str, export: str, period: str, cost: str, execution: str = "1") -> list[str]:
    """An execution of an AWS export that keeps its executions; returns the keys of its file and of its manifest."""
    of_period = f"BILLING_PERIOD={period}/{period}-28T04:00:00.000Z-{execution}"
    key = f"aws/{export}/data/{of_period}/1.parquet"
    file = folder / key
    file.parent.mkdir(parents=True)
    line = bills.line(
        "Usage",
        cost,
        bill_payer_account_id=f"payer of {export}",
        line_item_usage_account_id=f"member of {export}",
        bill_billing_period_start_date=f"{period}-01T00:00:00Z",
        line_item_usage_start_date=f"{period}-03T07:00:00Z",
        line_item_usage_end_date=f"{period}-03T08:00:00Z",
    )
    bills.write_cur2(file, [line])
    of_manifest = f"aws/{export}/metadata/{of_period}/{export}-Manifest.json"
    manifest = folder / of_manifest
    manifest.parent.mkdir(parents=True)
    content = {"executionId": execution, "dataFiles": [f"s3://{bucket}/{key}"]}
    manifest.write_text(json.dumps(content), encoding="utf-8")
    return [key, of_manifest]


def _deliver_google(folder: Path, period: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    line = google_bills.line(
        "2.5",
        invoice={"month": period.replace("-", "")},
        usage_start_time=f"{period}-03 07:00:00+00",
        usage_end_time=f"{period}-03 08:00:00+00",
        export_time=f"{period}-03 12:00:00+00",
    )
    google_bills.write_parquet(folder / f"{period}.parquet", [line])


def _deliver_focus(folder: Path, period: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    year, month = (int(part) for part in period.split("-"))
    following = f"{year + month // 12}-{month % 12 + 1:02}"
    row = {
        "BilledCost": "3.75",
        "BillingAccountId": "gpu-cloud-1",
        "BillingAccountName": "Acme at the GPU cloud",
        "BillingCurrency": "USD",
        "BillingPeriodStart": f"{period}-01T00:00:00Z",
        "BillingPeriodEnd": f"{following}-01T00:00:00Z",
        "ChargeCategory": "Usage",
        "ChargeDescription": "GPU hours",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": f"{period}-03T07:00:00Z",
        "ChargePeriodEnd": f"{period}-03T08:00:00Z",
        "ConsumedQuantity": "1",
        "ConsumedUnit": "Hours",
        "ContractedCost": "3.75",
        "ContractedUnitPrice": "3.75",
        "EffectiveCost": "3.75",
        "InvoiceIssuerName": "GPU cloud",
        "ListCost": "3.75",
        "ListUnitPrice": "3.75",
        "PricingCategory": "Standard",
        "PricingQuantity": "1",
        "PricingUnit": "Hours",
        "ProviderName": "GPU cloud",
        "PublisherName": "GPU cloud",
        "RegionId": "eu-1",
        "RegionName": "Europe 1",
        "ResourceId": "node-1",
        "ServiceCategory": "Compute",
        "ServiceName": "GPU instances",
        "SkuId": "h100",
        "SkuPriceId": "h100-hour",
        "SubAccountId": "research",
        "SubAccountName": "Research",
        "Tags": '{"team": "research"}',
    }
    with (folder / f"{period}.csv").open("w", newline="", encoding="utf-8") as content:
        writer = csv.DictWriter(content, list(row))
        writer.writeheader()
        writer.writerow(row)


def _deliver_azure(folder: Path, period: str) -> None:
    year, month = period.split("-")
    last = monthrange(int(year), int(month))[1]
    line = azure_bills.line(
        "Usage",
        "24",
        BillingPeriodStartDate=f"{month}/01/{year}",
        BillingPeriodEndDate=f"{month}/{last}/{year}",
        Date=f"{month}/03/{year}",
    )
    deliver_azure(folder, "actual", {"part_0_0001.csv": [line]}, period=period, run_id=f"run-{period}")


def _deliver_requests(folder: Path, period: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    request = {
        "id": f"request-{period}",
        "status": "success",
        "startTime": datetime.fromisoformat(f"{period}-03T07:00:00+00:00").timestamp(),
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
    }
    (folder / f"{period}-03.jsonl").write_text(json.dumps(request) + "\n", encoding="utf-8")
