"""The one step that changes what analysts see."""

from __future__ import annotations

import dagster as dg

from pipelines.config import Settings
from pipelines.errors import PublicationError
from pipelines.lake.paths import Lake
from pipelines.models.lineage import Lineage
from pipelines.models.periods import period_tables
from pipelines.models.publication import Published, publish
from pipelines.orchestration.automation import refreshed_when_inputs_change
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.specs import OWNERS, producing_keys
from pipelines.orchestration.steps import UNCHANGED, Outcome, Outcomes, step, version_of

PUBLISH = dg.AssetKey("publish")


def publish_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """``publish``: every billing period that is ready; one that isn't keeps its previous figures and is marked stale."""
    lake = Lake(settings.lake)
    spec = dg.AssetSpec(
        key=PUBLISH,
        deps=producing_keys(contract.table for contract in period_tables()),
        description="The DuckDB file of views that analysts open, with every billing period that is ready.",
        group_name="publish",
        owners=OWNERS,
        kinds={"duckdb"},
        partitions_def=billing_periods(settings),
        automation_condition=refreshed_when_inputs_change(),
    )

    in_run: dict[str, Published] = {}

    def build(period: str) -> Outcomes:
        # Publishing looks at every period at once, so that a run over several does it once.
        run_id = dg.AssetExecutionContext.get().run.run_id
        if run_id not in in_run:
            in_run.clear()
            in_run[run_id] = publish(Lineage(settings))
        published = in_run[run_id]
        if reasons := published.stale.get(period):
            raise PublicationError(
                f"Billing period {period} was not published; readers keep its previous figures.",
                where=f"lake {lake.root}",
                expected="every table of the period built from the same inputs",
                found="; ".join(reasons),
                remedy="settle what the reasons name (a delivery to mend, a source to leave out), then "
                f"apportion run --period {period}",
            )
        shown = published.publication.periods.get(period)
        tables = shown.tables if shown else {}
        return {
            PUBLISH: Outcome(
                {
                    "publication": published.publication.name,
                    "file": str(lake.analysts_file),
                    "stale periods": ", ".join(published.stale) or "none",
                    UNCHANGED: not published.is_new,
                },
                version_of((table, file) for table, files in tables.items() for file in files),
            )
        }

    return [step("publish", [spec], build)]
