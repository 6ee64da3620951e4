"""What S3 says against a request, as an error that tells who can mend it; and connections that break off."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import DeliveryError
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.stores import StoredObject
from pipelines.sources.stores.s3 import S3Store
from tests.sources.aws_answers import Answer, Question, answering, s3_error

_OBJECT = StoredObject("part-1.csv", 4, '"e1"')
_LISTED = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>false</IsTruncated>'
    b"<Contents><Key>exports/part-1.csv</Key><Size>4</Size><ETag>&quot;e1&quot;</ETag></Contents></ListBucketResult>"
)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def _store(endpoint_url: str) -> S3Store:
    return S3Store.at("s3://acme-billing/exports", endpoint_url=endpoint_url)


@pytest.mark.parametrize(
    ("answer", "problem", "remedy"),
    [
        (s3_error(403, "AccessDenied"), "The credentials lack the permission s3:GetObject.", "add s3:GetObject"),
        (s3_error(404, "NoSuchBucket"), "The bucket doesn't exist.", "'location'"),
        (s3_error(400, "ExpiredToken"), "The credentials have expired.", "sign in again"),
        (s3_error(403, "InvalidAccessKeyId"), "AWS doesn't know the credentials.", "AWS_PROFILE"),
        (s3_error(403, "SignatureDoesNotMatch"), "AWS doesn't know the credentials.", "AWS_SECRET_ACCESS_KEY"),
        (s3_error(400, "InvalidRequest"), "S3 refused the request.", "run again"),
    ],
)
def test_what_s3_refuses_is_told_with_what_to_do(answer: Answer, problem: str, remedy: str) -> None:
    with answering(lambda _: answer) as endpoint_url, pytest.raises(DeliveryError) as refused:
        _store(endpoint_url).read(_OBJECT)
    assert refused.value.problem == problem
    assert refused.value.where == "s3://acme-billing/exports/part-1.csv"
    assert remedy in refused.value.remedy


def test_a_bucket_elsewhere_names_its_region() -> None:
    answer = s3_error(301, "PermanentRedirect", region="ap-southeast-2")
    with answering(lambda _: answer) as endpoint_url, pytest.raises(DeliveryError) as refused:
        _store(endpoint_url).objects()
    assert refused.value.problem == "The bucket is in another region."
    assert "'region: ap-southeast-2'" in refused.value.remedy


def test_a_listing_that_is_denied_names_its_permission() -> None:
    with (
        answering(lambda _: s3_error(403, "AccessDenied")) as endpoint_url,
        pytest.raises(DeliveryError) as refused,
    ):
        _store(endpoint_url).objects()
    assert refused.value.problem == "The credentials lack the permission s3:ListBucket."
    assert refused.value.expected == "s3:ListBucket on arn:aws:s3:::acme-billing"


@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented"])
def test_where_versions_may_not_be_listed_objects_are_pinned_by_etag(code: str) -> None:
    def answer(question: Question) -> Answer:
        return s3_error(403, code) if "versions" in question.path else Answer(200, _LISTED)

    with answering(answer) as endpoint_url:
        assert _store(endpoint_url).versions() is None
        assert _store(endpoint_url).objects() == [_OBJECT]


@pytest.mark.parametrize(
    "answer",
    [
        s3_error(412, "PreconditionFailed"),
        s3_error(404, "NoSuchKey"),
        s3_error(404, "NoSuchVersion"),
        # A server that knows no If-Match.
        Answer(200, b"data", {"ETag": '"e2"'}),
        Answer(200, b"longer", {"ETag": '"e1"'}),
    ],
)
def test_what_is_no_longer_what_was_listed_has_moved(answer: Answer, tmp_path: Path) -> None:
    with answering(lambda _: answer) as endpoint_url:
        with pytest.raises(ObjectMoved):
            _store(endpoint_url).read(_OBJECT)
        with pytest.raises(ObjectMoved) as moved:
            _store(endpoint_url).save(_OBJECT, tmp_path / "part-1.csv")
    assert moved.value.expected == '4 bytes, ETag "e1"'


def test_a_read_whose_connection_breaks_off_starts_again(tmp_path: Path) -> None:
    asked: list[Question] = []

    def answer(question: Question) -> Answer:
        asked.append(question)
        return Answer(200, b"data", {"ETag": '"e1"'}, sent=2 if len(asked) == 1 else None)

    with answering(answer) as endpoint_url:
        _store(endpoint_url).save(_OBJECT, tmp_path / "part-1.csv")
    assert (tmp_path / "part-1.csv").read_bytes() == b"data"
    assert [question.headers["If-Match"] for question in asked] == ['"e1"', '"e1"']


def test_a_connection_that_always_breaks_off_is_told(tmp_path: Path) -> None:
    with (
        answering(lambda _: Answer(200, b"data", {"ETag": '"e1"'}, sent=2)) as endpoint_url,
        pytest.raises(DeliveryError, match="S3 can't be reached") as refused,
    ):
        _store(endpoint_url).save(_OBJECT, tmp_path / "part-1.csv")
    assert not isinstance(refused.value, ObjectMoved)
    assert "network" in refused.value.remedy


def test_a_server_that_is_busy_is_asked_again() -> None:
    asked: list[Question] = []

    def answer(question: Question) -> Answer:
        asked.append(question)
        return s3_error(503, "SlowDown") if len(asked) == 1 else Answer(200, b"data", {"ETag": '"e1"'})

    with answering(answer) as endpoint_url:
        assert _store(endpoint_url).read(_OBJECT) == b"data"
    assert len(asked) == 2


def test_a_server_on_this_machine_is_asked_unsigned_where_there_are_no_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    asked: list[Question] = []

    def answer(question: Question) -> Answer:
        asked.append(question)
        return Answer(200, b"data", {"ETag": '"e1"'})

    with answering(answer) as endpoint_url:
        assert _store(endpoint_url).read(_OBJECT) == b"data"
    assert "Authorization" not in asked[0].headers


def test_without_credentials_aws_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DeliveryError, match="There are no usable AWS credentials") as refused:
        S3Store.at("s3://acme-billing/exports").objects()
    assert "AWS_PROFILE" in refused.value.remedy


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("s3://acme-billing", "s3://acme-billing"),
        ("s3://acme-billing/", "s3://acme-billing"),
        ("s3://acme-billing/a/b/", "s3://acme-billing/a/b"),
    ],
)
def test_a_location_is_a_bucket_and_a_prefix(location: str, address: str) -> None:
    store = S3Store.at(location)
    assert store.address == address
    assert store.below("x").address == f"{address}/x"
