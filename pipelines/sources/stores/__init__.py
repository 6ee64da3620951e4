"""Where exports lie, by the scheme of a source's location."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.sources.stores.base import Store, StoredObject, stored_file
from pipelines.sources.stores.folder import FolderStore

if TYPE_CHECKING:
    from pipelines.config import StoredSource

__all__ = ["FolderStore", "Store", "StoredObject", "open_store", "stored_file"]


def open_store(source: StoredSource) -> Store:
    """The store at a source's location: a folder, ``s3://bucket/prefix`` or ``az://container/prefix``.

    Nothing is asked of it yet. The clouds' libraries are imported only for a source that needs them.
    """
    location = source.location
    if location is None:
        raise ValueError(f"{source.name} has no location")
    if location.startswith("s3://"):
        from pipelines.sources.stores.s3 import S3Store

        return S3Store.at(location, endpoint_url=source.endpoint_url, region=source.region)
    if location.startswith("az://"):
        from pipelines.sources.stores.blob import BlobStore

        return BlobStore.at(location, account_url=source.account_url)
    return FolderStore(Path(location))
