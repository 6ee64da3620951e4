"""Small hand-made days of telemetry and request logs, and the hourly rows that they become."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from pipelines.allocation.dimensions import Dimensions
from pipelines.config import UsageSource
from pipelines.lake.audits import contract_audits, run_audits
from pipelines.lake.database import connect
from pipelines.lake.landing import LandedDelivery, LandedFile
from pipelines.models import usage_facts
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import register_mappings
from pipelines.sources import dcgm_files, litellm
from tests.small_tables import rows_of

DAY = "2026-10-05"
ENGINE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
MEMORY = "DCGM_FI_DEV_FB_USED"
GPU = {"UUID": "GPU-1", "Hostname": "node-1", "modelName": "NVIDIA H100 80GB HBM3"}

DIMENSIONS = Dimensions.model_validate(
    {
        "dimensions": {
            "team": {"sources": [{"tag": "team"}], "fold_case": True},
            "product": {"sources": [{"tag": "product"}]},
            "customer": {"sources": [{"tag": "customer"}]},
        }
    }
)


def seconds(clock: str, day: str = DAY) -> float:
    """Seconds since 1970 of a UTC clock time, HH:MM or HH:MM:SS; 24:00 is the next midnight."""
    hours, minutes, *rest = (int(part) for part in clock.split(":"))
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    return midnight + 3600 * hours + 60 * minutes + (rest[0] if rest else 0)


REQUEST = {
    "id": "1",
    "status": "success",
    "startTime": seconds("10:00"),
    "model": "gpt-4o",
    "custom_llm_provider": "openai",
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "metadata": {},
}
"""A logged request of 100 tokens in and 20 out."""


def every(step: int, start: str, end: str) -> list[str]:
    """Clock times each ``step`` minutes from start up to, not including, end."""

    def minutes(clock: str) -> int:
        return int(clock[:2]) * 60 + int(clock[3:])

    return [f"{at // 60:02}:{at % 60:02}" for at in range(minutes(start), minutes(end), step)]


def series(metric: str, labels: Mapping[str, str], times: Sequence[str], value: str = "1", day: str = DAY) -> Any:
    """A series with one value at each time."""
    return {"metric": {"__name__": metric, **labels}, "values": [[seconds(time, day), value] for time in times]}


def held_by(pod: str, **labels: str) -> dict[str, str]:
    """The labels of the GPU while a pod of namespace ml holds it."""
    return {**GPU, "namespace": "ml", "pod": pod, **labels}


def response(*result: Any) -> dict[str, Any]:
    """A successful range result."""
    return {"status": "success", "data": {"resultType": "matrix", "result": list(result)}}


@dataclass
class SmallDays:
    """Delivers days into a folder and builds their rows."""

    folder: Path
    connection: duckdb.DuckDBPyConnection = field(default_factory=connect)

    def __post_init__(self) -> None:
        register_mappings(self.connection)

    def telemetry(self, *result: Any, day: str = DAY, file: str = "metrics.json") -> None:
        """Deliver one telemetry file of a day."""
        path = self.folder / "telemetry" / day / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(response(*result)), encoding="utf-8")

    def log(self, *lines: Any, day: str = DAY) -> None:
        """Deliver a day's request log: payloads, or texts as they are."""
        path = self.folder / "logs" / f"{day}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")

    def gpu_counts(self) -> list[usage_facts.DayCounts]:
        """Build the GPU-hours of all that was delivered; every audit must pass."""
        source = UsageSource(name="gpus", kind="dcgm-files", location=self.folder / "telemetry")
        counts = usage_facts.create_gpu_hours(
            self.connection, [_as_landed(delivery) for delivery in dcgm_files.deliveries(source)], DIMENSIONS
        )
        self._audit("usage.gpu_hours", "staged_gpu_hours")
        return counts

    def gpu_hours(self, *columns: str) -> list[tuple[Any, ...]]:
        """The GPU-hours of all that was delivered, in table order."""
        self.gpu_counts()
        return _with_clock_times(self.connection.sql("SELECT * FROM staged_gpu_hours"), columns)

    def token_counts(self) -> list[usage_facts.DayCounts]:
        """Build the token rows of all that was delivered; every audit must pass."""
        source = UsageSource(name="gateway", kind="litellm", location=self.folder / "logs")
        counts = usage_facts.create_tokens(
            self.connection, [_as_landed(delivery) for delivery in litellm.deliveries(source)], DIMENSIONS
        )
        self._audit("usage.tokens", "staged_tokens")
        return counts

    def tokens(self, *columns: str) -> list[tuple[Any, ...]]:
        """The token rows of all that was delivered, in table order."""
        self.token_counts()
        return _with_clock_times(self.connection.sql("SELECT * FROM staged_tokens"), columns)

    def rejected(self) -> list[tuple[Any, ...]]:
        """What was delivered and could not be used."""
        return self.connection.sql(
            "SELECT source_name, x_Day, source_file, source_row, reason FROM rejected_usage ORDER BY ALL"
        ).fetchall()

    def _audit(self, table: str, staged: str) -> None:
        self.connection.execute(f"CREATE OR REPLACE TEMP VIEW staged AS SELECT * FROM {staged}")
        results = run_audits(self.connection, table, contract_audits(contracts()[table]))
        failed = [f"{r.audit}: {r.message}" for r in results if not r.passed and r.severity == "error"]
        assert not failed, failed


def _as_landed(delivery: Any) -> LandedDelivery:
    return LandedDelivery(
        source_name=delivery.source_name,
        source_kind=delivery.source_kind,
        period=delivery.period,
        version=delivery.version,
        signature=delivery.signature,
        token=delivery.version,
        files=tuple(LandedFile(file.path, file.name, "") for file in delivery.files),
        details=delivery.details,
    )


def _with_clock_times(relation: duckdb.DuckDBPyRelation, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return [
        tuple(f"{value:%H:%M}" if isinstance(value, datetime) else value for value in row)
        for row in rows_of(relation, *columns)
    ]
