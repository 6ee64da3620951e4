"""Table contracts as Dagster sees them: keys, dependencies, column schemas, checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg

from pipelines.config import Settings
from pipelines.lake.audits import contract_audits
from pipelines.models.contracts import Audit, Column, TableContract, contracts
from pipelines.models.normalisation import mapping_audits
from pipelines.orchestration.automation import refreshed_when_inputs_change
from pipelines.sources.kinds import mappings_of

OWNERS = ["team:finops"]
STORAGE = "deltalake"

# Tables that a step writes beside its own: whoever reads one depends on that step.
_WRITTEN_BY = {
    "quality.control": "billing.charges",
    "quality.claimed": "billing.charges",
    "quality.rejected": "billing.charges",
}


def table_key(table: str) -> dg.AssetKey:
    """``showback.daily`` is the asset ``showback/daily``."""
    return dg.AssetKey(table.split("."))


def landing_key(source_name: str) -> dg.AssetKey:
    """The asset of what a source delivered."""
    return dg.AssetKey(["landing", source_name])


def charges_key(source_name: str) -> dg.AssetKey:
    """The asset of one source's charges."""
    return dg.AssetKey(["billing", "charges", source_name])


def step_name(key: dg.AssetKey) -> str:
    """The name of the step that makes one source's asset.

    Dagster allows letters, digits and '_' there, source names '-' and '_'; so that two sources never share a step, an
    underscore becomes the letter that no source name has.
    """
    return "__".join(part.replace("_", "U").replace("-", "_") for part in key.path)


def table_spec(
    contract: TableContract,
    partitions: dg.PartitionsDefinition,
    *,
    kinds: set[str],
    key: dg.AssetKey | None = None,
    deps: Iterable[dg.AssetKey] | None = None,
) -> dg.AssetSpec:
    """A table as an asset that follows its inputs; without ``deps`` these are those that its contract names."""
    return dg.AssetSpec(
        key=key or table_key(contract.table),
        deps=list(input_keys(contract) if deps is None else deps),
        description=contract.description,
        group_name=contract.schema_name,
        owners=OWNERS,
        kinds=kinds,
        partitions_def=partitions,
        automation_condition=refreshed_when_inputs_change(),
        metadata={
            "dagster/table_name": contract.table,
            "dagster/storage_kind": STORAGE,
            "dagster/column_schema": column_schema(contract),
            "grain": ", ".join(contract.grain),
        },
    )


def input_keys(contract: TableContract) -> list[dg.AssetKey]:
    """The assets behind the tables that a contract reads; rules and settings are no assets."""
    return producing_keys(name for name in contract.inputs if name in contracts())


def producing_keys(tables: Iterable[str]) -> list[dg.AssetKey]:
    """The assets whose steps write these tables."""
    return [table_key(table) for table in sorted({_WRITTEN_BY.get(table, table) for table in tables})]


def column_schema(contract: TableContract) -> dg.TableSchema:
    """The contract's columns with their types and meanings."""
    return dg.TableSchema(columns=[_column(column) for column in contract.columns])


def _audit_checks(key: dg.AssetKey, audits: Sequence[Audit]) -> list[dg.AssetCheckSpec]:
    """A check for each audit. A failed one of severity error leaves the last good partition in place."""
    return [
        dg.AssetCheckSpec(audit.name, asset=key, description=audit.description, blocking=audit.severity == "error")
        for audit in audits
    ]


def bill_checks(kind: str, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """A check for everything that can refuse a delivery of this kind: control totals, each mapping's audits and the table's.

    A kind that may deliver native FOCUS has the audits of both mappings; a delivery passes through those of one.
    """
    control = dg.AssetCheckSpec(
        "control_totals",
        asset=key,
        description="rows and costs of the charges equal those of the delivery",
        blocking=True,
    )
    audits = {audit.name: audit for mapping in mappings_of(kind) for audit in mapping_audits(mapping)}
    return [control, *_audit_checks(key, [*audits.values(), *contract_audits(contracts()["billing.charges"])])]


def contract_checks(contract: TableContract) -> list[dg.AssetCheckSpec]:
    """A check for each audit that the contract promises."""
    return _audit_checks(table_key(contract.table), contract_audits(contract))


def usage_landing_keys(settings: Settings) -> list[dg.AssetKey]:
    """What all usage sources delivered."""
    return [landing_key(source.name) for source in settings.usage]


def _column(column: Column) -> dg.TableColumn:
    unit = f" Unit: {column.unit}." if column.unit else ""
    return dg.TableColumn(
        name=column.name,
        type=column.type,
        description=f"{column.meaning}{unit}",
        constraints=dg.TableColumnConstraints(nullable=column.nullable),
    )
