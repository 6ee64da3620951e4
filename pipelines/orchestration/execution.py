"""Runs the assets in this process, one Dagster run for each billing period, as the command line does."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg

from pipelines.config import Settings
from pipelines.errors import ApportionError, ConfigurationError, gravest
from pipelines.lake.paths import Lake
from pipelines.orchestration.instance import CODE_LOCATION
from pipelines.orchestration.jobs import NIGHTLY, PUBLISH
from pipelines.orchestration.partitions import billing_periods
from pipelines.orchestration.runs import hold_run, release_run
from pipelines.orchestration.specs import landing_key
from pipelines.orchestration.steps import EXIT_CODE, ROWS, UNCHANGED

State = Literal["started", "done", "unchanged", "refused", "failed"]

# The daemon retries killed runs of its own; whoever runs the command line sees it end. The user interface finds a job's
# runs by the second tag.
_TAGS = {"dagster/max_retries": "0", ".dagster/repository": f"__repository__@{CODE_LOCATION}"}
_UNEXPECTED = 1
_INTERRUPTS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")


@dataclass(frozen=True)
class StepReport:
    """A step that began or ended. ``rows``: of its largest table; None for a step that makes no table."""

    name: str
    state: State
    rows: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class RunReport:
    """How a billing period's run ended; ``exit_code`` is 0 when everything was built and published."""

    period: str
    run_id: str
    exit_code: int
    problems: tuple[str, ...]
    reached_publishing: bool


class Runner:
    """Runs billing periods one after another; the definitions are resolved once."""

    def __init__(
        self, definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance, *, verbose: bool
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._verbose = verbose
        self._nightly = definitions.resolve_job_def(NIGHTLY)
        self._publish = definitions.resolve_job_def(PUBLISH)
        self._graph = definitions.resolve_asset_graph()
        self._names = {
            part.op.name: _common_name(part.keys)
            for part in definitions.assets or ()
            if isinstance(part, dg.AssetsDefinition)
        }

    def everything(self, *, but_landing: Iterable[str] = ()) -> list[dg.AssetKey]:
        """Every asset. Sources that can't be reached may be left out of landing: what landed of them before stands."""
        return sorted(self._graph.materializable_asset_keys - {landing_key(name) for name in but_landing})

    def from_source(self, source_name: str) -> list[dg.AssetKey]:
        """A source's landing and everything that comes of it."""
        selection = dg.AssetSelection.assets(landing_key(source_name)).downstream()
        return sorted(selection.resolve(self._graph))

    def run(self, period: str, on_step: Callable[[StepReport], None], selection: Sequence[dg.AssetKey]) -> RunReport:
        """Run the assets of ``selection`` for a billing period.

        A run that fails before it could publish is followed by one that only publishes, so that readers see the period
        marked stale; the report is of the first. Raises KeyboardInterrupt when the run was interrupted.
        """
        report = self._execute(self._nightly, period, on_step, selection)
        if report.exit_code and not report.reached_publishing:
            self._execute(self._publish, period, on_step, [dg.AssetKey("publish")])
        return report

    def _execute(
        self,
        job: dg.JobDefinition,
        period: str,
        on_step: Callable[[StepReport], None],
        selection: Sequence[dg.AssetKey],
    ) -> RunReport:
        run_id = str(uuid.uuid4())
        hold_run(Lake(self._settings.lake), run_id)
        progress = _Progress(self._names, on_step)
        self._instance.add_event_listener(run_id, progress)
        result = job.execute_in_process(
            instance=self._instance,
            partition_key=period,
            run_id=run_id,
            # Named one by one also when it is all of them: automation leaves to a run what the run says it will make.
            asset_selection=list(selection),
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "INFO" if self._verbose else "CRITICAL"}}}},
            tags=_TAGS,
        )
        release_run(Lake(self._settings.lake), run_id)
        failures = [event for event in result.all_events if event.is_step_failure or event.is_run_failure]
        if any(_is_interrupt(event) for event in failures):
            raise KeyboardInterrupt
        told = [problem for event in failures if (problem := _problem(event, self._names)) is not None]
        if not result.success and not told:
            told = [(_UNEXPECTED, f"run {run_id} failed without saying why")]
        return RunReport(
            period=period,
            run_id=run_id,
            exit_code=gravest(code for code, _ in told),
            problems=tuple(dict.fromkeys(text for _, text in told)),
            reached_publishing=progress.reached("publish"),
        )


