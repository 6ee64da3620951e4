"""`apportion run` without a period: every source is looked at, and what has a reason is run. Imports no more than it needs."""

from __future__ import annotations

import time

from rich.console import Console

from pipelines.config import Settings
from pipelines.errors import gravest
from pipelines.lake.paths import Lake
from pipelines.models.night import periods_to_run
from pipelines.orchestration.nights import never_pulled, not_looked_at, nothing_changed, open_periods
from pipelines.orchestration.runs import any_abandoned


def run_night(settings: Settings, *, verbose: bool) -> int:
    """Run the billing periods that have a reason, and tell it; or tell in a line that nothing changed.

    Returns the exit code that tells most: of the runs, and of the sources that couldn't be looked at. Raises RuleError for
    rules that can't be used.
    """
    begun = time.monotonic()
    console = Console(highlight=False, soft_wrap=True)
    night = periods_to_run(settings, open_periods(settings.now()))
    exit_code = 0
    if night.reasons or any_abandoned(Lake(settings.lake)):
        from pipelines.cli_run import run_periods

        reasons = {period: "; ".join(reasons) for period, reasons in night.reasons.items()}
        exit_code = run_periods(settings, reasons, not_landed=night.refused, verbose=verbose)
    if not night.reasons:
        console.print(f"{nothing_changed(night)} in {time.monotonic() - begun:.1f} s")
    if night.never_pulled:
        console.print(never_pulled(night), style="yellow", markup=False)
    for problem in not_looked_at(night):
        console.print(f"error: {problem}", style="red", markup=False)
    return gravest([exit_code, *(problem.exit_code for problem in night.refused.values())])
