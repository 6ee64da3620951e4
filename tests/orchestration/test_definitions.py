"""What Dagster is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.config import Settings
from pipelines.definitions import definitions, defs
from pipelines.errors import ConfigurationError
from pipelines.models.contracts import contracts
from tests.orchestration.definitions_text import SNAPSHOT, describe, settings


def test_the_definitions_are_those_that_were_reviewed() -> None:
    reviewed = json.loads(SNAPSHOT.read_text(encoding="utf-8"))

    assert describe(definitions(settings())) == reviewed, (
        "the definitions changed; if they should, run: python -m tests.orchestration.definitions_text"
    )


def test_a_configuration_without_any_source_still_loads() -> None:
    empty = Settings(lake=Path("nowhere"), file=Path("apportion.yaml"))

    assert "billing/charges" in describe(definitions(empty))["assets"]


def test_sources_whose_names_differ_in_a_dash_only_are_apart() -> None:
    bill = settings().bills[0]
    twins = tuple(bill.model_copy(update={"name": name}) for name in ("aws-payer", "aws_payer"))
    alike = settings().model_copy(update={"bills": twins})

    assets = describe(definitions(alike))["assets"]

    assert {"landing/aws-payer", "landing/aws_payer"} <= assets.keys()


def test_every_column_of_every_table_has_its_meaning() -> None:
    for node in definitions(settings()).resolve_asset_graph().asset_nodes:
        schema = node.metadata.get("dagster/column_schema")
        if schema is not None:
            contract = contracts()[node.metadata["dagster/table_name"]]
            assert [(column.name, column.type) for column in schema.columns] == [
                (column.name, column.type) for column in contract.columns
            ]
            assert all(column.description for column in schema.columns)


def test_the_code_location_reads_the_configuration_in_force_when_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "mine.yaml"
    configuration.write_text("lake: ./lake\nbills:\n  - {name: mine, kind: aws-cur, files: [./bill.csv]}\n")
    monkeypatch.setenv("APPORTION_CONFIG", str(configuration))

    assert "landing/mine" in describe(defs())["assets"]

    monkeypatch.setenv("APPORTION_CONFIG", str(tmp_path / "missing.yaml"))
    with pytest.raises(ConfigurationError, match="doesn't exist"):
        defs()
