"""Azure cost exports, hand-made or sampled, and what normalisation makes of them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import duckdb
import yaml

from pipelines.lake.database import SQL_FOLDER, connect
from pipelines.models.sql_models import bind, load_sql, parameters_of, register_mappings
from pipelines.sources.azure_cost_relation import create_delivered, create_delivered_rows
from tests.normalise.bills import rows

PERIOD = "2026-09"
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "azure"
RESERVATION = "/providers/Microsoft.Capacity/reservationOrders/0a1b/reservations/2c3d"
SAVINGS_PLAN = "/providers/Microsoft.BillingBenefits/savingsPlanOrders/4e5f/savingsPlans/6a7b"
MACHINE = (
    "/subscriptions/00000000-0000-0000-0000-000000000042/resourceGroups/Train/providers/Microsoft.Compute/"
    "virtualMachines/Node-1"
)

Line = Mapping[str, str]


def line(charge_type: str, cost: str, **columns: str) -> dict[str, str]:
    """A line of an enterprise agreement's export of September 2026: a machine's day, with ``columns`` on top."""
    return {
        "BillingAccountId": "8611537",
        "BillingAccountName": "Acme",
        "BillingPeriodStartDate": "09/01/2026",
        "BillingPeriodEndDate": "09/30/2026",
        "SubscriptionId": "00000000-0000-0000-0000-000000000042",
        "SubscriptionName": "Training",
        "Date": "09/03/2026",
        "ProductName": "Virtual Machines Dsv3 Series - D4s v3 - EU West",
        "PartNumber": "AAA-33445",
        "MeterId": "f48cba03-db89-4cec-9536-67f7f4e5515f",
        "ServiceFamily": "Compute",
        "MeterCategory": "Virtual Machines",
        "MeterSubCategory": "Dsv3 Series",
        "MeterName": "D4s v3",
        "Quantity": "24",
        "CostInBillingCurrency": cost,
        "UnitPrice": "",
        "PayGPrice": "",
        "BillingCurrencyCode": "EUR",
        "ResourceLocation": "EU West",
        "ConsumedService": "Microsoft.Compute",
        "ResourceId": MACHINE,
        "AdditionalInfo": "",
        "Tags": "",
        "UnitOfMeasure": "1 Hour",
        "PublisherType": "Azure",
        "PublisherName": "Microsoft",
        "ChargeType": charge_type,
        "Frequency": "UsageBased",
        "PricingModel": "OnDemand",
        "benefitId": "",
        "benefitName": "",
        **columns,
    }


def customer_line(charge_type: str, cost: str, **columns: str) -> dict[str, str]:
    """A line of a customer agreement's export of September 2026: prices in USD, invoiced in EUR at 0.9."""
    return {
        "invoiceId": "G012345678",
        "billingAccountId": "3c100a8a",
        "billingAccountName": "Acme",
        "billingProfileId": "NF5V-BI6B",
        "billingProfileName": "Acme Research",
        "billingPeriodStartDate": "2026-09-01",
        "billingPeriodEndDate": "2026-09-30",
        "date": "2026-09-03",
        "serviceFamily": "Compute",
        "consumedService": "Microsoft.Compute",
        "meterId": "f48cba03-db89-4cec-9536-67f7f4e5515f",
        "meterName": "D4s v3",
        "meterCategory": "Virtual Machines",
        "ProductId": "DZH318Z0BNZJ005D",
        "product": "D4s v3",
        "subscriptionId": "00000000-0000-0000-0000-000000000042",
        "subscriptionName": "Training",
        "resourceGroupName": "Train",
        "ResourceId": MACHINE,
        "resourceLocation": "westeurope",
        "quantity": "24",
        "unitOfMeasure": "1 Hour",
        "chargeType": charge_type,
        "billingCurrency": "EUR",
        "pricingCurrency": "USD",
        "costInBillingCurrency": cost,
        "costInPricingCurrency": "",
        "paygCostInBillingCurrency": "",
        "exchangeRatePricingToBilling": "0.9",
        "unitPrice": "",
        "payGPrice": "",
        "frequency": "UsageBased",
        "pricingModel": "OnDemand",
        "tags": "",
        "additionalInfo": "",
        **columns,
    }


def write_export(path: Path, lines: Sequence[Line]) -> Path:
    """The lines as Azure writes CSV: a byte order mark first; gzipped where the name says so."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in lines for name in row)), restval="")
    writer.writeheader()
    writer.writerows(lines)
    content = b"\xef\xbb\xbf" + text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def normalised(
    scratch: Path, files: Mapping[str, Path], *, period: str = PERIOD, rows_of: str = "all"
) -> duckdb.DuckDBPyConnection:
    """A session in which the files, by delivered name, are ``delivered`` and their charges ``staged``."""
    connection = connect()
    register_mappings(connection)
    scratch.mkdir(parents=True, exist_ok=True)
    details = {"rows": rows_of}
    read = create_delivered(
        connection,
        list(files.values()),
        list(files),
        details,
        billing_period=period,
        scratch=scratch / "delivered",
    )
    create_delivered_rows(connection, read, details, billing_period=period, relation="delivery")
    target = scratch / "charges.parquet"
    connection.execute(
        f"COPY ({_bound(load_sql('normalise/azure-cost'), period)}) TO '{target}' (FORMAT parquet, PRESERVE_ORDER true)"
    )
    connection.execute(f"CREATE VIEW staged AS SELECT * FROM read_parquet('{target}')")
    return connection


def control(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[dict[str, Any]]:
    """The control totals of what is delivered, by currency."""
    relation = connection.sql(_bound(load_sql("normalise/azure-cost.control"), period))
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def rejected(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> list[tuple[Any, ...]]:
    """The rejected lines: file, row, type, reason, the line as JSON."""
    return rows(connection, _bound(load_sql("normalise/azure-cost.rejected"), period))


def failed_audits(connection: duckdb.DuckDBPyConnection, period: str = PERIOD) -> dict[str, list[tuple[Any, ...]]]:
    """The audits of ``azure-cost.yaml`` that return rows, with them."""
    audits = yaml.safe_load((SQL_FOLDER / "normalise" / "azure-cost.yaml").read_text(encoding="utf-8"))["audits"]
    found = {audit["name"]: rows(connection, _bound(audit["sql"], period)) for audit in audits}
    return {name: offending for name, offending in found.items() if offending}


def sample_lines(name: str) -> list[dict[str, str]]:
    """A sample's lines, headers in lower case."""
    with (SAMPLES / name).open(encoding="utf-8-sig", newline="") as file:
        return [{str(key).lower(): value for key, value in row.items()} for row in csv.DictReader(file)]


def exact(text: str) -> Decimal:
    """Text as a decimal of 18 places, rounded half away from zero (CONTRACTS.md §1)."""
    with localcontext() as context:
        context.prec = 80
        return Decimal(text or "0").quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP)


def product(first: str, second: str) -> Decimal:
    """The product of two texts' decimals of 18 places, itself of 18 places."""
    with localcontext() as context:
        context.prec = 80
        return exact(str(exact(first) * exact(second)))


def _bound(sql: str, period: str) -> str:
    values = {"source_name": "azure", "source_kind": "azure-cost", "billing_period": period, "source_version": "v1"}
    return bind(sql, {name: values[name] for name in parameters_of(sql)})
