"""Where exports lie: a folder, a bucket, a container. A store lists, reads and fetches, and pins what it listed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.sources.deliveries import DeliveredFile


@dataclass(frozen=True)
class StoredObject:
    """An object below a store's root: its name ('/'-separated), its size in bytes, what names this content.

    ``pin`` is the version id or ETag on S3, the ETag on Azure Blob Storage, size and modification time in a folder.
    """

    name: str
    size: int
    pin: str


class Store(Protocol):
    """A place that exports are delivered to, from one root down."""

    @property
    def address(self) -> str:
        """The root as people write it: ``s3://bucket/prefix``, ``az://container/prefix``, a folder."""

    def objects(self, prefix: str = "") -> list[StoredObject]:
        """Every object below the root, or below a folder of it, in order of name.

        Raises DeliveryError for a root that doesn't exist or may not be listed.
        """

    def read(self, found: StoredObject) -> bytes:
        """A small object's content. Raises ObjectMoved when it is no longer what was listed, DeliveryError when it can't be read."""

    def save(self, found: StoredObject, target: Path) -> None:
        """Write an object's content to a file; raises as :meth:`read` does."""

    def below(self, prefix: str) -> Store:
        """The same store with its root at a folder below this one."""


def stored_file(store: Store, found: StoredObject, name: str) -> DeliveredFile:
    """A stored object as a file of a delivery."""
    return DeliveredFile(
        name=name,
        size=found.size,
        pin=found.pin,
        where=f"{store.address.rstrip('/')}/{found.name}",
        save=lambda target: store.save(found, target),
    )
