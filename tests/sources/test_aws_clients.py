"""Clients of AWS's services: made by any thread, with today's credentials, from descriptions that are read once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.loaders import JSONFileLoader

from pipelines.sources.stores import aws_clients
from pipelines.sources.stores.aws_clients import aws_client


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "first",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


def client() -> Any:
    return aws_client("s3", region=lambda configured: configured or "eu-central-1", config=lambda _: Config())


def access_key(made: Any) -> str:
    return str(made._request_signer._credentials.access_key)


def test_threads_make_clients_side_by_side_and_each_description_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load_file = JSONFileLoader.load_file

    def counted(self: JSONFileLoader, path: str) -> Any:
        content = load_file(self, path)
        if content is not None:
            read.append("/".join(Path(path).parts[-3:]))
        return content

    monkeypatch.setattr(JSONFileLoader, "load_file", counted)
    aws_clients._descriptions.cache_clear()

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: client(), range(16)))

    assert [each.meta.region_name for each in made] == ["eu-central-1"] * 16
    assert "s3/2006-03-01/service-2" in read
    assert sorted(set(read)) == sorted(read)


def test_a_client_made_later_has_the_credentials_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    first = client()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")

    assert [access_key(first), access_key(client())] == ["first", "renewed"]