def expand_periods(settings: Settings, text: str) -> list[str]:
    """``2026-08..2026-10`` as a list.

    Raises ConfigurationError for a period that isn't one or that the lake doesn't hold.
    """
    keys = billing_periods(settings).get_partition_keys()
    first, _, last = text.partition("..")
    last = last or first
    if first not in keys or last not in keys or first > last:
        raise ConfigurationError(
            "The billing periods can't be run.",
            where=f"--period {text}",
            expected=f"a period such as {keys[-1]}, or a range such as {keys[-3]}..{keys[-1]}, within {keys[0]}..{keys[-1]}",
            remedy="the newest period is that of as_of in the configuration, or of today where as_of is empty",
        )
    return list(keys[keys.index(first) : keys.index(last) + 1])


class _Progress:
    """Turns a run's events into step reports."""

    def __init__(self, names: Mapping[str, str], on_step: Callable[[StepReport], None]) -> None:
        self._names = names
        self._on_step = on_step
        self._rows: dict[str, int] = {}
        self._unchanged: dict[str, bool] = {}
        self._started: dict[str, float] = {}

    def __call__(self, entry: dg.EventLogEntry) -> None:
        event, step = entry.dagster_event, entry.step_key
        if event is None or step is None:
            return
        if event.is_step_materialization:
            self._materialised(step, event.materialization.metadata)
        elif event.is_step_start:
            self._started[step] = entry.timestamp
            self._on_step(StepReport(self._names[step], "started"))
        elif event.is_step_success:
            self._ended(entry, step, "unchanged" if self._unchanged.get(step) else "done")
        elif event.is_step_failure:
            told = event.step_failure_data.user_failure_data
            self._ended(entry, step, "refused" if told and EXIT_CODE in told.metadata else "failed")

    def reached(self, name: str) -> bool:
        """Whether the step of that name began."""
        return any(self._names[step] == name for step in self._started)

    def _materialised(self, step: str, metadata: Mapping[str, dg.MetadataValue[Any]]) -> None:
        if ROWS in metadata:
            self._rows[step] = max(self._rows.get(step, 0), int(metadata[ROWS].value))
        if UNCHANGED in metadata:
            self._unchanged[step] = self._unchanged.get(step, True) and bool(metadata[UNCHANGED].value)

    def _ended(self, entry: dg.EventLogEntry, step: str, state: State) -> None:
        seconds = entry.timestamp - self._started.get(step, entry.timestamp)
        self._on_step(StepReport(self._names[step], state, self._rows.get(step), seconds))


def _common_name(keys: Iterable[dg.AssetKey]) -> str:
    """``landing/aws`` for a step that makes one asset; their group, ``allocation``, for one that makes several."""
    paths = [key.path for key in keys]
    return "/".join(paths[0]) if len(paths) == 1 else paths[0][0]


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error if event.is_step_failure else event.job_failure_data.error
    return error is not None and error.cls_name in _INTERRUPTS


def _problem(event: dg.DagsterEvent, names: Mapping[str, str]) -> tuple[int, str] | None:
    """Exit code and text of a failure; None for a run's failure that only repeats its step's."""
    if event.is_step_failure:
        data = event.step_failure_data
        told = data.user_failure_data
        if told is not None and EXIT_CODE in told.metadata:
            return int(str(told.metadata[EXIT_CODE].value)), told.description or ""
        error = data.error
    else:
        failure = event.job_failure_data
        if failure.error is None or failure.first_step_failure_event is not None:
            return None
        error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    kinds: tuple[type[ApportionError], ...] = (ApportionError, *ApportionError.__subclasses__())
    known = {kind.__name__: kind.exit_code for kind in kinds}
    name = (error.cls_name or "") if error else ""
    text = error.message.strip() if error else "unknown error"
    if name in known:
        return known[name], text.removeprefix(f"pipelines.errors.{name}: ")
    where = f" in {names[event.step_key]}" if event.step_key else ""
    return _UNEXPECTED, f"Unexpected error{where}: {text}\n  what to do: run again with --verbose and report it"
