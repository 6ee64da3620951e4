"""What can be wrong with a billing table: readers keep what they had, the message says what to do, the others finish.

Google Cloud's part of :mod:`tests.integration.test_faults`: a table has neither files nor a manifest, but columns, types and rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.cloud.bigquery import SchemaField, Table

from pipelines.config import GcpBillingSource
from pipelines.sources.gcp_bigquery import BillingTable
from tests.integration.billing_tables import DETAILED, create_table, insert_lines
from tests.integration.servers.bigquery import BigQueryServer
from tests.integration.small_lake import SmallLake, neighbour, neighbour_delivers
from tests.normalise.google_bills import line


def _on_day(number: int, cost: float | str | None, **fields: Any) -> dict[str, Any]:
    return line(cost, export_time=f"2026-09-{number:02d} 12:00:00+00", **fields)


BEFORE = [_on_day(3, 1.5), _on_day(4, 2.25)]


@dataclass
class Scene:
    """A published lake, the table that ``cloud`` reads, and its server."""

    server: BigQueryServer
    table: Table
    lake: SmallLake

    def replace(self, lines: Sequence[dict[str, Any]], schema: Sequence[SchemaField] = DETAILED) -> None:
        """Another table takes the place of this one."""
        self.server.client().delete_table(self.table)
        self.table = create_table(self.server, lines, dataset=self.table.dataset_id, schema=schema)

    def published(self) -> dict[str, Decimal]:
        """A night takes both deliveries; returns what readers see billed."""
        night = self.lake.night()
        assert (night.refused, night.stale) == ({}, ())
        return self.lake.billed()


@pytest.fixture
def scene(bigquery: BigQueryServer, tmp_path: Path) -> Scene:
    """1.5 + 2.25 of ``cloud`` and 100 of ``neighbour`` are published; then ``neighbour`` delivers 200."""
    table = create_table(bigquery, BEFORE)
    source = GcpBillingSource(
        name="cloud",
        table=f"{table.project}.{table.dataset_id}.{table.table_id}",
        endpoint_url=bigquery.endpoint_url,
        storage_endpoint=bigquery.storage_endpoint,
    )
    neighbour_delivers(tmp_path / "neighbour", 1, "100")
    scene = Scene(bigquery, table, SmallLake(tmp_path / "lake", (source, neighbour(tmp_path / "neighbour"))))
    assert scene.published() == {"USD": Decimal("103.75")}
    neighbour_delivers(tmp_path / "neighbour", 2, "200")
    return scene


def test_new_rows_and_a_new_column_are_no_fault(scene: Scene) -> None:
    scene.replace([*BEFORE, _on_day(5, 4.0, zz_new="new")], [*DETAILED, SchemaField("zz_new", "STRING")])
    assert scene.published() == {"USD": Decimal("207.75")}


def test_a_currency_that_changes_within_the_month_is_kept_apart(scene: Scene) -> None:
    insert_lines(scene.server, scene.table, [_on_day(5, 4.0, currency="EUR")])
    # 1.5 + 2.25 + 200 of neighbour in USD, 4 in EUR.
    assert scene.published() == {"EUR": Decimal(4), "USD": Decimal("203.75")}


def test_a_column_that_is_gone(scene: Scene) -> None:
    lines = [{name: value for name, value in row.items() if name != "cost"} for row in BEFORE]
    scene.replace(lines, [column for column in DETAILED if column.name != "cost"])
    scene.lake.refuses("cost", scene.table.table_id)


def test_a_column_whose_type_changed(scene: Scene) -> None:
    schema = [SchemaField("cost", "BOOLEAN") if column.name == "cost" else column for column in DETAILED]
    scene.replace([{**row, "cost": True} for row in [*BEFORE, _on_day(5, 4.0)]], schema)
    scene.lake.refuses("cost", "BOOLEAN", "2026-09-05.parquet")


def test_an_empty_table(scene: Scene) -> None:
    scene.replace([])
    scene.lake.refuses(scene.table.table_id)


def test_a_day_that_is_gone(scene: Scene) -> None:
    scene.replace([*BEFORE[:1], _on_day(5, 4.0)])
    scene.lake.refuses(scene.table.table_id, "2026-09-04")


def test_rows_that_are_added_at_every_attempt_to_read_them(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query sees them; what it gives is not what was looked at."""
    _add_rows_before_each_read(scene, monkeypatch)
    cloud, other = scene.lake.bills
    lake = SmallLake(scene.lake.folder, (cloud.model_copy(update={"storage_endpoint": None}), other))
    lake.refuses(scene.table.table_id, "2026-09-05")


def test_rows_that_are_added_while_a_read_session_is_open(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Storage Read interface reads the table as it was when the session began: without the rows that came since."""
    _add_rows_before_each_read(scene, monkeypatch)
    assert scene.published() == {"USD": Decimal("207.75")}


def _add_rows_before_each_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_lines(scene.server, scene.table, [_on_day(5, 4.0)])
    save = BillingTable.save

    def save_meanwhile(self: BillingTable, *arguments: Any) -> None:
        insert_lines(scene.server, scene.table, [_on_day(5, 4.0)])
        save(self, *arguments)

    monkeypatch.setattr(BillingTable, "save", save_meanwhile)


def test_one_bill_under_two_names(scene: Scene) -> None:
    before = scene.lake.seen()
    copy = scene.lake.bills[0].model_copy(update={"name": "copy"})
    lake = SmallLake(scene.lake.folder, (*scene.lake.bills, copy))
    night = lake.night()
    assert not night.refused
    [reason] = night.stale
    assert "billed by both cloud and copy" in reason
    assert "claims" in reason
    assert lake.seen() == before
    assert lake.built("neighbour") == {"USD": Decimal("200")}
