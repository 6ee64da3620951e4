"""Publishing by period: only this changes what analysts see (DESIGN.md, *Publish by period*)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.lake.database import literal
from pipelines.lake.landing import clear_pending
from pipelines.lake.locks import exclusive
from pipelines.lake.paths import Lake
from pipelines.lake.publishing import (
    Publication,
    PublishedPeriod,
    newest_publication,
    next_number,
    relative_names,
    swap_in,
)
from pipelines.lake.retention import remove_unreferenced
from pipelines.lake.tables import commit, stage, table_files
from pipelines.models.build import Workspace, workspace
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage, build_token
from pipelines.models.periods import PeriodState, known_periods, period_state

_HISTORY = "quality.published"
_DICTIONARY = "quality.dictionary"


@dataclass(frozen=True)
class Published:
    """The outcome: the publication in force, whether it is new, and the stale periods with their reasons."""

    publication: Publication
    is_new: bool

    @property
    def stale(self) -> dict[str, tuple[str, ...]]:
        """The periods that kept their previous files, with what is out of step."""
        return {p: entry.reasons for p, entry in self.publication.periods.items() if entry.state == "stale"}


def publish(lineage: Lineage) -> Published:
    """Publish every billing period that is ready; one that isn't keeps its previous files and is marked stale."""
    lake = lineage.lake
    with exclusive(lake.locks / "publish.lock"), workspace(lake) as space:
        _commit_dictionary(lineage, space)
        states = [period_state(space.connection, lineage, period) for period in known_periods(lineage)]
        previous = newest_publication(lake)
        candidate = _candidate(lineage, previous, states, f"{next_number(lake):06d}")
        if previous and _shown(candidate) == _shown(previous):
            _clear_pending(lake, states)
            return Published(previous, is_new=False)
        _commit_history(lineage, space, candidate)
        publication = Publication(candidate.name, candidate.periods, _newest_files(lineage))
        swap_in(lake, publication)
        _clear_pending(lake, states)
        remove_unreferenced(lake, datetime.now(UTC))
    return Published(publication, is_new=True)


def _candidate(lineage: Lineage, previous: Publication | None, states: list[PeriodState], number: str) -> Publication:
    periods = dict(previous.periods) if previous else {}
    for state in states:
        before = periods.get(state.period)
        if state.is_ready:
            tables = {
                table: relative_names(lineage.lake, [f.path for f in files]) for table, files in state.files.items()
            }
            rows = {table: sum(file.rows for file in files) for table, files in state.files.items()}
            unchanged = before is not None and before.state == "current" and dict(before.tables) == tables
            since = before.since if before and unchanged else number
            periods[state.period] = PublishedPeriod("current", since, (), tables, rows)
        elif before:
            periods[state.period] = PublishedPeriod("stale", before.since, state.problems, before.tables, before.rows)
        else:
            periods[state.period] = PublishedPeriod("stale", number, state.problems, {}, {})
    candidate = Publication(number, dict(sorted(periods.items())), _newest_files(lineage))
    return Publication(f"{number}-{candidate.fingerprint}", candidate.periods, candidate.newest)


def _clear_pending(lake: Lake, states: list[PeriodState]) -> None:
    for state in states:
        if state.is_ready:
            clear_pending(lake, state.period)


def _shown(publication: Publication) -> Any:
    """What readers would notice; the history of publications alone is no reason for another."""
    periods = {p: (v.state, v.reasons, dict(v.tables)) for p, v in publication.periods.items()}
    return periods, {table: files for table, files in publication.newest.items() if table != _HISTORY}


def _newest_files(lineage: Lineage) -> dict[str, tuple[str, ...]]:
    return {
        contract.table: relative_names(lineage.lake, [file.path for file in table_files(lineage.lake, contract)])
        for contract in contracts().values()
        if contract.kind == "table" and contract.publication == "newest"
    }


def _commit_history(lineage: Lineage, space: Workspace, publication: Publication) -> None:
    """Add the publication to our own history, a row for each period and table."""
    published_at = f"TIMESTAMP '{datetime.now(UTC):%Y-%m-%d %H:%M:%S}'"
    rows = [
        f"({published_at}, {literal(period)}, {literal(table)}, {literal(entry.state)}, {literal(entry.since)}, {len(files)}, "
        f"{entry.rows.get(table, 0)}, {literal(json.dumps(files))}, {literal('; '.join(entry.reasons))})"
        for period, entry in publication.periods.items()
        for table, files in (entry.tables or {"": ()}).items()
    ]
    columns = "published_at, billing_period, table_name, state, since, files, rows, file_list, reason"
    select = (
        f"SELECT * FROM (VALUES {', '.join(rows)}) AS history ({columns})"
        if rows
        else f"SELECT {', '.join(f'NULL AS {c}' for c in columns.split(', '))} WHERE false"
    )
    _commit_record(lineage, space, _HISTORY, {"publication": publication.name}, select)


def _commit_dictionary(lineage: Lineage, space: Workspace) -> None:
    """The data dictionary, made from the contracts: a row for each column of each table and view."""
    rows = ", ".join(
        "("
        + ", ".join(
            [
                literal(contract.table),
                literal(contract.kind),
                literal(contract.description),
                str(position),
                literal(column.name),
                literal(column.type),
                literal(column.unit) if column.unit else "NULL",
                str(column.nullable).lower(),
                str(column.name in contract.grain).lower(),
                literal(column.meaning),
            ]
        )
        + ")"
        for contract in contracts().values()
        for position, column in enumerate((*contract.columns, *contract.computed_columns), start=1)
    )
    columns = (
        "table_name, table_kind, table_description, position, column_name, type, unit, nullable, in_grain, meaning"
    )
    _commit_record(lineage, space, _DICTIONARY, {}, f"SELECT * FROM (VALUES {rows}) AS dictionary ({columns})")


def _commit_record(lineage: Lineage, space: Workspace, table: str, partition: Mapping[str, str], select: str) -> None:
    contract = contracts()[table]
    token = build_token(contract, partition, {})
    current = next((f for f in table_files(lineage.lake, contract) if f.partition == partition), None)
    if current and current.token == token:
        return
    commit(
        lineage.lake,
        contract,
        [stage(space.connection, select, contract, partition, token=token, inputs={}, folder=space.folder)],
    )
