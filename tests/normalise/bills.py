"""Hand-made AWS bills, delivered as CUR 2.0 Parquet or as the legacy CSV, and what normalisation makes of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import yaml

from pipelines.lake.database import SQL_FOLDER, connect
from pipelines.models.sql_models import bind, load_sql, parameters_of, register_mappings
from pipelines.sources.aws_cur_columns import MAPS, TEXTS, TIMESTAMPS
from pipelines.sources.aws_cur_relation import create_delivered

PERIOD = "2026-09"
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "aws"
PLAN = "arn:aws:savingsplans::012345678901:savingsplan/3ad1f9a1-2b6c-4f0e-9d61-5b1f2c3d4e5f"
RESERVATION = "arn:aws:ec2:us-east-1:012345678901:reserved-instances/7c1d"

Line = Mapping[str, Any]

_RATES = ("line_item_unblended_rate", "line_item_net_unblended_rate", "pricing_public_on_demand_rate")
_LEGACY_HEADERS = {
    "bill_bill_type": "bill/BillType",
    "bill_billing_entity": "bill/BillingEntity",
    "bill_billing_period_end_date": "bill/BillingPeriodEndDate",
    "bill_billing_period_start_date": "bill/BillingPeriodStartDate",
    "bill_invoice_id": "bill/InvoiceId",
    "bill_invoicing_entity": "bill/InvoicingEntity",
    "bill_payer_account_id": "bill/PayerAccountId",
    "identity_line_item_id": "identity/LineItemId",
    "line_item_currency_code": "lineItem/CurrencyCode",
    "line_item_legal_entity": "lineItem/LegalEntity",
    "line_item_line_item_description": "lineItem/LineItemDescription",
    "line_item_line_item_type": "lineItem/LineItemType",
    "line_item_normalized_usage_amount": "lineItem/NormalizedUsageAmount",
    "line_item_operation": "lineItem/Operation",
    "line_item_product_code": "lineItem/ProductCode",
    "line_item_resource_id": "lineItem/ResourceId",
    "line_item_unblended_cost": "lineItem/UnblendedCost",
    "line_item_unblended_rate": "lineItem/UnblendedRate",
    "line_item_usage_account_id": "lineItem/UsageAccountId",
    "line_item_usage_amount": "lineItem/UsageAmount",
    "line_item_usage_end_date": "lineItem/UsageEndDate",
    "line_item_usage_start_date": "lineItem/UsageStartDate",
    "line_item_usage_type": "lineItem/UsageType",
    "pricing_public_on_demand_cost": "pricing/publicOnDemandCost",
    "pricing_public_on_demand_rate": "pricing/publicOnDemandRate",
    "pricing_rate_code": "pricing/RateCode",
    "pricing_unit": "pricing/unit",
    "product_instance_type": "product/instanceType",
    "product_product_family": "product/productFamily",
    "product_region_code": "product/regionCode",
    "product_sku": "product/sku",
    "reservation_effective_cost": "reservation/EffectiveCost",
    "reservation_reservation_a_r_n": "reservation/ReservationARN",
    "reservation_total_reserved_units": "reservation/TotalReservedUnits",
    "reservation_unused_amortized_upfront_fee_for_billing_period": (
        "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod"
    ),
    "reservation_unused_quantity": "reservation/UnusedQuantity",
    "reservation_unused_recurring_fee": "reservation/UnusedRecurringFee",
    "savings_plan_savings_plan_a_r_n": "savingsPlan/SavingsPlanARN",
    "savings_plan_savings_plan_effective_cost": "savingsPlan/SavingsPlanEffectiveCost",
    "savings_plan_total_commitment_to_date": "savingsPlan/TotalCommitmentToDate",
    "savings_plan_used_commitment": "savingsPlan/UsedCommitment",
    "split_line_item_split_cost": "splitLineItem/SplitCost",
}
_LEGACY_PRODUCT = {"product_name": "product/ProductName", "operating_system": "product/operatingSystem"}


def line(line_type: str, cost: float | str, **columns: Any) -> dict[str, Any]:
    """A bill line of September 2026: one hour of account 000000000042, with ``columns`` on top."""
    return {
        "bill_bill_type": "Anniversary",
        "bill_billing_entity": "AWS",
        "bill_billing_period_start_date": "2026-09-01T00:00:00Z",
        "bill_billing_period_end_date": "2026-10-01T00:00:00Z",
        "bill_invoice_id": "",
        "bill_invoicing_entity": "Amazon Web Services, Inc.",
        "bill_payer_account_id": "012345678901",
        "line_item_currency_code": "USD",
        "line_item_legal_entity": "Amazon Web Services, Inc.",
        "line_item_line_item_type": line_type,
        "line_item_product_code": "AmazonEC2",
        "line_item_unblended_cost": cost,
        "line_item_usage_account_id": "000000000042",
        "line_item_usage_start_date": "2026-09-03T07:00:00Z",
        "line_item_usage_end_date": "2026-09-03T08:00:00Z",
        **columns,
    }


def write_cur2(path: Path, lines: Sequence[Line], *, types: Mapping[str, str] | None = None) -> Path:
    """The lines as AWS writes CUR 2.0 in Parquet: costs as doubles, rates as text, maps as maps."""
    columns = {
        name: (types or {}).get(name, _cur2_type(name)) for name in dict.fromkeys(n for row in lines for n in row)
    }
    source = path.with_suffix(".jsonl")
    source.write_text("".join(json.dumps(dict(row)) + "\n" for row in lines), encoding="utf-8")
    listed = ", ".join(f"'{name}': '{type_}'" for name, type_ in columns.items())
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_json('{source}', columns = {{{listed}}}, format = 'newline_delimited')) "
            f"TO '{path}' (FORMAT parquet)"
        )
    source.unlink()
    return path


def write_legacy(path: Path, lines: Sequence[Line]) -> Path:
    """The same lines as the legacy report in CSV, gzipped where the name says so; maps become columns."""
    rows = [dict(_legacy_row(row)) for row in lines]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def normalised(
    scratch: Path, files: Sequence[Path], *, period: str = PERIOD, details: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A session in which the files are ``delivered`` and their charges ``staged``."""
    connection = connect()
    register_mappings(connection)
    format_ = "parquet" if files[0].suffix == ".parquet" else "csv"
    scratch.mkdir(parents=True, exist_ok=True)
    create_delivered(
        connection,
        files,
        [file.name for file in files],
        details or {"format": format_, "rows": "all"},
        billing_period=period,
        scratch=scratch / "delivered",
    )
    select = _bound(load_sql("normalise/aws-cur"), period)
    target = scratch / "charges.parquet"
    connection.execute(f"COPY ({select}) TO '{target}' (FORMAT parquet, PRESERVE_ORDER true)")
    connection.execute(f"CREATE VIEW staged AS SELECT * FROM read_parquet('{target}')")
    return connection


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """A query's rows, amounts as plain text without trailing zeros."""
    return [tuple(_plain(value) for value in row) for row in connection.sql(query).fetchall()]


