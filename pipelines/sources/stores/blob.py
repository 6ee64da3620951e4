"""A container of Azure Blob Storage as a store.

What was listed is pinned by its ETag, and a read asks for exactly that (``If-Match``), so that an export that is refreshed
meanwhile is noticed and never mixed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient, ExponentialRetry, StorageStreamDownloader

from pipelines.errors import DeliveryError
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.stores.base import StoredObject

ROLE = "Storage Blob Data Reader"

_Answer = TypeVar("_Answer")

_GONE, _CHANGED = 404, 412
_DENIED = {401, 403}


@dataclass(frozen=True)
class BlobStore:
    """The blobs of a container whose names begin with ``prefix`` (empty, or ending in '/')."""

    container: str
    prefix: str
    client: ContainerClient = field(compare=False, repr=False)

    @classmethod
    def at(cls, location: str, *, account_url: str | None = None) -> BlobStore:
        """The store at ``az://container/prefix`` of the account at ``account_url``; asks nothing of it yet.

        Credentials: ``AZURE_STORAGE_CONNECTION_STRING`` where it is of this account, ``AZURE_STORAGE_KEY``,
        ``AZURE_STORAGE_SAS_TOKEN``, else Azure's default chain (workload and managed identities, ``az login``). Over plain
        http, which is for servers on this machine, requests go out unsigned where there is no key.
        """
        container, _, name = location.removeprefix("az://").partition("/")
        prefix = f"{name.strip('/')}/" if name.strip("/") else ""
        return cls(container, prefix, _client(container, account_url))

    @property
    def address(self) -> str:
        """``az://container/prefix``."""
        return f"az://{self.container}/{self.prefix}".rstrip("/")

    def objects(self, prefix: str = "") -> list[StoredObject]:
        """Every blob below the root, page by page. Raises DeliveryError for a container that isn't there or may not be listed."""
        below = self.prefix + (f"{prefix.strip('/')}/" if prefix.strip("/") else "")
        try:
            blobs = list(self.client.list_blobs(name_starts_with=below or None))
        except AzureError as error:
            raise self._refusal(error, below) from error
        # Accounts with folders list those too, as empty blobs.
        folders = {name.rpartition("/")[0] for name in (blob.name for blob in blobs)}
        found = [
            StoredObject(name=blob.name.removeprefix(self.prefix), size=blob.size, pin=_quoted(blob.etag))
            for blob in blobs
            if not blob.name.endswith("/") and not (blob.size == 0 and _is_folder(blob.name, folders))
        ]
        return sorted(found, key=lambda each: each.name.encode())

    def read(self, found: StoredObject) -> bytes:
        """A small blob's content."""
        return self._reading(found, lambda: b"".join(self._blocks(found)))

    def save(self, found: StoredObject, target: Path) -> None:
        """Write a blob's content to a file."""

        def write() -> None:
            with target.open("wb") as file:
                for block in self._blocks(found):
                    file.write(block)

        self._reading(found, write)

    def try_read(self, found: StoredObject) -> None:
        """Ask for a blob's first byte, as :meth:`save` would ask for all: what tells whether it may be read."""
        self._reading(found, lambda: self._get(found, length=1 if found.size else None).readall())

    def below(self, prefix: str) -> BlobStore:
        """The same container with its root at a folder of this one."""
        return replace(self, prefix=f"{self.prefix}{prefix.strip('/')}/") if prefix.strip("/") else self

    def _reading(self, found: StoredObject, read: Callable[[], _Answer]) -> _Answer:
        try:
            return read()
        except HttpResponseError as error:
            if error.status_code in (_GONE, _CHANGED):
                raise self._moved(found, _words(error)) from error
            raise self._refusal(error, self.prefix + found.name) from error
        except AzureError as error:
            raise self._refusal(error, self.prefix + found.name) from error

    def _blocks(self, found: StoredObject) -> Iterator[bytes]:
        size = 0
        for block in self._get(found).chunks():
            size += len(block)
            yield block
        if size != found.size:
            raise self._moved(found, f"{size:,} bytes")

    def _get(self, found: StoredObject, length: int | None = None) -> StorageStreamDownloader[bytes]:
        return self.client.download_blob(
            self.prefix + found.name,
            offset=0 if length else None,
            length=length,
            etag=found.pin,
            match_condition=MatchConditions.IfNotModified,
        )

    def _moved(self, found: StoredObject, seen: str) -> ObjectMoved:
        return ObjectMoved(
            "A blob changed between the listing and the reading of it.",
            where=f"{self.address}/{found.name}",
            expected=f"{found.size:,} bytes, ETag {found.pin}",
            found=seen,
            remedy="run again once the export has finished writing; until then the period keeps its last good rows",
        )

    def _refusal(self, error: AzureError, name: str) -> DeliveryError:
        where, found = f"az://{self.container}/{name} of {self.client.account_name}", _words(error)
        status = error.status_code if isinstance(error, HttpResponseError) else None
        if status in _DENIED:
            return DeliveryError(
                f"The identity lacks the role {ROLE}.",
                where=where,
                expected=f"the role {ROLE} on the container {self.container}",
                found=found,
                remedy=f'assign it: az role assignment create --role "{ROLE}" --assignee <identity> --scope <container> '
                "(docs/connect/azure.md); a new assignment takes up to ten minutes. If the account's firewall refuses, "
                "allow this machine's network",
            )
        if isinstance(error, ClientAuthenticationError):
            return DeliveryError(
                "There are no usable Azure credentials.",
                where=where,
                found=found,
                remedy="run with a managed or workload identity, sign in with az login, or set AZURE_CLIENT_ID, "
                "AZURE_TENANT_ID and AZURE_CLIENT_SECRET; AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_KEY do as well",
            )
        if status == _GONE:
            return DeliveryError(
                "The container doesn't exist.",
                where=where,
                found=found,
                remedy="correct 'location' and 'account_url' in the configuration",
            )
        return DeliveryError(
            "Blob Storage can't be reached." if status is None else "Blob Storage refused the request.",
            where=where,
            found=found,
            remedy="check the network and 'account_url' in the configuration; then run again",
        )


