"""The servers as fixtures: started for the first test that asks, ended with the last; a test whose server can't be had is skipped.

The reason begins with ``needs`` and the server's name; tests/conftest.py counts such skips at the very end of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.servers.bigquery import BigQueryServer
from tests.integration.servers.blob import BlobServer
from tests.integration.servers.install import AZURITE, BQEMULATOR, Environment
from tests.integration.servers.s3 import ENVIRONMENT, S3Server


@pytest.fixture(scope="session")
def server_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of this session write; pytest keeps the folders of its last runs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def s3_server(server_logs: Path) -> Iterator[S3Server]:
    server = S3Server(server_logs / "s3.log")
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """S3, with what the SDK's credential chain finds: subprocesses of the test inherit it."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def blob_server(server_logs: Path) -> Iterator[BlobServer]:
    skip_without(AZURITE)
    server = BlobServer(server_logs / "blob.log")
    yield server
    server.stop()


@pytest.fixture
def blob(blob_server: BlobServer, monkeypatch: pytest.MonkeyPatch) -> BlobServer:
    """Blob Storage, with its key in the environment: subprocesses of the test inherit it."""
    for name in ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", blob_server.connection_string)
    return blob_server


@pytest.fixture(scope="session")
def bigquery(server_logs: Path) -> Iterator[BigQueryServer]:
    skip_without(BQEMULATOR)
    server = BigQueryServer(server_logs / "bigquery.log")
    yield server
    server.stop()


def skip_without(environment: Environment) -> None:
    """Skip the test that runs, with the reason that the server isn't here."""
    if (reason := environment.missing()) is not None:
        pytest.skip(f"needs {environment.name}: {reason}")
