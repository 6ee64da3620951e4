"""What the daemon does by itself after something went wrong."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from pipelines.config import Settings
from pipelines.orchestration.jobs import PUBLISH, publish_job
from pipelines.orchestration.sensors import dead_runs_sensor, publish_after_failure_sensor


@dg.op
def refuse() -> None:
    """Fails."""
    raise dg.Failure("refused")


@dg.job
def nightly() -> None:
    """Stands for the real job."""
    refuse()


@dg.job(name=PUBLISH)
def publish_ready_periods() -> None:
    """Stands for the job that only publishes."""
    refuse()


OCTOBER = {"dagster/partition": "2026-10"}


@pytest.mark.parametrize(
    ("job", "tags", "expected"),
    [
        (nightly, OCTOBER, "2026-10"),
        (nightly, {}, None),
        (publish_ready_periods, OCTOBER, None),
    ],
)
def test_a_failed_run_is_followed_by_a_publication_of_its_period_unless_it_was_one(
    job: dg.JobDefinition, tags: dict[str, str], expected: str | None
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        sensor = publish_after_failure_sensor(publish_job())
        context = dg.build_run_status_sensor_context(
            sensor_name="publish_after_failure",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()

        answer = sensor(context)

        if expected is None:
            assert isinstance(answer, dg.SkipReason)
        else:
            assert isinstance(answer, dg.RunRequest)
            assert (answer.partition_key, answer.run_key) == (expected, result.run_id)
        assert sensor.job_name == PUBLISH


def test_the_dead_runs_sensor_says_what_it_found(tmp_path: Path) -> None:
    settings = Settings(lake=tmp_path / "lake", file=tmp_path / "apportion.yaml")
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(nightly)
        # As a process leaves it that was killed: the lock's file without the lock.
        lock = settings.lake / "locks" / f"run.{run.run_id}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        sensor, context = dead_runs_sensor(settings), dg.build_sensor_context(instance=instance)

        assert sensor(context) == dg.SkipReason(f"marked as failed: {run.run_id}")
        assert sensor(context) == dg.SkipReason("every unfinished run is alive")
