"""Acme's bill: a CUR 2.0 data export in Parquet, laid out as AWS Data Exports delivers it in overwrite mode.

The export has manual discount compatibility on: discounts are lines of their own, and there are no `discount` or
`net` columns. Split cost allocation data and IAM principals are off.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from examples.acme.meters import NOWHERE, SCALE, CurValue, Line, Meter, scaled
from examples.acme.noise import identifier
from examples.acme.organisation import ACCOUNT_NAMES, PAYER_ACCOUNT, PLATFORM_ACCOUNT, REGION
from examples.acme.payer_commitments import commitments
from examples.acme.payer_usage import uncovered_usage
from examples.acme.span import DAY_SECONDS, END_DAY, BillingMonth, Span, epoch

EXPORT_NAME = "acme-cur"
BUCKET = "acme-billing"
FILES_PER_PERIOD = 3

_ARROW_TYPES = {
    "string": pa.string(),
    "double": pa.float64(),
    "timestamp": pa.timestamp("ms"),
    "map<string,string>": pa.map_(pa.string(), pa.string()),
}

with (Path(__file__).parent / "cur2_columns.csv").open(encoding="utf-8", newline="") as columns:
    COLUMN_TYPES: Mapping[str, str] = {row["column"]: row["type"] for row in csv.DictReader(columns)}
    """The columns of the export in the order of its query, with their types as AWS Glue names them."""


@dataclass(frozen=True)
class WrittenPeriod:
    """What a bill's period came to: the unblended cost by line item type, exact."""

    label: str
    lines: int
    unblended: Mapping[str, Decimal]


def write_payer_bill(
    export: Path, span: Span, bedrock_tokens: Counter[tuple[int, str, str]]
) -> Iterator[WrittenPeriod]:
    """Write the data files and the manifest of each billing period the span touches, below `export`."""
    for month in span.months():
        meters = [*commitments(month), *uncovered_usage(month, bedrock_tokens)]
        meters += _charges_on_usage(month, meters)
        table = _table(month, meters)
        files = _write_data_files(export, month, table)
        _write_manifest(export, month, files)
        yield WrittenPeriod(month.label, table.num_rows, _unblended_by_type(meters))
    _leave_stale_file(export, span)


def _unblended_by_type(meters: Sequence[Meter]) -> dict[str, Decimal]:
    totals: defaultdict[str, int] = defaultdict(int)
    for meter in meters:
        totals[str(meter.columns["line_item_line_item_type"])] += sum(line.unblended for line in meter.lines)
    return {line_type: Decimal(total) / SCALE for line_type, total in sorted(totals.items())}


def _charges_on_usage(month: BillingMonth, meters: Sequence[Meter]) -> Iterator[Meter]:
    """Tax, support, a credit and a refund: lines about the month rather than about an hour."""
    usage: defaultdict[str, int] = defaultdict(int)
    for meter in meters:
        if meter.columns["line_item_line_item_type"] != "Fee":
            usage[str(meter.columns["line_item_usage_account_id"])] += sum(line.unblended for line in meter.lines)
    whole_month = (epoch(month.start), epoch(month.end))
    for account, cost in sorted(usage.items()):
        tax = _cents(Decimal(cost) / SCALE * Decimal("0.06"))
        yield _single(
            "Tax",
            account,
            "AmazonEC2",
            "Tax for product code AmazonEC2",
            whole_month,
            tax,
            line_item_tax_type="USSalesTax",
        )
    yield _single(
        "Fee",
        PAYER_ACCOUNT,
        "AWSSupportBusiness",
        "AWS Support (Business)",
        whole_month,
        _support_fee(Decimal(sum(usage.values())) / SCALE),
        product_product_family="Support",
    )
    if (credited_on := date(2026, 8, 20)) in month.delivered:
        yield _single(
            "Credit",
            PLATFORM_ACCOUNT,
            "AmazonEC2",
            "AWS Activate credit for accelerated computing",
            (epoch(credited_on), epoch(credited_on) + DAY_SECONDS),
            Decimal("-5000.00"),
        )
    if date(2026, 9, 4) in month.delivered:
        degraded_on = epoch(date(2026, 8, 14))
        yield _single(
            "Refund",
            PLATFORM_ACCOUNT,
            "AmazonEC2",
            "Refund for degraded hardware of p4d.24xlarge in August 2026",
            (degraded_on, degraded_on + DAY_SECONDS),
            Decimal("-527.00"),
            bill_bill_type="Refund",
        )


