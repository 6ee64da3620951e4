"""The first steps of a run."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

import assets.landing
from assets.landing import landing_assets
from pipelines.config import load_settings
from pipelines.lake.landing import LandedDelivery
from pipelines.models.pull import Pulled
from pipelines.orchestration.resources import LAKE
from tests.normalise.bills import line, write_legacy


def test_nothing_lands_under_rules_that_cannot_be_used(tmp_path: Path) -> None:
    write_legacy(tmp_path / "september.csv", [line("Usage", "1.25")])
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "broken.yaml").write_text("rule: broken\npriority: first\n")
    configuration = tmp_path / "apportion.yaml"
    configuration.write_text(
        "lake: ./lake\nas_of: 2026-10-16T00:00:00\nrules: ./rules\n"
        "bills:\n  - {name: aws, kind: aws-cur, files: [./september.csv]}\n"
    )

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            landing_assets(load_settings(configuration)),
            instance=instance,
            resources={LAKE: None},
            partition_key="2026-09",
            raise_on_error=False,
        )

    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    told = failure.user_failure_data
    assert told is not None
    assert told.metadata["exit_code"].value == 2
    assert "broken.yaml" in (told.description or "")
    assert not (tmp_path / "lake").exists()


def test_what_a_pull_told_about_itself_stands_beside_the_materialisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "apportion.yaml"
    configuration.write_text(
        "lake: ./lake\nas_of: 2026-10-16T00:00:00\nbills:\n  - {name: gcp, kind: gcp-billing, table: acme.billing.export}\n"
    )
    delivery = LandedDelivery(
        source_name="gcp",
        source_kind="gcp-billing",
        period="2026-09",
        version="v1",
        signature="",
        token="t1",
        files=(),
        details={"mapping": "gcp-billing", "run_estimate_bytes": "1048576", "run_read_through": "Storage Read API"},
    )
    monkeypatch.setattr(assets.landing, "pull", lambda *_: Pulled("gcp", "2026-09", (delivery,), 1))

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            landing_assets(load_settings(configuration)),
            instance=instance,
            resources={LAKE: None},
            partition_key="2026-09",
        )

    (materialisation,) = result.asset_materializations_for_node("landing__gcp")
    assert {name: value.value for name, value in materialisation.metadata.items()} == {
        "deliveries": 1,
        "files": 0,
        "bytes": 0,
        "newest version": "v1",
        "unchanged": False,
        "estimate bytes": "1048576",
        "read through": "Storage Read API",
    }
