"""The servers that other tests lean on: they start, count what is read, and end with the tests however those end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.integration.servers.bigquery import BigQueryServer
from tests.integration.servers.blob import BlobServer
from tests.integration.servers.processes import REPOSITORY
from tests.integration.servers.s3 import S3Server


def test_s3_tells_which_objects_were_read(s3: S3Server, tmp_path: Path) -> None:
    bucket, client = s3.bucket(versioned=True), s3.client()
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "data.csv").write_bytes(b"bill")
    s3.upload(tmp_path, bucket, prefix="exports/")
    before = len(s3.fetched())

    [listed] = client.list_objects_v2(Bucket=bucket)["Contents"]
    [version] = client.list_object_versions(Bucket=bucket)["Versions"]
    client.head_object(Bucket=bucket, Key=listed["Key"])
    assert s3.fetched(before) == []

    client.get_object(Bucket=bucket, Key=listed["Key"], VersionId=version["VersionId"])
    assert s3.fetched(before) == [f"{bucket}/exports/a b/data.csv"]


def test_azurite_tells_which_blobs_were_read(blob_server: BlobServer, tmp_path: Path) -> None:
    container = blob_server.container()
    client = blob_server.client(container)
    (tmp_path / "data.csv").write_bytes(b"bill")
    blob_server.upload(tmp_path, container, prefix="acme/")
    before = len(blob_server.fetched())

    [listed] = client.list_blobs()
    client.get_blob_client(listed.name).get_blob_properties()
    assert blob_server.fetched(before) == []

    assert client.download_blob(listed.name).readall() == b"bill"
    assert blob_server.fetched(before) == [f"{container}/acme/data.csv"]


def test_bqemulator_tells_what_it_was_asked(bigquery: BigQueryServer) -> None:
    bigquery.dataset()
    before = len(bigquery.requests())
    assert [dict(row) for row in bigquery.client().query("SELECT 1 AS one").result()] == [{"one": 1}]
    first = bigquery.requests(before)[0]
    assert (first.method, first.names[-1], first.status) == ("POST", "jobs", 200)


def test_a_server_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, signal\n"
        "from tests.integration.servers.s3 import S3Server\n"
        "print(S3Server(pathlib.Path(sys.argv[1])).endpoint_url, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s3.log")], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        address = starter.stdout.readline().strip()
        urlopen(address, timeout=30).close()
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait()

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urlopen(address, timeout=30).close()
        except (URLError, ConnectionError):
            return
    pytest.fail(f"{address} still answers")
