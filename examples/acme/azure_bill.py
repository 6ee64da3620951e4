"""Azure's bill: the actual and the amortised cost export of an enterprise agreement, as Cost Management delivers them.

Month-to-date snapshots of which each run keeps its own folder (CreateNewReport): only the latest run of a month counts.
Gzipped CSV in two partitions, with a byte order mark, dates as MM/DD/YYYY and tags without braces.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

from examples.acme.azure_charges import Benefit, Charge, charges
from examples.acme.azure_organisation import ENROLMENT, ENROLMENT_NAME, REGION, VCPUS, Subscription
from examples.acme.noise import identifier, token
from examples.acme.span import BillingMonth, Span

ROOT = "exports"
EXPORTS = {"acme-actual": "ActualCost", "acme-amortized": "AmortizedCost"}
CONTAINER = "https://acmebilling.blob.core.windows.net/costs"
PARTITIONS = 2

_CSV_COLUMNS = Path(__file__).parent / "azure_columns.csv"
with _CSV_COLUMNS.open(encoding="utf-8", newline="") as columns:
    COLUMNS = tuple(row["column"] for row in csv.DictReader(columns))
    """The columns of an enterprise agreement's cost exports, in order."""


@dataclass(frozen=True)
class WrittenMonth:
    """What the latest runs of a month came to: rows of both exports, and exact costs by charge type."""

    label: str
    rows: int
    actual: Mapping[str, Decimal]
    amortised: Mapping[str, Decimal]


def write_azure_bill(folder: Path, span: Span) -> Iterator[WrittenMonth]:
    """Write the runs of both exports for each billing period the span touches, below `folder`, the container's root."""
    for month in span.months():
        all_charges = charges(month)
        last_day = month.delivered.end_day - timedelta(days=1)
        earlier = [charge for charge in all_charges if charge.day < last_day]
        for export in EXPORTS:
            if earlier:
                _write_run(folder, export, month, earlier, _submitted(last_day))
            _write_run(folder, export, month, all_charges, _latest_run(month))
        yield WrittenMonth(
            month.label,
            sum(len(_rows_of(all_charges, export)) for export in EXPORTS),
            _costs(all_charges, amortised=False),
            _costs(all_charges, amortised=True),
        )


def _submitted(day: date) -> datetime:
    """The nightly run of a day."""
    return datetime.combine(day, time(4, 10, 27))


def _latest_run(month: BillingMonth) -> datetime:
    """A closed month's last run is days after its end; that of the open month is of the demo's clock."""
    return _submitted(month.end + timedelta(days=4)) if month.is_final else _submitted(month.delivered.end_day)


def _costs(all_charges: Sequence[Charge], *, amortised: bool) -> dict[str, Decimal]:
    costs: defaultdict[str, Decimal] = defaultdict(Decimal)
    for charge in all_charges:
        price = charge.price(amortised=amortised)
        if price is not None:
            costs[charge.charge_type] += charge.quantity * price
    return dict(sorted(costs.items()))


def _rows_of(all_charges: Sequence[Charge], export: str) -> list[tuple[Charge, Decimal]]:
    """The charges of one view with their prices in it."""
    amortised = EXPORTS[export] == "AmortizedCost"
    priced = ((charge, charge.price(amortised=amortised)) for charge in all_charges)
    return [(charge, price) for charge, price in priced if price is not None]


