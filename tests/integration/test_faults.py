"""What can be wrong with a delivery, at each cloud: readers keep what they had, the message says what to do, the others finish.

Two sources, ``cloud`` and ``neighbour``, are published; then each delivers the month anew, ``cloud`` with a fault. The deliveries
are hand-made in each vendor's layout: no public export shows its vendor's faults.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from tests.integration.exports import Aws, Azure, Bucket, Container, Export, Focus, Folder, Google, Line, Place, Vendor
from tests.integration.servers.processes import REPOSITORY
from tests.integration.small_lake import PERIOD, SmallLake, neighbour, neighbour_delivers


@dataclass
class Scene:
    """A published lake, and the places that its two sources read."""

    vendor: Vendor
    place: Place
    lake: SmallLake

    def lines(self) -> list[dict[str, object]]:
        """What ``cloud`` would deliver anew: 1.5 + 2.25 + 4 = 7.75 instead of 3.75."""
        return [self.vendor.line("1.5"), self.vendor.line("2.25"), self.vendor.line("4")]

    def export(self, lines: Sequence[Line] | None = None, suffix: str = ".parquet") -> Export:
        """The delivery of these lines, not yet written."""
        return self.vendor.export(self.place, 2, self.lines() if lines is None else lines, suffix)

    def remove_data(self) -> None:
        """Remove the data files of the delivery before."""
        for name in self.vendor.export(self.place, 1, self.lines(), ".parquet").files:
            self.place.remove(name)

    def replace(self, export: Export) -> None:
        """Deliver in place of what lies there, as who has no manifest has to."""
        if not export.manifest_name:
            for name in self.vendor.export(self.place, 1, self.lines(), ".parquet").files:
                if name not in export.files:
                    self.place.remove(name)
        self.place.deliver(export)

    def replaced_before_it_is_read(self, monkeypatch: pytest.MonkeyPatch, name: str, contents: Sequence[bytes]) -> None:
        """Between the listing and each reading of the object another content takes its place, until there is none left."""
        left = iter(contents)

        def replace() -> None:
            if (content := next(left, None)) is not None:
                self.place.put(name, content)

        self.place.before_each_read(monkeypatch, name, replace)

    def published(self) -> dict[str, Decimal]:
        """A night takes both deliveries; returns what readers see billed."""
        night = self.lake.night()
        assert not night.refused
        assert night.stale == ()
        return self.lake.billed()


def _place(kind: str, folder: Path, request: pytest.FixtureRequest) -> Place:
    if kind == "s3":
        return Bucket(request.getfixturevalue("s3"))
    if kind == "blob":
        return Container(request.getfixturevalue("blob"))
    return Folder(folder)


def _small_lake(folder: Path, vendor: Vendor, place: Place, neighbours: Path) -> SmallLake:
    return SmallLake(folder, (vendor.source("cloud", place), neighbour(neighbours)))


VENDORS = {
    "AWS in a folder": (Aws(), "folder"),
    "AWS on S3": (Aws(), "s3"),
    "Azure in a folder": (Azure(), "folder"),
    "Azure in Blob Storage": (Azure(), "blob"),
    "Google, extracted": (Google(), "folder"),
    "FOCUS in a folder": (Focus(), "folder"),
}
MANIFESTS = [name for name in VENDORS if name.startswith(("AWS", "Azure"))]
# What is wrong inside a file doesn't depend on where it lies.
CONTENTS = [name for name, (_, kind) in VENDORS.items() if kind == "folder"]


@pytest.fixture(scope="module")
def published_lakes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Vendor], Path]:
    """The published lake of a vendor, made once: 1.5 + 2.25 of ``cloud`` and 100 of ``neighbour``."""
    lakes: dict[type[Vendor], Path] = {}

    def published(vendor: Vendor) -> Path:
        if type(vendor) not in lakes:
            folder = tmp_path_factory.mktemp("published")
            place = Folder(folder / "cloud")
            place.deliver(vendor.export(place, 1, [vendor.line("1.5"), vendor.line("2.25")], ".parquet"))
            neighbour_delivers(folder / "neighbour", 1, "100")
            lake = _small_lake(folder / "lake", vendor, place, folder / "neighbour")
            night = lake.night()
            assert (night.refused, night.stale) == ({}, ())
            lakes[type(vendor)] = folder
        return lakes[type(vendor)]

    return published


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    published_lakes: Callable[[Vendor], Path],
) -> Scene:
    """The vendor and the place that the test is parametrised with; ``neighbour`` has delivered 200 instead of 100."""
    # Three lines are not worth a second thread.
    monkeypatch.setenv("APPORTION_THREADS", "1")
    vendor, kind = VENDORS[request.param]
    place = _place(kind, tmp_path / "cloud", request)
    shutil.copytree(published_lakes(vendor) / "lake", tmp_path / "lake", symlinks=True)
    place.deliver(vendor.export(place, 1, [vendor.line("1.5"), vendor.line("2.25")], ".parquet"))
    neighbour_delivers(tmp_path / "neighbour", 2, "200")
    return Scene(vendor, place, _small_lake(tmp_path / "lake", vendor, place, tmp_path / "neighbour"))


at_every_cloud = pytest.mark.parametrize("scene", VENDORS, indirect=True)
of_every_vendor = pytest.mark.parametrize("scene", CONTENTS, indirect=True)
with_a_manifest = pytest.mark.parametrize("scene", MANIFESTS, indirect=True)


@at_every_cloud
def test_a_delivery_without_fault_is_published(scene: Scene) -> None:
    scene.place.deliver(scene.export())
    # 7.75 of cloud, 200 of neighbour.
    assert scene.published() == {"USD": Decimal("207.75")}


@with_a_manifest
@pytest.mark.parametrize("packed", [False, True], ids=["Parquet", "text"])
def test_half_of_a_period(scene: Scene, packed: bool) -> None:
    """The manifest is there before its files, as where a copy of an export was cut off: the second of two is missing."""
    export = scene.export(suffix=scene.vendor.packed if packed else ".parquet")
    if not packed:
        # An export that overwrites has left a file of that name from before.
        scene.remove_data()
    missing = list(export.files)[1]
    del export.files[missing]
    scene.place.deliver(export)
    scene.lake.refuses(missing)


@of_every_vendor
def test_a_truncated_gzip_file(scene: Scene) -> None:
    export = scene.export(suffix=scene.vendor.packed)
    name = list(export.files)[1]
    export.files[name] = export.files[name][:-20]
    scene.replace(export)
    scene.lake.refuses(Path(name).name)


@of_every_vendor
def test_a_truncated_parquet_file(scene: Scene) -> None:
    export = scene.export()
    name = list(export.files)[1]
    export.files[name] = export.files[name][:-20]
    scene.replace(export)
    scene.lake.refuses(Path(name).name)


@at_every_cloud
def test_a_file_that_is_replaced_at_every_attempt_to_read_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    export = scene.export()
    name = list(export.files)[1]
    scene.replace(export)
    scene.replaced_before_it_is_read(monkeypatch, name, [b"x" * length for length in range(100, 120)])
    scene.lake.refuses(Path(name).name)


@with_a_manifest
def test_a_file_that_is_replaced_once_is_read_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    export = scene.export()
    name = list(export.files)[1]
    whole = export.files[name]
    export.files[name] = b"being written"
    scene.replace(export)
    scene.replaced_before_it_is_read(monkeypatch, name, [whole])
    assert scene.published() == {"USD": Decimal("207.75")}


@with_a_manifest
def test_a_manifest_that_leads_up_and_out(scene: Scene) -> None:
    export = scene.export()
    scene.vendor.name_in_manifest(export, "../other/part-0.parquet")
    scene.place.deliver(export)
    scene.lake.refuses("../other/part-0.parquet", "anifest")


@with_a_manifest
def test_a_manifest_that_names_another_bucket_or_container(scene: Scene) -> None:
    export = scene.export()
    scene.vendor.name_in_manifest(export, scene.vendor.elsewhere)
    scene.place.deliver(export)
    scene.lake.refuses("elsewhere", "anifest")


@with_a_manifest
def test_a_manifest_that_names_an_object_elsewhere_in_the_same_place(scene: Scene) -> None:
    export = scene.export()
    scene.place.put("private/part-0.parquet", next(iter(export.files.values())))
    scene.vendor.name_in_manifest(export, scene.vendor.address(scene.place, "private/part-0.parquet"))
    scene.place.deliver(export)
    scene.lake.refuses("private/part-0.parquet", "anifest")


@pytest.mark.parametrize("scene", [name for name in VENDORS if name.startswith("Azure")], indirect=True)
@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_a_wrong_row_count(scene: Scene, suffix: str) -> None:
    """Only Azure says how many rows a file has."""
    export = scene.export(suffix=suffix)
    export.manifest["blobs"][1]["dataRowCount"] = 3
    export.manifest["dataRowCount"] = 4
    scene.place.deliver(export)
    scene.lake.refuses("part-1", "3 rows", "2 rows")


@of_every_vendor
def test_a_new_column_is_no_fault(scene: Scene) -> None:
    lines = [{**line, "zz_new_column": "new"} for line in scene.lines()]
    scene.replace(scene.export(lines))
    assert scene.published() == {"USD": Decimal("207.75")}


@of_every_vendor
@pytest.mark.parametrize("packed", [False, True], ids=["Parquet", "text"])
def test_a_column_that_is_gone(scene: Scene, packed: bool) -> None:
    gone = scene.vendor.cost
    lines = [{name: value for name, value in line.items() if name != gone} for line in scene.lines()]
    scene.replace(scene.export(lines, scene.vendor.packed if packed else ".parquet"))
    # Newline-delimited JSON has no columns: there a line without a cost is rejected, as such.
    scene.lake.refuses(*([] if packed and isinstance(scene.vendor, Google) else [scene.vendor.missing]), "part-")


@of_every_vendor
def test_a_column_whose_type_changed(scene: Scene) -> None:
    """Parquet tells types: a cost that is true or false is none."""
    export = scene.export([{**line, scene.vendor.cost: True} for line in scene.lines()])
    scene.replace(export)
    scene.lake.refuses(scene.vendor.cost, "BOOLEAN", "part-")


@of_every_vendor
def test_a_cost_that_is_no_number_any_more(scene: Scene) -> None:
    """Text tells none: the file, the row, the column and the value are named."""
    lines = scene.lines()
    lines[2] = {**lines[2], scene.vendor.cost: "4,00 USD"}
    scene.replace(scene.export(lines, scene.vendor.packed))
    scene.lake.refuses(scene.vendor.cost, "4,00 USD", "part-1", "row 2")


@of_every_vendor
def test_a_currency_that_changes_within_the_month_is_kept_apart(scene: Scene) -> None:
    """Never summed with the other, and never converted: the currency is in the grain of every table (CONTRACTS.md §1)."""
    lines = scene.lines()
    lines[2] = {**lines[2], scene.vendor.currency: "EUR"}
    scene.replace(scene.export(lines))
    # 1.5 + 2.25 + 200 of neighbour in USD, 4 in EUR.
    assert scene.published() == {"EUR": Decimal(4), "USD": Decimal("203.75")}


@of_every_vendor
@pytest.mark.parametrize("packed", [False, True], ids=["Parquet", "text"])
def test_an_empty_delivery(scene: Scene, packed: bool) -> None:
    scene.replace(scene.export([], scene.vendor.packed if packed else ".parquet"))
    scene.lake.refuses()


@of_every_vendor
def test_one_bill_under_two_names(scene: Scene) -> None:
    scene.place.deliver(scene.export())
    before = scene.lake.seen()
    lake = SmallLake(scene.lake.folder, (*scene.lake.bills, scene.vendor.source("copy", scene.place)))
    night = lake.night()
    assert not night.refused
    [reason] = night.stale
    assert "billed by both cloud and copy" in reason
    assert "claims" in reason
    assert lake.seen() == before
    # Both are built, and wait until it is settled whose bill it is.
    assert lake.built("copy") == lake.built("cloud") == {"USD": Decimal("7.75")}
    assert lake.built("neighbour") == {"USD": Decimal("200")}


@pytest.mark.parametrize("scene", ["AWS on S3", "Azure in Blob Storage", "Google, extracted"], indirect=True)
def test_the_command_line_tells_it_too(scene: Scene, tmp_path: Path) -> None:
    """A whole run, with Dagster: it ends with 3, a delivery was refused; the other source's charges are built."""
    export = scene.export()
    name = list(export.files)[1]
    export.files[name] = export.files[name][:-20]
    scene.replace(export)
    before = scene.lake.seen()
    configuration = tmp_path / "apportion.yaml"
    bills = [bill.model_dump(mode="json", exclude_defaults=True) | {"kind": bill.kind} for bill in scene.lake.bills]
    configuration.write_text(yaml.safe_dump({"lake": "./lake", "as_of": "2026-09-20T00:00:00", "bills": bills}))

    run = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "run", "--config", str(configuration), "--period", PERIOD],
        cwd=REPOSITORY,
        env={key: value for key, value in os.environ.items() if key not in ("DAGSTER_HOME", "APPORTION_CONFIG")},
        capture_output=True,
        text=True,
        check=False,
    )

    told = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 3, told
    for word in ("source cloud", PERIOD, Path(name).name, "what to do"):
        assert word in told
    assert scene.lake.seen() == before
    assert scene.lake.built("neighbour") == {"USD": Decimal("200")}
