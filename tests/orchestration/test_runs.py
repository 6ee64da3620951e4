"""Dead runs are told from living ones by the kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipelines.lake.paths import Lake
from pipelines.orchestration.runs import any_abandoned, hold_run, mark_dead_runs, release_run

HOLD = """
import sys
from pathlib import Path
from pipelines.lake.paths import Lake
from pipelines.orchestration.runs import hold_run
hold_run(Lake(Path(sys.argv[1])), sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@dg.job
def some_job() -> None:
    """Does nothing."""


def started_run(instance: dg.DagsterInstance) -> str:
    run = instance.create_run_for_job(some_job)
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name), run_id=run.run_id
    )
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value


def process_holding(lake: Lake, run_id: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lake.root), run_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_run_whose_process_was_killed_is_marked_failed_once(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance)
        end(process_holding(lake, run_id))

        assert mark_dead_runs(instance, lake) == [run_id]
        assert status(instance, run_id) == "FAILURE"
        assert mark_dead_runs(instance, lake) == []


def test_a_run_of_a_living_process_is_left_alone(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance)
        process = process_holding(lake, run_id)
        try:
            assert mark_dead_runs(instance, lake) == []
            assert status(instance, run_id) == "STARTED"
        finally:
            end(process)


def test_a_run_of_this_process_is_left_alone_even_when_it_is_held_twice(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance)
        hold_run(lake, run_id)
        hold_run(lake, run_id)

        assert mark_dead_runs(instance, lake) == []
        assert status(instance, run_id) == "STARTED"


def test_a_finished_run_keeps_its_status_and_its_lock_file_goes(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance)
        end(process_holding(lake, run_id))
        run = instance.get_run_by_id(run_id)
        assert run is not None
        instance.report_run_canceled(run)

        assert mark_dead_runs(instance, lake) == []
        assert status(instance, run_id) == "CANCELED"
        assert list(lake.locks.iterdir()) == []


def test_runs_that_hold_no_lock_are_somebody_elses(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance)

        assert mark_dead_runs(instance, lake) == []
        assert status(instance, run_id) == "STARTED"


def test_a_run_that_was_given_up_leaves_nothing_to_look_after(lake: Lake) -> None:
    hold_run(lake, "1")
    assert not any_abandoned(lake)

    release_run(lake, "1")

    assert not any_abandoned(lake)
    assert list(lake.locks.iterdir()) == []


def test_a_killed_process_leaves_something_to_look_after_until_it_is_marked(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        end(process_holding(lake, started_run(instance)))
        assert any_abandoned(lake)

        mark_dead_runs(instance, lake)

        assert not any_abandoned(lake)