def control(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[tuple[Any, ...]]:
    """The control totals of what is delivered."""
    return rows(connection, _bound(load_sql("normalise/aws-cur.control"), period))


def rejected(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[tuple[Any, ...]]:
    """The rejected lines: file, row, type, reason, the line as JSON."""
    return rows(connection, _bound(load_sql("normalise/aws-cur.rejected"), period))


def failed_audits(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> dict[str, list[tuple[Any, ...]]]:
    """The audits of ``aws-cur.yaml`` that return rows, with them."""
    audits = yaml.safe_load((SQL_FOLDER / "normalise" / "aws-cur.yaml").read_text(encoding="utf-8"))["audits"]
    found = {audit["name"]: rows(connection, _bound(audit["sql"], period)) for audit in audits}
    return {name: offending for name, offending in found.items() if offending}


def _bound(sql: str, period: str) -> str:
    values = {"source_name": "payer", "source_kind": "aws-cur", "billing_period": period, "source_version": "v1"}
    return bind(sql, {name: values[name] for name in parameters_of(sql)})


def _cur2_type(name: str) -> str:
    if name in MAPS:
        return "MAP(VARCHAR, VARCHAR)"
    if name in TIMESTAMPS:
        return "TIMESTAMP"
    return "VARCHAR" if name in TEXTS or name in _RATES else "DOUBLE"


def _legacy_row(row: Line) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if name == "resource_tags":
            yield from ((f"resourceTags/{_legacy_tag(key)}", tag) for key, tag in value.items())
        elif name == "cost_category":
            yield from ((f"costCategory/{key}", category) for key, category in value.items())
        elif name == "product":
            yield from ((_LEGACY_PRODUCT[key], attribute) for key, attribute in value.items())
        else:
            yield _LEGACY_HEADERS[name], "" if value is None else value


def _legacy_tag(key: str) -> str:
    prefix, name = key.split("_", 1)
    return f"{prefix}:{name}"


def _plain(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    # Amounts have 18 places, so that what is cut off is behind the point.
    return f"{value:.18f}".rstrip("0").rstrip(".") if value else "0"
