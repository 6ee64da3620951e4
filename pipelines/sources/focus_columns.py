"""The columns of FOCUS's Cost and Usage, versions 1.0 to 1.4 and their forerunners (FOCUS specification, column pages)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

TIMESTAMPS = frozenset({"BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"})
DECIMALS = frozenset(
    {
        "BilledCost",
        "CommitmentDiscountQuantity",
        "ConsumedQuantity",
        "ContractedCost",
        "ContractedUnitPrice",
        "EffectiveCost",
        "ListCost",
        "ListUnitPrice",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice",
        "PricingQuantity",
    }
)
OBJECTS = frozenset(
    {
        "AllocatedMethodDetails",
        "AllocatedTags",
        "CommitmentProgramEligibilityDetails",
        "ContractApplied",
        "SkuPriceDetails",
        "Tags",
    }
)
TEXTS = frozenset(
    {
        "AllocatedMethodId",
        "AllocatedResourceId",
        "AllocatedResourceName",
        "AvailabilityZone",
        "BillingAccountId",
        "BillingAccountName",
        "BillingAccountType",
        "BillingCurrency",
        "CapacityReservationId",
        "CapacityReservationStatus",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargeFrequency",
        "CommitmentDiscountCategory",
        "CommitmentDiscountId",
        "CommitmentDiscountName",
        "CommitmentDiscountStatus",
        "CommitmentDiscountType",
        "CommitmentDiscountUnit",
        "ConsumedUnit",
        "HostProviderName",
        "InvoiceDetailId",
        "InvoiceId",
        "InvoiceIssuerName",
        "PricingCategory",
        "PricingCurrency",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "RegionId",
        "RegionName",
        "ResourceId",
        "ResourceName",
        "ResourceType",
        "ServiceCategory",
        "ServiceName",
        "ServiceProviderName",
        "ServiceSubcategory",
        "SkuId",
        "SkuMeter",
        "SkuPriceId",
        "SubAccountId",
        "SubAccountName",
        "SubAccountType",
    }
)
# No columns of FOCUS, but ours by the same name and meaning; AWS's own exports have two of them.
OWN_TEXTS = frozenset({"ChargeSubcategory", "x_InstanceType", "x_Operation", "x_ServiceCode", "x_UsageType"})
SOURCE_COLUMNS = "x_SourceColumns"
COLUMNS: tuple[str, ...] = (*sorted(TIMESTAMPS | DECIMALS | OBJECTS | TEXTS | OWN_TEXTS), SOURCE_COLUMNS)

# Without these a file is no bill: what a charge is, what it costs, whose it is, when, and what it adds to an invoice.
REQUIRED: tuple[str, ...] = (
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "EffectiveCost",
)

# Names from before 1.0, which Oracle's exports still have; each counts where its successor isn't delivered.
FORERUNNERS: Mapping[str, str] = {
    "InvoiceIssuer": "InvoiceIssuerName",
    "Provider": "ProviderName",
    "Publisher": "PublisherName",
    "Region": "RegionId",
    "UsageQuantity": "ConsumedQuantity",
    "UsageUnit": "ConsumedUnit",
}

_SINCE: Sequence[tuple[str, frozenset[str]]] = (
    ("focus-1.4", frozenset({"CommitmentProgramEligibilityDetails", "InvoiceDetailId"})),
    (
        "focus-1.3",
        frozenset(
            {
                "AllocatedMethodDetails",
                "AllocatedMethodId",
                "AllocatedResourceId",
                "AllocatedResourceName",
                "AllocatedTags",
                "ContractApplied",
                "HostProviderName",
                "ServiceProviderName",
            }
        ),
    ),
    (
        "focus-1.2",
        frozenset(
            {
                "BillingAccountType",
                "InvoiceId",
                "PricingCurrency",
                "PricingCurrencyContractedUnitPrice",
                "PricingCurrencyEffectiveCost",
                "PricingCurrencyListUnitPrice",
                "SubAccountType",
            }
        ),
    ),
    (
        "focus-1.1",
        frozenset(
            {
                "CapacityReservationId",
                "CapacityReservationStatus",
                "CommitmentDiscountQuantity",
                "CommitmentDiscountUnit",
                "ServiceSubcategory",
                "SkuMeter",
                "SkuPriceDetails",
            }
        ),
    ),
)
BEFORE_1_0 = "focus-0.5"
FIRST = "focus-1.0"

_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


def _folded(header: str) -> str:
    # x_ is part of a name: x_Tags is somebody's own column, and not Tags.
    own = "x_" if header.lower().startswith("x_") else ""
    return own + _NOT_ALPHANUMERIC.sub("", header.lower().removeprefix("x_"))


_BY_FOLDED = {_folded(column): column for column in COLUMNS if column != SOURCE_COLUMNS}
_FORERUNNER_BY_FOLDED = {_folded(name): column for name, column in FORERUNNERS.items()}


def canonical_column(header: str) -> str | None:
    """The FOCUS column a header means, whatever its case and word marks: ``billed_cost`` is ``BilledCost``."""
    return _BY_FOLDED.get(_folded(header))


def forerunner_of(header: str) -> str | None:
    """The FOCUS column that a name from before 1.0 became: ``InvoiceIssuer`` is ``InvoiceIssuerName``."""
    return _FORERUNNER_BY_FOLDED.get(_folded(header))


def dialect(headers: Iterable[str]) -> str:
    """The version of FOCUS a file is of, told by its columns: ``focus-1.2`` where it has what came with 1.2 and nothing newer.

    Names from before 1.0 make it ``focus-0.5``.
    """
    given = list(headers)
    columns = {canonical_column(header) for header in given}
    for version, new in _SINCE:
        if columns & new:
            return version
    is_early = any((name := forerunner_of(header)) and name not in columns for header in given)
    return BEFORE_1_0 if is_early else FIRST