def _write_run(
    folder: Path, export: str, month: BillingMonth, all_charges: Sequence[Charge], submitted: datetime
) -> None:
    rows = _rows_of(all_charges, export)
    length = -(-len(rows) // PARTITIONS)
    parts = [rows[start : start + length] for start in range(0, len(rows), length)]
    contents = [gzip.compress(_csv(month, part).encode("utf-8-sig"), mtime=0) for part in parts]
    # A run of its own for each content, so that what was once delivered under an id never changes.
    run = identifier(" ".join([export, *(hashlib.sha256(content).hexdigest() for content in contents)]))
    last_day = month.end - timedelta(days=1)
    place = f"{ROOT}/{export}/{month.start:%Y%m%d}-{last_day:%Y%m%d}/{submitted:%Y%m%d%H%M}/{run}"
    (folder / place).mkdir(parents=True, exist_ok=True)
    blobs = []
    for number, (part, content) in enumerate(zip(parts, contents, strict=True)):
        name = f"{place}/part_{number}_0001.csv.gz"
        (folder / name).write_bytes(content)
        blobs.append({"blobName": name, "byteCount": len(content), "dataRowCount": len(part), "headerRowCount": 1})
    manifest = _manifest(export, month, submitted, run) | {
        "blobCount": len(blobs),
        "byteCount": sum(len(content) for content in contents),
        "dataRowCount": len(rows),
        "blobs": blobs,
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / place / "manifest.json").write_text(text, encoding="utf-8", newline="\n")


def _manifest(export: str, month: BillingMonth, submitted: datetime, run: str) -> dict[str, object]:
    scope = f"/providers/Microsoft.Billing/billingAccounts/{ENROLMENT}"
    return {
        "manifestVersion": "2024-04-01",
        "exportConfig": {
            "exportName": export,
            "resourceId": f"{scope}/providers/Microsoft.CostManagement/exports/{export}",
            "dataVersion": "2023-12-01-preview",
            "apiVersion": "2025-03-01",
            "type": EXPORTS[export],
            "timeFrame": "TheLastMonth" if month.is_final else "MonthToDate",
            "granularity": "Daily",
        },
        "deliveryConfig": {
            "partitionData": True,
            "dataOverwriteBehavior": "CreateNewReport",
            "fileFormat": "Csv",
            "compressionMode": "Gzip",
            "containerUri": CONTAINER,
            "rootFolderPath": ROOT,
        },
        "runInfo": {
            "executionType": "Scheduled",
            "submittedTime": f"{submitted:%Y-%m-%dT%H:%M:%S}.5171023Z",
            "runId": run,
            "startDate": f"{month.start}T00:00:00",
            "endDate": f"{month.end - timedelta(days=1)}T00:00:00",
        },
    }


def _csv(month: BillingMonth, rows: Sequence[tuple[Charge, Decimal]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    of_month = {
        "BillingAccountId": ENROLMENT,
        "BillingAccountName": ENROLMENT_NAME,
        "BillingCurrencyCode": "USD",
        "BillingPeriodStartDate": us_date(month.start),
        "BillingPeriodEndDate": us_date(month.end - timedelta(days=1)),
        "BillingProfileId": ENROLMENT,
        "BillingProfileName": ENROLMENT_NAME,
        "IsAzureCreditEligible": "True",
        "OfferId": "MS-AZR-0017P",
    }
    for charge, price in rows:
        writer.writerow(of_month | _charge_columns(charge, price))
    return text.getvalue()


def us_date(day: date) -> str:
    """A date as the export writes it, month first."""
    return day.strftime("%m/%d/%Y")


def number_text(number: Decimal) -> str:
    """A number without exponent and without zeros at its end."""
    return f"{number.normalize() + 0:f}"


def _charge_columns(charge: Charge, price: Decimal) -> dict[str, str]:
    meter, is_marketplace = charge.meter, charge.publisher != "Microsoft"
    list_price = meter.list_price if meter.list_price is not None else Decimal(0)
    columns = {
        "Date": us_date(charge.day),
        "ProductName": f"{meter.subcategory or meter.category} - {meter.name} - US East",
        "MeterCategory": meter.category,
        "MeterSubCategory": meter.subcategory,
        "MeterId": meter.id,
        "MeterName": meter.name,
        "MeterRegion": "" if is_marketplace else "US East",
        "UnitOfMeasure": meter.unit,
        "Quantity": number_text(charge.quantity),
        "EffectivePrice": number_text(price),
        "CostInBillingCurrency": number_text(charge.quantity * price),
        "UnitPrice": number_text(price if charge.charge_type in ("Purchase", "Refund") else meter.price),
        "PayGPrice": number_text(list_price),
        "ResourceLocation": "" if charge.resource is None else REGION,
        "PublisherType": "Marketplace" if is_marketplace else "Azure",
        "PublisherName": charge.publisher,
        "ChargeType": charge.charge_type,
        "Frequency": charge.frequency,
        "PricingModel": charge.pricing_model,
        "ServiceFamily": meter.family,
        "PartNumber": token(f"part {meter.id}", 8).upper(),
        "AdditionalInfo": _additional_info(charge),
    }
    columns |= _subscription_columns(charge.subscription) | _resource_columns(charge) | _benefit_columns(charge.benefit)
    if is_marketplace:
        columns |= {"PlanName": "Standard", "PartNumber": "", "ConsumedService": "Microsoft.SaaS"}
    return columns


def _subscription_columns(subscription: Subscription | None) -> dict[str, str]:
    if subscription is None:
        return {}
    return {
        "SubscriptionId": subscription.id,
        "SubscriptionName": subscription.name,
        "AccountName": "Acme cloud team",
        "AccountOwnerId": "cloud@acme.example",
        "InvoiceSectionName": subscription.department,
    }


def _resource_columns(charge: Charge) -> dict[str, str]:
    resource, benefit = charge.resource, charge.benefit
    if resource is None:
        return {"ResourceId": benefit.id, "ConsumedService": benefit.provider} if benefit else {}
    return {
        "ResourceId": resource.id,
        "ResourceName": resource.name,
        "ResourceGroup": resource.group,
        "ConsumedService": resource.service,
        # An enterprise agreement's export writes tags without the braces of their JSON.
        "Tags": json.dumps(dict(resource.tags), separators=(",", ": "))[1:-1],
    }


def _benefit_columns(benefit: Benefit | None) -> dict[str, str]:
    if benefit is None:
        return {}
    columns = {
        "benefitId": benefit.id,
        "benefitName": benefit.name,
        "ProductOrderId": benefit.order_id,
        "ProductOrderName": benefit.order_name,
        "Term": "12",
    }
    if benefit.pricing_model == "Reservation":
        columns |= {"ReservationId": benefit.number, "ReservationName": benefit.name}
    return columns


def _additional_info(charge: Charge) -> str:
    if not charge.size:
        return ""
    info: dict[str, object] = {
        "UsageType": "ComputeHR",
        "ImageType": "Canonical",
        "ServiceType": charge.size,
        "VMName": charge.resource.name if charge.resource else "",
        "VCPUs": VCPUS[charge.size],
    }
    if charge.benefit is not None and charge.benefit.pricing_model == "Reservation":
        info |= {"ReservationOrderId": charge.benefit.order_id, "ReservationId": charge.benefit.number}
    return json.dumps(info, separators=(",", ":"))
