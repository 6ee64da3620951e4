"""BigQuery on loopback: bqemulator, which answers the REST interface and the Storage Read one from DuckDB in memory."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.servers.install import BQEMULATOR
from tests.integration.servers.processes import ServerProcess
from tests.integration.servers.requests import Request, RequestLog, from_json

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

PROJECT = "acme"


class BigQueryServer:
    """A running server with one project. Its datasets live until it stops; every test takes one of its own."""

    def __init__(self, log: Path) -> None:
        self._process = ServerProcess(
            "bqemulator",
            [
                str(BQEMULATOR.folder / "bin" / "bqemulator"),
                *("start", "--ephemeral", "--rest-port", "0", "--grpc-port", "0", "--project", PROJECT),
                *("--log-format", "json"),
            ],
            log=log,
            # DuckDB looks for its extensions below the home folder.
            environment={"HOME": str(BQEMULATOR.folder / "home")},
        )
        self.storage_endpoint = f"127.0.0.1:{self._port('grpc')}"
        self.endpoint_url = f"http://127.0.0.1:{self._port('rest')}"
        self._log = RequestLog(self._process, self.endpoint_url, from_json)
        self._datasets = (f"billing_{number}" for number in itertools.count(1))

    def client(self) -> Client:
        """The SDK's client of it."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        return Client(
            project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": self.endpoint_url}
        )

    def dataset(self) -> str:
        """The name of a new, empty dataset."""
        name = next(self._datasets)
        self.client().create_dataset(f"{PROJECT}.{name}")
        return name

    def requests(self, since: int = 0) -> list[Request]:
        """Every REST request, in order, from the ``since``-th on; rows that the Storage Read interface sends aren't among them."""
        return self._log.requests(since)

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def _port(self, interface: str) -> str:
        return self._process.wait_for(rf'"port": (\d+), "event": "{interface}.listen"')[1]
