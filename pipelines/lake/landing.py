"""Landing: what a source delivered, byte for byte, kept for good.

A delivery is fetched into ``landing/<source>/<period>/.<version>.partial`` and renamed to ``<version>`` once every byte and
its ``delivery.json`` are on disk, so a folder without the leading dot is always whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipelines.errors import DeliveryError
from pipelines.lake.locks import exclusive
from pipelines.lake.paths import Lake
from pipelines.sources.days import measured_days
from pipelines.sources.deliveries import DeliveredFile, Delivery, ObjectMoved

_RECORD = "delivery.json"
_LOOKS = "looks.json"
_READ_FILES = "read.json"
_NEWEST = "newest"
_REFUSED = "refused"


@dataclass(frozen=True)
class LandedFile:
    """A landed data file: where it lies, the name it was delivered under, its SHA-256, what pinned it at the source."""

    path: Path
    name: str
    sha256: str
    pin: str = ""


@dataclass(frozen=True)
class LandedDelivery:
    """A delivery in landing. ``token`` names its content: version and the hash of every file."""

    source_name: str
    source_kind: str
    period: str
    version: str
    signature: str
    token: str
    files: tuple[LandedFile, ...]
    details: Mapping[str, str]

    @property
    def pins(self) -> Mapping[str, str]:
        """The pin of each data file, by name."""
        return {file.name: file.pin for file in self.files}


@dataclass(frozen=True)
class LandedSource:
    """What landing holds of a source (:class:`pipelines.sources.deliveries.Landed`)."""

    lake: Lake
    source_name: str

    @cached_property
    def looks(self) -> Mapping[str, str]:
        """By billing period: the look from which the period was landed last; empty where what landed of it is gone since."""
        file = self.lake.landing / self.source_name / _LOOKS
        if not file.is_file():
            return {}
        looks: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        gone = {
            period
            for period in landed_periods(self.lake, self.source_name)
            if newest(self.lake, self.source_name, period) is None
        }
        return {
            period: "" if gone.intersection((period, *measured_days(period))) else look
            for period, look in looks.items()
        }

    @property
    def read(self) -> Mapping[str, str]:
        """What reading files told at the last look, also of files whose periods never landed."""
        file = self.lake.landing / self.source_name / _READ_FILES
        read: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return read

    def note_read(self, read: Mapping[str, str]) -> None:
        """Keep what reading files told, in place of what was kept before."""
        if read != self.read:
            text = json.dumps(dict(sorted(read.items())), indent=1, ensure_ascii=False)
            write_durably(self.lake.landing / self.source_name / _READ_FILES, text)

    def period(self, period: str) -> LandedDelivery | None:
        """The newest landed delivery of a period; None where there is none."""
        return newest(self.lake, self.source_name, period)


def note_look(lake: Lake, source_name: str, period: str, look: str) -> None:
    """Remember the look from which a period was landed: until the source looks otherwise, there is nothing to pull."""
    with exclusive(lake.locks / f"landing.{source_name}.lock"):
        looks = {**LandedSource(lake, source_name).looks, period: look}
        write_durably(
            lake.landing / source_name / _LOOKS, json.dumps(dict(sorted(looks.items())), indent=1, ensure_ascii=False)
        )


def land(lake: Lake, delivery: Delivery) -> tuple[LandedDelivery, bool]:
    """Fetch a delivery into landing and make it the newest of its period; the flag tells whether it was new.

    Files that the period's newest delivery has under the same name and pin are linked, not fetched again.

    Raises DeliveryError when a file can't be read or changed meanwhile, or when the same version now has other bytes.
    """
    folder = lake.landing / delivery.source_name / delivery.period
    with exclusive(lake.locks / f"landing.{delivery.source_name}.lock"):
        landed = newest(lake, delivery.source_name, delivery.period)
        if landed and landed.signature == delivery.signature:
            return landed, False
        target = folder / delivery.version
        if record := _read_whole(target):
            _refuse_other_bytes(record, delivery, folder / f".{delivery.version}.compared")
            _write_signature(target, delivery)
            copied = False
        else:
            _fetch(delivery, landed, folder / f".{delivery.version}.partial", target)
            copied = True
        _point_to(folder, delivery.version)
        return _read(target), copied


def newest(lake: Lake, source_name: str, period: str) -> LandedDelivery | None:
    """The newest landed delivery of a period, or None where there is none, or no longer all of it."""
    folder = _newest_folder(lake, source_name, period)
    return _read_whole(folder) if folder else None


def refuse_gone(lake: Lake, source_name: str, period: str) -> None:
    """Raise DeliveryError where a period's newest delivery landed and isn't there any more, or not all of it."""
    folder = _newest_folder(lake, source_name, period)
    if folder and _read_whole(folder) is None:
        raise DeliveryError(
            "What landed is no longer in landing, and the source was not asked for it again, or no longer has it.",
            where=f"source {source_name}, period {period}, version {folder.name}",
            expected=f"{folder} with {_RECORD} and every file that it names",
            found="not all of them" if folder.exists() else "no such folder",
            remedy="run the period with its sources, which fetches anew what they still have; else restore the folder from a "
            "backup of the lake",
        )


def refuse_changed(delivery: LandedDelivery) -> None:
    """Raise DeliveryError for a landed file that isn't what landed. Reads every file: a second for each GB."""
    for file in delivery.files:
        with file.path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != file.sha256:
            raise DeliveryError(
                "A file in landing was changed after it landed.",
                where=f"source {delivery.source_name}, period {delivery.period}, version {delivery.version}, "
                f"file {file.path}",
                expected=f"SHA-256 {file.sha256}, as {_RECORD} says",
                found=f"SHA-256 {found}",
                remedy=f"delete the folder {delivery.version} that the file lies in and run the period again, which fetches it "
                "anew; if the source no longer has it, restore the folder from a backup of the lake. A bill is corrected by "
                "whoever delivers it, never in landing",
            )


