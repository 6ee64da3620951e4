"""Landing keeps deliveries byte for byte, whole or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import DeliveryError
from pipelines.lake.landing import (
    LandedSource,
    clear_refusal,
    land,
    landed_periods,
    newest,
    note_look,
    note_refusal,
    refusal,
    refused_periods,
)
from pipelines.lake.paths import Lake
from pipelines.sources.deliveries import Delivery, ObjectMoved, content_version, local_file, signature_of


def delivered(folder: Path, content: bytes, *, version: str | None = None, period: str = "2026-10") -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bill-00001.csv"
    path.write_bytes(content)
    files = (local_file(path, "data/bill-00001.csv"),)
    return Delivery("payer", "aws-cur", period, version or content_version(files), signature_of(files), files)


def test_a_delivery_lands_byte_for_byte_under_source_period_and_version(tmp_path: Path) -> None:
    delivery = delivered(tmp_path / "source", b"a,b\r\n1,\xff\n", version="v1")
    landed, copied = land(Lake(tmp_path / "lake"), delivery)
    file = tmp_path / "lake/landing/payer/2026-10/v1/data/bill-00001.csv"
    assert copied
    assert file.read_bytes() == b"a,b\r\n1,\xff\n"
    assert [(f.path, f.name, f.sha256) for f in landed.files] == [
        (file, "data/bill-00001.csv", hashlib.sha256(b"a,b\r\n1,\xff\n").hexdigest())
    ]


def test_an_unchanged_delivery_is_not_copied_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    delivery = delivered(tmp_path / "source", b"1")
    first, _ = land(lake, delivery)
    delivery.files[0].path.unlink()
    assert land(lake, delivery) == (first, False)


def test_a_newer_version_becomes_the_newest_and_the_older_is_kept(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    land(lake, delivered(tmp_path / "one", b"1", version="v1"))
    land(lake, delivered(tmp_path / "two", b"2", version="v2"))
    found = newest(lake, "payer", "2026-10")
    assert found is not None
    assert found.version == "v2"
    assert (lake.landing / "payer/2026-10/v1/data/bill-00001.csv").read_bytes() == b"1"


def test_a_version_that_comes_back_is_the_newest_again_without_copying(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    first = delivered(tmp_path / "one", b"1", version="v1")
    land(lake, first)
    land(lake, delivered(tmp_path / "two", b"2", version="v2"))
    landed, copied = land(lake, first)
    assert (landed.version, copied) == ("v1", False)


def test_other_bytes_under_a_landed_version_are_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    land(lake, delivered(tmp_path / "one", b"1", version="v1"))
    with pytest.raises(DeliveryError, match="other bytes under the same version") as refused:
        land(lake, delivered(tmp_path / "two", b"2", version="v1"))
    assert "source payer, period 2026-10, version v1, file data/bill-00001.csv" in refused.value.where


def test_a_file_that_grew_after_it_was_listed_is_refused_and_nothing_lands(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    delivery = delivered(tmp_path / "source", b"12", version="v1")
    (tmp_path / "source/bill-00001.csv").write_bytes(b"123")
    with pytest.raises(ObjectMoved, match="changed while it was being read") as refused:
        land(lake, delivery)
    assert "source payer, period 2026-10" in refused.value.where
    assert (refused.value.expected, refused.value.found) == ("2 bytes, as when the delivery was listed", "3 bytes")
    assert newest(lake, "payer", "2026-10") is None
    assert landed_periods(lake, "payer") == []


def test_a_copy_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    cut_off = lake.landing / "payer/2026-10/.v1.partial/data"
    cut_off.mkdir(parents=True)
    (cut_off / "bill-00001.csv").write_bytes(b"ha")
    landed, copied = land(lake, delivered(tmp_path / "source", b"half", version="v1"))
    assert copied
    assert landed.files[0].path.read_bytes() == b"half"
    assert not (lake.landing / "payer/2026-10/.v1.partial").exists()


def test_the_token_follows_the_content_and_not_the_place_or_time(tmp_path: Path) -> None:
    one, _ = land(Lake(tmp_path / "lake1"), delivered(tmp_path / "one", b"1", version="v1"))
    same, _ = land(Lake(tmp_path / "lake2"), delivered(tmp_path / "two", b"1", version="v1"))
    other, _ = land(Lake(tmp_path / "lake3"), delivered(tmp_path / "three", b"2", version="v1"))
    assert one.token == same.token != other.token


def test_fewer_files_under_a_landed_version_are_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    delivery = delivered(tmp_path / "one", b"1", version="v1")
    second = replace(delivery.files[0], name="data/bill-00002.csv")
    land(lake, replace(delivery, files=(*delivery.files, second), signature="both"))
    with pytest.raises(DeliveryError, match="other files under the same version") as refused:
        land(lake, delivery)
    assert (refused.value.expected, refused.value.found) == (
        "data/bill-00001.csv, data/bill-00002.csv",
        "data/bill-00001.csv",
    )


def test_a_refusal_is_remembered_until_the_source_lands_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    note_refusal(lake, "payer", "2026-10", "a file is missing")
    assert (refusal(lake, "payer", "2026-10"), refused_periods(lake, "payer")) == ("a file is missing", ["2026-10"])
    clear_refusal(lake, "payer", "2026-10")
    assert (refusal(lake, "payer", "2026-10"), refused_periods(lake, "payer")) == (None, [])


def test_a_file_that_the_last_delivery_had_is_linked_not_fetched_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    first = delivered(tmp_path / "one", b"1", version="v1")
    land(lake, first)
    new = local_file(first.files[0].path or tmp_path, "data/bill-00002.csv")

    def fetched_again(target: Path) -> None:
        raise AssertionError("the file was fetched again")

    known = replace(first.files[0], save=fetched_again)
    landed, copied = land(lake, replace(first, files=(known, new), version="v2", signature="both"))
    old, linked = lake.landing / "payer/2026-10/v1/data/bill-00001.csv", landed.files[0].path
    assert copied
    assert (linked.read_bytes(), linked.stat().st_ino) == (b"1", old.stat().st_ino)
    assert [file.name for file in landed.files] == ["data/bill-00001.csv", "data/bill-00002.csv"]


def test_a_look_is_remembered_by_period(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    assert LandedSource(lake, "payer").looks == {}
    note_look(lake, "payer", "2026-10", "a")
    note_look(lake, "payer", "2026-09", "b")
    note_look(lake, "payer", "2026-10", "c")
    assert LandedSource(lake, "payer").looks == {"2026-09": "b", "2026-10": "c"}
