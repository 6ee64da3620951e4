"""`apportion run` without a period, night after night."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.normalise.bills import line, write_cur2
from tests.test_cli import REPOSITORY, Answer, CommandLine, apportion

__all__ = ["apportion"]


def deliver(
    apportion: CommandLine, source: str, period: str, execution: str, cost: str, line_type: str = "Usage"
) -> None:
    """An execution of a source's export with one line of a billing period."""
    folder = apportion.configuration.parent / source
    data = folder / "data" / f"BILLING_PERIOD={period}" / execution
    data.mkdir(parents=True)
    write_cur2(data / "1.parquet", [line(line_type, cost, **of_period(source, period))])
    manifest = folder / "metadata" / f"BILLING_PERIOD={period}" / execution / f"{source}-Manifest.json"
    manifest.parent.mkdir(parents=True)
    key = f"s3://bucket/{source}/data/BILLING_PERIOD={period}/{execution}/1.parquet"
    manifest.write_text(json.dumps({"dataFiles": [key]}))


def of_period(source: str, period: str) -> dict[str, object]:
    return {
        "bill_payer_account_id": f"payer of {source}",
        "line_item_usage_account_id": f"member of {source}",
        "bill_billing_period_start_date": f"{period}-01T00:00:00Z",
        "line_item_usage_start_date": f"{period}-03T07:00:00Z",
        "line_item_usage_end_date": f"{period}-03T08:00:00Z",
    }


@pytest.fixture
def night(apportion: CommandLine) -> CommandLine:
    """Two exports: aws with March and October of 2026, globex with October."""
    apportion.configuration.write_text(
        "lake: ./lake\nas_of: 2026-10-16T00:00:00\nbills:\n"
        "  - {name: aws, kind: aws-cur, location: ./aws}\n"
        "  - {name: globex, kind: aws-cur, location: ./globex}\n"
    )
    deliver(apportion, "aws", "2026-03", "2026-04-02T04:00:00.000Z-1", "3")
    deliver(apportion, "aws", "2026-10", "2026-10-15T04:00:00.000Z-1", "1.25")
    deliver(apportion, "globex", "2026-10", "2026-10-15T05:00:00.000Z-1", "2")
    return apportion


def periods(answer: Answer) -> list[str]:
    """The billing periods that were run, each with its reason."""
    return re.findall(r"^(\d{4}-\d\d  .*)$", answer.output, re.MULTILINE)


def billed(night: CommandLine) -> str:
    query = "SELECT billing_period, sum(BilledCost) AS billed FROM showback.daily GROUP BY ALL ORDER BY ALL"
    return night("sql", query, "--csv").output


def test_nights_run_what_changed_and_nothing_else(night: CommandLine) -> None:
    first = night("run")
    assert first.exit_code == 0, first.output + first.errors
    assert periods(first) == ["2026-10  aws delivered anew; globex delivered anew"]
    # A first night leaves the past alone and says so.
    assert (
        "never pulled: 1 billing period that sources have (2026-03); to pull what is there: apportion run --period 2026-03"
        in (first.output)
    )
    # 1.25 of aws and 2 of globex
    assert billed(night) == "billing_period,billed\n2026-10,3.25\n"

    assert night("run", "--period", "2026-03").exit_code == 0
    runs = night.runs()

    second = night("run")
    assert re.fullmatch(r"nothing changed: 2 sources, 2 billing periods looked at in \d+\.\d s\n", second.output)
    assert (second.exit_code, second.errors) == (0, "")
    assert night.runs() == runs

    # AWS refreshes a month that closed long ago.
    deliver(night, "aws", "2026-03", "2026-10-15T06:00:00.000Z-2", "4")
    third = night("run")
    assert third.exit_code == 0, third.output + third.errors
    assert periods(third) == ["2026-03  aws delivered anew"]
    assert billed(night) == "billing_period,billed\n2026-03,4\n2026-10,3.25\n"


def test_a_source_that_cannot_be_looked_at_holds_up_no_other(night: CommandLine) -> None:
    assert night("run").exit_code == 0
    shutil.move(night.configuration.parent / "globex", night.configuration.parent / "elsewhere")

    quiet = night("run")
    assert quiet.exit_code == 3
    assert "nothing changed: 1 source, 2 billing periods looked at" in quiet.output
    assert "error: globex can't be looked at; what landed of it before stands: " in quiet.output

    deliver(night, "aws", "2026-10", "2026-10-15T06:00:00.000Z-2", "1.50")
    answer = night("run")
    assert answer.exit_code == 3
    assert periods(answer) == ["2026-10  aws delivered anew"]
    assert "error: globex can't be looked at" in answer.output
    # 1.50 of aws, and the 2 that landed of globex before
    assert billed(night) == "billing_period,billed\n2026-10,3.5\n"


def test_what_shows_only_when_a_source_is_read_is_that_sources_refusal(
    night: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    folder = night.configuration.parent
    night.configuration.write_text(
        f"{night.configuration.read_text()}"
        "  - {name: azure, kind: azure-cost, location: 'az://exports/acme'}\n"
        "  - {name: vendor, kind: focus, location: ./vendor}\n"
    )
    (folder / "vendor").mkdir()
    (folder / "vendor" / "october [1].csv").write_text("BilledCost\n1\n")

    nightly, asked = night("run"), night("run", "--period", "2026-10")

    assert (nightly.exit_code, asked.exit_code) == (3, 3)
    told = " ".join(nightly.output.split())
    assert (
        "error: azure can't be looked at; what landed of it before stands: The location is in Blob Storage, but" in told
    )
    assert "error: vendor can't be looked at" in told
    told = " ".join(asked.output.split())
    assert "where: source azure, billing period 2026-10, az://exports" in told
    # Long paths are wrapped.
    assert "".join(f"source vendor, billing period 2026-10, {folder}/vendor/october [1].csv".split()) in told.replace(
        " ", ""
    )
    # 1.25 of aws and 2 of globex
    assert billed(night) == "billing_period,billed\n2026-10,3.25\n"


def test_what_a_night_refused_is_told_every_night_until_it_is_mended(night: CommandLine) -> None:
    assert night("run").exit_code == 0
    deliver(night, "aws", "2026-10", "2026-10-15T06:00:00.000Z-2", "1.50", "SomethingNew")

    assert [night("run").exit_code for _ in range(2)] == [3, 3]
    # 1.25 of aws and 2 of globex, as before
    assert billed(night) == "billing_period,billed\n2026-10,3.25\n"

    deliver(night, "aws", "2026-10", "2026-10-15T07:00:00.000Z-3", "1.50")
    assert night("run").exit_code == 0
    assert billed(night) == "billing_period,billed\n2026-10,3.5\n"
    assert night("run").output.startswith("nothing changed: ")


def test_a_quiet_night_imports_nothing_that_it_does_not_need(night: CommandLine) -> None:
    assert night("run").exit_code == 0

    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from pipelines.cli import main\n"
            "try:\n"
            f"    main(['run', '--config', {str(night.configuration)!r}])\n"
            "except SystemExit as ended:\n"
            "    print(ended.code, sorted({'dagster', 'polars', 'pyarrow', 'botocore', 'azure', 'google'} & sys.modules.keys()))\n",
        ],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert told[0].startswith("nothing changed: 2 sources, 2 billing periods looked at in ")
    assert told[-1] == "0 []"
