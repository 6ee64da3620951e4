"""What every run has in common."""

from __future__ import annotations

import dagster as dg

from pipelines.config import Settings
from pipelines.lake.paths import Lake
from pipelines.models.build import ensure_tables
from pipelines.orchestration.runs import hold_run

LAKE = "lake"


def lake_resource(settings: Settings) -> dg.ResourceDefinition:
    """The lake, opened once at the start of a run: the run's lock is taken and every table exists from then on."""

    @dg.resource(description="The lakehouse folder, with every table created.")
    def open_lake(context: dg.InitResourceContext) -> Lake:
        lake = Lake(settings.lake)
        if context.run is not None:
            hold_run(lake, context.run.run_id)
        ensure_tables(lake)
        return lake

    return open_lake
