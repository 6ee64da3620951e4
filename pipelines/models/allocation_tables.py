"""The allocation becomes tables: every charge in the place or places where it ends up, and the totals of that."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.allocation.engine import create_allocation, create_rules
from pipelines.lake.database import thread_count
from pipelines.lake.tables import TableFile, relation_sql
from pipelines.models.build import Built, Workspace, build_model, build_period
from pipelines.models.contracts import TableContract, contracts
from pipelines.models.lineage import Lineage

CHARGES = "allocation.charges"
RULES = "allocation.rules"
TOTALS = ("allocation.totals", "allocation.unallocated")


def build_allocation(lineage: Lineage, period: str) -> dict[str, Built]:
    """Allocate a billing period: its charges, the rules they were split by, then the totals over them.

    Raises ApportionError for a measurement or a rule that can't be followed, and AuditFailed.
    """
    built = {
        RULES: build_period(lineage, contracts()[RULES], period, _rules),
        CHARGES: build_period(lineage, contracts()[CHARGES], period, _charges),
    }
    for table in TOTALS:
        # A new listing: the totals are made from what was committed just now.
        built[table] = build_model(Lineage(lineage.settings), contracts()[table], period)
    return built


def _charges(lineage: Lineage, space: Workspace, contract: TableContract, period: str) -> Sequence[str]:
    relations = create_allocation(space.connection, lineage.rule_set, billing_period=period)
    bill = contracts()["billing.charges"]
    files = lineage.input_files(contract, {"x_BillingPeriod": period}, bill.table)
    selects = []
    for number, slice_ in enumerate(_slices(files, thread_count(space.connection))):
        relation = f"billing.charges_slice_{number}"
        rows = relation_sql(space.connection, bill, [file.path for file in slice_])
        space.connection.execute(f"CREATE VIEW {relation} AS {rows}")
        selects.append(relations.charges_of(relation))
    return selects or [relations.charges]


def _slices(files: Sequence[TableFile], count: int) -> list[list[TableFile]]:
    """The bill's files in at most ``count`` slices of about the same number of rows, in delivery order."""
    total = sum(file.rows for file in files)
    slices: dict[int, list[TableFile]] = {}
    before = 0
    for file in files:
        slices.setdefault((before + file.rows // 2) * count // max(total, 1), []).append(file)
        before += file.rows
    return [slices[number] for number in sorted(slices)]


def _rules(lineage: Lineage, space: Workspace, contract: TableContract, period: str) -> Sequence[str]:
    return [create_rules(space.connection, lineage.rule_set, billing_period=period)]
