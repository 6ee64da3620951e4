"""The code location that Dagster loads."""

from __future__ import annotations

import dagster as dg

from assets.allocation import allocation_assets
from assets.billing import billing_assets
from assets.chargeback import chargeback_assets
from assets.landing import landing_assets
from assets.publish import publish_assets
from assets.quality import quality_assets
from assets.showback import showback_assets
from assets.usage import usage_assets
from pipelines.config import Settings, configuration_path, load_settings
from pipelines.orchestration.automation import refreshing_sensor
from pipelines.orchestration.jobs import nightly_job, publish_job
from pipelines.orchestration.resources import LAKE, lake_resource
from pipelines.orchestration.schedules import nightly_schedule
from pipelines.orchestration.sensors import dead_runs_sensor, publish_after_failure_sensor


def definitions(settings: Settings) -> dg.Definitions:
    """Everything that a configuration makes: assets, checks, jobs, schedule and sensors."""
    nightly, publish = nightly_job(), publish_job()
    assets = [
        *landing_assets(settings),
        *billing_assets(settings),
        *usage_assets(settings),
        *allocation_assets(settings),
        *showback_assets(settings),
        *chargeback_assets(settings),
        *quality_assets(settings),
        *publish_assets(settings),
    ]
    return dg.Definitions(
        assets=assets,
        jobs=[nightly, publish],
        schedules=[nightly_schedule(settings, nightly, [key for made in assets for key in made.keys])],
        sensors=[refreshing_sensor(), dead_runs_sensor(settings), publish_after_failure_sensor(publish)],
        resources={LAKE: lake_resource(settings)},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the configuration in force (``APPORTION_CONFIG``, else ``apportion.yaml``)."""
    return definitions(load_settings(configuration_path()))
