"""Pulling: the deliveries that a source lists now, landed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.config import BillSource, UsageSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import LandedDelivery, clear_refusal, land, newest, note_refusal
from pipelines.lake.paths import Lake
from pipelines.sources import aws_cur, dcgm_files, litellm
from pipelines.sources.deliveries import Delivery

_DELIVERIES: Mapping[str, Callable[[Any, str], list[Delivery]]] = {
    "aws-cur": aws_cur.deliveries,
    "dcgm-files": dcgm_files.deliveries,
    "litellm": litellm.deliveries,
}
# What may not enter the lake, landing included, is refused before a byte is copied.
_REFUSALS: Mapping[str, Callable[[Delivery], None]] = {"litellm": litellm.refuse_prompts}


@dataclass(frozen=True)
class Pulled:
    """What landing one source and billing period came to; ``copied`` counts the deliveries that were new."""

    source_name: str
    period: str
    deliveries: tuple[LandedDelivery, ...]
    copied: int

    @property
    def size(self) -> int:
        """Bytes of the data files in landing."""
        return sum(file.path.stat().st_size for delivery in self.deliveries for file in delivery.files)


def pull(lake: Lake, source: BillSource | UsageSource, period: str) -> Pulled:
    """Land what a source has for a billing period: a bill's newest delivery, or each day of a usage source.

    Raises DeliveryError for a delivery that is incomplete, changes while it is read, or holds what must not be kept.
    """
    try:
        landed = [_land(lake, delivery) for delivery in _DELIVERIES[source.kind](source, period)]
    except DeliveryError as error:
        note_refusal(lake, source.name, period, str(error))
        raise
    clear_refusal(lake, source.name, period)
    return Pulled(source.name, period, tuple(delivery for delivery, _ in landed), sum(copied for _, copied in landed))


def _land(lake: Lake, delivery: Delivery) -> tuple[LandedDelivery, bool]:
    known = newest(lake, delivery.source_name, delivery.period)
    if delivery.source_kind in _REFUSALS and (known is None or known.signature != delivery.signature):
        _REFUSALS[delivery.source_kind](delivery)
    return land(lake, delivery)
