"""The columns of AWS's Cost and Usage Report: CUR 2.0's names stand for both generations.

CUR 2.0 has fixed columns (AWS, "Cost and Usage Report (CUR) 2.0" table dictionary). The legacy report writes
``lineItem/UnblendedCost`` in CSV and ``line_item_unblended_cost`` in Parquet, and has a column for each product
attribute, tag and cost category, which CUR 2.0 gathers into maps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

TIMESTAMPS = frozenset(
    {
        "bill_billing_period_end_date",
        "bill_billing_period_start_date",
        "line_item_usage_end_date",
        "line_item_usage_start_date",
    }
)
MAPS = frozenset({"cost_category", "discount", "product", "resource_tags", "tags"})
DECIMALS = frozenset(
    {
        "discount_bundled_discount",
        "discount_total_discount",
        "line_item_blended_cost",
        "line_item_blended_rate",
        "line_item_net_unblended_cost",
        "line_item_net_unblended_rate",
        "line_item_normalization_factor",
        "line_item_normalized_usage_amount",
        "line_item_unblended_cost",
        "line_item_unblended_rate",
        "line_item_usage_amount",
        "pricing_public_on_demand_cost",
        "pricing_public_on_demand_rate",
        "reservation_amortized_upfront_cost_for_usage",
        "reservation_amortized_upfront_fee_for_billing_period",
        "reservation_effective_cost",
        "reservation_net_amortized_upfront_cost_for_usage",
        "reservation_net_amortized_upfront_fee_for_billing_period",
        "reservation_net_effective_cost",
        "reservation_net_recurring_fee_for_usage",
        "reservation_net_unused_amortized_upfront_fee_for_billing_period",
        "reservation_net_unused_recurring_fee",
        "reservation_net_upfront_value",
        "reservation_normalized_units_per_reservation",
        "reservation_number_of_reservations",
        "reservation_recurring_fee_for_usage",
        "reservation_total_reserved_normalized_units",
        "reservation_total_reserved_units",
        "reservation_units_per_reservation",
        "reservation_unused_amortized_upfront_fee_for_billing_period",
        "reservation_unused_normalized_unit_quantity",
        "reservation_unused_quantity",
        "reservation_unused_recurring_fee",
        "reservation_upfront_value",
        "savings_plan_amortized_upfront_commitment_for_billing_period",
        "savings_plan_net_amortized_upfront_commitment_for_billing_period",
        "savings_plan_net_recurring_commitment_for_billing_period",
        "savings_plan_net_savings_plan_effective_cost",
        "savings_plan_recurring_commitment_for_billing_period",
        "savings_plan_savings_plan_effective_cost",
        "savings_plan_savings_plan_rate",
        "savings_plan_total_commitment_to_date",
        "savings_plan_used_commitment",
        "split_line_item_actual_usage",
        "split_line_item_net_split_cost",
        "split_line_item_net_unused_cost",
        "split_line_item_public_on_demand_split_cost",
        "split_line_item_public_on_demand_unused_cost",
        "split_line_item_reserved_usage",
        "split_line_item_split_cost",
        "split_line_item_split_usage",
        "split_line_item_split_usage_ratio",
        "split_line_item_unused_cost",
    }
)
TEXTS = frozenset(
    {
        "bill_bill_type",
        "bill_billing_entity",
        "bill_invoice_id",
        "bill_invoicing_entity",
        "bill_payer_account_id",
        "bill_payer_account_name",
        "capacity_reservation_capacity_reservation_arn",
        "capacity_reservation_capacity_reservation_status",
        "capacity_reservation_capacity_reservation_type",
        "identity_line_item_id",
        "identity_time_interval",
        "line_item_availability_zone",
        "line_item_currency_code",
        "line_item_iam_principal",
        "line_item_legal_entity",
        "line_item_line_item_description",
        "line_item_line_item_type",
        "line_item_operation",
        "line_item_product_code",
        "line_item_resource_id",
        "line_item_tax_type",
        "line_item_usage_account_id",
        "line_item_usage_account_name",
        "line_item_usage_type",
        "line_item_user_identifier",
        "pricing_currency",
        "pricing_lease_contract_length",
        "pricing_offering_class",
        "pricing_purchase_option",
        "pricing_rate_code",
        "pricing_rate_id",
        "pricing_term",
        "pricing_unit",
        "product_comment",
        "product_fee_code",
        "product_fee_description",
        "product_from_location",
        "product_from_location_type",
        "product_from_region_code",
        "product_instance_family",
        "product_instance_type",
        "product_instancesku",
        "product_location",
        "product_location_type",
        "product_operation",
        "product_pricing_unit",
        "product_product_family",
        "product_region_code",
        "product_servicecode",
        "product_sku",
        "product_to_location",
        "product_to_location_type",
        "product_to_region_code",
        "product_usagetype",
        "reservation_availability_zone",
        "reservation_end_time",
        "reservation_modification_status",
        "reservation_reservation_a_r_n",
        "reservation_start_time",
        "reservation_subscription_id",
        "savings_plan_end_time",
        "savings_plan_instance_type_family",
        "savings_plan_offering_type",
        "savings_plan_payment_option",
        "savings_plan_purchase_term",
        "savings_plan_region",
        "savings_plan_savings_plan_a_r_n",
        "savings_plan_start_time",
        "split_line_item_parent_resource_id",
    }
)
COLUMNS: tuple[str, ...] = tuple(sorted(TIMESTAMPS | MAPS | DECIMALS | TEXTS))

# Without these a file is no bill that we can read: what a line is, what it costs, whose it is, and when.
REQUIRED: tuple[str, ...] = (
    "bill_billing_period_start_date",
    "bill_payer_account_id",
    "line_item_currency_code",
    "line_item_line_item_type",
    "line_item_unblended_cost",
    "line_item_usage_account_id",
    "line_item_usage_start_date",
)

# Spellings of the legacy report that the converter's rule doesn't lead to CUR 2.0's name.
_LEGACY_NAMES = {
    "pricing/currency": "pricing_currency",
    "reservation/ReservationArn": "reservation_reservation_a_r_n",
    "savingsPlan/SavingsPlanArn": "savings_plan_savings_plan_a_r_n",
    "capacityReservation/CapacityReservationArn": "capacity_reservation_capacity_reservation_arn",
    "capacityReservation/CapacityReservationARN": "capacity_reservation_capacity_reservation_arn",
    "product/availabilityZone": "product_availability_zone",
    "product/SKU": "product_sku",
}
_LEGACY_MAPS = {"resourceTags": "resource_tags", "costCategory": "cost_category", "product": "product"}
# Two capitals in a row are split too: ReservationARN is reservation_a_r_n in AWS's own Parquet.
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z])")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Place:
    """Where a delivered column belongs: a canonical column, or the entry ``key`` of a canonical map column."""

    column: str
    key: str | None = None


@cache
def canonical_place(header: str) -> Place | None:
    """The place of a delivered column, by its header in any of AWS's spellings; None for what we don't read.

    ``lineItem/UnblendedCost`` and ``line_item_unblended_cost`` are the same column; ``product/vcpu`` is the entry
    ``vcpu`` of ``product``; ``resourceTags/user:team`` the entry ``user:team`` of ``resource_tags``.
    """
    if header in COLUMNS:
        return Place(header)
    if "/" not in header:
        return _map_entry(header)
    name = _LEGACY_NAMES.get(header) or snake_case(header)
    if name in COLUMNS:
        return Place(name)
    category, field = header.split("/", 1)
    if category not in _LEGACY_MAPS:
        return None
    # Tags and cost categories are the user's own words; product attributes are AWS's and are spelled as in CUR 2.0.
    return Place(_LEGACY_MAPS[category], snake_case(field) if category == "product" else field)


def snake_case(header: str) -> str:
    """A legacy header as AWS spells it in Parquet: ``savingsPlan/UsedCommitment`` is ``savings_plan_used_commitment``."""
    return _NOT_A_WORD.sub("_", _WORD_START.sub("_", header).lower()).strip("_")


def is_legacy(headers: Sequence[str]) -> bool:
    """Whether the headers are those of the legacy report: it has no map columns."""
    return not MAPS.intersection(headers)


def missing_columns(headers: Sequence[str]) -> list[str]:
    """The columns we can't do without that the headers don't have."""
    places = {place.column for place in map(canonical_place, headers) if place and place.key is None}
    return [column for column in REQUIRED if column not in places]


def _map_entry(name: str) -> Place | None:
    for column in ("resource_tags", "cost_category", "product"):
        if name.startswith(f"{column}_"):
            return Place(column, name.removeprefix(f"{column}_"))
    return None
