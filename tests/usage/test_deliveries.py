"""The state of each usage source and day."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from pipelines.config import UsageSource
from pipelines.lake.audits import contract_audits, run_audits
from pipelines.lake.database import connect
from pipelines.models import usage_facts
from pipelines.models.contracts import contracts

GPUS = UsageSource(name="gpus", kind="dcgm-files", location=Path("telemetry"))
GATEWAY = UsageSource(name="gateway", kind="litellm", location=Path("logs"))
DAYS = [f"2026-10-{day:02}" for day in range(10, 17)]


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    return connect()


def states(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, ...]]:
    contract = contracts()["usage.deliveries"]
    for day in DAYS:
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW staged AS SELECT * FROM staged_deliveries WHERE x_Day = '{day}'"
        )
        results = run_audits(connection, contract.table, contract_audits(contract))
        assert [result.message for result in results if not result.passed] == []
    return connection.sql(
        "SELECT x_Day, source_name, state, strftime(watermark, '%d %H:%M') FROM staged_deliveries ORDER BY ALL"
    ).fetchall()


def test_days_before_the_newest_delivery_are_missing_and_days_after_it_late(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    usage_facts.create_deliveries(
        connection, [GPUS], {"gpus": {"2026-10-11", "2026-10-13"}}, DAYS, datetime(2026, 10, 15)
    )

    assert states(connection) == [
        ("2026-10-10", "gpus", "missing", "11 00:00"),
        ("2026-10-11", "gpus", "delivered", "12 00:00"),
        ("2026-10-12", "gpus", "missing", "13 00:00"),
        ("2026-10-13", "gpus", "delivered", "14 00:00"),
        ("2026-10-14", "gpus", "late", "14 00:00"),
    ]


def test_a_day_that_is_not_over_is_late_though_part_of_it_was_delivered(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    usage_facts.create_deliveries(
        connection, [GPUS], {"gpus": {"2026-10-14", "2026-10-15"}}, DAYS[4:], datetime(2026, 10, 15, 9, 30)
    )

    assert states(connection) == [
        ("2026-10-14", "gpus", "delivered", "15 00:00"),
        ("2026-10-15", "gpus", "late", "15 00:00"),
    ]


def test_each_source_has_its_own_state_and_measures(connection: duckdb.DuckDBPyConnection) -> None:
    usage_facts.create_deliveries(
        connection, [GPUS, GATEWAY], {"gpus": {"2026-10-10"}}, ["2026-10-10"], datetime(2026, 10, 15)
    )

    assert connection.sql(
        "SELECT source_name, source_kind, state, watermark, measures FROM staged_deliveries ORDER BY source_name"
    ).fetchall() == [
        ("gateway", "litellm", "missing", None, "tokens"),
        ("gpus", "dcgm-files", "delivered", datetime(2026, 10, 11), "gpu_hours"),
    ]


def test_no_days_make_an_empty_table(connection: duckdb.DuckDBPyConnection) -> None:
    usage_facts.create_deliveries(connection, [GPUS], {}, [], datetime(2026, 10, 15))

    assert states(connection) == []
