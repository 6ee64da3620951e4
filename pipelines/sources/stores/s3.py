"""A bucket on S3, or on what speaks its protocol, as a store.

What was listed is pinned: by its version where the bucket keeps versions, else by its ETag, and a read asks for exactly
that (``VersionId``, ``If-Match``), so that an export that is refreshed meanwhile is noticed and never mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    LoginTokenLoadError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from pipelines.errors import DeliveryError
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.stores.aws_clients import aws_client
from pipelines.sources.stores.base import StoredObject

_Answer = TypeVar("_Answer")

_BLOCK = 1 << 20
_READS = 3
_UNVERSIONED = "null"

_MOVED = {"412", "PreconditionFailed", "404", "NoSuchKey", "NoSuchVersion"}
_DENIED = {"403", "AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem"}
_NO_VERSIONS = _DENIED | {"501", "NotImplemented", "405", "MethodNotAllowed", "XNotImplemented"}
_OTHER_REGION = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_UNKNOWN_CREDENTIALS = {
    "InvalidAccessKeyId",
    "InvalidToken",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    LoginTokenLoadError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
# The connection broke off, or what came is not what was sent: asking again helps.
_BROKEN_OFF = (ChecksumError, FlexibleChecksumError, HTTPClientError, IncompleteReadError)


@dataclass(frozen=True)
class S3Store:
    """The objects of ``bucket`` whose keys begin with ``prefix`` (empty, or ending in '/')."""

    bucket: str
    prefix: str
    client: Any = field(compare=False, repr=False)

    @classmethod
    def at(cls, location: str, *, endpoint_url: str | None = None, region: str | None = None) -> S3Store:
        """The store at ``s3://bucket/prefix``, with botocore's default chain of credentials; asks nothing of it yet.

        ``endpoint_url``: another server than AWS's. Over plain http, which is for servers on this machine, requests go
        out unsigned where there are no credentials.
        """
        bucket, _, key = location.removeprefix("s3://").partition("/")
        prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        return cls(bucket, prefix, _client(endpoint_url, region))

    @property
    def address(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def objects(self, prefix: str = "") -> list[StoredObject]:
        """Every object below the root: its newest versions where they may be listed, else the objects with their ETags.

        Raises DeliveryError for a bucket that doesn't exist, is elsewhere or may not be listed.
        """
        below = self.prefix + (f"{prefix.rstrip('/')}/" if prefix else "")
        versions = self.versions(below)
        listed = versions if versions is not None else self._current(below)
        return sorted(listed, key=lambda found: found.name.encode())

    def versions(self, below: str | None = None) -> list[StoredObject] | None:
        """The newest version of each object, pinned by it; None where versions may not be listed.

        Where the bucket doesn't keep versions, or an object is older than its versioning, the ETag is the pin.
        """
        below = self.prefix if below is None else below
        try:
            entries = [
                entry
                for page in self._pages("list_object_versions", below)
                for entry in page.get("Versions", [])
                if entry["IsLatest"]
            ]
        except ClientError as error:
            if _code(error) in _NO_VERSIONS:
                return None
            raise self._refusal(error, below, "s3:ListBucketVersions", f"arn:aws:s3:::{self.bucket}") from error
        except BotoCoreError as error:
            raise self._unreachable(error, below) from error
        return [
            self._stored(entry, entry["ETag"] if entry["VersionId"] == _UNVERSIONED else entry["VersionId"])
            for entry in entries
            if not entry["Key"].endswith("/")
        ]

    def read(self, found: StoredObject) -> bytes:
        """A small object's content."""
        return self._reading(found, lambda: b"".join(self._blocks(found)))

    def save(self, found: StoredObject, target: Path) -> None:
        """Write an object's content to a file."""

        def write() -> None:
            with target.open("wb") as file:
                for block in self._blocks(found):
                    file.write(block)

        self._reading(found, write)

    def try_read(self, found: StoredObject) -> None:
        """Ask for an object's first byte, as :meth:`save` would ask for all: what tells whether it may be read."""
        wanted = {"Range": "bytes=0-0"} if found.size else {}
        self._reading(found, lambda: self._get(found, wanted)["Body"].read())

    def below(self, prefix: str) -> S3Store:
        """The same bucket with its root at a folder of this one."""
        return replace(self, prefix=f"{self.prefix}{prefix.strip('/')}/") if prefix.strip("/") else self

    def _current(self, below: str) -> list[StoredObject]:
        try:
            entries = [entry for page in self._pages("list_objects_v2", below) for entry in page.get("Contents", [])]
        except ClientError as error:
            raise self._refusal(error, below, "s3:ListBucket", f"arn:aws:s3:::{self.bucket}") from error
        except BotoCoreError as error:
            raise self._unreachable(error, below) from error
        return [self._stored(entry, entry["ETag"]) for entry in entries if not entry["Key"].endswith("/")]

    def _pages(self, operation: str, below: str) -> Iterator[Mapping[str, Any]]:
        pages: Iterator[Mapping[str, Any]] = iter(
            self.client.get_paginator(operation).paginate(Bucket=self.bucket, Prefix=below)
        )
        return pages

    def _stored(self, entry: Mapping[str, Any], pin: str) -> StoredObject:
        return StoredObject(name=entry["Key"].removeprefix(self.prefix), size=entry["Size"], pin=pin)

    def _reading(self, found: StoredObject, read: Callable[[], _Answer]) -> _Answer:
        """Read, again where the connection broke off; what S3 says against it as an error for people."""
        for attempt in range(1, _READS + 1):
            try:
                return read()
            except ClientError as error:
                if _code(error) in _MOVED:
                    raise self._moved(found, _code(error)) from error
                permission = "s3:GetObject" if _is_etag(found.pin) else "s3:GetObjectVersion"
                resource = f"arn:aws:s3:::{self.bucket}/{self.prefix}*"
                raise self._refusal(error, self.prefix + found.name, permission, resource) from error
            except BotoCoreError as error:
                if attempt == _READS or not isinstance(error, _BROKEN_OFF):
                    raise self._unreachable(error, self.prefix + found.name) from error
        raise AssertionError("the last attempt returns or raises")

    def _blocks(self, found: StoredObject) -> Iterator[bytes]:
        answer = self._get(found, {})
        size = 0
        for block in answer["Body"].iter_chunks(_BLOCK):
            size += len(block)
            yield block
        if size != found.size:
            raise self._moved(found, f"{size:,} bytes")

    def _get(self, found: StoredObject, wanted: Mapping[str, str]) -> Mapping[str, Any]:
        pinned = {"IfMatch": found.pin} if _is_etag(found.pin) else {"VersionId": found.pin}
        answer: Mapping[str, Any] = self.client.get_object(
            Bucket=self.bucket, Key=self.prefix + found.name, **pinned, **wanted
        )
        # A server that knows no If-Match sends what lies there now.
        seen = answer.get("ETag") if _is_etag(found.pin) else answer.get("VersionId", found.pin)
        if seen != found.pin:
            raise self._moved(found, str(seen))
        return answer

    def _moved(self, found: StoredObject, seen: str) -> ObjectMoved:
        return ObjectMoved(
            "An object changed between the listing and the reading of it.",
            where=f"{self.address}/{found.name}",
            expected=f"{found.size:,} bytes, {'ETag' if _is_etag(found.pin) else 'version'} {found.pin}",
            found=seen,
            remedy="run again once the export has been refreshed; until then the period keeps its last good rows",
        )

    def _refusal(self, error: ClientError, key: str, permission: str, resource: str) -> DeliveryError:
        code, where = _code(error), f"s3://{self.bucket}/{key}"
        found = f"{code}: {error.response.get('Error', {}).get('Message', '')}".rstrip(": ")
        if code in _DENIED:
            return DeliveryError(
                f"The credentials lack the permission {permission}.",
                where=where,
                expected=f"{permission} on {resource}",
                found=found,
                remedy=f"add {permission} to the policy (docs/connect/aws.md has one to paste); a bucket encrypted with a "
                "key of its own also needs kms:Decrypt on that key",
            )
        if code == "NoSuchBucket":
            return DeliveryError(
                "The bucket doesn't exist.", where=where, found=found, remedy="correct 'location' in the configuration"
            )
        if code in _OTHER_REGION:
            region = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
            region = region or error.response.get("Error", {}).get("Region")
            return DeliveryError(
                "The bucket is in another region.",
                where=where,
                found=found,
                remedy=f"set 'region: {region or '<the region of the bucket>'}' in the configuration of this source",
            )
        if code in _EXPIRED:
            return DeliveryError(
                "The credentials have expired.",
                where=where,
                found=found,
                remedy="sign in again (aws sso login), or give the job a role, whose credentials renew themselves",
            )
        if code in _UNKNOWN_CREDENTIALS:
            return DeliveryError(
                "AWS doesn't know the credentials.",
                where=where,
                found=found,
                remedy="check AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: which identity should read the bucket?",
            )
        return DeliveryError(
            "S3 refused the request.", where=where, found=found, remedy="run again; if it stays, ask AWS support"
        )

    def _unreachable(self, error: Exception, key: str) -> DeliveryError:
        where, found = f"s3://{self.bucket}/{key}", f"{type(error).__name__}: {error}"
        if isinstance(error, _NO_CREDENTIALS):
            return DeliveryError(
                "There are no usable AWS credentials.",
                where=where,
                found=found,
                remedy="set AWS_PROFILE, run on a machine or in a pod with a role, or sign in with aws sso login",
            )
        return DeliveryError(
            "S3 can't be reached.",
            where=where,
            found=found,
            remedy="check the network, and 'endpoint_url' and 'region' in the configuration; then run again",
        )


def _client(endpoint_url: str | None, region: str | None) -> Any:
    is_plain = bool(endpoint_url and endpoint_url.startswith("http://"))
    return aws_client(
        "s3",
        endpoint_url=endpoint_url,
        region=lambda configured: region or configured or "us-east-1",
        config=lambda session: Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 5},
            signature_version=UNSIGNED if is_plain and session.get_credentials() is None else None,
            s3={"addressing_style": "path" if endpoint_url else "auto"},
        ),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_etag(pin: str) -> bool:
    return pin.startswith('"')
