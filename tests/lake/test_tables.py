"""Delta tables: partitions are replaced whole, and files say what they were made from."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import deltalake
import polars
import pytest

from pipelines.errors import DeliveryError
from pipelines.lake.canonical_export import canonical_hash, export_canonically
from pipelines.lake.database import connect, file_list
from pipelines.lake.paths import Lake
from pipelines.lake.tables import commit, ensure_table, recorded_inputs, relation_sql, stage, table_files
from pipelines.models.contracts import Column, TableContract

CONTRACT = TableContract(
    table="billing.sums",
    description="Sums.",
    grain=("source", "period", "name"),
    partition_by=("source", "period"),
    columns=(
        Column(name="source", type="VARCHAR", meaning="Source."),
        Column(name="period", type="VARCHAR", meaning="Period."),
        Column(name="name", type="VARCHAR", meaning="Name."),
        Column(name="amount", type="DECIMAL(38,18)", meaning="Amount."),
        Column(name="labels", type="JSON", meaning="Labels."),
    ),
    file=Path("sums.yaml"),
)


def put(
    lake: Lake, folder: Path, source: str, period: str, token: str, rows: str, contract: TableContract = CONTRACT
) -> None:
    connection = connect()
    select = f"SELECT * FROM (VALUES {rows}) AS v (name, amount, labels)"
    partition = {"source": source, "period": period}
    part = stage(connection, select, contract, partition, token=token, inputs={"landing": token}, folder=folder / token)
    commit(lake, contract, [part])


def rows_of(lake: Lake, contract: TableContract = CONTRACT) -> list[tuple[object, ...]]:
    connection = connect()
    select = relation_sql(connection, contract, [file.path for file in table_files(lake, contract)])
    return connection.sql(f"SELECT * FROM ({select}) ORDER BY ALL").fetchall()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    ensure_table(lake, CONTRACT)
    return lake


def test_replacing_a_partition_leaves_the_others(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, "aws", "2026-09", "t1", "('a', 1.5, '{}')")
    put(lake, tmp_path, "aws", "2026-10", "t2", "('a', 2, NULL), ('b', 3, NULL)")
    put(lake, tmp_path, "gcp", "2026-10", "t3", "('a', 4, NULL)")
    put(lake, tmp_path, "aws", "2026-10", "t4", "('c', 0.000000000000000001, '{\"k\": 1}')")
    assert rows_of(lake) == [
        ("aws", "2026-09", "a", Decimal("1.500000000000000000"), "{}"),
        ("aws", "2026-10", "c", Decimal("0.000000000000000001"), '{"k": 1}'),
        ("gcp", "2026-10", "a", Decimal("4.000000000000000000"), None),
    ]


def test_a_partition_without_rows_is_there_and_known(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, "aws", "2026-09", "t1", "('a', 1, NULL)")
    empty = "SELECT NULL AS name, NULL AS amount, NULL AS labels WHERE false"
    partition = {"source": "aws", "period": "2026-09"}
    part = stage(connect(), empty, CONTRACT, partition, token="t2", inputs={}, folder=tmp_path)
    commit(lake, CONTRACT, [part])
    assert [(file.token, file.rows, dict(file.partition)) for file in table_files(lake, CONTRACT)] == [
        ("t2", 0, partition)
    ]
    assert rows_of(lake) == []


def test_a_partition_that_another_process_has_committed_from_the_same_is_left_as_it_is(
    lake: Lake, tmp_path: Path
) -> None:
    put(lake, tmp_path, "aws", "2026-09", "t1", "('a', 1, NULL)")
    [committed] = table_files(lake, CONTRACT)
    written, version = committed.path.stat().st_ino, deltalake.DeltaTable(lake.table("billing.sums")).version()

    put(lake, tmp_path / "again", "aws", "2026-09", "t1", "('a', 1, NULL)")

    assert table_files(lake, CONTRACT) == [committed]
    assert committed.path.stat().st_ino == written
    assert deltalake.DeltaTable(lake.table("billing.sums")).version() == version


def test_of_partitions_committed_together_only_those_made_from_something_else_are_replaced(
    lake: Lake, tmp_path: Path
) -> None:
    put(lake, tmp_path, "aws", "2026-08", "old", "('a', 1, NULL)")
    put(lake, tmp_path, "aws", "2026-09", "t2", "('a', 2, NULL)")
    both = [
        stage(
            connect(),
            f"SELECT 'b' AS name, {amount} AS amount, NULL AS labels",
            CONTRACT,
            {"source": "aws", "period": period},
            token=token,
            inputs={},
            folder=tmp_path / "both",
        )
        for period, token, amount in (("2026-08", "t1", 3), ("2026-09", "t2", 4))
    ]

    commit(lake, CONTRACT, both)

    # Equal tokens mean equal rows; these differ to tell which of them stayed.
    assert [(row[1], row[2]) for row in rows_of(lake)] == [("2026-08", "b"), ("2026-09", "a")]
    log = lake.table("billing.sums") / "_delta_log" / f"{3:020}.json"
    actions = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    paths = [
        (kind, action["path"].split(".")[0]) for entry in actions for kind, action in entry.items() if "path" in action
    ]
    assert sorted(paths) == [
        ("add", "source=aws/period=2026-08/t1-000"),
        ("remove", "source=aws/period=2026-08/old-000"),
    ]


def test_a_file_says_what_it_was_made_from(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, "aws", "2026-09", "t1", "('a', 1, NULL)")
    files = table_files(lake, CONTRACT)
    assert recorded_inputs(connect(), files) == {files[0].path: {"landing": "t1"}}


def test_rows_keep_their_order_through_a_join_that_leaves_few_of_a_chunk(lake: Lake, tmp_path: Path) -> None:
    # Of the second of three chunks of 2,048 rows ten are left, fewer than DuckDB passes on alone.
    connection = connect()
    connection.execute("SET threads = 1")
    connection.execute("CREATE TABLE numbers AS SELECT i, i % 7 AS rest FROM range(6144) AS numbers (i)")
    connection.execute("CREATE TABLE rests AS SELECT rest, 10 * rest AS amount FROM range(7) AS rests (rest)")
    select = """
        SELECT printf('%05d', i) AS name, amount, NULL AS labels
        FROM (SELECT * FROM numbers WHERE i < 2048 OR i >= 4096 OR i % 205 = 0)
        INNER JOIN rests USING (rest)
    """
    partition = {"source": "aws", "period": "2026-09"}
    part = stage(connection, select, CONTRACT, partition, token="t1", inputs={}, folder=tmp_path / "t1")

    names = [name for (name,) in connection.sql(f"SELECT name FROM read_parquet('{part.file}')").fetchall()]
    assert len(names) == 2048 + 10 + 2048
    assert names == sorted(names)


def test_other_engines_read_the_table(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, "aws", "2026-09", "t1", "('a', 1.5, NULL)")
    table = polars.read_delta(str(lake.table("billing.sums")))
    assert table.rows(named=True) == [
        {"source": "aws", "period": "2026-09", "name": "a", "amount": Decimal("1.5"), "labels": None}
    ]


def test_a_gained_column_widens_the_table_and_reads_null_in_older_files(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, "aws", "2026-09", "t1", "('a', 1, NULL)")
    note = Column(name="note", type="TIMESTAMP", meaning="Note.")
    wider = CONTRACT.model_copy(update={"columns": (*CONTRACT.columns, note)})
    ensure_table(lake, wider)
    assert [field.name for field in deltalake.DeltaTable(lake.table("billing.sums")).schema().fields][-1] == "note"
    assert rows_of(lake, wider) == [("aws", "2026-09", "a", Decimal(1), None, None)]


def test_partitions_committed_together_must_be_all_combinations(lake: Lake, tmp_path: Path) -> None:
    select = "SELECT 'a' AS name, 1 AS amount, NULL AS labels"
    parts = [
        stage(connect(), select, CONTRACT, {"source": s, "period": p}, token=f"t{s}", inputs={}, folder=tmp_path)
        for s, p in (("aws", "2026-09"), ("gcp", "2026-10"))
    ]
    with pytest.raises(ValueError, match="all combinations"):
        commit(lake, CONTRACT, parts)


def test_the_canonical_export_is_in_byte_order_with_exact_text_and_tells_empty_from_null(
    lake: Lake, tmp_path: Path
) -> None:
    put(lake, tmp_path, "aws", "2026-09", "t1", "('é', 1, NULL), ('z', -2.5, ''), ('Z', 3, '\"'), (NULL, 0, 'x')")
    target = tmp_path / "export.csv"
    export_canonically(connect(), CONTRACT, [file.path for file in table_files(lake, CONTRACT)], target)
    assert target.read_text(encoding="utf-8") == (
        '"source","period","name","amount","labels"\n'
        '"aws","2026-09",,"0.000000000000000000","x"\n'
        '"aws","2026-09","Z","3.000000000000000000",""""\n'
        '"aws","2026-09","z","-2.500000000000000000",""\n'
        '"aws","2026-09","é","1.000000000000000000",\n'
    )


def test_the_canonical_hash_does_not_depend_on_row_order_or_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = set()
    for number, (rows, threads) in enumerate(
        [("('a', 1, NULL), ('b', 2, NULL)", "1"), ("('b', 2, NULL), ('a', 1, NULL)", "2")]
    ):
        monkeypatch.setenv("APPORTION_THREADS", threads)
        lake = Lake(tmp_path / f"lake{number}")
        ensure_table(lake, CONTRACT)
        put(lake, tmp_path / f"staging{number}", "aws", "2026-09", f"t{number}", rows)
        hashes.add(canonical_hash(connect(), CONTRACT, [file.path for file in table_files(lake, CONTRACT)]))
    assert len(hashes) == 1


@pytest.mark.parametrize("name", ["lake[1]", "lake*", "lake?"])
def test_a_lake_whose_path_is_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeliveryError) as refused:
        file_list([tmp_path / name / "part.parquet"])

    assert refused.value.where == str(tmp_path / name / "part.parquet")
