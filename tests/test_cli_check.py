"""`apportion check`: what works, what is missing, and how to grant it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipelines.cli_check import check
from pipelines.config import load_settings
from pipelines.models import trial
from pipelines.sources import aws_cur
from pipelines.sources.findings import Finding, can_be_pulled
from tests.normalise.bills import line, write_legacy
from tests.test_cli import CommandLine, apportion

__all__ = ["apportion"]

USAGE = "usage:\n  - {name: gpus, kind: dcgm-files, location: ./telemetry}\n  - {name: logs, kind: litellm, location: ./logs}\n"


def configure(apportion: CommandLine, text: str) -> Path:
    folder = apportion.configuration.parent
    apportion.configuration.write_text(f"{apportion.configuration.read_text()}{text}")
    return folder


def lines(output: str, *, below: str) -> list[str]:
    """What is told of one thing, its heading left out; machine's own figures as dots."""
    told = output.split(f"{below}  ", 1)[1].splitlines()[1:]
    ends = next((number for number, text in enumerate(told) if not text.startswith("  ")), len(told))
    return told[:ends]


def test_what_works_is_told_for_each_source(apportion: CommandLine) -> None:
    folder = configure(apportion, USAGE)
    for day in ("2026-10-14", "2026-10-15"):
        (folder / "telemetry" / day).mkdir(parents=True)
        (folder / "telemetry" / day / "gpus.json").write_text("{}")
    (folder / "logs").mkdir()
    (folder / "logs" / "2026-10-15.jsonl").write_text("{}\n")

    answer = apportion("check")

    assert (answer.exit_code, answer.errors) == (0, ""), answer.output
    size = (folder / "september.csv").stat().st_size
    assert lines(answer.output, below="aws") == [
        f"  works    read {folder}/september.csv: {size:,} bytes",
        f"  works    convert the first rows of {folder}/september.csv: 3 row(s), every value read exactly",
    ]
    assert lines(answer.output, below="gpus") == [
        f"  works    list {folder}/telemetry: 2 day(s), 2026-10-14 to 2026-10-15",
        f"  works    read {folder}/telemetry/2026-10-15/gpus.json: its first byte was read",
    ]
    assert lines(answer.output, below="logs") == [
        f"  works    list {folder}/logs: 1 day(s), 2026-10-15 to 2026-10-15",
        f"  works    read {folder}/logs/2026-10-15.jsonl: its first byte was read",
    ]
    assert answer.output.endswith("\n3 source(s) can be read\n")


@pytest.mark.parametrize(("wrong", "exit_code"), [(2, 3), (1001, 0)])
def test_the_first_rows_are_read_and_not_the_header_alone(apportion: CommandLine, wrong: int, exit_code: int) -> None:
    file = apportion.configuration.parent / "september.csv"
    write_legacy(
        file,
        [
            line("Usage", "1,25 USD" if number == wrong else "1.25", line_item_line_item_description='two\n"lines"')
            for number in range(1, 1101)
        ],
    )

    answer = apportion("check")

    assert answer.exit_code == exit_code
    told = lines(answer.output, below="aws")[1]
    if exit_code:
        assert told.startswith(f"  missing  convert the first rows of {file}: ")
        assert "1,25 USD" in told
    else:
        # It is in a row that a trial doesn't come to; a pull does.
        assert told == f"  works    convert the first rows of {file}: 1,000 row(s), every value read exactly"


def test_what_a_file_lacks_is_told_with_labels(apportion: CommandLine) -> None:
    folder = configure(apportion, "  - {name: vendor, kind: focus, files: [./vendor.csv]}\n")
    (folder / "vendor.csv").write_text("ServiceName,UsageQuantity\nGPU,1\n")

    told = lines(apportion("check").output, below="vendor")

    assert told[1].startswith(
        f"  missing  read {folder}/vendor.csv: vendor: the file is no FOCUS bill that we can read: it lacks columns. "
        "expected: BilledCost, BillingAccountId, "
    )
    assert "; found: 2 columns, the first: ServiceName, UsageQuantity" in told[1]


