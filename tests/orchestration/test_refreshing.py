"""What Dagster calls stale, and what automation makes again, on a real instance with runs of a one-line bill.

Staleness is what `CachingStaleStatusResolver` says, which is what the user interface shows.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from pipelines.config import load_settings
from pipelines.definitions import definitions
from pipelines.orchestration.execution import Runner
from pipelines.orchestration.instance import open_instance
from tests.normalise.bills import line, write_legacy

SEPTEMBER, OCTOBER = "2026-09", "2026-10"
LANDING = dg.AssetKey(["landing", "aws"])
CHARGES = dg.AssetKey(["billing", "charges", "aws"])
# Everything that a bill's charges become; usage has its own sources, of which there are none.
DOWNSTREAM = [
    "allocation/charges",
    "allocation/rules",
    "allocation/totals",
    "allocation/unallocated",
    "billing/charges",
    "billing/charges/aws",
    "chargeback/monthly",
    "publish",
    "quality/billed_to_effective",
    "quality/reconciliation",
    "showback/daily",
    "showback/unit_cost_amounts",
]


@dataclass
class Lakehouse:
    """One bill, its definitions, and the daemon's view of them."""

    folder: Path
    definitions: dg.Definitions
    runner: Runner
    instance: dg.DagsterInstance
    cursor: object = None

    def deliver(self, cost: str, line_type: str = "Usage", *, period: str = SEPTEMBER) -> None:
        """A bill of one line, in place of the month's bill before."""
        begin = f"{period}-01T00:00:00Z"
        write_legacy(self.folder / f"{period}.csv", [line(line_type, cost, bill_billing_period_start_date=begin)])

    def run(self, *keys: dg.AssetKey, last_period: str = SEPTEMBER) -> bool:
        """A run of some assets, as the user interface starts it, for September or for all months up to another."""
        one = last_period == SEPTEMBER
        job = self.definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=list(keys),
            partition_key=SEPTEMBER if one else None,
            tags={}
            if one
            else {
                "dagster/asset_partition_range_start": SEPTEMBER,
                "dagster/asset_partition_range_end": last_period,
            },
            raise_on_error=False,
        )
        return result.success

    def night(self) -> int:
        """A run of everything for September, as every night makes it; returns its exit code."""
        return self.runner.run(SEPTEMBER, lambda _: None, self.runner.everything()).exit_code

    def not_fresh(self, period: str = SEPTEMBER) -> dict[str, tuple[str, list[str]]]:
        """The assets of a period that Dagster doesn't call fresh, with what it calls them and why."""
        graph = self.definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        return {
            key.to_user_string(): (status, [cause.reason for cause in resolver.get_stale_causes(key, period)])
            for key in sorted(graph.materializable_asset_keys)
            if (status := resolver.get_status(key, period).value) != "FRESH"
        }

    def versions(self, period: str = SEPTEMBER) -> dict[str, str | None]:
        """The data version of each asset's newest record of a period."""
        found = {}
        for key in sorted(self.definitions.resolve_asset_graph().materializable_asset_keys):
            record = self.instance.get_latest_data_version_record(key, partition_key=period)
            made = record.event_log_entry.asset_materialization if record else None
            found[key.to_user_string()] = (made.tags or {}).get("dagster/data_version") if made else None
        return found

    def tick(self) -> dict[str, list[str]]:
        """One look of the automation sensor: the periods that it asks for, with their assets."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)  # type: ignore[arg-type]
        self.cursor = result.cursor
        asked: dict[str, list[str]] = {}
        for of_asset in result.results:
            for period in of_asset.true_subset.expensively_compute_partition_keys():
                asked.setdefault(period, []).append(of_asset.key.to_user_string())
        return {period: sorted(keys) for period, keys in asked.items()}


@contextmanager
def opened(folder: Path) -> Iterator[Lakehouse]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DAGSTER_HOME", "")
        settings = load_settings(folder / "apportion.yaml")
        made = definitions(settings)
        with open_instance(settings) as instance:
            yield Lakehouse(folder, made, Runner(made, settings, instance, verbose=False), instance)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose lake has September, built from a bill of 1.25; October's bill of 3 has not been looked at."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "apportion.yaml").write_text(
        "lake: ./lake\nas_of: 2026-10-16T00:00:00\nbills:\n"
        f"  - {{name: aws, kind: aws-cur, files: [./{SEPTEMBER}.csv, ./{OCTOBER}.csv]}}\n"
    )
    with opened(folder) as lakehouse:
        lakehouse.deliver("1.25")
        lakehouse.deliver("3", period=OCTOBER)
        assert lakehouse.night() == 0
    return folder


@pytest.fixture
def lakehouse(built: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    """A copy of that, and automation that has looked once."""
    shutil.copytree(built, tmp_path / "copy")
    with opened(tmp_path / "copy") as lakehouse:
        assert lakehouse.tick() == {}
        yield lakehouse


def keys(names: Sequence[str]) -> list[dg.AssetKey]:
    return [dg.AssetKey(name.split("/")) for name in names]


def test_a_delivery_that_lands_alone_makes_its_charges_stale_and_automation_refreshes_all_that_comes_of_it(
    lakehouse: Lakehouse,
) -> None:
    lakehouse.deliver("2.50")

    assert lakehouse.run(LANDING)
    assert lakehouse.not_fresh() == {"billing/charges/aws": ("STALE", ["has a new dependency data version"])}
    # One run for the period, with all of it; asked for once.
    assert lakehouse.tick() == {SEPTEMBER: DOWNSTREAM}
    assert lakehouse.tick() == {}

    assert lakehouse.run(*keys(DOWNSTREAM))
    assert lakehouse.not_fresh() == {}
    assert lakehouse.tick() == {}


def test_runs_that_changed_nothing_keep_every_version_and_make_nothing_stale(lakehouse: Lakehouse) -> None:
    before = lakehouse.versions()
    assert None not in before.values()

    assert lakehouse.night() == 0
    assert lakehouse.run(LANDING)
    assert lakehouse.run(CHARGES)

    assert lakehouse.versions() == before
    assert lakehouse.not_fresh() == {}
    assert lakehouse.tick() == {}


def test_a_run_over_several_months_gives_each_month_its_own_version(lakehouse: Lakehouse) -> None:
    before = lakehouse.versions()

    assert lakehouse.run(LANDING, CHARGES, last_period=OCTOBER)

    assert lakehouse.versions() == before
    assert lakehouse.versions(OCTOBER)["landing/aws"] not in (None, before["landing/aws"])
    assert lakehouse.not_fresh() == {}
    # October, of which nothing had ever been made; its charges have been made by that run.
    assert lakehouse.tick() == {OCTOBER: [name for name in DOWNSTREAM if name != "billing/charges/aws"]}


def test_what_a_night_changes_is_left_to_the_night(lakehouse: Lakehouse) -> None:
    lakehouse.deliver("2.50")

    assert lakehouse.night() == 0

    assert lakehouse.not_fresh() == {}
    assert lakehouse.tick() == {}


def test_a_delivery_that_a_night_refused_is_not_tried_again_by_itself(lakehouse: Lakehouse) -> None:
    lakehouse.deliver("2.50", "SomethingNew")

    assert lakehouse.night() == 3

    assert lakehouse.not_fresh()["billing/charges/aws"] == ("STALE", ["has a new dependency data version"])
    assert lakehouse.tick() == {}


def test_a_refused_month_in_a_run_over_several_leaves_the_good_ones_with_versions_of_their_own(
    lakehouse: Lakehouse,
) -> None:
    # Files that are given one by one are one delivery: September is delivered anew as well, with the same line.
    lakehouse.deliver("3", "SomethingNew", period=OCTOBER)

    assert not lakehouse.run(LANDING, CHARGES, last_period=OCTOBER)

    assert "billing/charges/aws" not in lakehouse.not_fresh()
    before = lakehouse.versions()
    assert lakehouse.run(LANDING, CHARGES)
    assert lakehouse.versions() == before
    assert "billing/charges/aws" not in lakehouse.not_fresh()
