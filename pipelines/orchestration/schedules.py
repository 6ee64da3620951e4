"""When things happen by themselves."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.config import Settings
from pipelines.models.night import periods_to_run
from pipelines.orchestration.nights import never_pulled, not_looked_at, nothing_changed, open_periods
from pipelines.orchestration.specs import landing_key

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

EVERY_NIGHT = "every_night"
REASON = "apportion/reason"
NOT_LOOKED_AT = "apportion/not_looked_at"


def nightly_schedule(
    settings: Settings, job: UnresolvedAssetJobDefinition, assets: Collection[dg.AssetKey]
) -> dg.ScheduleDefinition:
    """Look at every source at 04:00 UTC and run the billing periods that have a reason, each in a run of its own.

    Runs apart, so that a refused delivery of one month holds the other back no longer than it must. ``assets``: all that a
    run makes; what landed of a source that can't be looked at is left as it is.
    """

    @dg.schedule(
        name=EVERY_NIGHT,
        job=job,
        cron_schedule="0 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks at every source at 04:00 UTC and runs the billing periods in which something changed.",
    )
    def every_night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        scheduled = context.scheduled_execution_time.astimezone(UTC).replace(tzinfo=None)
        night = periods_to_run(settings, open_periods(_as_of(settings, scheduled)))
        problems, note = "\n".join(not_looked_at(night)), never_pulled(night)
        if not night.reasons:
            if problems:
                # A tick that failed is what somebody notices.
                raise dg.Failure(problems)
            return dg.SkipReason("; ".join(filter(None, [nothing_changed(night), note])))
        if problems:
            context.log.error(problems)
        if note:
            context.log.info(note)
        # Named one by one also when it is all of them: automation leaves to a run what the run says it will make.
        selection = sorted(set(assets) - {landing_key(name) for name in night.refused})
        left_out = {NOT_LOOKED_AT: ", ".join(night.refused)} if night.refused else {}
        return [
            dg.RunRequest(
                run_key=f"{scheduled:%Y-%m-%d} {period}",
                partition_key=period,
                asset_selection=selection,
                tags={REASON: "; ".join(reasons), **left_out},
            )
            for period, reasons in night.reasons.items()
        ]

    return every_night


def _as_of(settings: Settings, scheduled: datetime) -> datetime:
    return scheduled if settings.as_of is None else settings.now()
