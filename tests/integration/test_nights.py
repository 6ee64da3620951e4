"""A night on which nothing changed reads no data: 24 billing periods of six sources, counted at the servers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.config import load_settings
from pipelines.lake.landing import note_pending
from pipelines.lake.paths import Lake
from tests.integration.servers.blob import ACCOUNT_KEY, BlobServer
from tests.integration.servers.s3 import S3Server
from tests.integration.six_sources import PERIODS, deliver, deliver_aws, land_everything

OPEN = PERIODS[-2:]


class Company:
    """A company whose six sources have landed, and of which the open months are built and published."""

    def __init__(self, folder: Path, s3: S3Server, azure: BlobServer, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._s3, self._azure, self._capture = folder, s3, azure, capture
        self.configuration = deliver(folder, s3, azure)
        settings = load_settings(self.configuration)
        # Of the long closed months only what landed matters here: building them would show nothing that the open ones don't.
        land_everything(settings)
        for period in OPEN:
            note_pending(Lake(settings.lake), period)
        assert self.night() == (0, [f"{period}  what landed has not been published" for period in OPEN])

    def night(self) -> tuple[int, list[str]]:
        """`apportion run`: its exit code, and each billing period that it ran with the reason, or the one line it told."""
        with pytest.raises(SystemExit) as ended:
            main(["run", "--config", str(self.configuration)])
        told = self._capture.readouterr().out.splitlines()
        shown = [text for text in told if re.match(r"\d{4}-\d\d  |nothing changed|error", text)]
        return int(ended.value.code or 0), [re.sub(r"in \d+\.\d s$", "in … s", text) for text in shown]

    def fetched(self) -> Counter[str]:
        """How often each object was read from either server."""
        return Counter([*self._s3.fetched(), *self._azure.fetched()])

    def redeliver(self, export: str, period: str) -> list[str]:
        """AWS refreshes a month; the names of the data file and the manifest that are new."""
        location = load_settings(self.configuration).bills[0].location
        assert location is not None
        bucket = location.removeprefix("s3://").split("/")[0]
        keys = deliver_aws(self.folder / "again", bucket, export, period, "1.50", "2")
        self._s3.upload(self.folder / "again", bucket)
        return [f"{bucket}/{key}" for key in keys]


@pytest.fixture
def company(
    tmp_path: Path,
    s3: S3Server,
    blob_server: BlobServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Company:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("AZURE_STORAGE_KEY", ACCOUNT_KEY)
    return Company(tmp_path, s3, blob_server, capsys)


def test_a_quiet_night_fetches_nothing_and_a_refreshed_old_month_is_fetched_alone(company: Company) -> None:
    before = company.fetched()

    assert company.night() == (0, ["nothing changed: 6 sources, 24 billing periods looked at in … s"])
    assert company.fetched() == before

    new = company.redeliver("acme-cur", "2025-02")

    assert company.night() == (0, ["2025-02  aws-payer delivered anew"])
    # Its new data file once, its manifest, nothing else of any month or source.
    fetched = company.fetched() - before
    assert set(fetched) == set(new)
    assert fetched[new[0]] == 1

    seen = company.fetched()
    assert company.night() == (0, ["nothing changed: 6 sources, 24 billing periods looked at in … s"])
    assert company.fetched() == seen
    assert list((company.folder / "lake" / "pending").iterdir()) == []
