"""The `apportion` command, from its arguments to its output and exit code, over bills of a few lines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

import assets.landing
from pipelines.cli import main
from pipelines.config import load_settings
from pipelines.orchestration.instance import open_instance
from tests.normalise.bills import line, write_cur2, write_legacy

REPOSITORY = Path(__file__).resolve().parents[1]
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


def test_a_month_that_no_bill_delivered_is_told(apportion: CommandLine) -> None:
    answer = apportion("run", "--period", "2026-08..2026-09")

    assert answer.exit_code == 0
    assert [line for line in answer.output.splitlines() if line.startswith("note:")] == [
        "note: no bill has a delivery for 2026-08; landed so far: aws has 2026-09"
    ]


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
        ("publish_ready_periods", "2026-10", "FAILURE"),
    ]
    periods = apportion("sql", "SELECT DISTINCT billing_period FROM showback.daily", "--csv")
    assert periods.output == "billing_period\n2026-09\n"
    rejected = apportion(
        "sql", "SELECT line_item_type, count(*) FROM quality.rejected WHERE audit IS NULL GROUP BY ALL", "--csv"
    )
    assert rejected.output.splitlines()[1:] == ["SomethingNew,1"]
    status = apportion("status").output
    assert re.search(r"2026-09 +current ", status)
    assert re.search(
        r"2026-10 +stale, not published yet .* failure .*billing.charges has no accepted delivery of aws", status
    )


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
    assert (
        "what to do: settle what the reasons name (a delivery to mend, a source to leave out), then "
        "apportion run --period 2026-09..2026-09\n"
    ) in published.errors
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


@pytest.mark.parametrize("form", [[], ["--csv"]])
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT CAST('a' AS INTEGER)", "Could not convert string 'a' to INT32"),
        ("SELECT * FROM range(3) WHERE error('no such hour')", "no such hour"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_a_query_that_fails_while_it_is_parsed_or_fetched_is_told_without_a_traceback(
    apportion: CommandLine, query: str, problem: str, form: list[str]
) -> None:
    assert apportion("publish").exit_code == 0

    answer = apportion("sql", query, *form)

    assert (answer.exit_code, answer.output) == (1, "")
    assert problem in answer.errors


def test_several_statements_are_refused_and_a_pivot_is_one(apportion: CommandLine) -> None:
    assert apportion("publish").exit_code == 0

    several = apportion("sql", "SELECT 1; SELECT 2;")
    assert (several.exit_code, several.output) == (2, "")
    assert "Give one statement, not 2: only one result can be printed." in several.errors

    assert apportion("sql", "SELECT ';' AS text; -- the end", "--csv") == Answer(0, "text\n;\n", "")
    pivot = "PIVOT (SELECT 'a' AS team, 2 AS cost) ON team USING sum(cost)"
    assert apportion("sql", pivot, "--csv") == Answer(0, "a\n2\n", "")


def test_a_row_is_one_line_where_the_output_is_no_terminal(apportion: CommandLine) -> None:
    assert apportion("publish").exit_code == 0
    columns = ", ".join(f"repeat('{number % 10}', 60) AS column_{number}" for number in range(100))

    lines = apportion("sql", f"SELECT {columns}, 'two' || chr(10) || 'lines' AS text FROM range(3)").output.splitlines()

    filled = [text.split() for text in lines if text.strip()]
    assert len(filled) == 5  # heading, rule, three rows
    assert filled[0] == [*(f"column_{number}" for number in range(100)), "text"]
    assert filled[2:] == [[*(str(number % 10) * 60 for number in range(100)), r"two\nlines"]] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["sql", "--csv", "SELECT i, repeat('x', 100) AS text FROM range(100000) AS numbers(i)"],
        ["sql", "SELECT i, repeat('x', 5000) AS text FROM range(200) AS numbers(i)"],
        ["status"],
    ],
)
def test_a_reader_that_leaves_is_no_failure(apportion: CommandLine, arguments: list[str]) -> None:
    assert apportion("publish").exit_code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *arguments, "--config", str(apportion.configuration)],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None

    process.stdout.readline()
    process.stdout.close()

    with process.stderr as errors:
        assert (errors.read(), process.wait()) == (b"", 0)


def deliver_export(apportion: CommandLine, execution: str, *file_names: str) -> Path:
    """An export of September with an execution that names these files; returns the execution's folder of data."""
    folder = apportion.configuration.parent / "exports" / "cur"
    data = folder / "data" / "BILLING_PERIOD=2026-09" / execution
    data.mkdir(parents=True)
    manifest = folder / "metadata" / "BILLING_PERIOD=2026-09" / execution / "cur-Manifest.json"
    manifest.parent.mkdir(parents=True)
    keys = [f"s3://bucket/exports/cur/data/BILLING_PERIOD=2026-09/{execution}/{name}" for name in file_names]
    manifest.write_text(json.dumps({"dataFiles": keys}))
    text = apportion.configuration.read_text()
    apportion.configuration.write_text(text.replace("files: [./september.csv]", "location: ./exports/cur"))
    return data


