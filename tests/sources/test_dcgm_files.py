"""Telemetry folders become deliveries, and their files become series."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pipelines.config import UsageSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources import dcgm_files
from tests.usage.small_days import ENGINE, GPU, response, series


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "telemetry"


def write(folder: Path, name: str, content: str = "{}") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def source(folder: Path) -> UsageSource:
    return UsageSource(name="gpus", kind="dcgm-files", location=folder)


def test_each_day_folder_is_a_delivery_of_its_json_files(folder: Path) -> None:
    write(folder, "2026-10-06/a.json")
    write(folder, "2026-10-05/kube/b.json")
    write(folder, "2026-10-05/a.json", "[]")
    write(folder, "2026-10-05/.a.json.part")
    write(folder, "2026-10-05/README.md")
    write(folder, "notes/a.json")

    assert [
        (
            delivery.source_name,
            delivery.source_kind,
            delivery.period,
            [(file.name, file.size) for file in delivery.files],
        )
        for delivery in dcgm_files.deliveries(source(folder))
    ] == [
        ("gpus", "dcgm-files", "2026-10-05", [("a.json", 2), ("kube/b.json", 2)]),
        ("gpus", "dcgm-files", "2026-10-06", [("a.json", 2)]),
    ]


def test_the_version_names_the_content_and_the_signature_any_change(folder: Path) -> None:
    path = write(folder, "2026-10-05/a.json", "one")
    (first,) = dcgm_files.deliveries(source(folder))
    path.write_text("two", encoding="utf-8")
    (second,) = dcgm_files.deliveries(source(folder))
    path.write_text("one", encoding="utf-8")
    (third,) = dcgm_files.deliveries(source(folder))

    assert second.version != first.version
    assert third.version == first.version
    assert len({first.signature, second.signature}) == 2


def test_an_empty_day_folder_delivers_nothing(folder: Path) -> None:
    (folder / "2026-10-05").mkdir(parents=True)

    assert dcgm_files.deliveries(source(folder)) == []


def test_files_that_are_named_one_by_one_belong_to_the_day_of_their_folder(folder: Path) -> None:
    path = write(folder, "2026-10-05/a.json")
    (delivery,) = dcgm_files.deliveries(UsageSource(name="gpus", kind="dcgm-files", files=(path,)))

    assert (delivery.period, [file.name for file in delivery.files]) == ("2026-10-05", ["a.json"])


def test_a_folder_named_like_a_day_that_does_not_exist_is_refused(folder: Path) -> None:
    write(folder, "2026-02-30/a.json")

    with pytest.raises(DeliveryError, match="2026-02-30"):
        dcgm_files.deliveries(source(folder))


def test_a_location_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(DeliveryError, match="source gpus"):
        dcgm_files.deliveries(source(folder))


def created_series(path: Path) -> list[tuple[object, ...]]:
    connection = connect()
    connection.execute("CREATE TABLE files (path VARCHAR, source_name VARCHAR, x_Day VARCHAR, source_file VARCHAR)")
    connection.execute("INSERT INTO files VALUES (?, 'gpus', '2026-10-05', ?)", [str(path), path.name])
    dcgm_files.create_series(connection, files="files")
    return connection.sql(
        "SELECT source_name, x_Day, source_file, source_row, metric, labels['UUID'], points FROM prometheus_series"
    ).fetchall()


def test_a_range_result_becomes_its_series_with_times_and_values_as_they_were_written(folder: Path) -> None:
    # The instant query metric[1d] answers with the scrapes' own times, to the millisecond.
    raw = {
        "metric": {"__name__": ENGINE, "UUID": "GPU-2"},
        "values": [[1435781430.781, "1e-05"], [1435781445.781, "NaN"]],
    }
    path = write(
        folder, "day.json", json.dumps({**response(series(ENGINE, GPU, ["00:00"], "0.5"), raw), "warnings": []})
    )

    assert created_series(path) == [
        ("gpus", "2026-10-05", "day.json", 1, ENGINE, "GPU-1", [["1791158400.0", "0.5"]]),
        (
            "gpus",
            "2026-10-05",
            "day.json",
            2,
            ENGINE,
            "GPU-2",
            [["1435781430.781", "1e-05"], ["1435781445.781", "NaN"]],
        ),
    ]


def test_a_packed_file_is_read(folder: Path) -> None:
    folder.mkdir()
    path = folder / "day.json.gz"
    path.write_bytes(gzip.compress(json.dumps(response(series(ENGINE, GPU, ["00:00"]))).encode()))

    assert [row[2:6] for row in created_series(path)] == [("day.json.gz", 1, ENGINE, "GPU-1")]


def test_a_day_without_series_is_read(folder: Path) -> None:
    assert created_series(write(folder, "day.json", json.dumps(response()))) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"status": "error", "errorType": "bad_data", "error": "too many points"}', "bad_data: too many points"),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "result type vector"),
        ('{"status": "success"}', "result type None"),
        ("", "nothing"),
        ('{"status": "success", "data": {"resultType": "matrix", "res', "day.json"),
        ("<html>502 Bad Gateway</html>", "day.json"),
    ],
)
def test_anything_but_a_successful_range_result_is_refused(folder: Path, content: str, found: str) -> None:
    with pytest.raises(DeliveryError) as refused:
        created_series(write(folder, "day.json", content))

    assert "day.json" in str(refused.value)
    assert found in refused.value.found


def test_a_response_too_large_for_one_piece_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcgm_files, "_LARGEST_RESPONSE_BYTES", 10)

    with pytest.raises(DeliveryError, match="at most 10 bytes"):
        created_series(write(folder, "day.json", json.dumps(response())))
