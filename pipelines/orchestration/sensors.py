"""What the daemon watches for: runs whose process died, and runs that failed before they could publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from pipelines.config import Settings
from pipelines.lake.paths import Lake
from pipelines.orchestration.runs import mark_dead_runs

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

_PARTITION = "dagster/partition"


def dead_runs_sensor(settings: Settings) -> dg.SensorDefinition:
    """Mark runs as failed whose process was killed, so that their backfill ends and the queue moves on."""

    @dg.sensor(
        name="dead_runs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks runs as failed whose process was killed.",
    )
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        dead = mark_dead_runs(context.instance, Lake(settings.lake))
        return dg.SkipReason(f"marked as failed: {', '.join(dead)}" if dead else "every unfinished run is alive")

    return dead_runs


def publish_after_failure_sensor(publish: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Publish after a failed run, whoever asked for it: its period is marked stale, and the others aren't held back."""

    @dg.run_failure_sensor(
        name="publish_after_failure",
        request_job=publish,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Publishes after a failed run, so that readers see its period marked stale.",
    )
    def publish_after_failure(context: dg.RunFailureSensorContext) -> dg.RunRequest | dg.SkipReason:
        run = context.dagster_run
        if run.job_name == publish.name:
            return dg.SkipReason("the failed run was to publish")
        period = run.tags.get(_PARTITION)
        if period is None:
            return dg.SkipReason("the failed run had no billing period of its own")
        return dg.RunRequest(run_key=run.run_id, partition_key=period)

    return publish_after_failure
