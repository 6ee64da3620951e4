"""How one asset's step goes through its billing periods: each is tried, the good ones stay, the refused are named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from pipelines.config import Settings
from pipelines.errors import ApportionError, AuditFailed
from pipelines.lake.audits import AuditResult
from pipelines.lake.paths import partition_path
from pipelines.models.build import Built
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.orchestration.data_versions import version_tags
from pipelines.orchestration.figures import cost_totals
from pipelines.orchestration.resources import LAKE

ROWS = "dagster/partition_row_count"
UNCHANGED = "unchanged"
NOT_APPLICABLE = "not of this form of delivery"
EXIT_CODE = "exit_code"
REFUSED_PERIODS = "refused_periods"


@dataclass(frozen=True)
class Outcome:
    """What became of one asset in one billing period.

    ``version`` names its content, the same after every rebuild that changed nothing: by it Dagster tells what became stale.
    """

    metadata: Mapping[str, Any]
    version: str
    audits: Sequence[AuditResult] = field(default=())


Outcomes = Mapping[dg.AssetKey, Outcome]


def step(
    name: str,
    specs: Sequence[dg.AssetSpec],
    build: Callable[[str], Outcomes],
    *,
    checks: Sequence[dg.AssetCheckSpec] = (),
) -> dg.AssetsDefinition:
    """A step that makes the assets of ``specs``; ``build`` makes one billing period of them all.

    One run covers any range of periods. ``build`` raises ApportionError for a period that it refuses.
    """

    @dg.multi_asset(
        name=name,
        specs=specs,
        check_specs=checks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={LAKE},
    )
    def build_periods() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        # Asked for, not declared as a parameter: Dagster can't read the postponed annotation that it would carry.
        yield from _build_each(dg.AssetExecutionContext.get(), specs, checks, build)

    return build_periods


def table_outcome(settings: Settings, built: Built) -> Outcome:
    """A built table's rows, cost totals, audits, and the tokens of its partitions as its version."""
    contract = contracts()[built.table]
    lineage = Lineage(settings)
    wanted = [dict(partition) for partition in built.partitions]
    files = [file for file in lineage.files(built.table) if dict(file.partition) in wanted]
    totals = cost_totals(contract, [file.path for file in files])
    return Outcome(
        metadata={ROWS: built.rows, UNCHANGED: built.unchanged, **totals},
        version=version_of((partition_path(file.partition), file.token) for file in files),
        audits=built.audits,
    )


def version_of(parts: Iterable[tuple[str, str]]) -> str:
    """The version of what consists of these parts, each a name and the token of its content."""
    content = "\n".join(f"{name} {token}" for name, token in sorted(set(parts)))
    return hashlib.sha256(content.encode()).hexdigest()[:40]


def _build_each(
    context: dg.AssetExecutionContext,
    specs: Sequence[dg.AssetSpec],
    checks: Sequence[dg.AssetCheckSpec],
    build: Callable[[str], Outcomes],
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    done: dict[str, Outcomes] = {}
    refused: dict[str, ApportionError] = {}
    for period in context.partition_keys:
        try:
            done[period] = _uninterrupted(build, period)
        except ApportionError as error:
            context.log.error(f"{period}: {error}")
            refused[period] = error
    yield from _check_results(checks, done, refused)
    if refused:
        _record_good_periods(context, done)
        raise _failure(refused)
    for period, outcomes in done.items():
        for key, outcome in outcomes.items():
            context.add_asset_metadata(outcome.metadata, asset_key=key, partition_key=period)
    # Dagster gives all periods of a run the one version of its result.
    single = next(iter(done.values())) if len(done) == 1 else {}
    for spec in specs:
        yield dg.MaterializeResult(
            asset_key=spec.key, data_version=dg.DataVersion(single[spec.key].version) if single else None
        )
    if not single:
        _record_good_periods(context, done)


def _uninterrupted(build: Callable[[str], Outcomes], period: str) -> Outcomes:
    """Build a period; an interrupt ends the run, also when it arrives as an error of the library that was at work."""
    try:
        return build(period)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)):
                raise KeyboardInterrupt from error
            cause = cause.__cause__ or cause.__context__
        raise


def _check_results(
    checks: Sequence[dg.AssetCheckSpec], done: Mapping[str, Outcomes], refused: Mapping[str, ApportionError]
) -> Iterator[dg.AssetCheckResult]:
    """One result for each check over all periods; a check that a refused period never reached is left out."""
    audits: dict[tuple[dg.AssetKey, str], dict[str, AuditResult]] = {}
    for period, outcomes in done.items():
        for key, outcome in outcomes.items():
            for audit in outcome.audits:
                audits.setdefault((key, audit.audit), {})[period] = audit
    keys = {check.asset_key for check in checks}
    for period, error in refused.items():
        for audit in error.audits if isinstance(error, AuditFailed) else ():
            for key in keys:
                if _is_of_table(key, audit.table):
                    audits.setdefault((key, audit.audit), {})[period] = audit
    for check in checks:
        results = audits.get((check.asset_key, check.name), {})
        if results or not refused:
            yield _check_result(check, results, others_ran=any(key == check.asset_key for key, _ in audits))


def _is_of_table(key: dg.AssetKey, table: str) -> bool:
    """Whether an asset is a table or one source's part of it."""
    parts = table.split(".")
    return list(key.path[: len(parts)]) == parts


def _check_result(
    check: dg.AssetCheckSpec, results: Mapping[str, AuditResult], *, others_ran: bool
) -> dg.AssetCheckResult:
    failed = {period: audit for period, audit in results.items() if not audit.passed}
    warns = all(audit.severity == "warn" for audit in failed.values())
    metadata: dict[str, Any] = {
        f"{period}: {audit.failing_rows:,} row(s)": audit.message for period, audit in failed.items()
    }
    if not results:
        # Rows that are named by what they were made from passed when they were committed, and are the same rows. Where
        # the asset's other checks ran, this one is of another form of delivery: a native FOCUS export, or a kind's own.
        metadata = {NOT_APPLICABLE: True} if others_ran else {UNCHANGED: True}
    return dg.AssetCheckResult(
        passed=not failed,
        asset_key=check.asset_key,
        check_name=check.name,
        severity=dg.AssetCheckSeverity.WARN if failed and warns else dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def _record_good_periods(context: dg.AssetExecutionContext, done: Mapping[str, Outcomes]) -> None:
    """Record each period with a version of its own.

    In a step that fails these are the only records: it materialises nothing in Dagster's eyes, but the periods are
    committed. In one that went well over several periods they stand behind those of its result, and count.
    """
    for period, outcomes in done.items():
        for key, outcome in outcomes.items():
            context.log_event(
                dg.AssetMaterialization(
                    key,
                    partition=period,
                    metadata=dict(outcome.metadata),
                    tags=version_tags(context, key, outcome.version),
                )
            )


def _failure(refused: Mapping[str, ApportionError]) -> dg.Failure:
    return dg.Failure(
        "\n".join(f"{period}: {error}" for period, error in refused.items()),
        metadata={
            EXIT_CODE: max(error.exit_code for error in refused.values()),
            REFUSED_PERIODS: ", ".join(refused),
        },
        allow_retries=False,
    )
