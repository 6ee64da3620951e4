"""The `apportion` command, from its arguments to its output and exit code, over bills of a few lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

import assets.landing
from pipelines.cli import main
from pipelines.config import load_settings
from pipelines.orchestration.instance import open_instance
from tests.normalise.bills import line, write_legacy

SEPTEMBER = [line("Usage", "1.25"), line("Usage", "0.000000000000000001"), line("Tax", "0.07")]


def october(line_type: str, cost: str) -> dict[str, object]:
    return line(
        line_type,
        cost,
        bill_billing_period_start_date="2026-10-01T00:00:00Z",
        bill_billing_period_end_date="2026-11-01T00:00:00Z",
        line_item_usage_start_date="2026-10-03T07:00:00Z",
        line_item_usage_end_date="2026-10-03T08:00:00Z",
    )


@dataclass(frozen=True)
class Answer:
    """What the command printed and how it ended."""

    exit_code: int
    output: str
    errors: str


@dataclass(frozen=True)
class CommandLine:
    """The command, with a configuration of its own."""

    configuration: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", str(self.configuration)])
        output, errors = self.capture.readouterr()
        return Answer(int(ended.value.code or 0), output, errors)

    def runs(self) -> list[tuple[str, str | None, str]]:
        """Job, billing period and status of every recorded run, oldest first."""
        with open_instance(load_settings(self.configuration)) as instance:
            runs = reversed(instance.get_runs())
            return [(run.job_name, run.tags.get("dagster/partition"), run.status.value) for run in runs]


@pytest.fixture
def apportion(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command with one bill of September 2026, no usage and no rules."""
    # Set first, so that what the command sets itself is undone afterwards.
    monkeypatch.setenv("DAGSTER_HOME", "")
    write_legacy(tmp_path / "september.csv", SEPTEMBER)
    configuration = tmp_path / "apportion.yaml"
    configuration.write_text(
        "lake: ./lake\nas_of: 2026-10-16T00:00:00\nbills:\n  - {name: aws, kind: aws-cur, files: [./september.csv]}\n"
    )
    return CommandLine(configuration, capsys)


def deliver_october(apportion: CommandLine, *lines: dict[str, object]) -> None:
    folder = apportion.configuration.parent
    write_legacy(folder / "october.csv", lines)
    text = apportion.configuration.read_text()
    apportion.configuration.write_text(text.replace("[./september.csv]", "[./september.csv, ./october.csv]"))


def steps(output: str) -> list[tuple[str, str]]:
    """Each step's name and what became of it, in alphabetical order within a period."""
    found = [
        re.fullmatch(r"  (\S+) +(?:([\d,]+ rows|refused|failed) +)?[\d.]+ s( +unchanged)?", t)
        for t in output.splitlines()
    ]
    return sorted((m[1], (m[2] or "done") + (", unchanged" if m[3] else "")) for m in found if m)


def test_one_bill_without_usage_and_rules_is_run_and_all_of_it_is_unallocated(apportion: CommandLine) -> None:
    answer = apportion("run", "--period", "2026-09")

    assert answer.exit_code == 0, answer.output + answer.errors
    assert steps(answer.output) == [
        ("allocation", "3 rows"),
        ("billing/charges", "3 rows, unchanged"),
        ("billing/charges/aws", "3 rows"),
        ("chargeback/monthly", "1 rows"),
        ("landing/aws", "done"),
        ("publish", "done"),
        ("quality/billed_to_effective", "1 rows"),
        ("quality/reconciliation", "1 rows"),
        ("showback/daily", "2 rows"),
        ("showback/unit_cost_amounts", "0 rows"),
        ("usage/deliveries", "0 rows, unchanged"),
        ("usage/gpu_hours", "0 rows, unchanged"),
        ("usage/tokens", "0 rows, unchanged"),
    ]
    assert apportion.runs() == [("nightly", "2026-09", "SUCCESS")]

    # 1.25 + 0.000000000000000001 of use, 0.07 of tax: 1.320000000000000001
    totals = "SELECT component, team, sum(EffectiveCost) AS cost FROM showback.daily GROUP BY ALL"
    assert apportion("sql", totals, "--csv") == Answer(
        0, "component,team,cost\nunallocated,,1.320000000000000001\n", ""
    )

    again = apportion("run", "--period", "2026-09")
    assert again.exit_code == 0
    assert {state for _, state in steps(again.output)} >= {"3 rows, unchanged", "done, unchanged"}
    assert not [step for step in steps(again.output) if "unchanged" not in step[1]]

    status = apportion("status")
    assert status.exit_code == 0
    assert re.search(r"2026-09 +current +3 +BilledCost \(USD\) 1\.320000000000000001 ", status.output)
    assert "SUCCESS".lower() in status.output

    published = apportion("publish")
    assert (published.exit_code, published.output.split(":")[0]) == (0, "unchanged")


def test_a_refused_month_stays_out_and_the_other_is_published(apportion: CommandLine) -> None:
    deliver_october(apportion, october("Usage", "2"), october("SomethingNew", "3"))

    answer = apportion("run", "--period", "2026-09..2026-10")

    assert answer.exit_code == 3
    assert ("billing/charges/aws", "refused") in steps(answer.output)
    assert "error: 2026-10: The delivery was refused." in answer.output
    assert "source aws, billing period 2026-10" in answer.output
    assert "Traceback" not in answer.output + answer.errors
    assert apportion.runs() == [
        ("nightly", "2026-09", "SUCCESS"),
        ("nightly", "2026-10", "FAILURE"),
        ("publish_ready_periods", "2026-10", "SUCCESS"),
    ]
    periods = apportion("sql", "SELECT DISTINCT billing_period FROM showback.daily", "--csv")
    assert periods.output == "billing_period\n2026-09\n"
    rejected = apportion(
        "sql", "SELECT line_item_type, count(*) FROM quality.rejected WHERE audit IS NULL GROUP BY ALL", "--csv"
    )
    assert rejected.output.splitlines()[1:] == ["SomethingNew,1"]
    status = apportion("status").output
    assert re.search(r"2026-09 +current ", status)
    assert re.search(r"2026-10 +stale, not published yet .*billing.charges has no accepted delivery of aws", status)


