"""What refreshes by itself: everything that depends on something whose content changed."""

from __future__ import annotations

from typing import Any

import dagster as dg

# Dagster's own name for it, so that this definition stands in its place.
_SENSOR = "default_automation_condition_sensor"


def refreshed_when_inputs_change() -> dg.AutomationCondition[Any]:
    """Make a billing period again when an input of it has a new version, together with all that depends on it in turn.

    A record with the version that was there before changes nothing. What changed in a run that was to make this asset as
    well was left to that run: its failure is somebody's to look at, and is not tried again here. Unlike Dagster's
    ``eager`` this takes every period, as corrections reach long-closed ones, and none that is merely missing.
    """
    condition = dg.AutomationCondition
    changed = (condition.data_version_changed() & ~condition.executed_with_root_target()).with_label("changed apart")
    return (
        condition.any_deps_match(changed | condition.will_be_requested())
        .with_label("an input changed")
        .since_last_handled()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label("refreshed when inputs change")


def refreshing_sensor() -> dg.AutomationConditionSensorDefinition:
    """Looks every 30 seconds which periods the condition names, and asks for a run for each of them."""
    return dg.AutomationConditionSensorDefinition(
        _SENSOR,
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        # A run over several periods would hold back the good ones of them when one is refused.
        emit_backfills=False,
        description="Refreshes what depends on a delivery that landed, or on a table that was rebuilt, outside a night.",
    )
