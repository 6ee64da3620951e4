"""Lines of Google's bill before they take the shape of the export: whole numbers of 10^-9, and what meters share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from examples.acme.google_organisation import REGION, ZONE, Project
from examples.acme.meters import varying_steps
from examples.acme.noise import identifier, token
from examples.acme.span import HOUR_SECONDS

SCALE = 10**9
"""Costs and amounts are whole numbers of 10^-9, the last place of BigQuery's NUMERIC."""

EXPORT_DELAY = 4 * HOUR_SECONDS
"""How long after its end usage is in the export."""


@dataclass(frozen=True)
class Service:
    """A service as the bill names it."""

    id: str
    description: str


COMPUTE_ENGINE = Service("6F81-5844-456A", "Compute Engine")
KUBERNETES_ENGINE = Service("CCD8-9BF1-090E", "Kubernetes Engine")
BIGQUERY = Service("24E6-581D-38E5", "BigQuery")
CLOUD_STORAGE = Service("95FF-2EF5-5EA1", "Cloud Storage")
CLOUD_SQL = Service("9662-B51E-5089", "Cloud SQL")
CLOUD_LOGGING = Service("5490-F7B7-8DF6", "Cloud Logging")
NETWORKING = Service("E505-1604-58F8", "Networking")
VERTEX_AI = Service("C7E2-9256-1C43", "Vertex AI")
SUPPORT = Service("2062-016F-44A2", "Support")
INVOICE = Service("CFB8-8BCB-2F2A", "Invoice")


@dataclass(frozen=True)
class Unit:
    """What usage is counted in, what it is priced in, and how many of the former make one of the latter."""

    counted: str
    priced: str
    ratio: int


HOURS = Unit("seconds", "hour", HOUR_SECONDS)
GIBIBYTE_HOURS = Unit("byte-seconds", "gibibyte hour", 2**30 * HOUR_SECONDS)
GIBIBYTE_MONTHS = Unit("byte-seconds", "gibibyte month", 2**30 * 730 * HOUR_SECONDS)
GIBIBYTES = Unit("bytes", "gibibyte", 2**30)
TEBIBYTES = Unit("bytes", "tebibyte", 2**40)
COUNT = Unit("count", "count", 1)


@dataclass(frozen=True)
class Sku:
    """A SKU with its list price and the price that Acme has negotiated, in USD for a pricing unit."""

    service: Service
    description: str
    unit: Unit
    list_price: Decimal
    negotiated: Decimal | None = None

    @property
    def id(self) -> str:
        """The SKU's id."""
        digits = token(f"google sku {self.description}", 12).upper()
        return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"

    @property
    def price(self) -> Decimal:
        """What Acme pays."""
        return self.list_price if self.negotiated is None else self.negotiated


@dataclass(frozen=True)
class Credit:
    """A kind of credit that lines of a meter carry."""

    type: str
    name: str
    id: str = ""
    full_name: str = ""


@dataclass(frozen=True)
class Adjustment:
    """Why a line adjusts earlier ones."""

    id: str
    description: str
    type: str
    mode: str


class GoogleLine(NamedTuple):
    """One line: its period in seconds since 1970-01-01 UTC, and whole numbers of 10^-9."""

    start: int
    end: int
    amount: int
    """In pricing units."""
    cost: int
    list_cost: int
    credits: tuple[int, ...] = ()
    """The amount of each of the meter's credits, below 0; one of 0 isn't in the line."""
    invoiced_at: int | None = None
    """An instant of the invoice month where that isn't the usage's own."""


@dataclass(frozen=True)
class GoogleMeter:
    """Lines that differ only in time, amounts and credits."""

    sku: Sku
    project: Project | None
    lines: list[GoogleLine]
    labels: Mapping[str, str] = field(default_factory=dict)
    system_labels: Mapping[str, str] = field(default_factory=dict)
    resource: tuple[str, str] | None = None
    zone: str | None = ZONE
    region: str | None = REGION
    credits: tuple[Credit, ...] = ()
    cost_type: str = "regular"
    price: Decimal | None = None
    """Where it isn't the SKU's."""
    subscription: str | None = None
    consumption_model: str = "Default"
    """Only the new model of commitments, from September on, tells it."""
    adjustment: Adjustment | None = None
    seller: str | None = None
    """Who sells through Google; None is Google itself."""
    delay: int = EXPORT_DELAY


def scaled(value: Decimal | str) -> int:
    """A decimal of at most 9 places as a whole number of 10^-9."""
    exact = Decimal(value).scaleb(9)
    if exact != exact.to_integral_value():
        raise ValueError(f"{value} has more than 9 decimal places")
    return int(exact)


def priced(amount: int, price: Decimal) -> int:
    """An amount in units of 10^-9 at a price; both must be short enough for the product to be exact."""
    return scaled(Decimal(amount) / SCALE * price)


def steady(sku: Sku, hours: Iterable[int], amount: Decimal | int, length: int = HOUR_SECONDS) -> list[GoogleLine]:
    """One line for each start, all of the same amount in pricing units."""
    units = scaled(Decimal(amount))
    cost, list_cost = priced(units, sku.price), priced(units, sku.list_price)
    return [GoogleLine(hour, hour + length, units, cost, list_cost) for hour in hours]


def varying(
    sku: Sku, key: str, starts: Iterable[int], usual: Decimal | int, step: Decimal | int, length: int = HOUR_SECONDS
) -> list[GoogleLine]:
    """One line for each start, between 50 % and 150 % of `usual` in whole steps."""
    size = scaled(Decimal(step))
    cost, list_cost = priced(size, sku.price), priced(size, sku.list_price)
    return [
        GoogleLine(start, start + length, steps * size, steps * cost, steps * list_cost)
        for start, steps in varying_steps(f"google {key}", starts, scaled(Decimal(usual)), size)
    ]


def subscription(key: str) -> str:
    """A commitment's subscription as the bill names it."""
    return f"subscriptions/{identifier(f'subscription {key}')}"
