"""What a night has to do: every source is looked at, and only the billing periods that have a reason are run."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipelines.config import BillSource, Settings, UsageSource
from pipelines.errors import ApportionError, DeliveryError
from pipelines.lake.database import connect
from pipelines.lake.landing import LandedSource, pending_periods
from pipelines.lake.paths import Lake
from pipelines.lake.publishing import newest_publication, relative_names
from pipelines.models.lineage import Lineage
from pipelines.models.periods import known_periods, period_state
from pipelines.sources.kinds import source_kind

# A look is one listing or one query: waiting, not working.
_LOOKS_AT_ONCE = 8


@dataclass(frozen=True)
class Night:
    """What looking at every source found.

    ``reasons``: the billing periods to run, each with why. ``refused``: the sources that can't be looked at, each with the
    problem. ``never_pulled``: older billing periods that sources have and the lake doesn't: they are run when asked for.
    ``sources`` and ``periods``: how many were looked at.
    """

    reasons: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, ApportionError]
    never_pulled: tuple[str, ...]
    sources: int
    periods: int


@dataclass(frozen=True)
class _Look:
    """One source's look, by billing period, beside the one from which each period was landed."""

    source_name: str
    seen: Mapping[str, str]
    landed: Mapping[str, str]

    def changed(self) -> list[str]:
        return sorted(period for period, look in self.seen.items() if self.landed.get(period) != look)


def periods_to_run(settings: Settings, open_periods: tuple[str, ...]) -> Night:
    """Look at every source, reading no data, and tell which billing periods have to be run.

    A billing period has to be run when a source delivered it anew since it was landed, when what landed has not been
    published yet, or, for ``open_periods``, when its tables would be made from something else now (a day has ended, rules
    changed). A period that was never landed counts only when it is open: a first night doesn't pull years.
    """
    lineage = Lineage(settings)
    looks, refused = _looks(lineage)
    reasons: dict[str, list[str]] = {}
    never_pulled = set()
    seen = {period for look in looks for period in look.seen if lineage.has_begun(period)}
    for look in looks:
        for period in look.changed():
            if period not in seen:
                continue
            if period in look.landed or period in open_periods:
                reasons.setdefault(period, []).append(f"{look.source_name} delivered anew")
            else:
                never_pulled.add(period)
    for period in pending_periods(lineage.lake):
        reasons.setdefault(period, []).append("what landed has not been published")
    for period in sorted(set(open_periods) & set(known_periods(lineage)) - set(reasons)):
        if why := _out_of_date(lineage, period):
            reasons[period] = [why]
    return Night(
        reasons={period: tuple(why) for period, why in sorted(reasons.items())},
        refused=refused,
        never_pulled=tuple(sorted(never_pulled - set(reasons))),
        sources=len(looks),
        periods=len(seen),
    )


def _looks(lineage: Lineage) -> tuple[list[_Look], dict[str, ApportionError]]:
    def look(source: BillSource | UsageSource) -> _Look | ApportionError:
        landed = LandedSource(Lake(lineage.settings.lake), source.name)
        try:
            return _Look(source.name, source_kind(source.kind).look(source, landed), landed.looks)
        except ApportionError as error:
            return error
        except Exception as error:
            # One source's surprise is no reason to leave the others unseen.
            return DeliveryError(
                "The source can't be looked at.",
                where=f"source {source.name}",
                found=f"{type(error).__name__}: {error}",
                remedy=f"apportion check --source {source.name} tries it step by step",
            )

    with ThreadPoolExecutor(max_workers=_LOOKS_AT_ONCE) as pool:
        found = list(pool.map(look, lineage.sources))
    refused = {
        source.name: result
        for source, result in zip(lineage.sources, found, strict=True)
        if isinstance(result, ApportionError)
    }
    return [result for result in found if isinstance(result, _Look)], refused


def _out_of_date(lineage: Lineage, period: str) -> str | None:
    """Why an open period is run though nothing new was delivered; None where readers see it as it would be made now."""
    connection = connect()
    try:
        state = period_state(connection, lineage, period)
    finally:
        connection.close()
    if not state.is_ready:
        return state.problems[0]
    published = newest_publication(lineage.lake)
    shown = published.periods.get(period) if published else None
    tables = {table: relative_names(lineage.lake, [f.path for f in files]) for table, files in state.files.items()}
    if shown is None or shown.state != "current" or dict(shown.tables) != tables:
        return "what was built has not been published"
    return None