def test_a_period_is_stale_while_landing_refuses_its_newest_delivery(apportion: CommandLine) -> None:
    first = deliver_export(apportion, "2026-09-20T04:00:00.000Z-1", "1.parquet")
    write_cur2(first / "1.parquet", SEPTEMBER)
    assert apportion("run", "--period", "2026-09").exit_code == 0
    assert re.search(r"2026-09 +current .* success 20", apportion("status").output)

    second = deliver_export(apportion, "2026-09-21T04:00:00.000Z-2", "1.parquet", "2.parquet")
    write_cur2(second / "1.parquet", SEPTEMBER)
    refused = apportion("run", "--period", "2026-09")
    assert refused.exit_code == 3
    assert ("landing/aws", "refused") in steps(refused.output)
    assert re.search(
        r"2026-09 +stale, readers see its previous figures .* failure 20.*"
        r"landing refused the newest delivery of aws: ",
        apportion("status").output,
    )
    costs = apportion("sql", "SELECT sum(BilledCost) AS billed FROM showback.daily", "--csv")
    assert costs.output == "billed\n1.320000000000000001\n"

    write_cur2(second / "2.parquet", [line("Usage", "2")])
    assert apportion("run", "--period", "2026-09").exit_code == 0
    assert re.search(r"2026-09 +current .* success 20", apportion("status").output)
    # 1.320000000000000001 as before, and 2 of the second file
    costs = apportion("sql", "SELECT sum(BilledCost) AS billed FROM showback.daily", "--csv")
    assert costs.output == "billed\n3.320000000000000001\n"


def test_rules_that_cannot_be_used_end_with_2_before_the_first_step(apportion: CommandLine) -> None:
    rules = apportion.configuration.parent / "allocation_rules"
    rules.mkdir()
    (rules / "broken.yaml").write_text("rule: broken\npriority: first\n")
    apportion.configuration.write_text(f"{apportion.configuration.read_text()}rules: ./allocation_rules\n")

    answer = apportion("run", "--period", "2026-09")

    assert answer.exit_code == 2
    assert "broken.yaml" in answer.errors
    assert steps(answer.output) == []
    assert apportion.runs() == []
    assert not (apportion.configuration.parent / "lake" / "landing").exists()


def test_a_bill_under_two_names_is_refused_until_a_claim_says_whose_it_is(apportion: CommandLine) -> None:
    text = apportion.configuration.read_text()
    apportion.configuration.write_text(f"{text}  - {{name: again, kind: aws-cur, files: [./september.csv]}}\n")

    answer = apportion("run", "--period", "2026-09")

    assert answer.exit_code == 4
    told = " ".join(answer.output.split())
    assert "are billed by both again and aws: name under claims in the configuration which of them brings" in told
    assert "then apportion run --period 2026-09" in told

    apportion.configuration.write_text(
        f"{apportion.configuration.read_text()}claims:\n  - {{source: aws, billing_account: '012345678901'}}\n"
    )
    assert apportion("run", "--period", "2026-09").exit_code == 0
    counted = apportion(
        "sql",
        "SELECT source_name, rows_delivered, rows_mapped, rows_claimed, rows_charges, difference_rows, billed_control, "
        "billed_claimed, billed_charges, difference_billed_charges FROM quality.reconciliation ORDER BY source_name",
        "--csv",
    )
    # 1.25 + 0.000000000000000001 + 0.07, once
    whole, none = "1.320000000000000001", "0"
    assert counted.output.splitlines()[1:] == [
        f"again,3,0,3,0,0,{whole},{whole},{none},{none}",
        f"aws,3,3,0,3,0,{whole},{none},{whole},{none}",
    ]
    costs = apportion("sql", "SELECT sum(BilledCost) AS billed FROM showback.daily", "--csv")
    assert costs.output == f"billed\n{whole}\n"


def test_rows_left_out_for_a_claim_without_a_bill_are_not_lost_silently(apportion: CommandLine) -> None:
    apportion.configuration.write_text(
        f"{apportion.configuration.read_text()}  - {{name: again, kind: aws-cur, files: [./october.csv]}}\n"
        "claims:\n  - {source: again, billing_account: '012345678901'}\n"
    )
    write_legacy(apportion.configuration.parent / "october.csv", [october("Usage", "1")])

    answer = apportion("run", "--period", "2026-09")

    assert answer.exit_code == 4
    told = " ".join(answer.output.split())
    assert re.search(
        r"again claims account 012345678901 but has no bill of \d account\(s\) of it.* for 2026-09, while 3 row\(s\) of aws were",
        told,
    )


def test_a_claim_of_one_sub_account_counts_before_one_of_the_whole_account(apportion: CommandLine) -> None:
    folder = apportion.configuration.parent
    write_legacy(folder / "september.csv", [*SEPTEMBER, line("Usage", "5", line_item_usage_account_id="000000000077")])
    write_legacy(folder / "member.csv", [line("Usage", "5", line_item_usage_account_id="000000000077")])
    apportion.configuration.write_text(
        f"{apportion.configuration.read_text()}  - {{name: member, kind: aws-cur, files: [./member.csv]}}\n"
        "claims:\n  - {source: aws, billing_account: '012345678901'}\n"
        "  - {source: member, billing_account: '012345678901', sub_account: '000000000077'}\n"
    )

    assert apportion("run", "--period", "2026-09").exit_code == 0

    # 1.25 + 0.000000000000000001 + 0.07 of the payer and 5 of the member, each once
    costs = apportion("sql", "SELECT sum(BilledCost) AS billed FROM showback.daily", "--csv")
    assert costs.output == "billed\n6.320000000000000001\n"
    left_out = apportion(
        "sql", "SELECT source_name, SubAccountId, claimed_by, rows_claimed, BilledCost FROM quality.claimed", "--csv"
    )
    assert left_out.output.splitlines()[1:] == ["aws,000000000077,member,1,5"]
