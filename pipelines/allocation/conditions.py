"""Conditions of the rule language: data in YAML, a two-valued DuckDB expression when they run.

A condition is ``all``, ``any`` or ``not`` over comparisons; a comparison names one ``column``, ``dimension`` or ``tag``
and one of ``equals``, ``in``, ``prefix``, ``matches`` and ``present``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import duckdb
from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, ValidationInfo, model_validator

from pipelines.allocation.rule_files import Refusal, StrictModel, refused, suggestion
from pipelines.lake.database import literal

TEXT_COLUMNS: tuple[str, ...] = (
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
    "x_GpuModel",
    "x_InstanceType",
    "x_Operation",
    "x_ServiceCode",
    "x_SourceKind",
    "x_SourceLineItemType",
    "x_SourceName",
    "x_UsageType",
)
"""The text columns of ``billing.charges`` that a ``column`` comparison may name."""

Text = Annotated[str, StringConstraints(min_length=1)]
SubjectKind = Literal["column", "dimension", "tag"]


def _truth(value: object) -> object:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise refused(
        Refusal(
            "{key} is neither true nor false", expected="true or false", found=str(value), remedy="write true or false"
        )
    )


class Comparison(StrictModel):
    """One column, dimension or tag against one operator; absent fails every operator but ``present: false``."""

    column: Text | None = None
    dimension: Text | None = None
    tag: Text | None = None
    equals: str | None = None
    in_: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None, validation_alias="in", serialization_alias="in"
    )
    prefix: Text | None = None
    matches: Text | None = None
    present: Annotated[bool, BeforeValidator(_truth)] | None = None

    @property
    def subject(self) -> SubjectKind:
        """What kind of thing is compared."""
        if self.column is not None:
            return "column"
        return "dimension" if self.dimension is not None else "tag"

    @property
    def name(self) -> str:
        """The column, dimension or tag key that is compared."""
        return self.column or self.dimension or self.tag or ""

    @model_validator(mode="after")
    def _says_one_thing(self, info: ValidationInfo) -> Comparison:
        subjects = [key for key in ("column", "dimension", "tag") if getattr(self, key) is not None]
        operators = [
            key
            for key, value in (
                ("equals", self.equals),
                ("in", self.in_),
                ("prefix", self.prefix),
                ("matches", self.matches),
                ("present", self.present),
            )
            if value is not None
        ]
        refusals: list[Refusal] = []
        if len(subjects) != 1:
            refusals.append(
                Refusal(
                    "a comparison names exactly one column, dimension or tag",
                    found=", ".join(subjects) or "none",
                    remedy="write one comparison each and join them with all or any",
                )
            )
        if len(operators) != 1:
            refusals.append(
                Refusal(
                    "a comparison has exactly one of equals, in, prefix, matches, present",
                    found=", ".join(operators) or "none",
                    remedy="write one comparison each and join them with all or any",
                )
            )
        if self.column is not None and self.column not in TEXT_COLUMNS:
            refusals.append(
                Refusal(
                    f"a condition can't read the column {self.column!r}",
                    ("column",),
                    expected="a text column of billing.charges",
                    found=self.column,
                    remedy=suggestion(self.column, TEXT_COLUMNS)
                    or "see the columns in docs/rules.md; tags and dimensions have comparisons of their own",
                )
            )
        if self.dimension is not None:
            refusals.extend(unknown_dimension(self.dimension, info, at=("dimension",)))
        if self.matches is not None:
            refusals.extend(_unreadable_pattern(self.matches))
        if refusals:
            raise refused(*refusals)
        return self


class All(StrictModel):
    """True when every condition of it is."""

    all: Annotated[tuple[Condition, ...], Field(min_length=1)]


class AnyOf(StrictModel):
    """True when at least one condition of it is."""

    any: Annotated[tuple[Condition, ...], Field(min_length=1)]


class Not(StrictModel):
    """True when its condition isn't: also where what it compares is absent."""

    not_: Condition = Field(validation_alias="not", serialization_alias="not")


