"""Azure Blob Storage on loopback: Azurite, with its blobs in memory."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.servers.install import AZURITE
from tests.integration.servers.processes import ServerProcess
from tests.integration.servers.requests import RequestLog, from_access_log

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

ACCOUNT = "acme"
ACCOUNT_KEY = base64.b64encode(b"the key of a storage account on loopback").decode()


class BlobServer:
    """A running server with one storage account. Its containers live until it stops; every test takes one of its own."""

    def __init__(self, log: Path) -> None:
        program = AZURITE.folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        options = ["--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]
        self._process = ServerProcess(
            "Azurite",
            ["node", str(program), "--blobHost", "127.0.0.1", "--blobPort", "0", *options],
            log=log,
            environment={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"},
        )
        address = self._process.wait_for(r"successfully listens on (http://\S+)")[1]
        self.account_url = f"{address}/{ACCOUNT}"
        self.connection_string = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={self.account_url};"
        self._log = RequestLog(self._process, address, from_access_log)
        self._containers = (f"exports-{number}" for number in itertools.count(1))

    def client(self, container: str) -> ContainerClient:
        """The SDK's client of a container, by the account's key."""
        from azure.storage.blob import ContainerClient

        return ContainerClient.from_connection_string(self.connection_string, container)

    def container(self, *, public: bool = False) -> str:
        """The name of a new, empty container; a public one is read and listed without credentials."""
        name = next(self._containers)
        self.client(name).create_container(public_access="container" if public else None)
        return name

    def upload(self, folder: Path, container: str, prefix: str = "") -> None:
        """Put every file below a folder under its relative name."""
        client = self.client(container)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            client.upload_blob(f"{prefix}{file.relative_to(folder).as_posix()}", file.read_bytes(), overwrite=True)

    def fetched(self, since: int = 0) -> list[str]:
        """``container/blob`` of every blob that was read, in order, from the ``since``-th on; listings aren't among them."""
        return [
            "/".join(request.names[1:])
            for request in self._log.requests()
            if request.method == "GET"
            and request.status in (200, 206)
            and len(request.names) > 2
            and not request.parameters & {"comp", "restype"}
        ][since:]

    def stop(self) -> None:
        """End it."""
        self._process.stop()
