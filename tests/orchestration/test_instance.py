"""Where run records lie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipelines.config import Settings
from pipelines.orchestration import user_interface
from pipelines.orchestration.instance import dagster_home, last_runs, open_instance

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # Set first, so that what is set in the test is undone afterwards.
    monkeypatch.setenv("DAGSTER_HOME", "")
    return Settings(lake=tmp_path / "lake", file=tmp_path / "apportion.yaml")


def test_run_records_lie_beside_the_lake_with_the_repositorys_settings(settings: Settings) -> None:
    home = dagster_home(settings)

    assert home == settings.lake / ".dagster"
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert (home / "dagster.yaml").read_text() == (REPOSITORY / "dagster.yaml").read_text()


def test_settings_that_changed_in_the_repository_are_taken_over(settings: Settings) -> None:
    (settings.lake / ".dagster").mkdir(parents=True)
    (settings.lake / ".dagster" / "dagster.yaml").write_text("telemetry: {enabled: true}\n")

    assert (dagster_home(settings) / "dagster.yaml").read_text() == (REPOSITORY / "dagster.yaml").read_text()


def test_a_home_that_is_set_is_left_as_it_is(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "mine"))

    assert dagster_home(settings) == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()


def test_dagster_accepts_the_settings_and_captures_no_output_of_the_command_line(settings: Settings) -> None:
    with open_instance(settings) as instance:
        assert instance.telemetry_enabled is False
        assert instance.run_retries_max_retries == 2
        assert type(instance.compute_log_manager).__name__ == "NoOpComputeLogManager"


def finished(run_id: str, tags: dict[str, str], status: str = "SUCCESS", job: str = "nightly") -> dg.DagsterRun:
    return dg.DagsterRun(job_name=job, run_id=run_id, tags=tags, status=dg.DagsterRunStatus(status))


def test_the_newest_run_of_a_period_is_told_also_when_it_covered_a_range(settings: Settings) -> None:
    with open_instance(settings) as instance:
        instance.add_run(finished("1", {"dagster/partition": "2026-09"}))
        instance.add_run(
            finished(
                "2",
                {
                    "dagster/asset_partition_range_start": "2026-12",
                    "dagster/asset_partition_range_end": "2027-01",
                },
            )
        )
        instance.add_run(finished("3", {"dagster/partition": "2027-01"}, "FAILURE"))

    assert {period: text.split()[0] for period, text in last_runs(settings).items()} == {
        "2026-09": "success",
        "2026-12": "success",
        "2027-01": "failure",
    }


def test_the_user_interface_becomes_dagster_dev_over_the_lakes_own_records(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.file.write_text("lake: ./lake\n")
    became: list[list[str]] = []
    monkeypatch.setenv("APPORTION_CONFIG", str(settings.file))
    monkeypatch.setattr("sys.argv", ["user_interface", "--port", "3001"])
    monkeypatch.setattr(os, "execv", lambda program, arguments: became.append(arguments[1:]))

    user_interface.main()

    assert became == [["-m", "dagster", "dev", "-m", "pipelines.definitions", "--port", "3001"]]
    assert os.environ["DAGSTER_HOME"] == str(settings.lake / ".dagster")


def test_the_user_interface_says_what_is_wrong_with_the_configuration(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPORTION_CONFIG", str(settings.file))

    with pytest.raises(SystemExit, match="The configuration file doesn't exist"):
        user_interface.main()


def test_two_first_starts_at_once_both_find_their_records(settings: Settings) -> None:
    """Each process opens the same new records; one creates them, the other waits for it."""
    opening = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipelines.config import Settings\n"
        "from pipelines.orchestration.instance import open_instance\n"
        "settings = Settings(lake=Path(sys.argv[1]), file=Path('apportion.yaml'))\n"
        "with open_instance(settings) as instance:\n"
        "    print(instance.get_runs_count())\n"
    )
    command = [sys.executable, "-c", opening, str(settings.lake)]
    started = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    assert [process.communicate()[0] for process in started] == ["0\n", "0\n"]


def test_a_run_that_only_publishes_hides_no_failure(settings: Settings) -> None:
    september = {"dagster/partition": "2026-09"}
    with open_instance(settings) as instance:
        instance.add_run(finished("1", september, "FAILURE"))
        instance.add_run(finished("2", september, job="publish_ready_periods"))

    assert last_runs(settings)["2026-09"].startswith("failure 20")
