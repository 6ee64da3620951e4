"""The fields of Google Cloud's billing export: what the standard and the detailed table call them, and what we do.

Google, "Structure of Standard data export" and "Structure of Detailed data export". Fields came over the years (tags in
January 2023, price in May 2023, transaction_type in August 2023, subscription in February 2024, consumption_model in 2025), so
that only those of the first table are required.
"""

from __future__ import annotations

from collections.abc import Mapping

# Our column -> the export's field. A dot leads into a record.
TEXTS: Mapping[str, str] = {
    "billing_account_id": "billing_account_id",
    "invoice_month": "invoice.month",
    "cost_type": "cost_type",
    "service_id": "service.id",
    "service_description": "service.description",
    "sku_id": "sku.id",
    "sku_description": "sku.description",
    "project_id": "project.id",
    "project_name": "project.name",
    "location_location": "location.location",
    "location_region": "location.region",
    "location_zone": "location.zone",
    "resource_name": "resource.name",
    "resource_global_name": "resource.global_name",
    "subscription_instance_id": "subscription.instance_id",
    "currency": "currency",
    "usage_unit": "usage.unit",
    "usage_pricing_unit": "usage.pricing_unit",
    "consumption_model_description": "consumption_model.description",
    "adjustment_info_id": "adjustment_info.id",
    "adjustment_info_description": "adjustment_info.description",
    "adjustment_info_type": "adjustment_info.type",
    "adjustment_info_mode": "adjustment_info.mode",
    "transaction_type": "transaction_type",
    "seller_name": "seller_name",
}
DECIMALS: Mapping[str, str] = {
    "cost": "cost",
    "cost_at_list": "cost_at_list",
    "cost_at_effective_price_default": "cost_at_effective_price_default",
    "usage_amount": "usage.amount",
    "usage_amount_in_pricing_units": "usage.amount_in_pricing_units",
    "price_effective_price": "price.effective_price",
    "price_effective_price_default": "price.effective_price_default",
    "price_list_price": "price.list_price",
    "price_pricing_unit_quantity": "price.pricing_unit_quantity",
    "price_tier_start_amount": "price.tier_start_amount",
}
TIMESTAMPS: Mapping[str, str] = {
    "usage_start_time": "usage_start_time",
    "usage_end_time": "usage_end_time",
}
# Our column -> the export's repeated field, and the members of its records that we read.
LISTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "labels": ("labels", ("key", "value")),
    "project_labels": ("project.labels", ("key", "value")),
    "project_ancestors": ("project.ancestors", ("resource_name", "display_name")),
    "system_labels": ("system_labels", ("key", "value")),
    "tags": ("tags", ("namespace", "key", "value")),
    "credits": ("credits", ("id", "type", "name", "full_name", "amount")),
}
CREDIT_AMOUNT = "amount"

REQUIRED = (
    "billing_account_id",
    "invoice.month",
    "cost_type",
    "service.description",
    "sku.description",
    "usage_start_time",
    "usage_end_time",
    "cost",
    "currency",
    "credits",
)


def fields() -> list[str]:
    """Every field of the export that we read, once, in order of name."""
    lists = [f"{field}.{member}" for field, members in LISTS.values() for member in members]
    return sorted({*TEXTS.values(), *DECIMALS.values(), *TIMESTAMPS.values(), *lists})


def list_type(column: str) -> str:
    """The SQL type of one of :data:`LISTS`."""
    _, members = LISTS[column]
    listed = ", ".join(
        f'"{member}" {"DECIMAL(38,18)" if (column, member) == ("credits", CREDIT_AMOUNT) else "VARCHAR"}'
        for member in members
    )
    return f"STRUCT({listed})[]"


def column_types() -> dict[str, str]:
    """Our columns with their SQL types, in order: texts, amounts, times, lists."""
    return {
        **dict.fromkeys(TEXTS, "VARCHAR"),
        **dict.fromkeys(DECIMALS, "DECIMAL(38,18)"),
        **dict.fromkeys(TIMESTAMPS, "TIMESTAMP"),
        **{column: list_type(column) for column in LISTS},
    }
