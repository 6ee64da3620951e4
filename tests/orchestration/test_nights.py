"""What is open on a night, and how a night is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest

from pipelines.errors import ApportionError, DeliveryError
from pipelines.models.night import Night
from pipelines.orchestration.nights import never_pulled, not_looked_at, nothing_changed, open_periods


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 11, 23, 4), ("2026-10", "2026-11")),
        (datetime(2026, 12, 1, 4), ("2026-11", "2026-12")),
        (datetime(2027, 1, 1, 4), ("2026-12", "2027-01")),
    ],
)
def test_the_previous_and_the_current_period_are_open(moment: datetime, expected: tuple[str, str]) -> None:
    assert open_periods(moment) == expected


def quiet(
    sources: int,
    periods: int,
    *,
    never_pulled: tuple[str, ...] = (),
    refused: Mapping[str, ApportionError] | None = None,
) -> Night:
    return Night(reasons={}, refused=refused or {}, never_pulled=never_pulled, sources=sources, periods=periods)


@pytest.mark.parametrize(
    ("sources", "periods", "told"),
    [
        (6, 24, "nothing changed: 6 sources, 24 billing periods looked at"),
        (1, 1, "nothing changed: 1 source, 1 billing period looked at"),
        (0, 0, "nothing changed: 0 sources, 0 billing periods looked at"),
    ],
)
def test_a_quiet_night_is_told_with_what_was_looked_at(sources: int, periods: int, told: str) -> None:
    assert nothing_changed(quiet(sources, periods)) == told


def test_sources_that_have_closed_months_alone_are_not_called_unchanged() -> None:
    assert nothing_changed(quiet(1, 2, never_pulled=("2026-03", "2026-04"))) == (
        "nothing pulled yet: 1 source, 2 billing periods looked at, none of them open"
    )
    assert nothing_changed(quiet(1, 3, never_pulled=("2026-03", "2026-04"))).startswith("nothing changed: ")


def test_periods_that_no_night_pulls_by_itself_are_told_with_the_command_that_does() -> None:
    assert never_pulled(quiet(1, 3)) == ""
    assert never_pulled(quiet(1, 4, never_pulled=("2025-11", "2025-12", "2026-01", "2026-03"))) == (
        "never pulled: 4 billing periods that sources have (2025-11..2026-01, 2026-03); to pull what is there: "
        "apportion run --period 2025-11..2026-03"
    )
    assert never_pulled(quiet(1, 3, never_pulled=("2026-03",))) == (
        "never pulled: 1 billing period that sources have (2026-03); to pull what is there: apportion run --period 2026-03"
    )


def test_a_period_before_the_first_that_can_be_run_is_not_proposed() -> None:
    assert never_pulled(quiet(1, 3, never_pulled=("2019-11", "2019-12", "2020-01"))) == (
        "never pulled: 1 billing period that sources have (2020-01); to pull what is there: apportion run --period 2020-01; "
        "left alone, because they are before 2020-01: 2019-11..2019-12"
    )
    assert never_pulled(quiet(1, 1, never_pulled=("2018-02",))) == (
        "left alone, because they are before 2020-01: 2018-02"
    )


def test_a_source_that_cannot_be_looked_at_is_told_with_its_problem() -> None:
    night = quiet(1, 1, refused={"azure-ea": DeliveryError("The container can't be listed.", remedy="grant it")})

    assert not_looked_at(night) == [
        "azure-ea can't be looked at; what landed of it before stands: The container can't be listed.\n"
        "  what to do: grant it"
    ]
