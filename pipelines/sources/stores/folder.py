"""A folder on this machine as a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import DeliveryError
from pipelines.sources.deliveries import local_file
from pipelines.sources.stores.base import StoredObject


@dataclass(frozen=True)
class FolderStore:
    """The files below a folder; hidden ones, such as those of an unfinished copy, don't count."""

    root: Path

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def objects(self, prefix: str = "") -> list[StoredObject]:
        """Every file below the folder. Raises DeliveryError where there is no folder."""
        if not self.root.is_dir():
            raise DeliveryError(
                "The location is no folder.",
                where=str(self.root),
                remedy="correct 'location' in the configuration, or mount the folder",
            )
        files = [path for path in (self.root / prefix).rglob("*") if path.is_file() and not self._is_hidden(path)]
        return sorted(
            (
                StoredObject(path.relative_to(self.root).as_posix(), path.stat().st_size, local_file(path, "").pin)
                for path in files
            ),
            key=lambda found: found.name.encode(),
        )

    def read(self, found: StoredObject) -> bytes:
        """A small file's content."""
        return (self.root / found.name).read_bytes()

    def save(self, found: StoredObject, target: Path) -> None:
        """Copy a file."""
        local_file(self.root / found.name, found.name).save(target)

    def below(self, prefix: str) -> FolderStore:
        """A folder of this one."""
        return FolderStore(self.root / prefix)

    def _is_hidden(self, path: Path) -> bool:
        return any(part.startswith(".") for part in path.relative_to(self.root).parts)
