"""The figures that stand beside a materialisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.lake.database import connect, identifier
from pipelines.lake.tables import relation_sql
from pipelines.models.contracts import TableContract
from pipelines.models.normalisation import plain

_TOTALLED = (
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "amount",
    "billed_amount",
    "billed_cost",
    "effective_cost",
    "unexplained",
)


def cost_totals(contract: TableContract, files: Sequence[Path]) -> Mapping[str, str]:
    """Exact sums as text, by name such as ``EffectiveCost (USD)``; none for a table without money."""
    columns = [column.name for column in contract.columns if column.name in _TOTALLED]
    if not columns or not files:
        return {}
    sums = ", ".join(f"CAST(sum({identifier(column)}) AS DECIMAL(38,18))" for column in columns)
    connection = connect()
    try:
        rows = connection.sql(
            f"SELECT BillingCurrency, {sums} FROM ({relation_sql(connection, contract, files)}) "
            "GROUP BY BillingCurrency ORDER BY BillingCurrency"
        ).fetchall()
    finally:
        connection.close()
    return {
        f"{column} ({currency})": plain(total)
        for currency, *totals in rows
        for column, total in zip(columns, totals, strict=True)
    }
