"""Google Cloud's billing tables in BigQuery, pulled over REST and the Storage Read interface from a server on loopback."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from google.cloud.bigquery import SchemaField, Table

from pipelines.config import GcpBillingSource
from pipelines.lake.landing import LandedSource, newest
from pipelines.lake.paths import Lake
from pipelines.models.pull import Pulled, pull
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.gcp_billing import check, deliveries, look
from tests.integration.billing_tables import create_table, insert_lines, texts
from tests.integration.servers.bigquery import PROJECT, BigQueryServer
from tests.normalise import focus_files
from tests.normalise.google_bills import charges, control, credit, failed_audits, line, made, normalised


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def _day(number: int, *costs: float, **fields: Any) -> list[dict[str, Any]]:
    """Lines that came on a day of September 2026."""
    return [line(cost, export_time=f"2026-09-{number:02d} 12:00:00+00", **fields) for cost in costs]


def _source(server: BigQueryServer, table: Table, *, storage: bool = True) -> GcpBillingSource:
    return GcpBillingSource(
        name="gcp-org",
        table=f"{table.project}.{table.dataset_id}.{table.table_id}",
        endpoint_url=server.endpoint_url,
        storage_endpoint=server.storage_endpoint if storage else None,
    )


def _files(lake: Lake, period: str) -> list[Path]:
    delivery = newest(lake, "gcp-org", period)
    assert delivery is not None
    return [file.path for file in delivery.files]


def _pull(lake: Lake, source: GcpBillingSource, period: str = "2026-09") -> Pulled:
    return pull(lake, source, period)


@pytest.mark.parametrize("storage", [True, False])
def test_a_billing_period_lands_as_a_file_for_each_ingestion_day(
    bigquery: BigQueryServer, lake: Lake, tmp_path: Path, storage: bool
) -> None:
    others = line(40, invoice={"month": "202610"}, export_time="2026-09-30 23:00:00+00")
    table = create_table(bigquery, [*_day(3, 0.1, 2.93e-8), *_day(4, 1.5, credits=[credit(-0.2, "DISCOUNT")]), others])
    source = _source(bigquery, table, storage=storage)
    assert sorted(look(source)) == ["2026-09", "2026-10"]

    pulled = _pull(lake, source)

    [delivery] = pulled.deliveries
    assert [file.name for file in delivery.files] == ["2026-09-03.parquet", "2026-09-04.parquet"]
    assert delivery.details["mapping"] == "gcp-billing"
    assert delivery.details["run_read_through"] == ("Storage Read API" if storage else "query results over REST")
    connection = normalised(tmp_path / "staged", _files(lake, "2026-09"))
    # 1.5 - 0.2 = 1.3
    assert [row[2:] for row in charges(connection, "BilledCost, x_SourceFile")] == [
        ("0.1", "2026-09-03.parquet"),
        ("0.0000000293", "2026-09-03.parquet"),
        ("1.3", "2026-09-04.parquet"),
    ]
    assert control(connection) == made(connection)
    assert failed_audits(connection) == {}


def test_a_table_by_ingestion_time_is_read_by_its_pseudo_column(bigquery: BigQueryServer, lake: Lake) -> None:
    table = create_table(bigquery, _day(3, 0.1), by=None)
    [delivery] = _pull(lake, _source(bigquery, table)).deliveries
    [file] = delivery.files
    assert file.pin == "1788436800000000-1"


def test_a_night_without_changes_asks_one_question_and_reads_no_row(bigquery: BigQueryServer, lake: Lake) -> None:
    source = _source(bigquery, create_table(bigquery, _day(3, 1.0)), storage=False)
    _pull(lake, source)
    before = len(bigquery.requests())
    landed = LandedSource(lake, "gcp-org")
    assert look(source, landed) == landed.looks
    jobs = [request for request in bigquery.requests(before) if request.method == "POST"]
    # The dry run and the query over two columns.
    assert [request.names[-1] for request in jobs] == ["jobs", "jobs"]
    assert _pull(lake, source).copied == 0


def test_only_the_days_that_changed_are_read_again(bigquery: BigQueryServer, lake: Lake) -> None:
    table = create_table(bigquery, [*_day(3, 1.0), *_day(4, 2.0)])
    source = _source(bigquery, table)
    first = _pull(lake, source).deliveries[0]
    insert_lines(bigquery, table, _day(4, -2.0))

    second = _pull(lake, source).deliveries[0]

    same, changed = (
        (old.path.stat().st_ino == new.path.stat().st_ino) for old, new in zip(first.files, second.files, strict=True)
    )
    assert (same, changed) == (True, False)
    assert first.version != second.version
    # One row of the changed day's file is new: the correction.
    assert len(second.files) == 2


def test_rows_of_a_month_that_come_late_make_it_look_otherwise(bigquery: BigQueryServer, lake: Lake) -> None:
    table = create_table(bigquery, _day(3, 1.0))
    source = _source(bigquery, table)
    _pull(lake, source)
    before = LandedSource(lake, "gcp-org").looks
    insert_lines(bigquery, table, [line(5, export_time="2026-10-08 00:00:00+00")])
    after = look(source, LandedSource(lake, "gcp-org"))
    assert (sorted(after), after["2026-09"] == before["2026-09"]) == (["2026-09"], False)


def test_a_month_that_never_landed_is_looked_at_whole(bigquery: BigQueryServer, lake: Lake) -> None:
    # August never landed; its first rows lie before the window of ten days that a look at September has.
    august = [
        line(1, invoice={"month": "202608"}, export_time="2026-08-02 00:00:00+00"),
        line(2, invoice={"month": "202608"}, export_time="2026-09-20 00:00:00+00"),
    ]
    source = _source(bigquery, create_table(bigquery, [*august, *_day(25, 3.0)]))
    whole = look(source)
    _pull(lake, source)
    assert look(source, LandedSource(lake, "gcp-org")) == whole


def test_rows_that_are_added_while_a_day_is_read_are_noticed(bigquery: BigQueryServer, tmp_path: Path) -> None:
    table = create_table(bigquery, _day(3, 1.0))
    [delivery] = deliveries(_source(bigquery, table, storage=False), "2026-09")
    insert_lines(bigquery, table, _day(3, 2.0))
    with pytest.raises(ObjectMoved) as refused:
        delivery.files[0].save(tmp_path / "day.parquet")
    assert (refused.value.expected, refused.value.found) == ("1 rows, as when the table was looked at", "2 rows")


def test_a_table_in_focus_is_normalised_as_focus(bigquery: BigQueryServer, lake: Lake, tmp_path: Path) -> None:
    # Google's months begin at midnight in Los Angeles.
    charge = {
        **focus_files.row(ProviderName="Google Cloud", PublisherName="Google Cloud", InvoiceIssuerName="Google Cloud"),
        "BillingPeriodStart": "2026-09-01 07:00:00+00",
        "BillingPeriodEnd": "2026-10-01 07:00:00+00",
    }
    times = [name for name in charge if name.endswith(("Start", "End"))]
    costs = [name for name in charge if name.endswith("Cost")]
    table = Table(
        f"{PROJECT}.{bigquery.dataset()}.gcp_billing_export_focus_0123",
        schema=[
            *(SchemaField(name, "NUMERIC") for name in costs),
            *(SchemaField(name, "TIMESTAMP") for name in times),
            *texts(*(name for name in charge if name not in (*times, *costs))),
            SchemaField("Tags", "RECORD", mode="REPEATED", fields=texts("key", "value")),
        ],
    )
    bigquery.client().create_table(table)
    insert_lines(bigquery, table, [{**charge, "Tags": [{"key": "team", "value": "search"}]}])

    [delivery] = _pull(lake, _source(bigquery, table)).deliveries

    assert delivery.details["mapping"] == "focus"
    assert [file.name for file in delivery.files] == ["2026-09-01.parquet"]
    connection = focus_files.normalised(tmp_path / "staged", _files(lake, "2026-09"))
    found = connection.sql("SELECT CAST(BilledCost AS VARCHAR), Tags, BillingPeriodStart FROM staged").fetchall()
    assert found == [("2.000000000000000000", '{"team":"search"}', datetime(2026, 9, 1))]


def test_the_trial_of_a_source_says_what_it_can_do(bigquery: BigQueryServer) -> None:
    table = create_table(bigquery, _day(3, 1.0))
    assert [(finding.state, finding.detail) for finding in check(_source(bigquery, table))] == [
        ("works", "the detailed export, 16 columns to read"),
        ("works", "1 billing periods, the newest 2026-09"),
        ("works", "rows are read through the Storage Read API"),
    ]
    without = check(_source(bigquery, table, storage=False))
    assert [finding.state for finding in without] == ["works", "works", "warning"]


def test_a_table_that_is_not_there_is_named_with_what_to_do(bigquery: BigQueryServer) -> None:
    source = GcpBillingSource(
        name="gcp-org", table=f"{PROJECT}.{bigquery.dataset()}.nothing", endpoint_url=bigquery.endpoint_url
    )
    [finding] = check(source)
    assert finding.state == "missing"
    assert "correct 'table'" in finding.remedy
