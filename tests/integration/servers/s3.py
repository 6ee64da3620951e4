"""S3 on loopback: moto's server, which keeps buckets in memory and speaks the protocol, versions and conditional reads included."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from tests.integration.servers.processes import ServerProcess
from tests.integration.servers.requests import RequestLog, from_plain

REGION = "eu-central-1"
# What the SDK finds in its environment: any key will do, and it must not look elsewhere.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "any-secret-will-do",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


class S3Server:
    """A running server. Its buckets live until it stops; every test takes one of its own."""

    def __init__(self, log: Path) -> None:
        self._process = ServerProcess("S3", [sys.executable, "-m", "tests.integration.servers.s3_app"], log=log)
        self.endpoint_url = self._process.wait_for(r"listening on (http://\S+)")[1]
        self._log = RequestLog(self._process, self.endpoint_url, from_plain)
        self._buckets = (f"exports-{number}" for number in itertools.count(1))

    def client(self) -> Any:
        """boto3's client of it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )

    def bucket(self, *, versioned: bool = False) -> str:
        """The name of a new, empty bucket."""
        client, name = self.client(), next(self._buckets)
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def upload(self, folder: Path, bucket: str, prefix: str = "") -> None:
        """Put every file below a folder under its relative name."""
        client = self.client()
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            client.put_object(
                Bucket=bucket, Key=f"{prefix}{file.relative_to(folder).as_posix()}", Body=file.read_bytes()
            )

    def fetched(self, since: int = 0) -> list[str]:
        """``bucket/key`` of every object that was read, in order, from the ``since``-th on; listings aren't among them."""
        return [
            "/".join(request.names)
            for request in self._log.requests()
            if request.method == "GET"
            and request.status in (200, 206)
            and len(request.names) > 1
            and request.parameters <= {"versionId", "partNumber", "x-id"}
        ][since:]

    def stop(self) -> None:
        """End it."""
        self._process.stop()