def _form(value: Any) -> str | None:
    if isinstance(value, StrictModel):
        return type(value).__name__
    if not isinstance(value, Mapping):
        return None
    for key, form in (("all", "All"), ("any", "AnyOf"), ("not", "Not"), ("not_", "Not")):
        if key in value:
            return form
    return "Comparison"


Condition = Annotated[
    (
        Annotated[All, Tag("All")]
        | Annotated[AnyOf, Tag("AnyOf")]
        | Annotated[Not, Tag("Not")]
        | Annotated[Comparison, Tag("Comparison")]
    ),
    Discriminator(
        _form,
        custom_error_type="condition_form",
        custom_error_message="a mapping with all, any, not, column, dimension or tag",
    ),
]

All.model_rebuild()
AnyOf.model_rebuild()
Not.model_rebuild()


def unknown_dimension(name: str, info: ValidationInfo, *, at: tuple[str | int, ...] = ()) -> list[Refusal]:
    """What is wrong with a dimension's name; nothing where the reader gave no names to check against."""
    known: frozenset[str] | None = (info.context or {}).get("dimension_names")
    if known is None or name in known:
        return []
    return [
        Refusal(
            f"unknown dimension {name!r}",
            at,
            expected=", ".join(sorted(known)),
            found=name,
            remedy=suggestion(name, sorted(known)) or f"add {name!r} to dimensions.yaml",
        )
    ]


def _unreadable_pattern(pattern: str) -> list[Refusal]:
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT regexp_full_match('', $1)", [pattern])
    except duckdb.Error as error:
        return [
            Refusal(
                "the pattern isn't a regular expression that RE2 reads",
                ("matches",),
                expected="a pattern of https://github.com/google/re2/wiki/Syntax (no lookaround, no backreference)",
                found=f"{pattern} ({str(error).removeprefix('Invalid Input Error: ').splitlines()[0]})",
                remedy="correct the pattern; a backslash in double quotes is written twice",
            )
        ]
    return []


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """Every comparison of a condition, in the order written."""
    if isinstance(condition, All):
        for each in condition.all:
            yield from comparisons(each)
    elif isinstance(condition, AnyOf):
        for each in condition.any:
            yield from comparisons(each)
    elif isinstance(condition, Not):
        yield from comparisons(condition.not_)
    else:
        yield condition


def to_sql(
    condition: Condition,
    *,
    columns: Mapping[str, str],
    dimensions: Mapping[str, str],
    tags: Mapping[str, str],
) -> str:
    """A DuckDB boolean expression that is true or false, never NULL.

    The mappings give the SQL expression of each name that the condition mentions: a charge's column (for example
    ``{"ServiceName": "charges.ServiceName"}``), a dimension's value, a tag's value by its key. A NULL there is absent,
    as is an empty dimension; a tag with an empty value is present.

    Raises KeyError for a name that has no expression.
    """
    if isinstance(condition, (All, AnyOf)):
        members = condition.all if isinstance(condition, All) else condition.any
        operator = " AND " if isinstance(condition, All) else " OR "
        parts = [to_sql(each, columns=columns, dimensions=dimensions, tags=tags) for each in members]
        return "(" + operator.join(parts) + ")"
    if isinstance(condition, Not):
        return "(NOT " + to_sql(condition.not_, columns=columns, dimensions=dimensions, tags=tags) + ")"
    expressions = {"column": columns, "dimension": dimensions, "tag": tags}[condition.subject]
    return _comparison_sql(condition, expressions[condition.name])


def _comparison_sql(comparison: Comparison, value: str) -> str:
    if comparison.equals is not None:
        return f"coalesce({value} = {literal(comparison.equals)}, false)"
    if comparison.in_ is not None:
        return f"coalesce({value} IN ({', '.join(literal(each) for each in comparison.in_)}), false)"
    if comparison.prefix is not None:
        return f"coalesce(starts_with({value}, {literal(comparison.prefix)}), false)"
    if comparison.matches is not None:
        return f"coalesce(regexp_full_match({value}, {literal(comparison.matches)}), false)"
    return f"({value} IS NOT NULL)" if comparison.present else f"({value} IS NULL)"
