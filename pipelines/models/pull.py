"""Pulling: the deliveries that a source lists now, landed."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.config import BillSource, UsageSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import (
    LandedDelivery,
    LandedSource,
    clear_refusal,
    land,
    landed_periods,
    newest,
    note_look,
    note_pending,
    note_refusal,
)
from pipelines.lake.paths import Lake
from pipelines.sources.days import measured_days
from pipelines.sources.deliveries import Delivery, ObjectMoved
from pipelines.sources.kinds import refusal_before_landing, source_kind

# An export that is being written settles within seconds; one that doesn't will be there the next night.
_ATTEMPTS = 3


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
    """Land what a source has for a billing period: a bill's newest delivery, or each day that a usage source measured it on.

    Where the source looks as it did when the period was landed last, nothing is read. Raises DeliveryError for a delivery
    that is incomplete, keeps changing while it is read, or holds what must not be kept.
    """
    try:
        look = source_kind(source.kind).look(source, LandedSource(lake, source.name)).get(period)
        if look is not None and LandedSource(lake, source.name).looks.get(period) == look:
            pulled = Pulled(source.name, period, _landed(lake, source.name, period), 0)
        else:
            pulled = _pull_anew(lake, source, period)
    except DeliveryError as error:
        # Landing names both already.
        told = error.where.startswith(f"source {source.name},")
        refusal = error if told else error.within(f"source {source.name}, billing period {period}")
        note_refusal(lake, source.name, period, str(refusal))
        raise refusal from error.__cause__
    clear_refusal(lake, source.name, period)
    # Seen before the deliveries were listed: what changed since then is pulled the next time.
    if look is not None:
        note_look(lake, source.name, period, look)
    return pulled


def _pull_anew(lake: Lake, source: BillSource | UsageSource, period: str) -> Pulled:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            listed = source_kind(source.kind).deliveries(source, period, LandedSource(lake, source.name))
            landed = [_land(lake, delivery, period) for delivery in listed]
        except ObjectMoved:
            if attempt == _ATTEMPTS:
                raise
        else:
            break
    return Pulled(source.name, period, tuple(delivery for delivery, _ in landed), sum(copied for _, copied in landed))


def _landed(lake: Lake, source_name: str, period: str) -> tuple[LandedDelivery, ...]:
    """The newest landed deliveries of a billing period: one of a bill, one for each measured day of a usage source."""
    wanted = {period, *measured_days(period)}
    periods = [landed for landed in landed_periods(lake, source_name) if landed in wanted]
    return tuple(delivery for landed in periods if (delivery := newest(lake, source_name, landed)))


def _land(lake: Lake, delivery: Delivery, period: str) -> tuple[LandedDelivery, bool]:
    known = newest(lake, delivery.source_name, delivery.period)
    if known is None or known.signature != delivery.signature:
        if refuse := refusal_before_landing(delivery.source_kind):
            refuse(delivery)
        # Before it lands, so that a run killed at any moment leaves the period to be finished the next night. The next month,
        # whose first day may land here, sees that in its own look.
        note_pending(lake, period)
    return land(lake, delivery)
