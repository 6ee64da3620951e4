"""Everything that a configuration makes Dagster show, as text: `python -m tests.orchestration.definitions_text`.

Writes ``definitions.json`` beside this file, which the test compares; its difference in a review is what changed for whoever
looks at Dagster.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.config import AwsCurSource, Settings, UsageSource
from pipelines.definitions import definitions

SNAPSHOT = Path(__file__).with_name("definitions.json")


def settings() -> Settings:
    """Two bills and two usage sources; nothing is read from their places."""
    place = Path("nowhere")
    return Settings(
        lake=place,
        file=place / "apportion.yaml",
        as_of=datetime(2026, 10, 16),
        bills=(
            AwsCurSource(name="aws-payer", location=str(place)),
            AwsCurSource(name="aws-subsidiary", location=str(place)),
        ),
        usage=(
            UsageSource(name="gpus", kind="dcgm-files", location=str(place)),
            UsageSource(name="gateway", kind="litellm", location=str(place)),
        ),
    )


def describe(shown: dg.Definitions) -> dict[str, Any]:
    """Assets with their checks, jobs, schedules and sensors."""
    repository = shown.get_repository_def()
    graph = shown.resolve_asset_graph()
    checks: dict[str, list[str]] = {}
    for check in graph.asset_check_keys:
        checks.setdefault(check.asset_key.to_user_string(), []).append(check.name)
    return {
        "assets": {
            node.key.to_user_string(): _asset(node, checks.get(node.key.to_user_string(), []))
            for node in sorted(graph.asset_nodes, key=lambda node: node.key)
        },
        "jobs": {
            job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
            for job in repository.get_all_jobs()
            if not job.name.startswith("__")
        },
        "schedules": {
            schedule.name: {
                "job": schedule.job_name,
                "cron": schedule.cron_schedule,
                "time zone": schedule.execution_timezone,
                "status": schedule.default_status.value,
            }
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: {"status": sensor.default_status.value, "seconds": sensor.minimum_interval_seconds}
            for sensor in repository.sensor_defs
        },
    }


def _asset(node: Any, checks: list[str]) -> dict[str, Any]:
    partitions, schema = node.partitions_def, node.metadata.get("dagster/column_schema")
    return {
        "depends on": sorted(key.to_user_string() for key in node.parent_keys),
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "owners": sorted(node.owners),
        "description": node.description,
        "table": node.metadata.get("dagster/table_name"),
        "columns": len(schema.columns) if schema else None,
        "checks": sorted(checks),
        "automation": node.automation_condition.get_label() if node.automation_condition else None,
        "partitions": f"{partitions.get_first_partition_key()}..{partitions.get_last_partition_key()}",
        "backfill": node.backfill_policy.policy_type.value,
    }


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(describe(definitions(settings())), indent=1) + "\n", encoding="utf-8")
