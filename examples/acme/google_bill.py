"""Google's bill: the detailed usage cost export, as `bq extract` writes its partitions, one Parquet file an ingestion day.

Costs, amounts and credits are FLOAT64, prices and costs at other prices NUMERIC, as in the real table. August's files lack
the columns that the new model of commitments brought: they were extracted before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from examples.acme.google_commitments import NEW_MODEL_SINCE, commitments
from examples.acme.google_lines import (
    COUNT,
    INVOICE,
    SCALE,
    SUPPORT,
    Adjustment,
    GoogleLine,
    GoogleMeter,
    Service,
    Sku,
    priced,
    scaled,
)
from examples.acme.google_months import InvoiceMonth, invoice_month, invoice_months
from examples.acme.google_organisation import BILLING_ACCOUNT, H100_NODE, ML_PLATFORM, ORGANISATION, SEARCH, Project
from examples.acme.google_usage import GPU_SKUS, node_meter, on_demand_usage
from examples.acme.noise import token
from examples.acme.span import DAY_SECONDS, HOUR_SECONDS, Span, epoch

TABLE = "gcp_billing_export_resource_v1_01A2B3_C4D5E6_F70819"
"""The table that the files were extracted from."""

CLOSED_AFTER = 2 * DAY_SECONDS
"""How long after its end an invoice month gets its tax, support and rounding."""

NEW_MODEL_COLUMNS = ("consumption_model", "cost_at_effective_price_default", "cost_at_list_consumption_model")
_NEW_MODEL_PRICES = ("list_price", "effective_price_default", "list_price_consumption_model")

_TEXT, _DOUBLE, _NUMERIC = pa.string(), pa.float64(), pa.decimal128(38, 9)
_TIME = pa.timestamp("us", tz="UTC")
_LABELS = pa.list_(pa.struct({"key": _TEXT, "value": _TEXT}))

COLUMNS: Mapping[str, pa.DataType] = {
    "billing_account_id": _TEXT,
    "service": pa.struct({"id": _TEXT, "description": _TEXT}),
    "sku": pa.struct({"id": _TEXT, "description": _TEXT}),
    "usage_start_time": _TIME,
    "usage_end_time": _TIME,
    "project": pa.struct(
        {
            "id": _TEXT,
            "number": _TEXT,
            "name": _TEXT,
            "labels": _LABELS,
            "ancestry_numbers": _TEXT,
            "ancestors": pa.list_(pa.struct({"resource_name": _TEXT, "display_name": _TEXT})),
        }
    ),
    "labels": _LABELS,
    "system_labels": _LABELS,
    "location": pa.struct({"location": _TEXT, "country": _TEXT, "region": _TEXT, "zone": _TEXT}),
    "tags": pa.list_(pa.struct({"key": _TEXT, "value": _TEXT, "inherited": pa.bool_(), "namespace": _TEXT})),
    "resource": pa.struct({"name": _TEXT, "global_name": _TEXT}),
    "subscription": pa.struct({"instance_id": _TEXT}),
    "cost": _DOUBLE,
    "currency": _TEXT,
    "currency_conversion_rate": _DOUBLE,
    "usage": pa.struct({"amount": _DOUBLE, "unit": _TEXT, "amount_in_pricing_units": _DOUBLE, "pricing_unit": _TEXT}),
    "credits": pa.list_(pa.struct({"name": _TEXT, "amount": _DOUBLE, "full_name": _TEXT, "id": _TEXT, "type": _TEXT})),
    "invoice": pa.struct({"month": _TEXT, "publisher_type": _TEXT}),
    "cost_type": _TEXT,
    "adjustment_info": pa.struct({"id": _TEXT, "description": _TEXT, "type": _TEXT, "mode": _TEXT}),
    "export_time": _TIME,
    "transaction_type": _TEXT,
    "seller_name": _TEXT,
    "price": pa.struct(
        {
            "effective_price": _NUMERIC,
            "tier_start_amount": _NUMERIC,
            "unit": _TEXT,
            "pricing_unit_quantity": _NUMERIC,
            "list_price": _NUMERIC,
            "effective_price_default": _NUMERIC,
            "list_price_consumption_model": _NUMERIC,
        }
    ),
    "cost_at_list": _NUMERIC,
    "cost_at_effective_price_default": _NUMERIC,
    "cost_at_list_consumption_model": _NUMERIC,
    "consumption_model": pa.struct({"id": _TEXT, "description": _TEXT}),
}
"""The columns of the export with the types that BigQuery gives them in Parquet."""


@dataclass(frozen=True)
class WrittenInvoice:
    """What an invoice month came to: its lines, and the exact sums of cost by cost type and of credits by type."""

    label: str
    lines: int
    costs: Mapping[str, Decimal]
    credits: Mapping[str, Decimal]

    @property
    def total(self) -> Decimal:
        """Cost and credits together."""
        return sum((*self.costs.values(), *self.credits.values()), Decimal(0))


def write_google_bill(folder: Path, span: Span) -> Iterator[WrittenInvoice]:
    """Write a file for each ingestion day of the span; yield what each invoice month came to."""
    meters = [meter for month in invoice_months(span) for meter in _meters(month)]
    meters += _adjustments()
    exported = range(epoch(span.first_day), epoch(span.end_day))
    lines = [
        (number, line)
        for number, meter in enumerate(meters)
        for line in meter.lines
        # What ended too short a time before the demo's clock isn't exported yet.
        if line.end + meter.delay in exported
    ]
    _write_files(folder, meters, lines)
    yield from _invoices(meters, lines)


def _meters(month: InvoiceMonth) -> list[GoogleMeter]:
    meters = [*commitments(month), *on_demand_usage(month)]
    if month.has_ended:
        meters += _month_end(month, meters)
    return meters


def _month_end(month: InvoiceMonth, meters: Sequence[GoogleMeter]) -> Iterator[GoogleMeter]:
    """Support, tax and rounding of a closed month: charges of no project."""
    spend = sum(line.cost + sum(line.credits) for meter in meters for line in meter.lines)
    support = _cents(spend * 3 // 100)
    yield _charge(SUPPORT, "Enhanced Support", support, month.start, month.end)
    tax = _cents((spend + support) * 6 // 100)
    yield _charge(INVOICE, "Tax", tax, month.end - DAY_SECONDS, month.end, cost_type="tax")
    # Google rounds each line to six places and tells at the end what that came to.
    rounding = scaled("0.003127") if month.month.month % 2 else scaled("-0.001894")
    yield _charge(INVOICE, "Rounding error", rounding, month.end - HOUR_SECONDS, month.end, cost_type="rounding_error")


def _cents(amount: int) -> int:
    return scaled((Decimal(amount) / SCALE).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def _charge(
    service: Service, description: str, cost: int, start: int, end: int, cost_type: str = "regular"
) -> GoogleMeter:
    sku = Sku(service, description, COUNT, Decimal(1))
    line = GoogleLine(start, end, SCALE if cost_type == "regular" else 0, cost, cost, invoiced_at=end - 1)
    price = Decimal(cost) / SCALE if cost_type == "regular" else None
    return GoogleMeter(sku, None, [line], zone=None, region=None, price=price, cost_type=cost_type, delay=CLOSED_AFTER)


def _adjustments() -> Iterator[GoogleMeter]:
    """In September: GPU-hours of August taken back, as usage below 0, and a goodwill payment."""
    degraded_at, exported_at = epoch(date(2026, 8, 14)) + 9 * HOUR_SECONDS, epoch(date(2026, 9, 4))
    sku = GPU_SKUS["a3"]
    amount = -2 * H100_NODE.machine.gpus * SCALE
    line = GoogleLine(
        degraded_at,
        degraded_at + 2 * HOUR_SECONDS,
        amount,
        priced(amount, sku.price),
        priced(amount, sku.list_price),
        invoiced_at=exported_at,
    )
    yield replace(
        node_meter(H100_NODE, sku, [line]),
        adjustment=Adjustment(
            "a1f0c2d4-degraded", "Degraded accelerators on 14 August", "USAGE_CORRECTION", "PARTIAL_CORRECTION"
        ),
        delay=exported_at - line.end,
    )
    granted_at = epoch(date(2026, 9, 10))
    goodwill = GoogleLine(granted_at, granted_at + HOUR_SECONDS, 0, scaled("-75.00"), scaled("-75.00"))
    yield GoogleMeter(
        Sku(INVOICE, "Goodwill", COUNT, Decimal(1)),
        SEARCH,
        [goodwill],
        zone=None,
        region=None,
        cost_type="adjustment",
        adjustment=Adjustment("b7e9-goodwill", "Goodwill for a slow support case", "GOODWILL", "MANUAL_ADJUSTMENT"),
    )


def _invoices(meters: Sequence[GoogleMeter], lines: Sequence[tuple[int, GoogleLine]]) -> Iterator[WrittenInvoice]:
    counts: defaultdict[str, int] = defaultdict(int)
    costs: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    credited: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for number, line in lines:
        meter, label = meters[number], _invoice_month(line)
        counts[label] += 1
        costs[label][meter.cost_type] += line.cost
        for credit, amount in zip(meter.credits, line.credits, strict=True):
            credited[label][credit.type] += amount
    for label in sorted(counts):
        yield WrittenInvoice(f"{label[:4]}-{label[4:]}", counts[label], _exact(costs[label]), _exact(credited[label]))


def _exact(sums: Mapping[str, int]) -> dict[str, Decimal]:
    return {name: Decimal(total) / SCALE for name, total in sorted(sums.items())}


def _invoice_month(line: GoogleLine) -> str:
    return invoice_month(line.start if line.invoiced_at is None else line.invoiced_at)


def _write_files(folder: Path, meters: Sequence[GoogleMeter], lines: Sequence[tuple[int, GoogleLine]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = _table(meters, lines)
    by_day: defaultdict[int, list[int]] = defaultdict(list)
    for row, (number, line) in enumerate(lines):
        by_day[(line.end + meters[number].delay) // DAY_SECONDS].append(row)
    for day, rows in sorted(by_day.items()):
        label = datetime.fromtimestamp(day * DAY_SECONDS, UTC).date()
        part = table.take(pa.array(rows, pa.int64()))
        if label.strftime("%Y%m") < NEW_MODEL_SINCE:
            part = _before_the_new_model(part)
        # Without Arrow's own schema, as in a file that BigQuery wrote.
        pq.write_table(part, folder / f"{label}.parquet", compression="snappy", store_schema=False)


def _before_the_new_model(table: pa.Table) -> pa.Table:
    price = table.column("price").combine_chunks()
    kept = [field.name for field in price.type if field.name not in _NEW_MODEL_PRICES]
    earlier = pa.StructArray.from_arrays([price.field(name) for name in kept], kept, mask=price.is_null())
    table = table.set_column(table.schema.get_field_index("price"), "price", earlier)
    return table.drop_columns(list(NEW_MODEL_COLUMNS))


def _table(meters: Sequence[GoogleMeter], lines: Sequence[tuple[int, GoogleLine]]) -> pa.Table:
    meter_of_line = pa.array([number for number, _ in lines], pa.int32())
    columns = {
        name: pa.array([value(meter) for meter in meters], COLUMNS[name]).take(meter_of_line)
        for name, value in _OF_METER.items()
    }
    columns |= _line_columns(meters, lines)
    return pa.table({name: columns[name] for name in COLUMNS})


def _location(meter: GoogleMeter) -> dict[str, str | None]:
    if meter.region is None:
        return {"location": "global", "country": None, "region": None, "zone": None}
    return {"location": meter.zone or meter.region, "country": "US", "region": meter.region, "zone": meter.zone}


def _project(project: Project | None) -> dict[str, object] | None:
    if project is None:
        return None
    ancestors = [(f"projects/{project.number}", project.name), project.folder, ORGANISATION]
    numbers = [name.partition("/")[2] for name, _ in ancestors[:0:-1]]
    return {
        "id": project.id,
        "number": project.number,
        "name": project.name,
        "labels": _pairs(project.labels),
        "ancestry_numbers": f"/{'/'.join(numbers)}/",
        "ancestors": [{"resource_name": name, "display_name": display} for name, display in ancestors],
    }


def _pairs(labels: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(labels.items())]


def _tags(meter: GoogleMeter) -> list[dict[str, object]]:
    if meter.project is not ML_PLATFORM:
        return []
    return [{"key": "environment", "value": "production", "inherited": True, "namespace": "815000000001"}]


def _price(meter: GoogleMeter) -> dict[str, object] | None:
    if meter.cost_type != "regular":
        return None
    price = meter.sku.price if meter.price is None else meter.price
    is_committed = meter.consumption_model != "Default"
    # A price that isn't the SKU's is a fee's own, or that of a commitment.
    list_price = meter.sku.list_price if meter.price is None or is_committed else price
    return {
        "effective_price": price,
        "tier_start_amount": Decimal(0),
        "unit": meter.sku.unit.priced,
        "pricing_unit_quantity": Decimal(1),
        "list_price": list_price,
        "effective_price_default": meter.sku.price if is_committed else price,
        "list_price_consumption_model": price if is_committed else list_price,
    }


_OF_METER: Mapping[str, Callable[[GoogleMeter], object]] = {
    "billing_account_id": lambda meter: BILLING_ACCOUNT,
    "service": lambda meter: {"id": meter.sku.service.id, "description": meter.sku.service.description},
    "sku": lambda meter: {"id": meter.sku.id, "description": meter.sku.description},
    "project": lambda meter: _project(meter.project),
    "labels": lambda meter: _pairs(meter.labels),
    "system_labels": lambda meter: _pairs(meter.system_labels),
    "location": _location,
    "tags": _tags,
    "resource": lambda meter: {"name": meter.resource[0], "global_name": meter.resource[1]} if meter.resource else None,
    "subscription": lambda meter: {"instance_id": meter.subscription},
    "currency": lambda meter: "USD",
    "currency_conversion_rate": lambda meter: 1.0,
    "cost_type": lambda meter: meter.cost_type,
    "adjustment_info": lambda meter: vars(meter.adjustment) if meter.adjustment else None,
    "transaction_type": lambda meter: "GOOGLE" if meter.seller is None else "THIRD_PARTY_RESELLER",
    "seller_name": lambda meter: meter.seller or "Google",
    "price": _price,
    "consumption_model": lambda meter: {
        "id": token(f"consumption model {meter.consumption_model}", 12).upper(),
        "description": meter.consumption_model,
    },
}


def _line_columns(meters: Sequence[GoogleMeter], lines: Sequence[tuple[int, GoogleLine]]) -> dict[str, pa.Array]:
    of_line = [(meters[number], line) for number, line in lines]
    is_committed = [meter.consumption_model != "Default" for meter, _ in of_line]
    invoices = [_invoice_month(line) for _, line in of_line]
    publishers = ["GOOGLE" if meter.seller is None else "PARTNER" for meter, _ in of_line]
    return {
        "usage_start_time": _times(line.start for _, line in of_line),
        "usage_end_time": _times(line.end for _, line in of_line),
        "export_time": _times(line.end + meter.delay for meter, line in of_line),
        "cost": _doubles([line.cost for _, line in of_line]),
        "usage": _usage(of_line),
        "credits": _credits(of_line),
        "invoice": pa.StructArray.from_arrays([pa.array(invoices), pa.array(publishers)], ["month", "publisher_type"]),
        "cost_at_list": _numerics(line.list_cost for _, line in of_line),
        # At the price without the commitment; elsewhere at the price that Acme pays.
        "cost_at_effective_price_default": _numerics(
            line.list_cost if committed else line.cost
            for (_, line), committed in zip(of_line, is_committed, strict=True)
        ),
        "cost_at_list_consumption_model": _numerics(
            line.cost if committed else line.list_cost
            for (_, line), committed in zip(of_line, is_committed, strict=True)
        ),
    }


def _usage(of_line: Sequence[tuple[GoogleMeter, GoogleLine]]) -> pa.StructArray:
    is_metered = [meter.cost_type == "regular" for meter, _ in of_line]
    # Whole numbers of what is counted: seconds, bytes and byte-seconds have no fractions.
    counted = [
        float(line.amount * meter.sku.unit.ratio // SCALE) if metered else None
        for (meter, line), metered in zip(of_line, is_metered, strict=True)
    ]
    amounts = [line.amount if metered else None for (_, line), metered in zip(of_line, is_metered, strict=True)]
    units = [
        (meter.sku.unit.counted, meter.sku.unit.priced) if metered else (None, None)
        for (meter, _), metered in zip(of_line, is_metered, strict=True)
    ]
    return pa.StructArray.from_arrays(
        [
            pa.array(counted, _DOUBLE),
            pa.array([counted_in for counted_in, _ in units], _TEXT),
            _doubles(amounts),
            pa.array([priced_in for _, priced_in in units], _TEXT),
        ],
        ["amount", "unit", "amount_in_pricing_units", "pricing_unit"],
    )


def _credits(of_line: Sequence[tuple[GoogleMeter, GoogleLine]]) -> pa.ListArray:
    offsets, found, amounts = [0], [], []
    for meter, line in of_line:
        for credit, amount in zip(meter.credits, line.credits, strict=True):
            if amount:
                found.append(credit)
                amounts.append(amount)
        offsets.append(len(amounts))
    credits = pa.StructArray.from_arrays(
        [
            pa.array([credit.name for credit in found], _TEXT),
            _doubles(amounts),
            pa.array([credit.full_name or None for credit in found], _TEXT),
            pa.array([credit.id or None for credit in found], _TEXT),
            pa.array([credit.type for credit in found], _TEXT),
        ],
        ["name", "amount", "full_name", "id", "type"],
    )
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), credits)


def _times(seconds: Iterable[int]) -> pa.Array:
    return pa.array(seconds, pa.timestamp("s", tz="UTC")).cast(_TIME)


def _doubles(values: Sequence[int | None]) -> pa.Array:
    """Integers of 10^-9 as the nearest doubles: both operands are exact, so the quotient is correctly rounded."""
    return pc.divide(pa.array(values, pa.int64()).cast(_DOUBLE), pa.scalar(float(SCALE)))


def _numerics(values: Iterable[int]) -> pa.Array:
    whole = pa.array(values, pa.int64()).cast(pa.decimal128(19, 0))
    return pc.multiply(whole, pa.scalar(Decimal("0.000000001"), pa.decimal128(9, 9))).cast(_NUMERIC)
