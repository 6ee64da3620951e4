"""`apportion demo`: the demo company's deliveries, and the report on what became of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console

from pipelines.cli_reports import open_published, print_table
from pipelines.config import Settings
from pipelines.errors import ConfigurationError
from pipelines.lake.landing import write_durably
from pipelines.lake.paths import Lake
from pipelines.models.sql_models import bind, load_sql

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
    console = Console(highlight=False)
    stamp, source = folder / _STAMP, Path(generator.__file__).parent
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == _fingerprint(source, folder):
        console.print(f"[bold]demo data[/] unchanged in {folder}")
        return
    console.print(f"[bold]demo data[/] into {folder}")
    generator.generate(folder, report=lambda line: console.print(f"  {line}"))
    write_durably(stamp, _fingerprint(source, folder))


def print_demo_report(settings: Settings, first_period: str, last_period: str) -> None:
    """Print reconciliation, bridge, showback by team beside its hybrid shares, unit costs, and where to look next."""
    period = {"first_period": first_period, "last_period": last_period}
    with open_published(settings) as connection:
        _print(connection, "reconciliation", "Reconciliation: what was delivered, and what is left over", period)
        _print(connection, "bridge", "Bridge: from the invoice to what teams are charged", period)
        _print(connection, "showback_by_team", f"Showback by team, {first_period} to {last_period}", period)
        _print_hybrid_shares(connection, period)
        _print(connection, "unit_costs", "Unit costs", period)
    console = Console(highlight=False)
    console.print("[bold]Look closer[/]")
    console.print(f"  tables    duckdb -readonly {Lake(settings.lake).analysts_file}", soft_wrap=True)
    console.print('            apportion sql "SELECT * FROM showback.daily LIMIT 10"', markup=False)
    console.print("  lineage   make dagster, then open http://localhost:3000")


def _print(connection: duckdb.DuckDBPyConnection, report: str, title: str, period: dict[str, str]) -> None:
    relation = connection.sql(bind(load_sql(f"reports/{report}"), dict(period)))
    print_table(relation.columns, [[_readable(value) for value in row] for row in relation.fetchall()], title=title)


def _print_hybrid_shares(connection: duckdb.DuckDBPyConnection, period: dict[str, str]) -> None:
    rows = connection.sql(bind(load_sql("reports/hybrid_shares"), dict(period))).fetchall()
    costs: dict[tuple[str, str], dict[tuple[str | None, str], Decimal]] = defaultdict(dict)
    for rule, currency, team, driver, cost in rows:
        costs[rule, currency][team, driver] = cost
    for (rule, currency), cost_of in costs.items():
        drivers = sorted({driver for _, driver in cost_of})
        if len(drivers) > 1:
            _print_shares(f"Hybrid key of {rule}, {currency}", drivers, cost_of)


def _print_shares(title: str, drivers: Sequence[str], cost_of: dict[tuple[str | None, str], Decimal]) -> None:
    """A team's share of what each driver sent out, its share of all of it, and that cost."""
    teams = list(dict.fromkeys(team for team, _ in cost_of))
    totals = {
        driver: sum((cost_of.get((team, driver), Decimal(0)) for team in teams), Decimal(0)) for driver in drivers
    }
    total = sum(totals.values(), Decimal(0))
    rows = []
    for team in teams:
        own = [cost_of.get((team, driver), Decimal(0)) for driver in drivers]
        shares = [_percent(cost, totals[driver]) for driver, cost in zip(drivers, own, strict=True)]
        cost = sum(own, Decimal(0))
        rows.append((team, *shares, _percent(cost, total), _readable(cost)))
    print_table(
        ["team", *(f"share by {driver}" for driver in drivers), "blended share", "shared cost"], rows, title=title
    )


def _percent(part: Decimal, whole: Decimal) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _readable(value: Any) -> Any:
    """Money to the cent, unless that would hide what is there: a difference of less is shown to its last digit."""
    if isinstance(value, Decimal) and (value == 0 or abs(value) >= _CENT):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def _fingerprint(source: Path, folder: Path) -> str:
    """Changes with the generator and with any delivered file's name or size."""
    digest = hashlib.sha256()
    for file in sorted(file for file in source.iterdir() if file.suffix in (".py", ".csv")):
        digest.update(file.read_bytes())
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and file.name != _STAMP):
        digest.update(f"{file.relative_to(folder)} {file.stat().st_size}\n".encode())
    return digest.hexdigest()