def _client(container: str, account_url: str | None) -> ContainerClient:
    options: dict[str, Any] = {
        "retry_policy": ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=4),
        "connection_timeout": 10,
        "read_timeout": 60,
    }
    if connection_string := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        client = ContainerClient.from_connection_string(connection_string, container, **options)
        if account_url is None or client.url.startswith(f"{account_url.rstrip('/')}/"):
            return client
    if account_url is None:
        # Whether the environment names one shows only where the source is read.
        raise DeliveryError(
            "The location is in Blob Storage, but no storage account is named.",
            where=f"az://{container}",
            expected="account_url: https://<account>.blob.core.windows.net",
            remedy="set 'account_url' of the source, or AZURE_STORAGE_CONNECTION_STRING in the environment",
        )
    credential = os.environ.get("AZURE_STORAGE_KEY") or os.environ.get("AZURE_STORAGE_SAS_TOKEN")
    # The SDK sends no token over http.
    is_plain = account_url.startswith("http://")
    return ContainerClient(
        account_url,
        container,
        credential=credential or (None if is_plain else DefaultAzureCredential()),
        **options,
    )


def _is_folder(name: str, folders: set[str]) -> bool:
    return any(folder == name or folder.startswith(f"{name}/") for folder in folders)


def _quoted(etag: str) -> str:
    # A listing gives ETags bare, If-Match wants them as HTTP writes them.
    return etag if etag.startswith('"') else f'"{etag}"'


def _words(error: AzureError) -> str:
    # The service's code is a member of an enumeration, whose value is the word that it sent.
    code = getattr(getattr(error, "error_code", None), "value", None) or type(error).__name__
    text = str(error.message or error).strip().splitlines()
    return ": ".join([str(code), *text[:1]])