def landed_periods(lake: Lake, source_name: str) -> list[str]:
    """The periods (billing periods or days) of which the source has a delivery in landing, in order."""
    folder = lake.landing / source_name
    return sorted(pointer.parent.name for pointer in folder.glob(f"*/{_NEWEST}"))


def note_pending(lake: Lake, period: str) -> None:
    """Keep that something is about to land for a billing period, until that period is published with it."""
    write_durably(lake.pending / period, "")


def pending_periods(lake: Lake) -> list[str]:
    """The billing periods of which something landed that has not been published yet, in order."""
    return sorted(note.name for note in lake.pending.glob("????-??"))


def clear_pending(lake: Lake, period: str) -> None:
    """Forget that a billing period was to be published: it is, with all that landed."""
    (lake.pending / period).unlink(missing_ok=True)


def note_refusal(lake: Lake, source_name: str, period: str, problem: str) -> None:
    """Keep in landing that the newest delivery of a period was refused before it landed, and why."""
    write_durably(lake.landing / source_name / period / _REFUSED, problem)


def clear_refusal(lake: Lake, source_name: str, period: str) -> None:
    """Forget an earlier refusal: the source's deliveries of the period have landed."""
    (lake.landing / source_name / period / _REFUSED).unlink(missing_ok=True)


def refusal(lake: Lake, source_name: str, period: str) -> str | None:
    """Why the newest delivery of a period was refused before it landed; None where it wasn't."""
    note = lake.landing / source_name / period / _REFUSED
    return note.read_text(encoding="utf-8") if note.is_file() else None


def refused_periods(lake: Lake, source_name: str) -> list[str]:
    """The periods whose newest delivery was refused before it landed, in order."""
    return sorted(note.parent.name for note in (lake.landing / source_name).glob(f"*/{_REFUSED}"))


def _newest_folder(lake: Lake, source_name: str, period: str) -> Path | None:
    """Where a period's newest delivery landed, whether or not it still lies there."""
    folder = lake.landing / source_name / period
    pointer = folder / _NEWEST
    return folder / pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None


def _read_whole(folder: Path) -> LandedDelivery | None:
    """What landed in a folder; None where it isn't there any more with all its files: somebody may have deleted some."""
    if not (folder / _RECORD).is_file():
        return None
    landed = _read(folder)
    return landed if all(file.path.is_file() for file in landed.files) else None


