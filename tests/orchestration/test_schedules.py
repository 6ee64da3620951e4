"""What the nightly schedule asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from pipelines.config import Settings
from pipelines.errors import DeliveryError
from pipelines.models.night import Night
from pipelines.orchestration import schedules
from pipelines.orchestration.jobs import nightly_job
from pipelines.orchestration.schedules import nightly_schedule

NIGHT = datetime(2026, 11, 23, 4, tzinfo=UTC)
EVERYTHING = [dg.AssetKey(["landing", "aws"]), dg.AssetKey(["landing", "azure"]), dg.AssetKey("publish")]


def evaluated(
    monkeypatch: pytest.MonkeyPatch, night: Night, as_of: datetime | None = None
) -> tuple[object, list[tuple[str, str]]]:
    """What the schedule answers after such a night, and which periods were open on it."""
    asked: list[tuple[str, str]] = []

    def look(settings: Settings, open_periods: tuple[str, str]) -> Night:
        asked.append(open_periods)
        return night

    monkeypatch.setattr(schedules, "periods_to_run", look)
    settings = Settings(lake=Path("lake"), file=Path("apportion.yaml"), as_of=as_of)
    schedule = nightly_schedule(settings, nightly_job(), EVERYTHING)
    answer = schedule(dg.build_schedule_context(scheduled_execution_time=NIGHT))
    return answer, asked


def test_periods_with_a_reason_are_run_apart_and_say_why_also_long_closed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"2024-03": ("aws delivered anew",), "2026-11": ("aws delivered anew", "azure delivered anew")}
    night = Night(reasons=reasons, refused={}, never_pulled=(), sources=2, periods=24)

    answer, _ = evaluated(monkeypatch, night)

    assert isinstance(answer, list)
    assert [(run.run_key, run.partition_key, run.tags["apportion/reason"]) for run in answer] == [
        ("2026-11-23 2024-03", "2024-03", "aws delivered anew"),
        ("2026-11-23 2026-11", "2026-11", "aws delivered anew; azure delivered anew"),
    ]
    assert [run.asset_selection for run in answer] == [EVERYTHING, EVERYTHING]


def test_a_night_on_which_nothing_changed_is_skipped_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, _ = evaluated(monkeypatch, Night(reasons={}, refused={}, never_pulled=("2025-01",), sources=6, periods=24))

    assert answer == dg.SkipReason(
        "nothing changed: 6 sources, 24 billing periods looked at; never pulled: 1 billing period that sources have "
        "(2025-01); to pull what is there: apportion run --period 2025-01"
    )


def test_the_others_go_on_without_landing_a_source_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"azure": DeliveryError("The container can't be listed.")}
    night = Night(reasons={"2026-11": ("aws delivered anew",)}, refused=refused, never_pulled=(), sources=1, periods=2)

    answer, _ = evaluated(monkeypatch, night)

    assert isinstance(answer, list)
    (run,) = answer
    assert run.tags["apportion/not_looked_at"] == "azure"
    assert run.asset_selection == [key for key in EVERYTHING if key.path[-1] != "azure"]


def test_a_source_that_cannot_be_looked_at_fails_the_tick_of_a_night_without_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = {"azure": DeliveryError("The container can't be listed.")}

    with pytest.raises(dg.Failure, match=r"azure can't be looked at.*The container can't be listed"):
        evaluated(monkeypatch, Night(reasons={}, refused=refused, never_pulled=(), sources=1, periods=2))


@pytest.mark.parametrize(
    ("as_of", "expected"), [(None, ("2026-10", "2026-11")), (datetime(2026, 10, 16), ("2026-09", "2026-10"))]
)
def test_a_fixed_as_of_decides_what_is_open(
    monkeypatch: pytest.MonkeyPatch, as_of: datetime | None, expected: tuple[str, str]
) -> None:
    quiet = Night(reasons={}, refused={}, never_pulled=(), sources=1, periods=1)

    _, asked = evaluated(monkeypatch, quiet, as_of)

    assert asked == [expected]
