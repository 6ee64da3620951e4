"""A run that is killed at any moment leaves nothing that the next run, or a reader, could stumble over.

The deliveries are the demo company's of 13 October 2026, then of the 13th and 14th, written by its generator: two deliveries of one
billing period, each with its own totals. They are not real bills; no public data joins a bill, GPU telemetry and token logs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from examples.acme.generate import generate
from pipelines.lake.canonical_export import period_hashes
from pipelines.lake.database import connect
from pipelines.lake.paths import Lake

REPOSITORY = Path(__file__).resolve().parents[2]
PERIOD = "2026-10"

# Where the process is killed, from the first byte that is copied to the last rename.
MOMENTS = {
    "landing, with a file half copied": ("pipelines.lake.landing:_fetch_file", "after", 1),
    "landing, before the delivery is renamed into place": ("pipelines.lake.landing:write_durably", "after", 1),
    "staging, with the charges written and not audited": ("pipelines.models.normalisation:stage", "after", 1),
    "commit, with the files in place and the table not told": (
        "deltalake:DeltaTable.create_write_transaction",
        "before",
        4,
    ),
    "commit, with the table told and nothing else": ("deltalake:DeltaTable.create_write_transaction", "after", 4),
    "allocation, before the shares": ("pipelines.allocation.engine:create_shares", "before", 1),
    "allocation, between its charges and its totals": ("pipelines.models.allocation_tables:build_model", "before", 1),
    "publishing, before the history is written": ("pipelines.models.publication:swap_in", "before", 1),
    "publishing, with the views written beside": ("pipelines.lake.publishing:_write_views", "after", 1),
    "publishing, with the new link not yet in place": ("pathlib:Path.symlink_to", "after", 1),
}


@dataclass(frozen=True)
class Company:
    """Two deliveries of one billing period, and the hashes of the lakes that undisturbed runs make of them."""

    folder: Path
    hashes: dict[str, dict[str, str]]

    def configure(self, folder: Path, delivery: str) -> Path:
        """A configuration in ``folder`` that reads ``delivery`` and writes to the folder's own lake."""
        data = self.folder / delivery
        configuration = folder / "apportion.yaml"
        configuration.write_text(
            f"lake: ./lake\nrules: {REPOSITORY / 'allocation_rules'}\nas_of: 2026-10-16T00:00:00\n"
            f"bills:\n  - {{name: aws-payer, kind: aws-cur, location: {data / 'aws/exports/acme-cur'}}}\n"
            f"usage:\n  - {{name: gpus, kind: dcgm-files, location: {data / 'telemetry'}}}\n"
            f"  - {{name: gateway, kind: litellm, location: {data / 'logs'}}}\n",
            encoding="utf-8",
        )
        return configuration


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    folder = tmp_path_factory.mktemp("company")
    generate(folder / "first", first_day=date(2026, 10, 13), end_day=date(2026, 10, 14))
    generate(folder / "second", first_day=date(2026, 10, 13), end_day=date(2026, 10, 15))
    company = Company(folder, {})
    for delivery in ("first", "second"):
        undisturbed = tmp_path_factory.mktemp(f"undisturbed-{delivery}")
        run(company.configure(undisturbed, delivery))
        company.hashes[delivery] = period_hashes(connect(), Lake(undisturbed / "lake"))
    return company


def run(configuration: Path) -> None:
    finished = subprocess.run(command("pipelines.cli", configuration), **options(), check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def was_killed(configuration: Path, moment: tuple[str, str, int]) -> bool:
    place, when, count = moment
    finished = subprocess.run(
        command("tests.integration.killed_process", configuration, place, when, str(count)), **options(), check=False
    )
    assert finished.returncode in (0, -signal.SIGKILL), finished.stdout + finished.stderr
    return finished.returncode != 0


def command(module: str, configuration: Path, *before: str) -> list[str]:
    return [sys.executable, "-m", module, *before, "run", "--config", str(configuration), "--period", PERIOD]


def options() -> dict[str, object]:
    environment = {key: value for key, value in os.environ.items() if key not in ("DAGSTER_HOME", "APPORTION_CONFIG")}
    return {"cwd": REPOSITORY, "env": environment, "capture_output": True, "text": True}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_the_run_after_a_killed_one_gives_the_same_figures(
    company: Company, tmp_path: Path, moment: tuple[str, str, int]
) -> None:
    configuration = company.configure(tmp_path, "first")
    assert was_killed(configuration, moment)
    run(configuration)
    assert period_hashes(connect(), Lake(tmp_path / "lake")) == company.hashes["first"]
    assert list((tmp_path / "lake/staging").iterdir()) == []


def test_readers_see_one_delivery_or_the_other_while_runs_are_killed(company: Company, tmp_path: Path) -> None:
    configuration = company.configure(tmp_path, "first")
    run(configuration)
    lake, stop = tmp_path / "lake", tmp_path / "stop"
    reader = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.watching_reader", str(lake), str(stop)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        company.configure(tmp_path, "second")
        # Each killed run gets a little further than the one before; a moment that is already behind it can't be hit.
        killed = sum(was_killed(configuration, moment) for moment in list(MOMENTS.values())[::3])
        run(configuration)
    finally:
        stop.touch()
        output, _ = reader.communicate()
    watched = json.loads(output)
    assert killed >= 3
    assert watched["reads"] > 0
    assert reader.returncode == 0
    for totals in watched["seen"]:
        assert len(set(totals)) == 1, f"a reader saw tables of different deliveries: {totals}"
    assert len(watched["seen"]) == 2
    assert period_hashes(connect(), Lake(lake)) == company.hashes["second"]
