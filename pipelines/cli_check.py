"""`apportion check`: what works, what is missing, and how to grant it."""

from __future__ import annotations

from rich.console import Console

from pipelines.config import Settings
from pipelines.errors import ConfigurationError, gravest
from pipelines.models.trial import Trial, try_configuration, try_sources

_STYLES = {"works": "green", "warning": "yellow", "missing": "red"}
_STATE_WIDTH = max(map(len, _STYLES))


def check(settings: Settings, source_name: str | None) -> int:
    """Try everything, or one source, print what was found, and return the exit code that tells most.

    Raises ConfigurationError for a source that isn't configured.
    """
    sources = [source for source in (*settings.bills, *settings.usage) if source_name in (None, source.name)]
    if source_name and not sources:
        known = ", ".join(source.name for source in (*settings.bills, *settings.usage))
        raise ConfigurationError(f"There is no source called {source_name}.", where=str(settings.file), expected=known)
    console = Console(highlight=False, soft_wrap=True)
    trials = []
    if source_name is None:
        trials += [_told(console, trial) for trial in try_configuration(settings)]
    of_sources = [_told(console, trial) for trial in try_sources(sources)]
    failed = [trial.name for trial in of_sources if trial.exit_code]
    if failed:
        told = f"error: {len(failed)} of {len(of_sources)} source(s) can't be read: {', '.join(failed)}"
        console.print(told, style="red", markup=False)
    elif of_sources:
        console.print(f"{len(of_sources)} source(s) can be read")
    return gravest(trial.exit_code for trial in (*trials, *of_sources))


def _told(console: Console, trial: Trial) -> Trial:
    console.print(f"{trial.name}  {trial.kind}", style="bold", markup=False)
    for finding in trial.findings:
        console.print(f"  {finding.state:<{_STATE_WIDTH}}", style=_STYLES[finding.state], end="")
        # What a service says may have lines of its own.
        console.print(f"  {finding.subject}: {' '.join(finding.detail.split())}", markup=False)
        if finding.remedy:
            console.print(f"  {'':<{_STATE_WIDTH}}  -> {' '.join(finding.remedy.split())}", markup=False)
    return trial
