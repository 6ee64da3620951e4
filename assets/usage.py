"""Hourly use: GPU-hours, tokens, and which days have been delivered."""

from __future__ import annotations

import dagster as dg

from pipelines.config import Settings
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.usage_tables import build_usage
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.specs import contract_checks, landing_key, table_key, table_spec, usage_landing_keys
from pipelines.orchestration.steps import Outcomes, step, table_outcome

_FACTS = ("usage.gpu_hours", "usage.tokens")
_DELIVERIES = "usage.deliveries"


def usage_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """``usage/gpu_hours`` and ``usage/tokens`` from the sources that measure them; ``usage/deliveries`` from all."""
    lineage = Lineage(settings)
    facts = [_usage(settings, t, [landing_key(source.name) for source in lineage.usage_sources(t)]) for t in _FACTS]
    return [*facts, _usage(settings, _DELIVERIES, usage_landing_keys(settings))]


def _usage(settings: Settings, table: str, deps: list[dg.AssetKey]) -> dg.AssetsDefinition:
    contract = contracts()[table]
    spec = table_spec(contract, billing_periods(settings), deps=deps, kinds={"polars", "duckdb", "deltalake"})

    def build(period: str) -> Outcomes:
        return {table_key(table): table_outcome(settings, build_usage(Lineage(settings), table, period))}

    return step(table.replace(".", "__"), [spec], build, checks=contract_checks(contract))
