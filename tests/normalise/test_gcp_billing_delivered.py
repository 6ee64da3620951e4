"""Google Cloud's export files as a relation: exact amounts of every type, tables of every age, files that are refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.delivered_files import slices
from pipelines.sources.gcp_billing_relation import create_delivered, create_delivered_rows, invoice_months
from tests.normalise.google_bills import PERIOD, credit, line, rows, write_json, write_parquet

_AMOUNTS = "cost, credits[1].amount, usage_amount, price_list_price"


def _delivered(folder: Path, *files: Path, of_period: bool = False) -> duckdb.DuckDBPyConnection:
    connection = connect()
    details = {"rows": "of-period" if of_period else "all"}
    names = [file.name for file in files]
    create_delivered(connection, files, names, details, billing_period=PERIOD, scratch=folder / "delivered")
    return connection


def test_doubles_numerics_and_texts_are_the_decimals_that_they_print(tmp_path: Path) -> None:
    long = "0.123456789012345678"
    priced = line(
        0.1,
        credits=[credit(-2.93e-8, "DISCOUNT")],
        usage={"amount": 1234567890.1234567, "unit": "seconds"},
        price={"list_price": "0.031611"},
    )
    texts = line(long, credits=[credit(f"-{long}", "DISCOUNT")], usage={"amount": "1e3"}, price={"list_price": "7"})
    as_texts = {
        "cost": "VARCHAR",
        "credits": "STRUCT(amount VARCHAR, type VARCHAR)[]",
        "usage": "STRUCT(amount VARCHAR)",
    }
    files = [
        write_parquet(tmp_path / "a.parquet", [priced]),
        write_parquet(tmp_path / "b.parquet", [texts], types=as_texts),
        write_json(tmp_path / "c.json", [priced, texts]),
    ]
    doubles = ("0.1", "-0.0000000293", "1234567890.1234567", "0.031611")
    exact = (long, f"-{long}", "1000", "7")
    assert rows(_delivered(tmp_path, *files), f"SELECT {_AMOUNTS} FROM delivered") == [doubles, exact, doubles, exact]


def test_a_table_of_2022_lacks_what_came_later(tmp_path: Path) -> None:
    later = (
        "price",
        "tags",
        "subscription",
        "consumption_model",
        "transaction_type",
        "adjustment_info",
        "cost_at_list",
    )
    assert [name for name in later if name in line(1)] == []
    connection = _delivered(tmp_path, write_parquet(tmp_path / "a.parquet", [line(1)]))
    found = connection.sql(
        "SELECT price_list_price, tags, subscription_instance_id, consumption_model_description, cost_at_list, resource_name, "
        "typeof(tags), typeof(cost_at_list) FROM delivered"
    ).fetchone()
    assert found == (*[None] * 6, 'STRUCT(namespace VARCHAR, "key" VARCHAR, "value" VARCHAR)[]', "DECIMAL(38,18)")


def test_a_field_of_next_year_changes_nothing(tmp_path: Path) -> None:
    new = {**line(1), "carbon": {"grams": "7"}}
    files = [
        write_parquet(tmp_path / "a.parquet", [new], types={"carbon": "STRUCT(grams VARCHAR)"}),
        write_json(tmp_path / "b.json", [new]),
    ]
    assert rows(_delivered(tmp_path, *files), "SELECT cost FROM delivered") == [("1",), ("1",)]


def test_rows_of_many_files_keep_their_files_their_numbers_and_their_order(tmp_path: Path) -> None:
    connection = connect()
    # The third has a field more, so that it is read apart from its neighbours.
    days = [
        write_parquet(tmp_path / f"2026-09-{day:02d}.parquet", [line(day), line(day + 0.5, **fields)])
        for day, fields in ((1, {}), (2, {}), (3, {"seller_name": "x"}), (4, {}), (5, {}))
    ]
    names = [day.name for day in days]
    read = create_delivered(connection, days, names, {}, billing_period=PERIOD, scratch=tmp_path / "delivered")
    query = "SELECT x_SourceFile, x_SourceRow, cost FROM delivered"
    expected = [
        (f"2026-09-{day:02d}.parquet", row, str(day) if row == 1 else f"{day}.5")
        for day in range(1, 6)
        for row in (1, 2)
    ]
    assert rows(connection, query) == expected
    # Slices cut through files.
    sliced: list[tuple[Any, ...]] = []
    for members in slices(read, 3):
        create_delivered_rows(connection, members, {}, billing_period=PERIOD)
        sliced += rows(connection, query)
    assert sliced == expected


def test_of_a_file_of_two_months_only_the_periods_rows_are_read(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [line(1, invoice={"month": "202608"}), line(2)])
    connection = _delivered(tmp_path, file, of_period=True)
    assert rows(connection, "SELECT x_SourceRow, cost FROM delivered") == [(2, "2")]
    assert invoice_months(connection, file, file.name) == ["2026-08", "2026-09"]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_value_that_is_no_number_is_named_by_file_row_and_field(name: str, tmp_path: Path) -> None:
    file = write_json(tmp_path / name, [line(1), line("1,5")])
    connection = _delivered(tmp_path, file)
    with pytest.raises(duckdb.Error, match=rf"{name}, row 2, column cost: 1,5 is not a number below 10\^20"):
        connection.sql("SELECT cost FROM delivered").fetchall()


def test_a_credit_that_is_no_number_is_named_too(tmp_path: Path) -> None:
    file = write_json(tmp_path / "a.json", [line(1, credits=[credit("much", "DISCOUNT")])])
    with pytest.raises(duckdb.Error, match=r"a\.json, row 1, column credits\.amount: much is not a number"):
        _delivered(tmp_path, file).sql("SELECT credits FROM delivered").fetchall()


def test_a_truncated_archive_and_a_broken_line_are_refused_by_the_files_name(tmp_path: Path) -> None:
    whole = write_json(tmp_path / "whole.json.gz", [line(1)] * 50)
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(whole.read_bytes()[:-20])
    broken = tmp_path / "broken.json"
    broken.write_bytes(gzip.decompress(whole.read_bytes())[:-30])
    for file in (cut, broken):
        with pytest.raises(DeliveryError) as refused:
            _delivered(tmp_path, file)
        assert (refused.value.problem, refused.value.where) == ("The file can't be read.", file.name)


def test_a_file_without_the_fields_of_the_first_table_is_refused(tmp_path: Path) -> None:
    lines = [{name: value for name, value in line(1).items() if name not in ("invoice", "currency")}]
    with pytest.raises(DeliveryError) as refused:
        _delivered(tmp_path, write_parquet(tmp_path / "a.parquet", lines))
    assert (refused.value.where, refused.value.expected) == ("a.parquet", "invoice.month, currency")


def test_a_field_of_a_type_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [line(1, labels="team=search")], types={"labels": "VARCHAR"})
    with pytest.raises(DeliveryError) as refused:
        _delivered(tmp_path, file)
    assert (refused.value.where, refused.value.expected, refused.value.found) == (
        "a.parquet, field labels",
        "a repeated record",
        "VARCHAR",
    )


def test_a_bignumeric_in_parquet_is_refused_because_its_digits_would_be_lost(tmp_path: Path) -> None:
    table = pq.read_table(write_parquet(tmp_path / "a.parquet", [line(1)]))
    costs = pa.array([1], pa.int64()).cast(pa.decimal256(76, 38))
    file = tmp_path / "b.parquet"
    pq.write_table(table.set_column(table.schema.get_field_index("cost"), "cost", costs), file)
    with pytest.raises(DeliveryError) as refused:
        _delivered(tmp_path, file)
    assert (refused.value.where, refused.value.found) == (
        "b.parquet, field cost",
        "decimal of 76 digits, 38 of them decimals",
    )
