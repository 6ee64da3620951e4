"""Write, audit, commit: how rows become a table's partition."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from pipelines.lake.audits import AuditResult, contract_audits, raise_if_failed, run_audits
from pipelines.lake.database import connect, literal, thread_count
from pipelines.lake.locks import HeldFolder
from pipelines.lake.paths import Lake
from pipelines.lake.tables import StagedPartition, commit, ensure_table, relation_sql, stage, table_files
from pipelines.models.contracts import Audit, TableContract, contracts
from pipelines.models.lineage import Lineage, build_token
from pipelines.models.sql_models import Parameter, bind, load_sql, parameters_of, register_mappings


@dataclass(frozen=True)
class Workspace:
    """A DuckDB session and a staging folder that vanish with the process."""

    connection: duckdb.DuckDBPyConnection
    folder: Path


@dataclass(frozen=True)
class Built:
    """What became of one table's partitions. ``unchanged``: they were made from these very inputs already."""

    table: str
    partitions: tuple[Mapping[str, str], ...]
    rows: int
    unchanged: bool
    audits: tuple[AuditResult, ...] = field(default=())


@contextmanager
def workspace(lake: Lake) -> Iterator[Workspace]:
    """Open a workspace and sweep away those that killed processes left behind."""
    lake.staging.mkdir(parents=True, exist_ok=True)
    for folder in lake.staging.iterdir():
        if folder.is_dir() and not HeldFolder.is_held(folder):
            shutil.rmtree(folder, ignore_errors=True)
    held = HeldFolder(lake.staging / uuid.uuid4().hex)
    connection = connect(scratch=held.folder / "spill")
    try:
        yield Workspace(connection, held.folder)
    finally:
        connection.close()
        held.release()
        shutil.rmtree(held.folder, ignore_errors=True)


def ensure_tables(lake: Lake) -> None:
    """Create every table, and add the columns their contracts gained, before any partition is built."""
    for contract in contracts().values():
        if contract.kind == "table":
            ensure_table(lake, contract)


def build_model(lineage: Lineage, contract: TableContract, period: str) -> Built:
    """Build a table's billing period from the SQL beside its contract. Raises AuditFailed."""
    return build_period(lineage, contract, period, _model)


def build_period(
    lineage: Lineage,
    contract: TableContract,
    period: str,
    selects: Callable[[Lineage, Workspace, TableContract, str], Sequence[str]],
) -> Built:
    """Build one billing period of a table, unless it was made from the same inputs already.

    ``selects`` gives the rows as one SELECT, or as several that follow each other and are written side by side. Raises AuditFailed; then nothing was committed and the last good partition is still in place.
    """
    column = contract.period_column()
    if column is None:
        raise ValueError(f"{contract.table} has no billing period")
    partition = {column: period}
    inputs = lineage.inputs(contract, partition)
    token = build_token(contract, partition, inputs)
    if (kept := lineage.rows_if_built(contract, partition, token)) is not None:
        return Built(contract.table, (partition,), kept, unchanged=True)
    with workspace(lineage.lake) as space:
        register_mappings(space.connection)
        register_inputs(space.connection, lineage, contract, partition)
        rows = selects(lineage, space, contract, period)
        threads = thread_count(space.connection)
        if len(rows) > 1:
            # One thread for each SELECT: DuckDB keeps the order of a join's rows at no cost on one thread alone.
            space.connection.execute("SET threads = 1")

        def stage_one(number: int, select: str) -> StagedPartition:
            with space.connection.cursor() as cursor:
                return stage(
                    cursor, select, contract, partition, token=token, inputs=inputs, folder=space.folder, number=number
                )

        with ThreadPoolExecutor(max_workers=threads) as pool:
            staged = list(pool.map(stage_one, range(len(rows)), rows))
        space.connection.execute(f"SET threads = {threads}")
        parameters: dict[str, Parameter] = {"billing_period": period}
        audits = audit_and_commit(lineage.lake, space, contract, staged, parameters, label=period)
    return Built(contract.table, (partition,), sum(part.rows for part in staged), unchanged=False, audits=tuple(audits))


def _model(lineage: Lineage, space: Workspace, contract: TableContract, period: str) -> Sequence[str]:
    return [bind_used(load_sql(f"{contract.schema_name}/{contract.sql_file.stem}"), {"billing_period": period})]


