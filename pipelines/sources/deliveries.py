"""What a source delivered, described without reading it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipelines.errors import DeliveryError


class ObjectMoved(DeliveryError):
    """Something delivered changed between the listing and the reading of it: listing again helps."""


@dataclass(frozen=True)
class DeliveredFile:
    """One delivered file: its name inside the delivery (kept in landing), its size, and how to get it.

    ``size`` is in bytes; None where only fetching tells. ``pin`` changes whenever the content does: a landed file of the
    same name and pin is not fetched again. ``where`` names the file in messages. ``save`` writes the content to a path;
    it raises DeliveryError, or ObjectMoved where what lies there now is no longer what was listed. ``path`` is the file's
    own, where it lies on this machine.
    """

    name: str
    size: int | None
    pin: str
    where: str
    save: Callable[[Path], None] = field(compare=False, repr=False)
    path: Path | None = None


@dataclass(frozen=True)
class Delivery:
    """A full snapshot of one period of one source.

    ``period`` is the billing period (``2026-10``) of a bill or the UTC day (``2026-10-15``) of a usage source.
    ``version`` names the content; ``signature`` changes whenever anything delivered changed and is made without
    reading a data file, so that an unchanged delivery costs nothing. ``details`` holds what normalising it needs to
    know (``mapping``, ``dialect``, ``format``); those that begin with ``run_`` are for people to read beside the run.
    """

    source_name: str
    source_kind: str
    period: str
    version: str
    signature: str
    files: tuple[DeliveredFile, ...]
    manifest: DeliveredFile | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_files(self) -> tuple[DeliveredFile, ...]:
        """The data files and, last, the manifest: landing is complete once the manifest is there."""
        return (*self.files, self.manifest) if self.manifest else self.files


class LandedPeriod(Protocol):
    """A period's newest landed delivery, as far as a source may know it."""

    @property
    def version(self) -> str:
        """The delivery's version."""

    @property
    def signature(self) -> str:
        """The delivery's signature."""

    @property
    def pins(self) -> Mapping[str, str]:
        """The pin of each data file, by name."""


class Landed(Protocol):
    """What landing holds of a source, so that it lists and fetches only what is new."""

    @property
    def looks(self) -> Mapping[str, str]:
        """By billing period: the look from which the period was landed last."""

    @property
    def read(self) -> Mapping[str, str]:
        """What reading files told at the last look, such as their billing periods, by what names a file and its content."""

    def note_read(self, read: Mapping[str, str]) -> None:
        """Keep what reading files told, of all that are there now, so that no look reads them again."""

    def period(self, period: str) -> LandedPeriod | None:
        """The newest landed delivery of a period; None where there is none."""


@dataclass(frozen=True)
class NothingLanded:
    """Landing before anything landed."""

    looks: Mapping[str, str] = field(default_factory=dict)
    read: Mapping[str, str] = field(default_factory=dict)

    def note_read(self, read: Mapping[str, str]) -> None:
        """Nothing is kept."""

    def period(self, period: str) -> LandedPeriod | None:
        """Nothing."""
        return None


NOTHING_LANDED = NothingLanded()


def local_file(path: Path, name: str) -> DeliveredFile:
    """A file on this machine."""
    pin, size = _file_pin(path), path.stat().st_size

    def save(target: Path) -> None:
        shutil.copyfile(path, target)
        if _file_pin(path) != pin or target.stat().st_size != size:
            raise ObjectMoved(
                "A delivered file changed while it was being read.",
                where=f"file {path}",
                expected=f"{size:,} bytes, as when the delivery was listed",
                found=f"{path.stat().st_size:,} bytes",
                remedy="run again once the export has finished writing",
            )

    return DeliveredFile(name=name, size=size, pin=pin, where=str(path), save=save, path=path)


def _file_pin(path: Path) -> str:
    state = path.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def signature_of(files: Iterable[DeliveredFile], manifest: bytes = b"") -> str:
    """SHA-256 over the manifest's bytes and each file's name, size and pin."""
    digest = hashlib.sha256(manifest)
    for file in files:
        digest.update(f"\n{file.name}\t{file.size}\t{file.pin}".encode())
    return digest.hexdigest()


def content_version(files: Iterable[DeliveredFile]) -> str:
    """The first 16 hex digits of the SHA-256 over the files' names and contents: the same on every machine.

    Of files that lie elsewhere the pin stands for the content, so that naming a version fetches nothing.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\n{_content_hash(file)}\n".encode())
    return digest.hexdigest()[:16]


def _content_hash(file: DeliveredFile) -> str:
    if file.path is None:
        return file.pin
    with file.path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
