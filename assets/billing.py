"""Bills as FOCUS charges: one asset for each source, and one that stands for all of them."""

from __future__ import annotations

import dagster as dg

from pipelines.config import BillSource, Settings
from pipelines.models.build import Built
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.normalisation import normalise
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.specs import bill_checks, charges_key, landing_key, step_name, table_key, table_spec
from pipelines.orchestration.steps import Outcome, Outcomes, step, table_outcome, version_of

_CHARGES = "billing.charges"


def billing_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """``billing/charges/<source>`` for each bill, and ``billing/charges`` for them together."""
    return [*(_charges_of(settings, bill) for bill in settings.bills), _all_charges(settings)]


def _charges_of(settings: Settings, bill: BillSource) -> dg.AssetsDefinition:
    key, contract = charges_key(bill.name), contracts()[_CHARGES]
    spec = table_spec(
        contract,
        billing_periods(settings),
        key=key,
        deps=[landing_key(bill.name)],
        kinds={"sql", "duckdb", "deltalake"},
    )

    def build(period: str) -> Outcomes:
        built = normalise(Lineage(settings), bill.name, period)
        if built is None:
            return {key: Outcome({"note": f"{bill.name} delivered nothing for {period}"}, version_of([]))}
        return {key: table_outcome(settings, built)}

    return step(step_name(key), [spec], build, checks=bill_checks(bill.kind, key))


def _all_charges(settings: Settings) -> dg.AssetsDefinition:
    key = table_key(_CHARGES)
    spec = table_spec(
        contracts()[_CHARGES],
        billing_periods(settings),
        deps=[charges_key(bill.name) for bill in settings.bills],
        kinds={"deltalake"},
    )

    def build(period: str) -> Outcomes:
        files = [f for f in Lineage(settings).files(_CHARGES) if f.partition["x_BillingPeriod"] == period]
        partitions, rows = tuple(file.partition for file in files), sum(file.rows for file in files)
        return {key: table_outcome(settings, Built(_CHARGES, partitions, rows, unchanged=True))}

    return step("billing__charges", [spec], build)
