"""billing.charges holds FOCUS: its columns, its allowed values, and views with exactly one version's columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache

import pytest

from pipelines.lake.database import SQL_FOLDER, connect
from pipelines.models.contracts import Column, TableContract, load_contract
from pipelines.models.sql_models import load_sql

REFERENCE = SQL_FOLDER.parents[1] / "shared" / "reference" / "focus"
needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the FOCUS column lists are not beside the repository"
)

VERSIONS = {"1.2": 57, "1.3": 65, "1.4": 65}
VIEWS = {"1.2": "focus_1_2", "1.4": "focus_1_4"}
OWN_COLUMNS = [
    "x_SourceName",
    "x_SourceKind",
    "x_BillingPeriod",
    "x_SourceVersion",
    "x_SourceFile",
    "x_SourceRow",
    "x_SourcePart",
    "x_SourceLineItemType",
    "x_IsFinal",
    "x_ServiceCode",
    "x_UsageType",
    "x_Operation",
    "x_InstanceType",
    "x_GpuModel",
    "x_GpuCount",
    "x_CostCategories",
    "x_SplitCostAllocation",
    "x_SourceColumns",
]
STORED_TYPES = {"Decimal": "DECIMAL(38,18)", "Date/Time": "TIMESTAMP", "String": "VARCHAR", "JSON": "JSON"}

GOOD_CHARGE = {
    "BilledCost": "1.5",
    "BillingAccountId": "'012345678901'",
    "BillingCurrency": "'USD'",
    "BillingPeriodEnd": "TIMESTAMP '2026-11-01'",
    "BillingPeriodStart": "TIMESTAMP '2026-10-01'",
    "ChargeCategory": "'Usage'",
    "ChargeFrequency": "'Usage-Based'",
    "ChargePeriodEnd": "TIMESTAMP '2026-10-15 08:00:00'",
    "ChargePeriodStart": "TIMESTAMP '2026-10-15 07:00:00'",
    "ConsumedQuantity": "1",
    "ConsumedUnit": "'Hours'",
    "ContractedCost": "1.5",
    "EffectiveCost": "1.5",
    "InvoiceIssuerName": "'Amazon Web Services, Inc.'",
    "ListCost": "2",
    "PricingCategory": "'Standard'",
    "PricingQuantity": "1",
    "PricingUnit": "'Hours'",
    "ProviderName": "'AWS'",
    "ServiceCategory": "'Compute'",
    "ServiceName": "'Amazon Elastic Compute Cloud'",
    "ServiceProviderName": "'AWS'",
    "ServiceSubcategory": "'Virtual Machines'",
    "Tags": """'{"team":"search"}'""",
    "x_SourceName": "'aws-payer'",
    "x_SourceKind": "'aws-cur'",
    "x_BillingPeriod": "'2026-10'",
    "x_SourceVersion": "'v1'",
    "x_SourceFile": "'acme-cur-1.parquet'",
    "x_SourceRow": "7",
    "x_SourcePart": "1",
    "x_IsFinal": "false",
}
COMMITTED_USAGE = {
    "BilledCost": "0",
    "CommitmentDiscountId": "'arn:aws:savingsplans::012345678901:savingsplan/1'",
    "CommitmentDiscountStatus": "'Used'",
    "PricingCategory": "'Committed'",
}


@cache
def contract(table: str = "charges") -> TableContract:
    return load_contract(SQL_FOLDER / "billing" / f"{table}.yaml")


def reference_rows(version: str) -> list[dict[str, str]]:
    with (REFERENCE / f"focus_columns_{version}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def columns_of(version: str) -> list[Column]:
    return [column for column in contract().columns if column.focus and version in column.focus.split()]


def broken_rules(changes: Mapping[str, str], audit_name: str) -> list[tuple[object, ...]]:
    """Run one audit over a single charge: GOOD_CHARGE with some columns (name to SQL expression) replaced."""
    charge = {**GOOD_CHARGE, **changes}
    values = ", ".join(
        f"CAST({charge.get(column.name, 'NULL')} AS {column.stored_type}) AS {column.name}"
        for column in contract().columns
    )
    audit = next(audit for audit in contract().audits if audit.name == audit_name)
    connection = connect()
    connection.execute(f"CREATE TABLE staged AS SELECT {values}")
    return connection.execute(audit.sql).fetchall()


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_a_version_has_as_many_columns_as_focus_announced(version: str) -> None:
    assert len(columns_of(version)) == VERSIONS[version]


def test_charges_are_the_union_of_the_versions_in_alphabetical_order_then_our_own() -> None:
    names = [column.name for column in contract().columns]
    assert names == sorted(names[:67]) + OWN_COLUMNS
    assert [column.name for column in contract().columns if not column.focus] == OWN_COLUMNS


@needs_reference
@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_a_version_has_the_columns_of_its_reference_list_with_their_types(version: str) -> None:
    expected = [(row["column_id"], STORED_TYPES[row["data_type"]]) for row in reference_rows(version)]
    assert [(column.name, column.type) for column in columns_of(version)] == expected


@needs_reference
def test_a_column_is_not_nullable_where_every_version_that_has_it_makes_it_mandatory_and_forbids_null() -> None:
    forbidding: dict[str, list[bool]] = {}
    for version in VERSIONS:
        for row in reference_rows(version):
            forbids = row["feature_level"] == "Mandatory" and row["allows_nulls"] == "False"
            forbidding.setdefault(row["column_id"], []).append(forbids)
    # AWS's own FOCUS export leaves PublisherName empty for some charges.
    expected = {name for name, forbids in forbidding.items() if all(forbids)} - {"PublisherName"}
    assert {column.name for column in contract().columns[:67] if not column.nullable} == expected


@pytest.mark.parametrize("version", sorted(VIEWS))
def test_a_view_has_exactly_its_versions_columns_in_order_as_charges_describes_them(version: str) -> None:
    assert list(contract(VIEWS[version]).columns) == columns_of(version)


@pytest.mark.parametrize("version", sorted(VIEWS))
def test_a_views_query_gives_the_columns_of_its_contract(version: str) -> None:
    connection = connect()
    columns = ", ".join(f"{column.name} {column.stored_type}" for column in contract().columns)
    connection.execute("CREATE SCHEMA billing")
    connection.execute(f"CREATE TABLE billing.charges ({columns})")
    view = connection.execute(load_sql(f"billing/{VIEWS[version]}"))
    assert [(name, str(kind)) for name, kind, *_ in view.description] == [
        (column.name, column.stored_type) for column in contract(VIEWS[version]).columns
    ]


@pytest.mark.parametrize("audit", [audit.name for audit in contract().audits])
def test_a_good_charge_breaks_no_audit(audit: str) -> None:
    assert broken_rules({}, audit) == []
    assert broken_rules(COMMITTED_USAGE, audit) == []


@needs_reference
def test_every_value_that_focus_allows_passes_and_no_other() -> None:
    closed = {
        row["column_id"]: row["allowed_values"].split("; ")
        for row in reference_rows("1.4")
        if row["allowed_values"] and row["column_id"] != "ServiceSubcategory"
    }
    assert sorted(closed) == [
        "CapacityReservationStatus",
        "ChargeCategory",
        "ChargeClass",
        "ChargeFrequency",
        "CommitmentDiscountCategory",
        "CommitmentDiscountStatus",
        "PricingCategory",
        "ServiceCategory",
    ]
    for column, values in closed.items():
        assert [value for value in values if broken_rules({column: f"'{value}'"}, "values_are_allowed")] == []
        broken = broken_rules({column: "'usage'"}, "values_are_allowed")
        assert broken == [(f"{column} is usage", 1, {"file": "acme-cur-1.parquet", "row": 7})]


@needs_reference
def test_service_categories_are_the_subcategories_that_focus_allows() -> None:
    allowed = {
        row["column_id"]: set(row["allowed_values"].split("; "))
        for row in reference_rows("1.2")
        if row["column_id"] in ("ServiceCategory", "ServiceSubcategory")
    }
    with (SQL_FOLDER / "mappings" / "service_categories.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["service_category"] for row in rows} == allowed["ServiceCategory"]
    assert sorted(row["service_subcategory"] for row in rows) == sorted(allowed["ServiceSubcategory"])


@pytest.mark.parametrize(
    ("changes", "audit", "rule"),
    [
        pytest.param(
            {"ChargePeriodEnd": "TIMESTAMP '2026-10-15 07:00:00'"},
            "periods_are_half_open",
            "ChargePeriodEnd is not after ChargePeriodStart",
            id="empty charge period",
        ),
        pytest.param(
            {"x_BillingPeriod": "'2026-09'"},
            "periods_are_half_open",
            "BillingPeriodStart is not the first of x_BillingPeriod",
            id="another month's partition",
        ),
        pytest.param(
            {"BillingPeriodEnd": "TIMESTAMP '2026-10-31'"},
            "periods_are_half_open",
            "BillingPeriodEnd is not the first of the next month",
            id="inclusive end",
        ),
        pytest.param(
            {**COMMITTED_USAGE, "BilledCost": "0.000000000000000001"},
            "commitments_are_paid_once",
            "usage of a commitment with a BilledCost",
            id="covered usage billed again",
        ),
        pytest.param(
            {**COMMITTED_USAGE, "CommitmentDiscountStatus": "NULL"},
            "commitments_are_paid_once",
            "usage of a commitment without CommitmentDiscountStatus",
            id="neither used nor unused",
        ),
        pytest.param(
            {"CommitmentDiscountStatus": "'Unused'"},
            "commitments_are_paid_once",
            "CommitmentDiscountStatus without CommitmentDiscountId",
            id="unused part of nothing",
        ),
        pytest.param(
            {
                "CommitmentDiscountId": "'sp-1'",
                "ChargeCategory": "'Purchase'",
                "ChargeFrequency": "'Recurring'",
                "EffectiveCost": "1",
            },
            "commitments_are_paid_once",
            "purchase of a commitment with an EffectiveCost",
            id="purchase counted with the use it covers",
        ),
        pytest.param({"BillingCurrency": "'usd'"}, "values_are_allowed", "BillingCurrency is usd", id="currency"),
        pytest.param(
            {"x_SourcePart": "0"}, "values_are_allowed", "x_SourceRow or x_SourcePart is below 1", id="part zero"
        ),
        pytest.param({"Tags": "'[1]'"}, "values_are_allowed", "Tags are not a JSON object", id="tags"),
        pytest.param({"ListUnitPrice": "-1"}, "rows_are_good_focus", "a unit price is below zero", id="price"),
        pytest.param(
            {"ListUnitPrice": "2.01"},
            "costs_follow_prices",
            "ListCost is not ListUnitPrice times PricingQuantity",
            id="list cost",
        ),
        pytest.param(
            {"ContractedUnitPrice": "1.49"},
            "costs_follow_prices",
            "ContractedCost is not ContractedUnitPrice times PricingQuantity",
            id="contracted cost",
        ),
        pytest.param(
            {"PricingUnit": "NULL"},
            "rows_are_good_focus",
            "PricingQuantity and PricingUnit do not come together",
            id="quantity without unit",
        ),
    ],
)
def test_a_broken_rule_names_itself_and_the_first_line(changes: Mapping[str, str], audit: str, rule: str) -> None:
    assert broken_rules(changes, audit) == [(rule, 1, {"file": "acme-cur-1.parquet", "row": 7})]


def test_a_bill_in_two_currencies_is_pointed_out() -> None:
    audit = next(audit for audit in contract().audits if audit.name == "one_currency")
    connection = connect()
    connection.execute(
        "CREATE TABLE staged AS SELECT * FROM (VALUES ('USD', 'a.csv', 2), ('NOK', 'a.csv', 3), ('USD', 'a.csv', 1)) "
        "AS charges(BillingCurrency, x_SourceFile, x_SourceRow)"
    )
    assert sorted(connection.execute(audit.sql).fetchall()) == [
        ("NOK", 1, {"file": "a.csv", "row": 3}),
        ("USD", 2, {"file": "a.csv", "row": 1}),
    ]
    assert audit.severity == "warn"


def test_the_charge_key_joins_the_grain() -> None:
    (key,) = contract().computed_columns
    connection = connect()
    connection.execute(
        "CREATE TABLE charges AS SELECT 'aws-payer' AS x_SourceName, '2026-10' AS x_BillingPeriod, 'v1' AS "
        "x_SourceVersion, 'a.csv' AS x_SourceFile, 7::BIGINT AS x_SourceRow, 2::INTEGER AS x_SourcePart"
    )
    found = connection.execute(f"SELECT {key.expression} FROM charges").fetchone()
    assert (key.name, found) == ("x_ChargeKey", ("aws-payer|2026-10|v1|a.csv|7|2",))
