"""Audits: queries over staged rows that must return none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from pipelines.errors import AuditFailed
from pipelines.lake.database import identifier
from pipelines.models.contracts import Audit, TableContract

_SHOWN_ROWS = 5


@dataclass(frozen=True)
class AuditResult:
    """An audit's outcome; ``message`` shows the first offending rows."""

    table: str
    audit: str
    severity: str
    description: str
    failing_rows: int
    message: str

    @property
    def passed(self) -> bool:
        """Whether no row offended."""
        return self.failing_rows == 0


def run_audits(connection: duckdb.DuckDBPyConnection, table: str, audits: Sequence[Audit]) -> list[AuditResult]:
    """Run each audit over the connection's relation ``staged`` and the table's inputs."""
    return [_run(connection, table, audit) for audit in audits]


def contract_audits(contract: TableContract) -> tuple[Audit, ...]:
    """What every contract promises (unique grain, no NULL where none is allowed), then its own audits."""
    return (*_grain_audit(contract), *_null_audit(contract), *contract.audits)


def raise_if_failed(results: Sequence[AuditResult], *, where: str) -> None:
    """Raise AuditFailed naming every audit of severity error that failed."""
    failed = [result for result in results if not result.passed and result.severity == "error"]
    if failed:
        raise AuditFailed(
            f"{failed[0].table} was not committed: {len(failed)} audit(s) failed.",
            where=where,
            expected="no row",
            found="; ".join(f"{result.audit} ({result.description}): {result.message}" for result in failed),
            remedy="the last good partition is still in place; see quality.audits and quality.rejected",
            audits=results,
        )


def _run(connection: duckdb.DuckDBPyConnection, table: str, audit: Audit) -> AuditResult:
    relation = connection.sql(f"SELECT * FROM ({audit.sql}) LIMIT {_SHOWN_ROWS}")
    rows = relation.fetchall()
    failing = 0
    if rows:
        count = connection.execute(f"SELECT count(*) FROM ({audit.sql})").fetchone()
        assert count is not None
        failing = count[0]
    shown = "; ".join(
        ", ".join(f"{name} {value}" for name, value in zip(relation.columns, row, strict=True)) for row in rows
    )
    return AuditResult(table, audit.name, audit.severity, audit.description, failing, shown)


def _grain_audit(contract: TableContract) -> tuple[Audit, ...]:
    if contract.rows_ascend:
        return (_ascending_audit(contract, [identifier(c) for c in contract.grain if c not in contract.partition_by]),)
    listed = ", ".join(identifier(column) for column in contract.grain)
    return (
        Audit(
            name="grain_is_unique",
            description=f"one row for each {', '.join(contract.grain)}",
            sql=f"SELECT {listed}, count(*) AS rows FROM staged GROUP BY {listed} HAVING count(*) > 1",
        ),
    )


def _ascending_audit(contract: TableContract, keys: Sequence[str]) -> Audit:
    """Compare each row with the one before it, which streams: grouping 3 million rows takes several times as long.

    The grain's last two columns are the row of a file and the part that it became. The same parts of a file lie in
    runs, in delivery order, and each run begins behind the one before.
    """
    *names, row, part = keys
    block = f"struct_pack({', '.join(f'k{number} := {name}' for number, name in enumerate([*names, part]))})"
    return Audit(
        name="grain_is_unique",
        description=f"one row for each {', '.join(contract.grain)}, in delivery order",
        sql=f"""
            WITH neighbours AS (
              SELECT {block} AS block, {row} AS row_number, lag({block}) OVER () AS block_before, lag({row}) OVER () AS row_before
              FROM staged
            ),
            in_runs AS (
              SELECT
                block, row_number,
                block = block_before AND row_number <= row_before AS is_out_of_order,
                count(*) FILTER (WHERE block IS DISTINCT FROM block_before) OVER (ROWS UNBOUNDED PRECEDING) AS run
              FROM neighbours
            ),
            runs AS (
              SELECT block, run, min(row_number) AS first_row, max(row_number) AS last_row,
                count(*) FILTER (WHERE is_out_of_order) AS rows_out_of_order
              FROM in_runs
              GROUP BY block, run
            ),
            behind_each_other AS (
              SELECT *, lag(last_row) OVER (PARTITION BY block ORDER BY run) AS last_row_before FROM runs
            )
            SELECT block, first_row, last_row, last_row_before, rows_out_of_order
            FROM behind_each_other
            WHERE rows_out_of_order > 0 OR first_row <= last_row_before""",
    )


def _null_audit(contract: TableContract) -> tuple[Audit, ...]:
    required = [column.name for column in contract.stored_columns if not column.nullable]
    if not required:
        return ()
    counts = ", ".join(f"count(*) - count({identifier(name)}) AS {identifier(name)}" for name in required)
    listed = ", ".join(identifier(name) for name in required)
    return (
        Audit(
            name="required_columns_have_values",
            description="no NULL where the contract allows none",
            sql=f"SELECT column_name, null_rows FROM (UNPIVOT (SELECT {counts} FROM staged) "
            f"ON {listed} INTO NAME column_name VALUE null_rows) WHERE null_rows > 0",
        ),
    )