def _support_fee(spend: Decimal) -> Decimal:
    """AWS Business Support: 10 % of the first 10 thousand, 7 % to 80, 5 % to 250 thousand, 3 % above; at least 100."""
    fee = Decimal(0)
    lower = Decimal(0)
    for upper, rate in ((Decimal(10000), "0.10"), (Decimal(80000), "0.07"), (Decimal(250000), "0.05"), (None, "0.03")):
        reached = spend if upper is None else min(spend, upper)
        fee += max(Decimal(0), reached - lower) * Decimal(rate)
        lower = upper or lower
    return max(Decimal(100), _cents(fee))


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def _single(
    line_item_type: str,
    account: str,
    product_code: str,
    description: str,
    period: tuple[int, int],
    cost: Decimal,
    **further: CurValue,
) -> Meter:
    name = {"AmazonEC2": "Amazon Elastic Compute Cloud", "AWSSupportBusiness": "AWS Support (Business)"}[product_code]
    return Meter(
        {
            "line_item_line_item_type": line_item_type,
            "line_item_usage_account_id": account,
            "line_item_usage_account_name": ACCOUNT_NAMES[account],
            "line_item_product_code": product_code,
            "line_item_line_item_description": description,
            "product_servicecode": product_code,
            "product": {"product_name": name},
            **NOWHERE,
            "resource_tags": {},
            **further,
        },
        [Line(*period, SCALE, scaled(cost), 0)],
    )


def _table(month: BillingMonth, meters: Sequence[Meter]) -> pa.Table:
    """The month's lines, meter by meter and in order of time, as the export's columns."""
    meter_of_line = [number for number, meter in enumerate(meters) for _ in meter.lines]
    lines = [line for meter in meters for line in meter.lines]
    columns = _shared_columns(month, meters, pa.array(meter_of_line, pa.int32()))
    columns |= _line_columns(lines)
    columns["identity_line_item_id"] = _dictionary(
        zip(meter_of_line, (line.start // DAY_SECONDS for line in lines), strict=True),
        lambda key: meters[key[0]].line_item_id(key[1]),
    )
    columns["identity_time_interval"] = _dictionary(((line.start, line.end) for line in lines), _interval)
    return pa.table({column: columns[column] for column in COLUMN_TYPES})


def _shared_columns(
    month: BillingMonth, meters: Sequence[Meter], meter_of_line: pa.Array
) -> dict[str, pa.Array | pa.DictionaryArray]:
    """What a meter's lines have in common, repeated for each of them."""
    common = _month_columns(month)
    rows = [common | {"pricing_currency": "USD"} | dict(meter.columns) for meter in meters]
    columns: dict[str, pa.Array | pa.DictionaryArray] = {}
    for column, column_type in COLUMN_TYPES.items():
        arrow_type = _ARROW_TYPES[column_type]
        values = [row.get(column) for row in rows]
        if pa.types.is_map(arrow_type):
            shared = pa.array(
                [sorted(value.items()) if isinstance(value, Mapping) else [] for value in values], arrow_type
            )
        elif pa.types.is_floating(arrow_type):
            # The double nearest to the decimal: its shortest text is the decimal again.
            shared = pa.array([None if value is None else float(str(value)) for value in values], arrow_type)
        else:
            shared = pa.array(values, arrow_type)
        columns[column] = (shared.dictionary_encode() if pa.types.is_string(arrow_type) else shared).take(meter_of_line)
    return columns


def _month_columns(month: BillingMonth) -> dict[str, object]:
    return {
        "bill_bill_type": "Anniversary",
        "bill_billing_entity": "AWS",
        "bill_billing_period_start_date": datetime.combine(month.start, datetime.min.time()),
        "bill_billing_period_end_date": datetime.combine(month.end, datetime.min.time()),
        # AWS leaves the invoice id blank until the bill is final.
        "bill_invoice_id": f"{month.start:%Y%m}0017" if month.is_final else None,
        "bill_invoicing_entity": "Amazon Web Services, Inc.",
        "bill_payer_account_id": PAYER_ACCOUNT,
        "bill_payer_account_name": ACCOUNT_NAMES[PAYER_ACCOUNT],
        "line_item_currency_code": "USD",
        "line_item_legal_entity": "Amazon Web Services, Inc.",
        "product_region_code": REGION,
        "product_location": "US East (N. Virginia)",
        "product_location_type": "AWS Region",
        "cost_category": {"business_unit": "acme"},
    }


def _line_columns(lines: Sequence[Line]) -> dict[str, pa.Array]:
    unblended = _doubles([line.unblended for line in lines])
    return {
        "line_item_usage_start_date": _timestamps([line.start for line in lines]),
        "line_item_usage_end_date": _timestamps([line.end for line in lines]),
        "line_item_usage_amount": _doubles([line.amount for line in lines]),
        "line_item_unblended_cost": unblended,
        "line_item_blended_cost": unblended,
        "pricing_public_on_demand_cost": _doubles([line.on_demand for line in lines]),
        "savings_plan_used_commitment": _doubles([line.used_commitment for line in lines]),
    }


def _doubles(values: list[int | None]) -> pa.Array:
    """Integers of 10^-10 as the nearest doubles: both operands are exact, so the quotient is correctly rounded."""
    return pc.divide(pa.array(values, pa.int64()).cast(pa.float64()), pa.scalar(float(SCALE)))


def _timestamps(seconds: list[int]) -> pa.Array:
    return pa.array(seconds, pa.timestamp("s")).cast(pa.timestamp("ms"))


def _dictionary(keys: Iterator[tuple[int, int]], text: Callable[[tuple[int, int]], str]) -> pa.DictionaryArray:
    numbers: dict[tuple[int, int], int] = {}
    indices = [numbers.setdefault(key, len(numbers)) for key in keys]
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), [text(key) for key in numbers])