def audit_and_commit(
    lake: Lake,
    space: Workspace,
    contract: TableContract,
    staged: Sequence[StagedPartition],
    parameters: Mapping[str, Parameter],
    *,
    label: str,
) -> list[AuditResult]:
    """Run the contract's audits over the staged partitions, then commit them together.

    ``label`` names the partitions in ``quality.audits``, which keeps the outcome either way. Raises AuditFailed.
    """
    register_staged(space.connection, contract, staged)
    results = run_audits(space.connection, contract.table, bound_audits(contract_audits(contract), parameters))
    record_audits(lake, space, contract, results, label=label, token=staged[0].token)
    raise_if_failed(results, where=label)
    commit(lake, contract, staged)
    return results


def record_audits(
    lake: Lake, space: Workspace, contract: TableContract, results: Sequence[AuditResult], *, label: str, token: str
) -> None:
    """Replace what ``quality.audits`` says of these partitions."""
    records = contracts()["quality.audits"]
    columns = "audit, severity, description, passed, failing_rows, message, build"
    rows = ", ".join(
        f"({literal(result.audit)}, {literal(result.severity)}, {literal(result.description)}, "
        f"{str(result.passed).lower()}, {result.failing_rows}, {literal(result.message)}, {literal(token)})"
        for result in results
    )
    select = f"SELECT * FROM (VALUES {rows}) AS audits ({columns})"
    partition = {"table_name": contract.table, "partition": label}
    outcome = hashlib.sha256(select.encode()).hexdigest()[:40]
    current = [file.token for file in table_files(lake, records) if file.partition == partition]
    if current != [outcome]:
        part = stage(space.connection, select, records, partition, token=outcome, inputs={}, folder=space.folder)
        commit(lake, records, [part])


def register_staged(
    connection: duckdb.DuckDBPyConnection, contract: TableContract, staged: Sequence[StagedPartition]
) -> None:
    """Make the staged rows readable as ``staged``."""
    rows = relation_sql(connection, contract, [part.file for part in staged])
    connection.execute(f"CREATE OR REPLACE TEMP VIEW staged AS {rows}")


def register_inputs(
    connection: duckdb.DuckDBPyConnection, lineage: Lineage, contract: TableContract, partition: Mapping[str, str]
) -> None:
    """Create a view of each input table, holding just the partitions that its scope names."""
    for name in contract.inputs:
        if name in contracts():
            files = [file.path for file in lineage.input_files(contract, partition, name)]
            register_table(connection, contracts()[name], files)
        elif name == "accepted_differences":
            _register_accepted_differences(connection, lineage)


def register_table(connection: duckdb.DuckDBPyConnection, contract: TableContract, files: Sequence[Path]) -> None:
    """Create a view of the table's name over exactly these files."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {contract.schema_name}")
    connection.execute(f"CREATE OR REPLACE VIEW {contract.table} AS {relation_sql(connection, contract, files)}")


def bind_used(sql: str, parameters: Mapping[str, Parameter]) -> str:
    """Bind those of the parameters that the SQL names."""
    used = parameters_of(sql)
    return bind(sql, {name: value for name, value in parameters.items() if name in used})


def bound_audits(audits: Sequence[Audit], parameters: Mapping[str, Parameter]) -> list[Audit]:
    """The audits with their parameters bound."""
    return [audit.model_copy(update={"sql": bind_used(audit.sql, parameters)}) for audit in audits]


def _register_accepted_differences(connection: duckdb.DuckDBPyConnection, lineage: Lineage) -> None:
    connection.execute("CREATE SCHEMA IF NOT EXISTS configuration")
    connection.execute(
        "CREATE OR REPLACE TABLE configuration.accepted_differences (source_name VARCHAR, billing_period VARCHAR, "
        "BillingCurrency VARCHAR, cost_column VARCHAR, amount DECIMAL(38,18), reason VARCHAR)"
    )
    for accepted in lineage.settings.accepted_differences:
        connection.execute(
            f"INSERT INTO configuration.accepted_differences VALUES ({literal(accepted.source)}, {literal(accepted.period)}, "
            f"{literal(accepted.currency)}, {literal(accepted.cost)}, {literal(str(accepted.amount))}, "
            f"{literal(accepted.reason)})"
        )
