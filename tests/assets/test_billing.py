"""Bills as assets: what a refused delivery leaves behind in Dagster and in the lake."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from pipelines.config import Settings, load_settings
from pipelines.definitions import definitions
from pipelines.orchestration.specs import charges_key, landing_key
from pipelines.orchestration.steps import ROWS
from tests.normalise.bills import line, write_legacy

CHARGES = charges_key("aws")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    configuration = tmp_path / "apportion.yaml"
    configuration.write_text(
        "lake: ./lake\nas_of: 2026-10-16T00:00:00\nbills:\n  - {name: aws, kind: aws-cur, files: [./bill.csv]}\n"
    )
    return load_settings(configuration)


def deliver(settings: Settings, *lines: dict[str, object]) -> None:
    write_legacy(settings.file.parent / "bill.csv", lines)


def run(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return (
        definitions(settings)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            partition_key="2026-09",
            asset_selection=[landing_key("aws"), CHARGES],
            raise_on_error=False,
        )
    )


def newest_metadata(instance: dg.DagsterInstance) -> dict[str, object]:
    event = instance.get_latest_materialization_event(CHARGES)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_a_materialisation_shows_rows_and_exact_totals(settings: Settings) -> None:
    deliver(settings, line("Usage", "1.25"), line("Usage", "0.000000000000000001"))
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(settings, instance).success

        shown = newest_metadata(instance)
        assert shown[ROWS] == 2
        assert shown["BilledCost (USD)"] == "1.250000000000000001"
        assert shown["EffectiveCost (USD)"] == "1.250000000000000001"
        assert shown["unchanged"] is False


def test_a_refused_delivery_records_the_failed_check_and_materialises_nothing(settings: Settings) -> None:
    deliver(settings, line("Usage", "1.25"), line("SomethingNew", "3"))
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(settings, instance)

        assert not result.success
        assert instance.get_latest_materialization_event(CHARGES) is None
        failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
        assert "control_totals" in {check.check_name for check in failed}
        assert all(check.asset_key == CHARGES for check in failed)
        (step,) = [event for event in result.all_events if event.is_step_failure]
        told = step.step_failure_data.user_failure_data
        assert told is not None
        assert told.metadata["exit_code"].value == 3


def test_a_month_without_a_delivery_is_no_failure(settings: Settings) -> None:
    deliver(settings, line("Usage", "1.25", bill_billing_period_start_date="2026-08-01T00:00:00Z"))
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(settings, instance).success
        assert newest_metadata(instance)["note"] == "aws delivered nothing for 2026-09"
