"""`apportion run`: the assets, run in this process with a line for each step."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import dagster as dg
from rich.console import Console
from rich.markup import escape

from pipelines.allocation.rules import load_rule_set
from pipelines.config import Settings
from pipelines.definitions import definitions
from pipelines.errors import gravest
from pipelines.lake.landing import landed_periods
from pipelines.lake.paths import Lake
from pipelines.orchestration.execution import Runner, RunReport, StepReport, expand_periods
from pipelines.orchestration.instance import open_instance
from pipelines.orchestration.runs import mark_dead_runs

_NAME_WIDTH = 36


def run_asked_for(settings: Settings, periods: str, source_name: str | None, *, verbose: bool) -> int:
    """Run a range of billing periods such as ``2026-08..2026-10``, or what comes of one source in it.

    Raises, before any step, ConfigurationError for periods that can't be run and RuleError for rules that can't be used.
    """
    wanted = expand_periods(settings, periods)
    exit_code = run_periods(settings, dict.fromkeys(wanted, ""), source_name=source_name, verbose=verbose)
    _tell_periods_without_a_bill(settings, wanted)
    return exit_code


def run_periods(
    settings: Settings,
    periods: Mapping[str, str],
    *,
    source_name: str | None = None,
    not_landed: Collection[str] = (),
    verbose: bool,
) -> int:
    """Run billing periods, each with the reason for it, one after another; returns the exit code that tells most of theirs.

    With ``source_name`` only what comes of that source; sources of ``not_landed`` are left as they landed before. Raises
    RuleError, before any step, for rules that can't be used.
    """
    console = Console(highlight=False)
    if not verbose:
        logging.getLogger("dagster").setLevel(logging.CRITICAL)
    if settings.rules is not None:
        load_rule_set(settings.rules)
    with open_instance(settings) as instance:
        for run_id in mark_dead_runs(instance, Lake(settings.lake)):
            console.print(f"[yellow]run {run_id} was killed before it finished; marked as failed[/]")
        runner = Runner(definitions(settings), settings, instance, verbose=verbose)
        selection = runner.from_source(source_name) if source_name else runner.everything(but_landing=not_landed)
        reports = [_run_period(console, runner, period, why, selection) for period, why in periods.items()]
    return gravest(report.exit_code for report in reports)


def _tell_periods_without_a_bill(settings: Settings, periods: Sequence[str]) -> None:
    """An empty month is no failure, but somebody may have asked for the wrong one."""
    console = Console(highlight=False)
    landed = {bill.name: landed_periods(Lake(settings.lake), bill.name) for bill in settings.bills}
    for period in periods:
        if settings.bills and not any(period in of_bill for of_bill in landed.values()):
            held = "; ".join(f"{name} has {', '.join(of_bill) or 'none'}" for name, of_bill in landed.items())
            console.print(
                f"note: no bill has a delivery for {period}; landed so far: {held}", style="yellow", markup=False
            )


def _run_period(
    console: Console, runner: Runner, period: str, reason: str, selection: Sequence[dg.AssetKey]
) -> RunReport:
    console.print(f"[bold]{period}[/]  {escape(reason)}" if reason else f"[bold]{period}[/]")
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
