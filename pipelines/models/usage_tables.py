"""Usage facts become tables, a UTC day at a time; only days whose deliveries changed are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import duckdb

from pipelines.allocation.dimensions import Dimensions
from pipelines.lake.landing import LandedDelivery, landed_periods, newest, refuse_changed, refuse_gone
from pipelines.lake.tables import commit, stage
from pipelines.models import usage_facts
from pipelines.models.build import Built, Workspace, audit_and_commit, workspace
from pipelines.models.contracts import TableContract, contracts
from pipelines.models.lineage import Lineage, build_token
from pipelines.models.sql_models import register_mappings
from pipelines.sources.days import measured_days

_DELIVERIES = "usage.deliveries"
_CREATE: Mapping[
    str, Callable[[duckdb.DuckDBPyConnection, Sequence[LandedDelivery], Dimensions], list[usage_facts.DayCounts]]
] = {
    "usage.gpu_hours": usage_facts.create_gpu_hours,
    "usage.tokens": usage_facts.create_tokens,
}


def build_usage(lineage: Lineage, table: str, period: str) -> Built:
    """Build the changed ones of the days that a billing period is measured on.

    Raises DeliveryError for a delivery that can't be read and AuditFailed; then none of the days was committed.
    """
    contract = contracts()[table]
    days = _days(lineage, table, period)
    tokens = {day: build_token(contract, {"x_Day": day}, lineage.inputs(contract, {"x_Day": day})) for day in days}
    current = {file.partition["x_Day"]: file for file in lineage.files(table)}
    changed = [day for day in days if day not in current or current[day].token != tokens[day]]
    partitions = tuple({"x_Day": day} for day in days)
    kept = sum(current[day].rows for day in days if day not in changed)
    if not changed:
        return Built(table, partitions, kept, unchanged=True)
    with workspace(lineage.lake) as space:
        register_mappings(space.connection)
        rows = _create_rows(lineage, space, table, changed)
        staged = [
            stage(
                space.connection,
                f"SELECT * FROM {rows} WHERE x_Day = '{day}'",
                contract,
                {"x_Day": day},
                token=tokens[day],
                inputs=lineage.inputs(contract, {"x_Day": day}),
                folder=space.folder,
            )
            for day in changed
        ]
        audits = audit_and_commit(lineage.lake, space, contract, staged, {}, label=period)
    return Built(table, partitions, kept + sum(part.rows for part in staged), unchanged=False, audits=tuple(audits))


def _days(lineage: Lineage, table: str, period: str) -> list[str]:
    """The period's measured days that began before the figures' as-of moment and that there is something to say about."""
    days = [day for day in measured_days(period) if lineage.has_begun(day)]
    if table == _DELIVERIES:
        return days if lineage.settings.usage else []
    landed = {day for source in lineage.usage_sources(table) for day in landed_periods(lineage.lake, source.name)}
    return [day for day in days if day in landed]


def _create_rows(lineage: Lineage, space: Workspace, table: str, days: Sequence[str]) -> str:
    """Create the rows of these days in the session; tells the relation that holds them."""
    rows = f"staged_{table.split('.')[1]}"
    if table == _DELIVERIES:
        landed_days = {s.name: landed_periods(lineage.lake, s.name) for s in lineage.settings.usage}
        usage_facts.create_deliveries(
            space.connection, lineage.settings.usage, landed_days, days, lineage.settings.now()
        )
        return rows
    named = [(source.name, day) for source in lineage.usage_sources(table) for day in days]
    for source_name, day in named:
        refuse_gone(lineage.lake, source_name, day)
    landed = [newest(lineage.lake, source_name, day) for source_name, day in named]
    present = [delivery for delivery in landed if delivery]
    for delivery in present:
        refuse_changed(delivery)
    _CREATE[table](space.connection, present, lineage.rule_set.dimensions)
    _keep_rejected(lineage, space, contracts()["quality.rejected"], present)
    return rows


def _keep_rejected(
    lineage: Lineage, space: Workspace, contract: TableContract, landed: Sequence[LandedDelivery]
) -> None:
    """Commit what was delivered and could not be used; a day without such rows gets no partition unless it had one."""
    counts = dict(
        space.connection.sql("SELECT source_name || '/' || x_Day, count(*) FROM rejected_usage GROUP BY ALL").fetchall()
    )
    present = {tuple(file.partition.values()) for file in lineage.files(contract.table)}
    for delivery in landed:
        partition = {"source_name": delivery.source_name, "billing_period": delivery.period}
        if f"{delivery.source_name}/{delivery.period}" not in counts and tuple(partition.values()) not in present:
            continue
        select = (
            f"SELECT '{delivery.version}' AS source_version, source_file, source_row, CAST(NULL AS VARCHAR) AS line_item_type, "
            "reason, CAST(NULL AS VARCHAR) AS audit, CAST(NULL AS VARCHAR) AS message, CAST(row_json AS VARCHAR) AS row_json "
            f"FROM rejected_usage WHERE source_name = '{delivery.source_name}' AND x_Day = '{delivery.period}'"
        )
        inputs = lineage.inputs(contract, partition)
        token = build_token(contract, partition, inputs)
        commit(
            lineage.lake,
            contract,
            [stage(space.connection, select, contract, partition, token=token, inputs=inputs, folder=space.folder)],
        )
