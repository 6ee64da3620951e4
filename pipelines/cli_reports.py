"""What the command line prints: rows, and the state of the lake."""

from __future__ import annotations

import csv
import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import duckdb
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from pipelines.config import Settings
from pipelines.errors import PublicationError
from pipelines.lake.paths import Lake
from pipelines.lake.publishing import newest_publication
from pipelines.models.build import workspace
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.normalisation import plain
from pipelines.models.periods import known_periods, period_state
from pipelines.orchestration.figures import cost_totals

SHOWN_ROWS = 200
# A pipe or a file has no width of its own: there a row is a line, however long.
_WIDTH_OF_A_FILE = 1_000_000_000
_NEVER_BROKEN = 20


class ReportConsole(Console):
    """A console that leaves it to its caller what to do when the reader is gone; rich ends the process with 1."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, which the write that failed had raised."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print for a reader who may stop reading, as ``| head`` does: the rest is dropped, and that is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is buffered would otherwise be flushed to the reader when Python exits, and fail there.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def count_statements(connection: duckdb.DuckDBPyConnection, text: str) -> int:
    """How many statements the text has. Raises duckdb.Error for one that can't be parsed."""
    # DuckDB puts a statement of its own, which has no text, before a PIVOT.
    return sum(
        bool(statement.query) or statement.type != duckdb.StatementType.CREATE
        for statement in connection.extract_statements(text)
    )


@contextmanager
def open_published(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published tables, read-only and in UTC. Raises PublicationError before anything was published."""
    file = Lake(settings.lake).analysts_file
    if not file.exists():
        raise PublicationError("Nothing has been published yet.", where=str(file), remedy="apportion run")
    connection = duckdb.connect(str(file), read_only=True)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET default_collation = 'binary'")
        yield connection
    finally:
        connection.close()


def print_rows(relation: duckdb.DuckDBPyRelation) -> None:
    """Print the first rows as a table; on a terminal a text may break into lines, elsewhere a row is one line."""
    rows = relation.limit(SHOWN_ROWS + 1).fetchall()
    shown = rows[:SHOWN_ROWS]
    print_table(relation.columns, shown if sys.stdout.isatty() else [[_on_one_line(v) for v in row] for row in shown])
    if len(rows) > SHOWN_ROWS:
        Console(stderr=True).print(f"the first {SHOWN_ROWS} rows; --csv prints them all")


def print_csv(relation: duckdb.DuckDBPyRelation) -> None:
    """Print every row as CSV with a header; NULL is an empty field, amounts in plain digits."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    reader = relation.to_arrow_reader()
    writer.writerow(relation.columns)
    for batch in reader:
        writer.writerows([_text(value) for value in row.values()] for row in batch.to_pylist())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
    """Print rows as a table: numbers to the right and in plain digits, NULL as a dash."""
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    cells = [[_text(value) if value is not None else "–" for value in row] for row in rows]
    for position, column in enumerate(columns):
        numeric = any(_is_number(row[position]) for row in rows)
        # On a narrow screen headings break into lines, short values never do.
        longest = max((len(row[position]) for row in cells), default=0)
        table.add_column(
            escape(column),
            justify="right" if numeric else "left",
            overflow="fold",
            min_width=min(longest, _NEVER_BROKEN),
        )
    for row in cells:
        table.add_row(*map(escape, row))
    console = ReportConsole(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    # A screen too narrow for the values breaks the lines itself: cut off values would be wrong ones.
    narrowest = Measurement.get(console, console.options, table).minimum
    console.print(table, width=max(narrowest, console.width), crop=False, no_wrap=True)


def print_status(settings: Settings) -> None:
    """Print each billing period's state, rows, totals and last run, then how far each usage source has come in."""
    lineage = Lineage(settings)
    publication = newest_publication(lineage.lake)
    last_runs = _last_runs(settings)
    charges = contracts()["billing.charges"]
    rows = []
    with workspace(lineage.lake) as space:
        for period in sorted({*known_periods(lineage), *(publication.periods if publication else ())}):
            state = period_state(space.connection, lineage, period)
            shown = publication.periods.get(period) if publication else None
            files = state.files["billing.charges"]
            rows.append(
                (
                    period,
                    _state(state.is_ready, shown is not None and bool(shown.tables)),
                    sum(file.rows for file in files),
                    "\n".join(
                        f"{name} {total}"
                        for name, total in cost_totals(charges, [file.path for file in files]).items()
                        if name.startswith(("BilledCost", "EffectiveCost"))
                    ),
                    last_runs.get(period, "none"),
                    "\n".join(state.problems),
                )
            )
    print_table(["period", "state", "charges", "totals", "last run", "out of step"], rows, title="Billing periods")
    usage = [(source.name, source.kind, lineage.watermark(source.name) or None) for source in settings.usage]
    if usage:
        print_table(["source", "kind", "newest day delivered"], usage, title="Usage sources")
    print(f"published: {publication.name if publication else 'nothing yet'}  {lineage.lake.analysts_file}")


def _state(ready: bool, published: bool) -> str:
    if ready:
        return "current"
    return "stale, readers see its previous figures" if published else "stale, not published yet"


def _last_runs(settings: Settings) -> dict[str, str]:
    """How and when the newest run of each billing period ended."""
    from pipelines.orchestration.instance import last_runs

    return last_runs(settings)


def _is_number(value: Any) -> bool:
    """Whether a cell belongs to the right: a number, or the text of one such as ``-1,234.50`` or ``32.1 %``."""
    if isinstance(value, str):
        return re.fullmatch(r"-?[\d,]+(\.\d+)?( %| \| -?[\d,.]+)?", value) is not None
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _on_one_line(value: Any) -> Any:
    """A text with its line ends written as ``\\n``; any other value as it is."""
    return "\\n".join(value.splitlines()) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return plain(value) if isinstance(value, Decimal) else str(value)
