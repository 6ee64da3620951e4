"""The columns of Azure's cost exports: one name for the spellings of enterprise, customer and pay-as-you-go agreements.

Microsoft writes the same column differently by agreement and version of the export (Microsoft, "Understand cost details
fields"): ``CostInBillingCurrency``, ``costInBillingCurrency``, ``Cost``, ``PreTaxCost``. Case, spaces and a byte order mark
never matter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

DATES: Mapping[str, tuple[str, ...]] = {
    "billing_period_end_date": ("billingperiodenddate", "billingperiodend"),
    "billing_period_start_date": ("billingperiodstartdate", "billingperiodstart"),
    "charge_date": ("date", "usagedatetime", "usagedate"),
}
DECIMALS: Mapping[str, tuple[str, ...]] = {
    "cost_in_billing_currency": ("costinbillingcurrency", "cost", "pretaxcost"),
    "cost_in_pricing_currency": ("costinpricingcurrency",),
    "exchange_rate": ("exchangeratepricingtobilling", "exchangerate"),
    "pay_g_price": ("paygprice",),
    "payg_cost_in_billing_currency": ("paygcostinbillingcurrency",),
    "quantity": ("quantity", "usagequantity"),
    "unit_price": ("unitprice", "resourcerate"),
}
TEXTS: Mapping[str, tuple[str, ...]] = {
    "additional_info": ("additionalinfo",),
    "availability_zone": ("availabilityzone",),
    "benefit_id": ("benefitid",),
    "benefit_name": ("benefitname",),
    "billing_account_id": ("billingaccountid",),
    "billing_account_name": ("billingaccountname",),
    "billing_currency": ("billingcurrencycode", "billingcurrency", "currency"),
    "billing_profile_id": ("billingprofileid",),
    "billing_profile_name": ("billingprofilename",),
    "charge_type": ("chargetype",),
    "consumed_service": ("consumedservice",),
    "cost_center": ("costcenter",),
    "frequency": ("frequency",),
    "invoice_id": ("invoiceid",),
    "invoice_section_name": ("invoicesectionname", "invoicesection"),
    "location": ("location",),
    "meter_category": ("metercategory",),
    "meter_id": ("meterid",),
    "meter_name": ("metername",),
    "meter_sub_category": ("metersubcategory",),
    "part_number": ("partnumber",),
    "partner_name": ("partnername",),
    "pricing_currency": ("pricingcurrency", "pricingcurrencycode"),
    "pricing_model": ("pricingmodel",),
    "product_id": ("productid",),
    "product_name": ("productname", "product"),
    "publisher_name": ("publishername",),
    "publisher_type": ("publishertype",),
    "reservation_id": ("reservationid",),
    "reservation_name": ("reservationname",),
    "resource_id": ("resourceid", "instanceid", "instancename"),
    "resource_location": ("resourcelocation",),
    "resource_name": ("resourcename",),
    "resource_type": ("resourcetype",),
    "service_family": ("servicefamily",),
    "subscription_id": ("subscriptionid", "subscriptionguid"),
    "subscription_name": ("subscriptionname",),
    "tags": ("tags",),
    "unit_of_measure": ("unitofmeasure",),
}
COLUMNS: tuple[str, ...] = tuple(sorted([*DATES, *DECIMALS, *TEXTS]))

# Without these a file is no bill that we can read: what a line is, what it costs, in which currency, and when.
REQUIRED: tuple[str, ...] = ("billing_currency", "charge_date", "charge_type", "cost_in_billing_currency", "quantity")

_SPELLINGS: Mapping[str, tuple[str, ...]] = {**DATES, **DECIMALS, **TEXTS}
_CANONICAL: Mapping[str, str] = {spelling: column for column, known in _SPELLINGS.items() for spelling in known}
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")
# Only the pay-as-you-go export of before 2019 has this column, and it has lines of usage alone, without a type.
_USAGE_ONLY = "usagedatetime"


def canonical_column(header: str) -> str | None:
    """What a delivered column is, by its header in any spelling; None for what we don't read."""
    return _CANONICAL.get(_spelling(header))


def delivered_column(column: str, headers: Sequence[str]) -> int | None:
    """The place of the header that stands for a canonical column; of several spellings the first known one."""
    spellings = [_spelling(header) for header in headers]
    return next((spellings.index(known) for known in _SPELLINGS[column] if known in spellings), None)


def has_usage_only(headers: Sequence[str]) -> bool:
    """Whether the export is of the kind that has no charge types, because all of its lines are usage."""
    return _USAGE_ONLY in map(_spelling, headers)


def missing_columns(headers: Sequence[str]) -> list[str]:
    """The columns we can't do without that the headers don't have."""
    found = {canonical_column(header) for header in headers}
    if has_usage_only(headers):
        found.add("charge_type")
    return [column for column in REQUIRED if column not in found]


def doubled_columns(headers: Sequence[str]) -> list[str]:
    """The headers that stand twice for the same column, in the spelling of the first."""
    counts = Counter(map(_spelling, headers))
    return [spelling for spelling, count in counts.items() if count > 1 and spelling in _CANONICAL]


def _spelling(header: str) -> str:
    return _NOT_IN_A_NAME.sub("", header.lower())
