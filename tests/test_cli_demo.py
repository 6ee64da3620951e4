"""`apportion demo`: what it writes and what its report says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from examples.acme import generate as generator
from pipelines.cli_demo import DemoReport, team_table, unit_cost_table, write_demo_data
from pipelines.lake.database import connect

MONEY = "DECIMAL(38,18)"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were written to, by a generator of one file."""
    folders: list[Path] = []

    def generate(folder: Path, *, report: Callable[[str], None]) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "bill.csv").write_text("a bill")
        report("1 line")
        folders.append(folder)

    monkeypatch.setattr(generator, "generate", generate)
    return folders


def test_deliveries_that_are_there_unchanged_are_not_written_again(tmp_path: Path, written: list[Path]) -> None:
    folder = tmp_path / "demo-data"

    write_demo_data(folder)
    write_demo_data(folder)

    assert written == [folder]


def test_deliveries_of_which_a_file_is_missing_are_written_again(tmp_path: Path, written: list[Path]) -> None:
    folder = tmp_path / "demo-data"

    write_demo_data(folder)
    (folder / "bill.csv").unlink()
    write_demo_data(folder)

    assert written == [folder, folder]


@pytest.fixture
def published() -> duckdb.DuckDBPyConnection:
    """The columns that the report reads, of tables with a few rows."""
    connection = connect()
    for schema in ("allocation", "showback"):
        connection.execute(f"CREATE SCHEMA {schema}")
    connection.execute(
        "CREATE TABLE allocation.charges (x_BillingPeriod VARCHAR, x_RuleId VARCHAR, x_Component VARCHAR, x_Team VARCHAR, "
        f"BillingCurrency VARCHAR, AllocatedMethodDetails JSON, EffectiveCost {MONEY})"
    )
    connection.execute(
        "CREATE TABLE showback.daily (billing_period VARCHAR, BillingCurrency VARCHAR, team VARCHAR, component VARCHAR, "
        f"EffectiveCost {MONEY})"
    )
    connection.execute(
        "CREATE TABLE showback.unit_costs (metric VARCHAR, dimension VARCHAR, value VARCHAR, BillingCurrency VARCHAR, "
        f"period VARCHAR, unit_cost_without_idle {MONEY}, unit_cost_with_idle {MONEY})"
    )
    return connection


def element(driver: str, ratio: str) -> str:
    return f'{{"AllocatedRatio":{ratio},"x_Driver":"{driver}","x_Weight":0.5}}'


def test_a_teams_cost_stands_beside_its_share_of_each_driver(published: duckdb.DuckDBPyConnection) -> None:
    # 200 USD, half by GPU-hours (a: 3, b: 1), half by tokens (all b's): a 0.5 * 3/4 = 0.375 = 75 USD,
    # b 0.5 * 1/4 + 0.5 = 0.625 = 125 USD. By GPU-hours 75 and 25 of 100 USD, by tokens 0 and 100 of 100 USD.
    a = f'{{"Elements":[{element("gpu_hours_held", "0.375")}]}}'
    b = f'{{"Elements":[{element("gpu_hours_held", "0.125")},{element("tokens_weighted", "0.5")}]}}'
    for team, details, cost in (("a", a, "75"), ("b", b, "100"), ("b", b, "25")):
        published.execute(
            "INSERT INTO allocation.charges VALUES ('2026-08', 'cluster', 'shared', ?, 'USD', ?, ?)",
            [team, details, cost],
        )
    for team, component, cost in (
        ("a", "shared", "75"),
        ("a", "direct", "10"),
        ("b", "shared", "125"),
        (None, "idle", "4"),
    ):
        published.execute("INSERT INTO showback.daily VALUES ('2026-08', 'USD', ?, ?, ?)", [team, component, cost])

    columns, rows = team_table(DemoReport(published, "2026-08", "2026-10"))

    assert columns == [
        *("currency", "team", "direct", "shared", "idle_or_unused", "overhead", "unallocated", "effective"),
        *("by gpu_hours_held", "by tokens_weighted", "blended"),
    ]
    assert rows == [
        ["USD", "a", "10.00", "75.00", "0.00", "0.00", "0.00", "85.00", "75.0 %", "–", "37.5 %"],
        ["USD", "b", "0.00", "125.00", "0.00", "0.00", "0.00", "125.00", "25.0 %", "100.0 %", "62.5 %"],
        ["USD", "no team", "0.00", "0.00", "4.00", "0.00", "0.00", "4.00", "–", "–", "–"],
    ]


def test_a_rule_of_one_driver_is_no_hybrid(published: duckdb.DuckDBPyConnection) -> None:
    details = f'{{"Elements":[{element("requests", "1")}]}}'
    published.execute(
        "INSERT INTO allocation.charges VALUES ('2026-08', 'gateway', 'shared', 'a', 'USD', ?, 5)", [details]
    )

    columns, rows = team_table(DemoReport(published, "2026-08", "2026-10"))

    assert (columns[-1], rows) == ("effective", [])


def test_unit_costs_have_a_column_for_each_month_and_show_less_than_a_cent(
    published: duckdb.DuckDBPyConnection,
) -> None:
    for period, without_idle, with_idle in (("2026-08", "1.239", "2"), ("2026-09", "0.00125", "3")):
        published.execute(
            "INSERT INTO showback.unit_costs VALUES ('cost_per_gpu_hour', 'gpu_model', 'H100', 'USD', ?, ?, ?)",
            [period, without_idle, with_idle],
        )

    assert unit_cost_table(DemoReport(published, "2026-08", "2026-10")) == (
        ["metric", "of", "currency", "2026-08", "2026-09"],
        [["cost_per_gpu_hour", "H100", "USD", "1.24 | 2.00", "0.00125 | 3.00"]],
    )
