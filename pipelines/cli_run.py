"""`apportion run`: the assets, run in this process with a line for each step."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import dagster as dg
from rich.console import Console

from pipelines.allocation.rules import load_rule_set
from pipelines.config import Settings
from pipelines.definitions import definitions
from pipelines.lake.landing import landed_periods
from pipelines.lake.paths import Lake
from pipelines.orchestration.execution import Runner, RunReport, StepReport, expand_periods, gravest
from pipelines.orchestration.instance import open_instance
from pipelines.orchestration.runs import mark_dead_runs

_NAME_WIDTH = 36


def run_periods(settings: Settings, periods: str | None, source_name: str | None, *, verbose: bool) -> int:
    """Run billing periods one after another; returns the exit code that tells most of theirs.

    Raises, before any step, ConfigurationError for periods that can't be run and RuleError for rules that can't be used.
    """
    console = Console(highlight=False)
    if not verbose:
        logging.getLogger("dagster").setLevel(logging.CRITICAL)
    wanted = expand_periods(settings, periods)
    if settings.rules is not None:
        load_rule_set(settings.rules)
    with open_instance(settings) as instance:
        for run_id in mark_dead_runs(instance, Lake(settings.lake)):
            console.print(f"[yellow]run {run_id} was killed before it finished; marked as failed[/]")
        runner = Runner(definitions(settings), settings, instance, verbose=verbose)
        selection = runner.from_source(source_name) if source_name else None
        reports = [_run_period(console, runner, period, selection) for period in wanted]
    _tell_periods_without_a_bill(console, settings, wanted)
    return gravest(report.exit_code for report in reports)


def _tell_periods_without_a_bill(console: Console, settings: Settings, periods: Sequence[str]) -> None:
    """An empty month is no failure, but somebody may have asked for the wrong one."""
    landed = {bill.name: landed_periods(Lake(settings.lake), bill.name) for bill in settings.bills}
    for period in periods:
        if settings.bills and not any(period in of_bill for of_bill in landed.values()):
            held = "; ".join(f"{name} has {', '.join(of_bill) or 'none'}" for name, of_bill in landed.items())
            console.print(
                f"note: no bill has a delivery for {period}; landed so far: {held}", style="yellow", markup=False
            )


def _run_period(console: Console, runner: Runner, period: str, selection: Sequence[dg.AssetKey] | None) -> RunReport:
    console.print(f"[bold]{period}[/]")
    with console.status("") as running:

        def show(step: StepReport) -> None:
            if step.state == "started":
                running.update(f"{step.name} …")
            else:
                console.print(_line(step))

        report = runner.run(period, show, selection)
    for problem in report.problems:
        console.print(f"error: {problem}", style="red", markup=False)
    return report


def _line(step: StepReport) -> str:
    name = f"  {step.name:<{_NAME_WIDTH}}"
    rows = f"{step.rows:>12,} rows" if step.rows is not None else " " * 17
    if step.state in ("refused", "failed"):
        return f"[red]{name} {step.state:>17} {step.seconds:>7.1f} s[/]"
    unchanged = "  [dim]unchanged[/]" if step.state == "unchanged" else ""
    return f"{name} {rows} {step.seconds:>7.1f} s{unchanged}"
