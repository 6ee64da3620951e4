"""The bill of Globex, a company Acme bought: a legacy Cost and Usage Report in gzipped CSV, versions kept.

Its columns differ from month to month, as AWS adds a column once a tag or product attribute is used and drops it when
it no longer is. Small numbers are in scientific notation.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from examples.acme.meters import SCALE, Line, Meter, always, hourly_lines, scaled, varying_lines
from examples.acme.noise import identifier, token
from examples.acme.organisation import GLOBEX_DATA_ACCOUNT, GLOBEX_PAYER_ACCOUNT, GLOBEX_STORE_ACCOUNT, REGION
from examples.acme.payer_bill import WrittenPeriod
from examples.acme.span import DAY_SECONDS, BillingMonth, Span, epoch

REPORT_NAME = "globex-cur"
BUCKET = "globex-billing"
KEY_PREFIX = "reports"

with (Path(__file__).parent / "cur1_columns.csv").open(encoding="utf-8", newline="") as columns:
    COLUMN_MONTHS: Mapping[str, str] = {row["column"]: row["months"] for row in csv.DictReader(columns)}
    """The report's columns with the calendar months that have them, as numbers between blanks.

    Globex moved from the tag `Team` to `team` in September and dropped `Project` in October.
    """

OLDER_ASSEMBLY_MONTH = date(2026, 9, 1)
"""This month's first assembly, superseded since, still lies beside the newest."""


def write_subsidiary_bill(report: Path, span: Span) -> Iterator[WrittenPeriod]:
    """Write the report's period folders for each billing period the span touches, below `report`."""
    for month in span.months():
        meters = _meters(month)
        if month.start == OLDER_ASSEMBLY_MONTH:
            first_day = Span(month.delivered.first_day, month.delivered.first_day + timedelta(days=1))
            earlier = BillingMonth(month.start, month.end, first_day)
            _write_assembly(report, earlier, _meters(earlier), is_newest=False)
        _write_assembly(report, month, meters, is_newest=True)
        totals: defaultdict[str, int] = defaultdict(int)
        for meter in meters:
            totals[str(meter.columns["lineItem/LineItemType"])] += sum(line.unblended for line in meter.lines)
        yield WrittenPeriod(
            month.label,
            sum(len(meter.lines) for meter in meters),
            {line_type: Decimal(total) / SCALE for line_type, total in sorted(totals.items())},
        )


def _meters(month: BillingMonth) -> list[Meter]:
    hours = month.delivered.hours()
    ec2, s3, functions = "Amazon Elastic Compute Cloud", "Amazon Simple Storage Service", "AWS Lambda"
    web = {"resourceTags/user:environment": "production", "resourceTags/user:Project": "storefront"}
    batch = {"resourceTags/user:Project": "warehouse", "resourceTags/user:cost-center": "CC-2001"}
    team_tag = "resourceTags/user:Team" if month.start.month == 8 else "resourceTags/user:team"
    instance = {"product/instanceType": "m5.8xlarge", "product/vcpu": "32", "product/operatingSystem": "Linux"}
    on_demand, read, request = Decimal("1.536"), Decimal("0.0000004"), Decimal("0.0000002")
    usage = [
        Meter(
            _usage(GLOBEX_STORE_ACCOUNT, "AmazonEC2", ec2, "BoxUsage:m5.8xlarge", "RunInstances", "Hrs", on_demand)
            | instance
            | web
            | {team_tag: "Commerce", "lineItem/ResourceId": f"i-{token('globex web', 17)}"},
            hourly_lines(hours, SCALE, on_demand, on_demand),
        ),
        Meter(
            _usage(GLOBEX_DATA_ACCOUNT, "AmazonEC2", ec2, "BoxUsage:m5.8xlarge", "RunInstances", "Hrs", on_demand)
            | instance
            | batch
            | {
                "lineItem/ResourceId": f"i-{token('globex batch', 17)}",
                "resourceTags/aws:createdBy": "Root:000987654321",
            },
            hourly_lines(hours, SCALE, on_demand, on_demand),
        ),
        Meter(
            _usage(GLOBEX_STORE_ACCOUNT, "AmazonS3", s3, "Requests-Tier2", "GetObject", "Requests", read)
            | {team_tag: "commerce ", "lineItem/ResourceId": "globex-images", "product/group": "S3-API-Tier2"},
            varying_lines("globex images", always(hours), 400 * SCALE, SCALE, read),
        ),
        Meter(
            _usage(GLOBEX_STORE_ACCOUNT, "AWSLambda", functions, "Request", "Invoke", "Requests", request)
            | {"lineItem/ResourceId": f"arn:aws:lambda:{REGION}:{GLOBEX_STORE_ACCOUNT}:function:checkout"},
            varying_lines("globex checkout", always(hours), 900 * SCALE, SCALE, request),
        ),
    ]
    cost = sum(line.unblended for meter in usage for line in meter.lines)
    # 8.25 % to the cent below.
    tax = cost * 825 // 10000 // (SCALE // 100) * (SCALE // 100)
    return [*usage, _tax(month, tax)]