def _fetch(delivery: Delivery, landed: LandedDelivery | None, partial: Path, target: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    known = {(file.name, file.pin): file for file in landed.files if file.pin} if landed else {}
    hashes = {}
    for file in delivery.all_files:
        same = known.get((file.name, file.pin))
        hashes[file.name] = (
            _link(same, partial / file.name) if same else _fetch_file(file, partial / file.name, delivery)
        )
    record = {
        "source_name": delivery.source_name,
        "source_kind": delivery.source_kind,
        "period": delivery.period,
        "version": delivery.version,
        "signature": delivery.signature,
        "files": [
            {
                "name": file.name,
                "size": (partial / file.name).stat().st_size,
                "sha256": hashes[file.name],
                "pin": file.pin,
            }
            for file in delivery.files
        ],
        "manifest": delivery.manifest.name if delivery.manifest else None,
        "details": dict(sorted(delivery.details.items())),
    }
    write_durably(partial / _RECORD, json.dumps(record, indent=1, ensure_ascii=False))
    # What is left of a delivery that no longer lies there whole.
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _link(landed: LandedFile, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(landed.path, target)
    except OSError:
        # A file system without hard links.
        shutil.copyfile(landed.path, target)
    return landed.sha256


def _fetch_file(file: DeliveredFile, target: Path, delivery: Delivery) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.save(target)
    except DeliveryError as error:
        raise error.within(f"source {delivery.source_name}, period {delivery.period}") from error
    with target.open("rb+") as content:
        os.fsync(content.fileno())
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    size = target.stat().st_size
    if file.size is not None and size != file.size:
        raise ObjectMoved(
            "A delivered file is not as long as it was listed.",
            where=f"source {delivery.source_name}, period {delivery.period}, file {file.where}",
            expected=f"{file.size:,} bytes, as when the delivery was listed",
            found=f"{size:,} bytes",
            remedy="run again once the export has finished writing",
        )
    return digest


def _refuse_other_bytes(record: LandedDelivery, delivery: Delivery, scratch: Path) -> None:
    if [file.name for file in record.files] != [file.name for file in delivery.files]:
        raise DeliveryError(
            "A delivery that has landed before now has other files under the same version.",
            where=f"source {delivery.source_name}, period {delivery.period}, version {delivery.version}",
            expected=", ".join(file.name for file in record.files),
            found=", ".join(file.name for file in delivery.files),
            remedy="ask whoever rewrote the manifest; a corrected export has a new execution id in it",
        )
    for landed, delivered in zip(record.files, delivery.files, strict=True):
        if landed.pin == delivered.pin:
            continue
        try:
            found = _fetch_file(delivered, scratch, delivery)
        finally:
            scratch.unlink(missing_ok=True)
        if found != landed.sha256:
            raise DeliveryError(
                "A delivery that has landed before now has other bytes under the same version.",
                where=f"source {delivery.source_name}, period {delivery.period}, version {delivery.version}, "
                f"file {delivered.name}",
                expected=f"SHA-256 {landed.sha256}",
                found=f"SHA-256 {found}",
                remedy="ask whoever rewrote the file; a corrected export has a new execution id in its manifest",
            )


def _write_signature(target: Path, delivery: Delivery) -> None:
    """Keep what the same bytes are pinned by now."""
    record = json.loads((target / _RECORD).read_text(encoding="utf-8"))
    files = [{**landed, "pin": file.pin} for landed, file in zip(record["files"], delivery.files, strict=True)]
    record = {**record, "signature": delivery.signature, "files": files}
    write_durably(target / _RECORD, json.dumps(record, indent=1, ensure_ascii=False))


def _point_to(folder: Path, version: str) -> None:
    write_durably(folder / _NEWEST, version)


def _read(folder: Path) -> LandedDelivery:
    record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    files = tuple(
        LandedFile(folder / file["name"], file["name"], file["sha256"], file.get("pin", "")) for file in record["files"]
    )
    content = "\n".join([record["version"], *(f"{file.name} {file.sha256}" for file in files)])
    return LandedDelivery(
        source_name=record["source_name"],
        source_kind=record["source_kind"],
        period=record["period"],
        version=record["version"],
        signature=record["signature"],
        token=hashlib.sha256(content.encode()).hexdigest(),
        files=files,
        details=record["details"],
    )


def write_durably(file: Path, text: str) -> None:
    """Write a small file so that it is either the old one or the whole new one, whatever happens."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as content:
        content.write(text)
        content.flush()
        os.fsync(content.fileno())
    partial.replace(file)
