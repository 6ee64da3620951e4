"""`apportion demo`: the demo company's deliveries, and the report on what became of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from pipelines.cli_reports import ReportConsole, open_published, print_table
from pipelines.config import Settings
from pipelines.errors import ConfigurationError
from pipelines.lake.landing import write_durably
from pipelines.lake.paths import Lake
from pipelines.models.normalisation import plain
from pipelines.models.sql_models import Parameter, bind, load_sql

_STAMP = ".generated"
_CENT = Decimal("0.01")


def write_demo_data(folder: Path) -> None:
    """Write the deliveries, unless the same generator has written them and they are all still there."""
    try:
        from examples.acme import generate as generator
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "The demo company isn't installed.", remedy="run the demo from a clone of the repository: make demo"
        ) from error
    console = ReportConsole(highlight=False)
    stamp, source = folder / _STAMP, Path(generator.__file__).parent
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == _fingerprint(source, folder):
        console.print(f"[bold]demo data[/] unchanged in {folder}")
        return
    console.print(f"[bold]demo data[/] into {folder}")
    generator.generate(folder, report=lambda line: console.print(f"  {line}"))
    write_durably(stamp, _fingerprint(source, folder))


def print_demo_report(settings: Settings, first_period: str, last_period: str) -> None:
    """Print reconciliation, bridge, showback by team beside its hybrid shares, unit costs, and where to look next."""
    with open_published(settings) as connection:
        report = DemoReport(connection, first_period, last_period)
        _print("Reconciliation: every bill line, and what is left over (Δ)", *report.rows("reconciliation"))
        _print("Bridge: from the invoice to what teams are charged", *report.rows("bridge"))
        _print(f"Showback by team, {first_period} to {last_period}, beside its hybrid shares", *team_table(report))
        _print("Unit costs: without idle | with idle", *unit_cost_table(report))
    console = ReportConsole(highlight=False, soft_wrap=True)
    console.print("[bold]Look closer[/]")
    console.print(f"  tables    duckdb -readonly {Lake(settings.lake).analysts_file}")
    console.print('            apportion sql "SELECT * FROM showback.daily LIMIT 10"', markup=False)
    console.print("  lineage   make dagster, then open http://localhost:3000")


class DemoReport:
    """The report queries of ``sql/reports`` over some billing periods."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, first_period: str, last_period: str) -> None:
        self._connection = connection
        self._periods: dict[str, Parameter] = {"first_period": first_period, "last_period": last_period}

    def query(self, name: str) -> duckdb.DuckDBPyRelation:
        """The rows as they are."""
        return self._connection.sql(bind(load_sql(f"reports/{name}"), self._periods))

    def rows(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Column names and rows for reading."""
        relation = self.query(name)
        return relation.columns, [[_readable(value) for value in row] for row in relation.fetchall()]


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; a currency that all its rows share stands in the title, so that the table fits a terminal."""
    currency = columns.index("currency")
    currencies = {row[currency] for row in rows}
    if len(currencies) == 1:
        title = f"{title} ({currencies.pop()})"
        columns = [*columns[:currency], *columns[currency + 1 :]]
        rows = [[*row[:currency], *row[currency + 1 :]] for row in rows]
    # Words apart, so that a heading may break into lines.
    print_table([column.replace("_", " ") for column in columns], rows, title=title)


def team_table(report: DemoReport) -> tuple[list[str], list[list[Any]]]:
    """Each team's cost by how it arrived; then, for each rule with a blend, its share of what each driver sent out."""
    columns, rows = report.rows("showback_by_team")
    costs: dict[str, dict[tuple[str, str | None], dict[str, Decimal]]] = {}
    for rule, currency, team, driver, cost in report.query("hybrid_shares").fetchall():
        costs.setdefault(rule, {}).setdefault((currency, team), {})[driver] = cost
    drivers_of = {
        rule: sorted({driver for by_driver in cost_of.values() for driver in by_driver})
        for rule, cost_of in costs.items()
    }
    blends = {rule: drivers for rule, drivers in drivers_of.items() if len(drivers) > 1}
    for rule, drivers in blends.items():
        cost_of = costs[rule]
        of_rule = f"{rule} " if len(blends) > 1 else ""
        columns += [f"{of_rule}by {driver}" for driver in drivers] + [f"{of_rule}blended"]
        for row in rows:
            currency, team = row[:2]
            own = cost_of.get((currency, team), {})
            everyone = [by_driver for (of_currency, _), by_driver in cost_of.items() if of_currency == currency]
            row += [_percent(_sum([own], [driver]), _sum(everyone, [driver])) for driver in drivers]
            row.append(_percent(_sum([own], drivers), _sum(everyone, drivers)))
    return columns, [[cell if cell is not None else "no team" for cell in row] for row in rows]


def _sum(parts: Sequence[Mapping[str, Decimal]], drivers: Sequence[str]) -> Decimal:
    return sum((by_driver.get(driver, Decimal(0)) for by_driver in parts for driver in drivers), Decimal(0))


def unit_cost_table(report: DemoReport) -> tuple[list[str], list[list[Any]]]:
    """A row for each metric and value, a column for each month of use."""
    rows = report.query("unit_costs").fetchall()
    months = sorted({row[3] for row in rows})
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for metric, value, currency, month, without_idle, with_idle in rows:
        cell = f"{_readable(without_idle)} | {_readable(with_idle)}"
        cells.setdefault((metric, value, currency), {})[month] = cell
    return ["metric", "of", "currency", *months], [
        [*key, *(by_month.get(month) for month in months)] for key, by_month in cells.items()
    ]


def _percent(part: Decimal, whole: Decimal) -> str:
    return f"{100 * part / whole:.1f} %" if part else "–"


def _readable(value: Any) -> Any:
    """Money to the cent, unless that would hide what is there: less than a cent is shown to its last digit."""
    if isinstance(value, Decimal):
        return f"{value:,.2f}" if value == 0 or abs(value) >= _CENT else plain(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def _fingerprint(source: Path, folder: Path) -> str:
    """Changes with the generator and with any delivered file's name or size."""
    digest = hashlib.sha256()
    for file in sorted(file for file in source.iterdir() if file.suffix in (".py", ".csv")):
        digest.update(file.read_bytes())
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and file.name != _STAMP):
        digest.update(f"{file.relative_to(folder)} {file.stat().st_size}\n".encode())
    return digest.hexdigest()
