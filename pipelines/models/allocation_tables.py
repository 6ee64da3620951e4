"""The allocation becomes tables: every charge in the place or places where it ends up, and the totals of that."""

from __future__ import annotations

from pipelines.allocation.engine import create_allocation, create_rules
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


def _charges(lineage: Lineage, space: Workspace, contract: TableContract, period: str) -> str:
    return create_allocation(space.connection, lineage.rule_set, billing_period=period).charges


def _rules(lineage: Lineage, space: Workspace, contract: TableContract, period: str) -> str:
    return create_rules(space.connection, lineage.rule_set, billing_period=period)
