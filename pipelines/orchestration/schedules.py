"""When things happen by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from pipelines.orchestration.partitions import open_periods

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

EVERY_NIGHT = "every_night"


def nightly_schedule(
    job: UnresolvedAssetJobDefinition, periods: dg.MonthlyPartitionsDefinition
) -> dg.ScheduleDefinition:
    """Refresh the previous and the current billing period at 04:00 UTC, each in a run of its own.

    Runs apart, so that a refused delivery of one month holds the other back no longer than it must.
    """

    @dg.schedule(
        name=EVERY_NIGHT,
        job=job,
        cron_schedule="0 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Refreshes the previous and the current billing period every night at 04:00 UTC.",
    )
    def every_night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        moment = context.scheduled_execution_time
        return [
            dg.RunRequest(run_key=f"{moment:%Y-%m-%d} {period}", partition_key=period)
            for period in open_periods(periods, moment)
        ]

    return every_night