def _interval(period: tuple[int, int]) -> str:
    start, end = (datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in period)
    return f"{start}/{end}"


def _write_data_files(export: Path, month: BillingMonth, table: pa.Table) -> list[str]:
    """Write the table in files of about the same length; return their paths below the export's folder."""
    length = -(-table.num_rows // FILES_PER_PERIOD)
    names = []
    for number in range(FILES_PER_PERIOD):
        name = _data_file(month, number + 1)
        _write_parquet(export / name, table.slice(number * length, length))
        names.append(name)
    return names


def _data_file(month: BillingMonth, number: int) -> str:
    return f"data/BILLING_PERIOD={month.label}/{EXPORT_NAME}-{number:05d}.snappy.parquet"


def _write_parquet(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without Arrow's own schema, as in a file that AWS wrote: text is text, times are milliseconds.
    pq.write_table(table, path, compression="snappy", store_schema=False)


def _write_manifest(export: Path, month: BillingMonth, files: Sequence[str]) -> None:
    created_at = datetime.combine(min(month.end + timedelta(days=5), END_DAY), datetime.min.time())
    manifest = {
        "account": PAYER_ACCOUNT,
        "additionalOutputFiles": [],
        "billingPeriod": {"start": f"{month.start}T00:00:00.000Z", "end": f"{month.end}T00:00:00.000Z"},
        "bucket": BUCKET,
        "charset": "UTF-8",
        "columns": [{"name": name, "type": column_type} for name, column_type in COLUMN_TYPES.items()],
        "compression": "Parquet",
        "contentType": "Parquet",
        "createdAt": created_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "dataFiles": [f"s3://{BUCKET}/exports/{EXPORT_NAME}/{name}" for name in files],
        # An execution of its own for each content, so that what was once delivered under an id never changes.
        "executionId": identifier(" ".join(hashlib.sha256((export / name).read_bytes()).hexdigest() for name in files)),
        "exportArn": f"arn:aws:bcm-data-exports:{REGION}:{PAYER_ACCOUNT}:export/{EXPORT_NAME}-{identifier('export')}",
        "exportName": EXPORT_NAME,
    }
    path = export / f"metadata/BILLING_PERIOD={month.label}/{EXPORT_NAME}-Manifest.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")


def _leave_stale_file(export: Path, span: Span) -> None:
    """A file of an earlier, longer execution that AWS's overwrite left behind: no manifest names it."""
    month = span.months()[0]
    table = pq.read_table(export / _data_file(month, FILES_PER_PERIOD), partitioning=None)
    _write_parquet(export / _data_file(month, FILES_PER_PERIOD + 1), table.slice(0, 1000))
