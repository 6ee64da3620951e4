"""docs/analysts.md: every query on the page runs on a published file and answers what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.lake.paths import Lake
from pipelines.lake.publishing import Publication, swap_in
from pipelines.models.contracts import contracts
from tests.small_tables import rows_of, session

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "analysts.md"


def queries() -> dict[str, str]:
    """The page's queries by the heading they stand under; a second one under a heading is numbered."""
    found: dict[str, str] = {}
    heading = ""
    for match in re.finditer(
        r"^#+ ([^\n]+)$|^```sql\n(.+?)^```$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        if match.group(1):
            heading = match.group(1)
        else:
            name = heading if heading not in found else f"{heading} ({len(found)})"
            found[name] = match.group(2)
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A publication of no period at all: every table is there, and empty."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    swap_in(lake, Publication("000001-empty", {}, {}))
    with duckdb.connect(str(lake.analysts_file), read_only=True) as connection:
        yield connection


def test_the_page_asks_ten_questions() -> None:
    numbered = [heading for heading in queries() if re.match(r"\d+\. ", heading)]
    assert [int(heading.split(".")[0]) for heading in numbered] == list(range(1, 11))


@pytest.mark.parametrize("heading", queries())
def test_each_query_runs_on_a_published_file(published: duckdb.DuckDBPyConnection, heading: str) -> None:
    assert published.sql(queries()[heading]).fetchall() == []


def answer(question: int, table: str, rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows that a question's query gives for a table of these rows."""
    connection = session()
    columns = ", ".join(f'"{column.name}" {column.type}' for column in contracts()[table].columns)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.split('.')[0]}")
    connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    query = next(sql for heading, sql in queries().items() if heading.startswith(f"{question}. "))
    return rows_of(connection.sql(query))


def daily(day: str, cost: str, **columns: str | None) -> dict[str, Any]:
    return {"billing_period": "2026-10", "day": day, "BillingCurrency": "USD", "EffectiveCost": cost, **columns}


def test_question_1_names_the_teams_from_the_dearest_and_whom_nobody_knows() -> None:
    rows = [
        daily("2026-10-01", "1.5", team="chat"),
        daily("2026-10-02", "1.504", team="chat"),
        daily("2026-10-02", "9", team=None),
        daily("2026-10-02", "5", team="search", BillingCurrency="EUR"),
    ]
    assert answer(1, "showback.daily", rows) == [
        ("2026-10", "EUR", "search", "5"),
        ("2026-10", "USD", "(nobody known)", "9"),
        ("2026-10", "USD", "chat", "3"),
    ]


def test_question_2_tells_own_from_shared_cost() -> None:
    rows = [
        daily("2026-10-01", "4", team="search", component="direct"),
        daily("2026-10-01", "2", team="search", component="shared"),
        daily("2026-10-01", "1", team="search", component="idle"),
        daily("2026-10-01", "100", team="chat", component="shared"),
    ]
    assert [row[1:] for row in answer(2, "showback.daily", rows)] == [("USD", "4", "2", "1", "7")]


def test_question_3_compares_each_feature_with_its_month_before() -> None:
    rows = [
        daily("2026-09-01", "10", product="shop", feature="ask"),
        daily("2026-10-01", "25", product="shop", feature="ask"),
        daily("2026-09-01", "8", product="shop", feature="rank"),
        daily("2026-10-01", "7", product="shop", feature="rank"),
        daily("2026-10-01", "50", product="shop", feature="new"),
    ]
    assert answer(3, "showback.daily", rows) == [
        ("2026-10", "USD", "shop", "ask", "25", "15"),
        ("2026-10", "USD", "shop", "rank", "7", "-1"),
    ]


def test_question_9_keeps_the_gap_out_of_idle() -> None:
    rows = [
        {"x_Day": "2026-10-01", "gpu_model": "H100", "gpu_hours_capacity": "8", "gpu_hours_held": "5", "gpu_hours_gap": "0"},
        {"x_Day": "2026-10-02", "gpu_model": "H100", "gpu_hours_capacity": "8", "gpu_hours_held": "0", "gpu_hours_gap": "2"},
    ]  # fmt: skip
    # 16 in all, 5 held, 2 without telemetry, 9 idle; 5 of 16 is 31.25 %, shown with one place
    assert answer(9, "usage.gpu_hours", rows) == [("2026-10", "H100", "16", "5", "2", "9", "31.3")]
