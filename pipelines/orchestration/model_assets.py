"""Tables that are nothing but a SQL model and its contract."""

from __future__ import annotations

import dagster as dg

from pipelines.config import Settings
from pipelines.models.build import build_model
from pipelines.models.contracts import TableContract, contracts
from pipelines.models.lineage import Lineage
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.specs import contract_checks, table_key, table_spec
from pipelines.orchestration.steps import Outcomes, step, table_outcome


def model_assets(settings: Settings, schema: str) -> list[dg.AssetsDefinition]:
    """An asset for each stored table of a schema that has a SQL model beside its contract."""
    models = [c for c in contracts().values() if c.schema_name == schema and c.kind == "table" and c.sql_file.exists()]
    return [_model_asset(settings, contract) for contract in models]


def _model_asset(settings: Settings, contract: TableContract) -> dg.AssetsDefinition:
    spec = table_spec(contract, billing_periods(settings), kinds={"sql", "duckdb", "deltalake"})

    def build(period: str) -> Outcomes:
        return {table_key(contract.table): table_outcome(settings, build_model(Lineage(settings), contract, period))}

    return step(contract.table.replace(".", "__"), [spec], build, checks=contract_checks(contract))
