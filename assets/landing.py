"""What every source delivered, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from pipelines.allocation.rules import load_rule_set
from pipelines.config import BillSource, Settings, UsageSource
from pipelines.lake.paths import Lake
from pipelines.models.pull import pull
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.specs import OWNERS, landing_key, step_name
from pipelines.orchestration.steps import UNCHANGED, Outcome, Outcomes, step, version_of

_OF_THE_PULL = "run_"


def landing_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """An asset ``landing/<source>`` for each bill and usage source.

    They are a run's first steps and refuse to begin one whose rules can't be used.
    """
    sources: list[BillSource | UsageSource] = [*settings.bills, *settings.usage]
    return [_landing(settings, source) for source in sources]


def _landing(settings: Settings, source: BillSource | UsageSource) -> dg.AssetsDefinition:
    key = landing_key(source.name)
    spec = dg.AssetSpec(
        key=key,
        description=f"What {source.name} ({source.kind}) delivered, byte for byte; kept for good.",
        group_name="landing",
        owners=OWNERS,
        kinds={"python", "file"},
        partitions_def=billing_periods(settings),
    )

    def build(period: str) -> Outcomes:
        if settings.rules is not None:
            load_rule_set(settings.rules)
        pulled = pull(Lake(settings.lake), source, period)
        newest = pulled.deliveries[-1] if pulled.deliveries else None
        metadata = {
            "deliveries": len(pulled.deliveries),
            "files": sum(len(delivery.files) for delivery in pulled.deliveries),
            "bytes": pulled.size,
            "newest version": newest.version if newest else "nothing delivered",
            UNCHANGED: pulled.copied == 0,
            **(_of_the_pull(newest.details) if newest else {}),
        }
        return {key: Outcome(metadata, version_of((made.period, made.token) for made in pulled.deliveries))}

    return step(step_name(key), [spec], build)


def _of_the_pull(details: Mapping[str, str]) -> dict[str, str]:
    """What a source tells of fetching a delivery: ``run_estimate_bytes`` is shown as ``estimate bytes``."""
    return {
        name.removeprefix(_OF_THE_PULL).replace("_", " "): value
        for name, value in details.items()
        if name.startswith(_OF_THE_PULL)
    }
