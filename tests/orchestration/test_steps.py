"""How a step goes through its periods: what is committed, what is refused, what Dagster is told of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg

from pipelines.config import Settings
from pipelines.errors import AuditFailed, DeliveryError
from pipelines.lake.audits import AuditResult
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.resources import LAKE
from pipelines.orchestration.steps import ROWS, Outcome, Outcomes, step

KEY = dg.AssetKey(["showback", "daily"])
PERIODS = billing_periods(Settings(lake=Path("lake"), file=Path("apportion.yaml"), as_of=datetime(2026, 10, 16)))
CHECKS = [
    dg.AssetCheckSpec("grain_is_unique", asset=KEY, description="one row for each day", blocking=True),
    dg.AssetCheckSpec("no_late_days", asset=KEY, description="every day is complete"),
]


def audit(name: str, failing_rows: int = 0, severity: str = "error", message: str = "") -> AuditResult:
    return AuditResult("showback.daily", name, severity, "", failing_rows, message)


def good(period: str) -> Outcomes:
    rows = int(period[-2:])
    return {KEY: Outcome({ROWS: rows}, f"token of {period}", [audit("grain_is_unique"), audit("no_late_days")])}


def run(build: Callable[[str], Outcomes], instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    asset = step("showback__daily", [dg.AssetSpec(KEY, partitions_def=PERIODS)], build, checks=CHECKS)
    return dg.materialize(
        [asset],
        instance=instance,
        resources={LAKE: None},
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": "2026-08",
            "dagster/asset_partition_range_end": "2026-10",
        },
    )


def materialised(instance: dg.DagsterInstance) -> dict[str | None, object]:
    """Row counts by period, as Dagster recorded them."""
    records = instance.fetch_materializations(KEY, limit=10).records
    return {
        record.partition_key: record.asset_materialization.metadata[ROWS].value
        for record in records
        if record.asset_materialization
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {c.check_name: (c.passed, c.severity.value) for c in result.get_asset_check_evaluations()}


def failure(result: dg.ExecuteInProcessResult) -> tuple[str | None, object, object]:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    told = event.step_failure_data.user_failure_data
    assert told is not None
    return told.description, told.metadata["exit_code"].value, told.metadata["refused_periods"].value


def test_one_run_materialises_every_period_of_a_range_with_its_own_figures() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(good, instance)

        assert result.success
        assert materialised(instance) == {"2026-08": 8, "2026-09": 9, "2026-10": 10}
        assert checks(result) == {"grain_is_unique": (True, "ERROR"), "no_late_days": (True, "ERROR")}


def test_a_refused_period_is_named_and_the_others_are_materialised() -> None:
    def build(period: str) -> Outcomes:
        if period == "2026-09":
            raise AuditFailed(
                "showback.daily was not committed: 1 audit(s) failed.",
                where="2026-09",
                audits=[audit("grain_is_unique", 2, message="day 2026-09-01, rows 2"), audit("no_late_days")],
            )
        return good(period)

    with dg.DagsterInstance.ephemeral() as instance:
        result = run(build, instance)

        assert not result.success
        assert failure(result) == (
            "2026-09: showback.daily was not committed: 1 audit(s) failed.\n  where: 2026-09",
            3,
            "2026-09",
        )
        assert materialised(instance) == {"2026-08": 8, "2026-10": 10}
        assert checks(result) == {"grain_is_unique": (False, "ERROR"), "no_late_days": (True, "ERROR")}


def test_a_failed_check_shows_the_period_the_number_of_rows_and_the_first_of_them() -> None:
    def build(period: str) -> Outcomes:
        raise AuditFailed("refused", audits=[audit("grain_is_unique", 2, message="day 2026-09-01, rows 2")])

    with dg.DagsterInstance.ephemeral() as instance:
        (check,) = run(build, instance).get_asset_check_evaluations()

        assert {name: value.value for name, value in check.metadata.items()} == {
            "2026-08: 2 row(s)": "day 2026-09-01, rows 2",
            "2026-09: 2 row(s)": "day 2026-09-01, rows 2",
            "2026-10: 2 row(s)": "day 2026-09-01, rows 2",
        }


def test_a_delivery_that_cannot_be_read_materialises_nothing_and_evaluates_no_check() -> None:
    def build(period: str) -> Outcomes:
        raise DeliveryError("The file is torn.", where="source aws")

    with dg.DagsterInstance.ephemeral() as instance:
        result = run(build, instance)

        assert failure(result)[1:] == (3, "2026-08, 2026-09, 2026-10")
        assert materialised(instance) == {}
        assert checks(result) == {}


def test_a_warning_is_told_and_stops_nothing() -> None:
    def build(period: str) -> Outcomes:
        return {KEY: Outcome({ROWS: 1}, "token", [audit("grain_is_unique"), audit("no_late_days", 1, severity="warn")])}

    with dg.DagsterInstance.ephemeral() as instance:
        result = run(build, instance)

        assert result.success
        assert checks(result) == {"grain_is_unique": (True, "ERROR"), "no_late_days": (False, "WARN")}


def test_an_unchanged_table_keeps_the_checks_it_passed() -> None:
    def build(period: str) -> Outcomes:
        return {KEY: Outcome({ROWS: 1, "unchanged": True}, "token")}

    with dg.DagsterInstance.ephemeral() as instance:
        result = run(build, instance)

        assert checks(result) == {"grain_is_unique": (True, "ERROR"), "no_late_days": (True, "ERROR")}


def test_an_error_in_our_own_code_is_no_refusal() -> None:
    def build(period: str) -> Outcomes:
        raise ZeroDivisionError("division by zero")

    with dg.DagsterInstance.ephemeral() as instance:
        result = run(build, instance)
        (event,) = [event for event in result.all_events if event.is_step_failure]

        assert event.step_failure_data.user_failure_data is None