def test_readers_keep_the_figures_of_a_month_whose_correction_is_refused(apportion: CommandLine) -> None:
    assert apportion("run", "--period", "2026-09").exit_code == 0
    write_legacy(apportion.configuration.parent / "september.csv", [*SEPTEMBER, line("SomethingNew", "3")])

    assert apportion("run", "--period", "2026-09").exit_code == 3

    costs = apportion("sql", "SELECT sum(BilledCost) AS billed FROM showback.daily", "--csv")
    assert costs.output == "billed\n1.320000000000000001\n"
    assert re.search(r"2026-09 +stale, readers see its previous figures ", apportion("status").output)
    published = apportion("publish")
    assert published.exit_code == 4
    assert "1 billing period(s) were not published; readers keep their previous figures." in published.errors
    assert "what to do: apportion run --period 2026-09..2026-09" in published.errors
    assert apportion.runs() == [
        ("nightly", "2026-09", "SUCCESS"),
        ("nightly", "2026-09", "FAILURE"),
        ("publish_ready_periods", "2026-09", "FAILURE"),
    ]


def test_only_one_source_and_what_comes_of_it_is_run(apportion: CommandLine) -> None:
    answer = apportion("run", "--period", "2026-09", "--source", "aws")

    assert answer.exit_code == 0
    names = {name for name, _ in steps(answer.output)}
    assert {"landing/aws", "billing/charges/aws", "allocation", "publish"} <= names
    assert "usage/tokens" not in names


def test_an_interrupt_ends_the_command_with_130_and_the_run_as_failed(
    apportion: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        try:
            raise dg.DagsterExecutionInterruptedError
        except dg.DagsterExecutionInterruptedError as interrupt:
            # How DuckDB tells of an interrupt that came while it was at work.
            raise RuntimeError("Query interrupted") from interrupt

    monkeypatch.setattr(assets.landing, "pull", interrupted)

    answer = apportion("run", "--period", "2026-08..2026-09")

    assert answer.exit_code == 130
    assert answer.errors == "\ninterrupted: what was committed is whole; run again to build the rest\n"
    assert apportion.runs() == [("nightly", "2026-08", "FAILURE")]


def test_an_error_of_our_own_is_told_as_such_without_a_traceback(
    apportion: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(assets.landing, "pull", broken)

    answer = apportion("run", "--period", "2026-09")

    assert answer.exit_code == 1
    assert "error: Unexpected error in landing/aws: ZeroDivisionError: division by zero" in answer.output
    assert "Traceback" not in answer.output + answer.errors


@pytest.mark.parametrize("periods", ["2026-9", "2026-11", "2026-10..2026-08", "2019-12..2026-10", "yesterday"])
def test_periods_that_cannot_be_run_end_with_2(apportion: CommandLine, periods: str) -> None:
    answer = apportion("run", "--period", periods)

    assert answer.exit_code == 2
    assert answer.errors == (
        "error: The billing periods can't be run.\n"
        f"  where: --period {periods}\n"
        "  expected: a period such as 2026-10, or a range such as 2026-08..2026-10, within 2020-01..2026-10\n"
        "  what to do: the newest period is that of as_of in the configuration, or of today where as_of is empty\n"
    )


def test_an_unknown_source_ends_with_2_and_the_known_ones(apportion: CommandLine) -> None:
    answer = apportion("run", "--source", "gcp")

    assert answer.exit_code == 2
    assert "There is no source called gcp." in answer.errors
    assert "expected: aws" in answer.errors


@pytest.mark.parametrize("command", ["run", "status", "publish", "demo"])
def test_a_missing_configuration_ends_with_2(apportion: CommandLine, command: str) -> None:
    apportion.configuration.unlink()

    answer = apportion(command)

    assert answer.exit_code == 2
    assert answer.errors.startswith("error: The configuration file doesn't exist.\n")


def test_the_configuration_may_come_from_the_environment(
    apportion: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPORTION_CONFIG", str(apportion.configuration))

    with pytest.raises(SystemExit) as ended:
        main(["sql", "SELECT 1"])

    assert ended.value.code == 4
    assert "Nothing has been published yet." in apportion.capture.readouterr().err


def test_sql_says_what_is_wrong_with_a_query(apportion: CommandLine) -> None:
    assert apportion("publish").exit_code == 0

    wrong = apportion("sql", "SELECT * FROM nowhere")
    assert wrong.exit_code == 1
    assert "Table with name nowhere does not exist" in wrong.errors

    writing = apportion("sql", "CREATE TABLE mine (x INTEGER)")
    assert writing.exit_code == 1
    assert "read-only" in writing.errors


def test_sql_prints_numbers_in_plain_digits_and_null_as_a_dash(apportion: CommandLine) -> None:
    assert apportion("publish").exit_code == 0

    answer = apportion(
        "sql", "SELECT CAST('0.000000000000000001' AS DECIMAL(38,18)) AS tiny, NULL AS nothing, 'a' AS text"
    )

    assert answer.output.splitlines()[3].split() == ["0.000000000000000001", "–", "a"]