def test_trying_leaves_nothing_behind(apportion: CommandLine) -> None:
    folder = apportion.configuration.parent
    before = sorted(folder.rglob("*"))

    assert apportion("check").exit_code == 0

    assert sorted(folder.rglob("*")) == before


def test_a_source_that_cannot_be_read_ends_with_3_and_the_others_are_told_too(apportion: CommandLine) -> None:
    folder = configure(apportion, USAGE)
    (folder / "logs").mkdir()

    answer = apportion("check")

    assert answer.exit_code == 3
    (missing, remedy) = lines(answer.output, below="gpus")
    assert missing.startswith(f"  missing  list {folder}/telemetry: ")
    assert remedy.startswith("           -> ")
    # A place that is there and empty is no failure: the log may begin tomorrow.
    assert lines(answer.output, below="logs")[0] == f"  warning  list {folder}/logs: no day has been delivered"
    assert answer.output.endswith("error: 1 of 3 source(s) can't be read: gpus\n")


def test_one_source_alone_is_tried(apportion: CommandLine) -> None:
    configure(apportion, USAGE)

    assert apportion("check", "--source", "aws").output.splitlines()[0] == "aws  aws-cur"
    assert apportion("check", "--source", "aws").exit_code == 0
    assert apportion("check", "--source", "gpus").exit_code == 3
    unknown = apportion("check", "--source", "gcp")
    assert unknown.exit_code == 2
    assert "There is no source called gcp." in unknown.errors


@pytest.mark.parametrize("broken", ["rules", "lake"])
def test_rules_or_a_lake_that_cannot_be_used_end_with_2(apportion: CommandLine, broken: str) -> None:
    folder = configure(apportion, "rules: ./allocation_rules\n")
    (folder / "allocation_rules").mkdir()
    if broken == "rules":
        (folder / "allocation_rules" / "broken.yaml").write_text("rule: broken\npriority: first\n")
    else:
        # Root may write anywhere but into a file.
        (folder / "lake").write_text("no folder")

    answer = apportion("check")

    assert answer.exit_code == 2, answer.output
    states = {name: [text.split()[0] for text in lines(answer.output, below=name)] for name in ("rules", "lake")}
    assert {name: "missing" in found for name, found in states.items()} == {
        "rules": broken == "rules",
        "lake": broken == "lake",
    }


def test_a_configuration_that_cannot_be_read_ends_with_2(apportion: CommandLine) -> None:
    apportion.configuration.write_text("lake: ./lake\nbills: none\n")

    answer = apportion("check")

    assert answer.exit_code == 2
    assert answer.errors.startswith("error: The configuration can't be used.")


def test_a_source_that_gives_no_answer_is_let_go_and_the_others_are_told(
    apportion: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = configure(apportion, "  - {name: again, kind: aws-cur, files: [./again.csv]}\n")
    write_legacy(folder / "again.csv", [line("Usage", "1")])
    settings = load_settings(apportion.configuration)
    never = threading.Event()

    def hang(source: object) -> list[Finding]:
        if getattr(source, "name", "") == "aws":
            never.wait()
        return [Finding("read it", "works", "fine")]

    monkeypatch.setattr(aws_cur, "check", hang)
    monkeypatch.setattr(trial, "SECONDS", 3)

    assert check(settings, None) == 3

    output = capsys.readouterr().out
    assert lines(output, below="aws")[0] == "  missing  get an answer: none within 3 s"
    assert lines(output, below="again")[0] == "  works    read it: fine"
    never.set()


def test_what_a_vendors_library_raises_is_a_finding_not_the_end(
    apportion: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> list[Finding]:
        raise ConnectionResetError("Connection reset\nby peer")

    monkeypatch.setattr(aws_cur, "check", broken)

    answer = apportion("check")

    assert answer.exit_code == 3
    assert lines(answer.output, below="aws")[0] == (
        "  missing  read it: ConnectionResetError: Connection reset by peer"
    )


def test_only_what_is_missing_keeps_a_source_from_being_pulled() -> None:
    works, warning = Finding("list", "works", ""), Finding("pin", "warning", "", "grant it")

    assert can_be_pulled([works, warning])
    assert not can_be_pulled([works, warning, Finding("read", "missing", "", "grant it")])
