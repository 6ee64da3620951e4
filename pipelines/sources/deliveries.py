"""What a source delivered, described without reading it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DeliveredFile:
    """One delivered file: where it lies now, its name inside the delivery (kept in landing), its size in bytes."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True)
class Delivery:
    """A full snapshot of one period of one source.

    ``period`` is the billing period (``2026-10``) of a bill or the UTC day (``2026-10-15``) of a usage source.
    ``version`` names the content; ``signature`` changes whenever anything delivered changed and is made without
    reading a data file, so that an unchanged delivery costs nothing. ``details`` holds what normalising it needs to
    know (``dialect``, ``format``).
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


def signature_of(files: Iterable[DeliveredFile], manifest: bytes = b"") -> str:
    """SHA-256 over the manifest's bytes and each file's name, size and modification time."""
    digest = hashlib.sha256(manifest)
    for file in files:
        digest.update(f"\n{file.name}\t{file.size}\t{file.path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def content_version(files: Iterable[DeliveredFile]) -> str:
    """The first 16 hex digits of the SHA-256 over the files' names and contents: the same on every machine."""
    digest = hashlib.sha256()
    for file in files:
        with file.path.open("rb") as content:
            digest.update(f"{file.name}\n{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
