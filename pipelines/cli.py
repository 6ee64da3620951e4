"""The `apportion` command. Thin: it reads arguments, calls, prints, and ends with an exit code a scheduler can act on.

0 all is well; 1 something unexpected; 2 the configuration, rules or arguments can't be followed; 3 a delivery or table was
refused; 4 a period was not published; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import duckdb

from pipelines.config import Settings, configuration_path, load_settings
from pipelines.errors import ApportionError, ConfigurationError, PublicationError
from pipelines.lake.paths import Lake

DEMO_DATA = "demo-data"
DEMO_PERIODS = "2026-08..2026-10"
INTERRUPTED = 130

_configuration = click.option(
    "--config",
    "configuration",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file; else APPORTION_CONFIG, else apportion.yaml.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="apportion")
def apportion() -> None:
    """From every cloud bill to who used it, exact to the last digit."""


@apportion.command()
@_configuration
@click.option("--verbose", is_flag=True, help="Show Dagster's own log as well.")
def demo(configuration: Path | None, *, verbose: bool) -> int:
    """Write the demo company's deliveries, run August to October 2026, and show what came of it."""
    from pipelines.cli_demo import print_demo_report, write_demo_data
    from pipelines.cli_reports import reader_may_leave

    settings = _settings(configuration)
    write_demo_data(settings.file.parent / DEMO_DATA)
    exit_code = _run(settings, DEMO_PERIODS, None, verbose=verbose)
    if Lake(settings.lake).analysts_file.exists():
        with reader_may_leave():
            print_demo_report(settings, *DEMO_PERIODS.split(".."))
    return exit_code


@apportion.command()
@_configuration
@click.option(
    "--period", "periods", metavar="YYYY-MM[..YYYY-MM]", help="Billing periods; else those in which something changed."
)
@click.option(
    "--source",
    "source_name",
    metavar="NAME",
    help="Only this source and what comes of it; without --period, of the previous and the current billing period.",
)
@click.option("--verbose", is_flag=True, help="Show Dagster's own log as well.")
def run(configuration: Path | None, periods: str | None, source_name: str | None, *, verbose: bool) -> int:
    """Pull, normalise, allocate, audit and publish billing periods, a Dagster run for each.

    Without options it is what a scheduler calls every night: each source is looked at, and the billing periods in which
    something changed are run; a night on which nothing changed reads no data and ends in seconds.
    """
    return _run(_settings(configuration), periods, source_name, verbose=verbose)


@apportion.command()
@_configuration
@click.option("--source", "source_name", metavar="NAME", help="Only this source.")
def check(configuration: Path | None, source_name: str | None) -> int:
    """Try each source read-only, and the rest of the configuration; tell what works, what is missing, how to grant it.

    Ends with 3 when a source can't be read, with 2 when the configuration, the rules or the lake can't be used.
    """
    from pipelines.cli_check import check as try_everything

    return try_everything(_settings(configuration), source_name)


@apportion.command()
@_configuration
def status(configuration: Path | None) -> None:
    """Tell which billing periods readers see, which are stale and why, and how far usage has come in."""
    from pipelines.cli_reports import print_status, reader_may_leave

    with reader_may_leave():
        print_status(_settings(configuration))


@apportion.command()
@_configuration
@click.argument("query", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, every row.")
def sql(configuration: Path | None, query: str | None, *, as_csv: bool) -> None:
    """Query the published tables, read-only. Without QUERY it is read from standard input."""
    from pipelines.cli_reports import count_statements, open_published, print_csv, print_rows, reader_may_leave

    settings = _settings(configuration)
    text = query or ("" if sys.stdin.isatty() else sys.stdin.read())
    if not text.strip():
        raise click.UsageError('Give a query: apportion sql "SELECT * FROM showback.daily LIMIT 10"')
    with open_published(settings) as connection, reader_may_leave():
        try:
            if (statements := count_statements(connection, text)) > 1:
                raise click.UsageError(f"Give one statement, not {statements}: only one result can be printed.")
            relation = connection.sql(text)
            if relation is not None:
                (print_csv if as_csv else print_rows)(relation)
        except duckdb.Error as error:
            raise click.ClickException(str(error)) from error


@apportion.command()
@_configuration
def publish(configuration: Path | None) -> None:
    """Publish every billing period that is ready, now."""
    from pipelines.models.build import ensure_tables
    from pipelines.models.lineage import Lineage
    from pipelines.models.publication import publish as publish_ready

    settings = _settings(configuration)
    lake = Lake(settings.lake)
    ensure_tables(lake)
    published = publish_ready(Lineage(settings))
    click.echo(
        f"{'published' if published.is_new else 'unchanged'}: {published.publication.name} in {lake.analysts_file}"
    )
    if published.stale:
        raise PublicationError(
            f"{len(published.stale)} billing period(s) were not published; readers keep their previous figures.",
            found="; ".join(f"{period}: {', '.join(reasons)}" for period, reasons in published.stale.items()),
            remedy="settle what the reasons name (a delivery to mend, a source to leave out), then "
            f"apportion run --period {min(published.stale)}..{max(published.stale)}",
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; problems that a person can act on are told without a traceback."""
    try:
        exit_code = apportion.main(args=arguments, prog_name="apportion", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        exit_code = error.exit_code
    except ApportionError as error:
        click.echo(f"error: {error}", err=True)
        exit_code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what was committed is whole; run again to build the rest", err=True)
        exit_code = INTERRUPTED
    sys.exit(exit_code or 0)


def _settings(configuration: Path | None) -> Settings:
    return load_settings(configuration or configuration_path())


def _run(settings: Settings, periods: str | None, source_name: str | None, *, verbose: bool) -> int:
    known = [source.name for source in (*settings.bills, *settings.usage)]
    if source_name is not None and source_name not in known:
        raise ConfigurationError(
            f"There is no source called {source_name}.", where=str(settings.file), expected=", ".join(known)
        )
    if periods is None and source_name is None:
        from pipelines.cli_nights import run_night

        return run_night(settings, verbose=verbose)
    from pipelines.cli_run import run_asked_for
    from pipelines.orchestration.nights import open_periods

    asked_for = periods or "..".join(open_periods(settings.now()))
    return run_asked_for(settings, asked_for, source_name, verbose=verbose)


if __name__ == "__main__":
    main()
