"""Every charge in the place or places it ends up in: four tables that one pass over the bill makes."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from pipelines.config import Settings
from pipelines.models.allocation_tables import build_allocation
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.specs import contract_checks, table_key, table_spec
from pipelines.orchestration.steps import Outcomes, step, table_outcome

_TABLES = ("allocation.charges", "allocation.totals", "allocation.unallocated", "allocation.rules")


def allocation_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """``allocation/charges``, ``/totals``, ``/unallocated`` and ``/rules``."""
    tables = [contracts()[table] for table in _TABLES]
    deps = sorted({dep for table in tables for dep in _inputs_from_outside(table.inputs)})
    specs = [
        table_spec(
            table,
            billing_periods(settings),
            deps=[table_key(dep) for dep in deps],
            kinds={"sql", "duckdb", "deltalake"},
        )
        for table in tables
    ]

    def build(period: str) -> Outcomes:
        built = build_allocation(Lineage(settings), period)
        return {table_key(table): table_outcome(settings, built[table]) for table in _TABLES}

    return [step("allocation", specs, build, checks=[check for table in tables for check in contract_checks(table)])]


def _inputs_from_outside(inputs: Iterable[str]) -> list[str]:
    return [name for name in inputs if name in contracts() and name not in _TABLES]