def _usage(
    account: str, code: str, name: str, usage_type: str, operation: str, unit: str, rate: Decimal
) -> dict[str, str]:
    return {
        "lineItem/UsageAccountId": account,
        "lineItem/LineItemType": "Usage",
        "lineItem/ProductCode": code,
        "lineItem/UsageType": usage_type,
        "lineItem/Operation": operation,
        "lineItem/UnblendedRate": number_text(scaled(rate)),
        "lineItem/BlendedRate": number_text(scaled(rate)),
        "lineItem/LineItemDescription": f"${rate:f} per {unit} - {name}",
        "product/ProductName": name,
        "product/region": REGION,
        "product/regionCode": REGION,
        "product/servicecode": code,
        "product/servicename": name,
        "product/sku": token(f"sku {usage_type}", 16).upper(),
        "pricing/RateCode": f"{token(f'sku {usage_type}', 16).upper()}.JRTCKXETXF.6YS6EN2CT7",
        "pricing/publicOnDemandRate": number_text(scaled(rate)),
        "pricing/term": "OnDemand",
        "pricing/unit": unit,
    }


def _tax(month: BillingMonth, tax: int) -> Meter:
    return Meter(
        {
            "lineItem/UsageAccountId": GLOBEX_PAYER_ACCOUNT,
            "lineItem/LineItemType": "Tax",
            "lineItem/ProductCode": "AmazonEC2",
            "lineItem/LineItemDescription": "Tax for product code AmazonEC2",
            "lineItem/TaxType": "USSalesTax",
            "product/ProductName": "Amazon Elastic Compute Cloud",
        },
        [Line(epoch(month.start), epoch(month.end), SCALE, tax, 0)],
    )


def number_text(value: int) -> str:
    """A whole number of 10^-10 as the report prints numbers: below 0.001 in scientific notation, `4.0E-7`."""
    number = Decimal(value).scaleb(-10).normalize()
    if number == 0:
        return "0.0"
    if abs(number) < Decimal("0.001"):
        mantissa = number.scaleb(-number.adjusted())
        text = f"{mantissa:f}"
        return f"{text if '.' in text else text + '.0'}E{number.adjusted()}"
    text = f"{number:f}"
    return text if "." in text else text + ".0"


def _write_assembly(report: Path, month: BillingMonth, meters: Sequence[Meter], *, is_newest: bool) -> None:
    period = report / f"{month.start:%Y%m%d}-{month.end:%Y%m%d}"
    columns = [column for column, months in COLUMN_MONTHS.items() if str(month.start.month) in months.split()]
    file_name = f"{REPORT_NAME}-00001.csv.gz"
    data = _gzipped(_csv(month, meters, columns))
    # An assembly of its own for each content, so that what was once delivered under an id never changes.
    assembly = identifier(f"assembly {hashlib.sha256(data).hexdigest()}")
    (period / assembly).mkdir(parents=True, exist_ok=True)
    (period / assembly / file_name).write_bytes(data)
    manifest = {
        "assemblyId": assembly,
        "account": GLOBEX_PAYER_ACCOUNT,
        "columns": [_column_description(column) for column in columns],
        "charset": "UTF-8",
        "compression": "GZIP",
        "contentType": "text/csv",
        "reportId": token("globex report", 64),
        "reportName": REPORT_NAME,
        "billingPeriod": {"start": f"{month.start:%Y%m%d}T000000.000Z", "end": f"{month.end:%Y%m%d}T000000.000Z"},
        "bucket": BUCKET,
        "reportKeys": [f"{KEY_PREFIX}/{REPORT_NAME}/{period.name}/{assembly}/{file_name}"],
        "additionalArtifactKeys": [],
    }
    text = json.dumps(manifest, indent=2) + "\n"
    for folder in (period / assembly, period) if is_newest else (period / assembly,):
        (folder / f"{REPORT_NAME}-Manifest.json").write_text(text, encoding="utf-8", newline="\n")


def _column_description(column: str) -> dict[str, str]:
    category, name = column.split("/", 1)
    is_number = name.endswith(("Cost", "Amount", "Fee", "Quantity", "CommitmentToDate", "UsedCommitment"))
    column_type = "OptionalBigDecimal" if is_number else "DateTime" if name.endswith("Date") else "OptionalString"
    return {"category": category, "name": name, "type": column_type}


def _csv(month: BillingMonth, meters: Sequence[Meter], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    common = {
        "bill/InvoiceId": f"{month.start:%Y%m}0042" if month.is_final else "",
        "bill/InvoicingEntity": "Amazon Web Services, Inc.",
        "bill/BillingEntity": "AWS",
        "bill/BillType": "Anniversary",
        "bill/PayerAccountId": GLOBEX_PAYER_ACCOUNT,
        "bill/BillingPeriodStartDate": f"{month.start}T00:00:00.000Z",
        "bill/BillingPeriodEndDate": f"{month.end}T00:00:00.000Z",
        "lineItem/CurrencyCode": "USD",
        "lineItem/LegalEntity": "Amazon Web Services, Inc.",
        "pricing/currency": "USD",
    }
    for meter in meters:
        # Tags and attributes that have no column in this month are left out, as in AWS's own report.
        shared: Mapping[str, object] = common | dict(meter.columns)
        for line in meter.lines:
            writer.writerow({**shared, **_line_columns(meter, line)})
    return text.getvalue()


def _line_columns(meter: Meter, line: Line) -> dict[str, str]:
    start, end = (
        datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in (line.start, line.end)
    )
    cost = number_text(line.unblended)
    return {
        "identity/LineItemId": meter.line_item_id(line.start // DAY_SECONDS),
        "identity/TimeInterval": f"{start}/{end}",
        "lineItem/UsageStartDate": start,
        "lineItem/UsageEndDate": end,
        "lineItem/UsageAmount": number_text(line.amount),
        "lineItem/UnblendedCost": cost,
        "lineItem/BlendedCost": cost,
        "pricing/publicOnDemandCost": number_text(line.on_demand),
    }


def _gzipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)
