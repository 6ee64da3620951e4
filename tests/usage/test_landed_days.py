"""A day's facts come from what landed, and from nothing that somebody put in its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.config import Settings, UsageSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.lake.landing import newest
from pipelines.lake.tables import relation_sql, table_files
from pipelines.models.build import ensure_tables
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.pull import pull
from pipelines.models.usage_tables import build_usage
from tests.usage.small_days import DAY, REQUEST

PERIOD = DAY[: len("YYYY-MM")]


def test_a_log_that_was_changed_in_landing_is_refused_and_fetched_anew_once_deleted(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{DAY}.jsonl").write_text(json.dumps(REQUEST) + "\n", encoding="utf-8")
    source = UsageSource(name="gateway", kind="litellm", location=tmp_path / "logs")
    lineage = Lineage(Settings(lake=tmp_path / "lake", usage=(source,), file=tmp_path / "apportion.yaml"))
    ensure_tables(lineage.lake)
    pull(lineage.lake, source, PERIOD)
    landed = newest(lineage.lake, "gateway", DAY)
    assert landed is not None
    file = landed.files[0].path
    file.write_text(file.read_text(encoding="utf-8").replace("100", "900"), encoding="utf-8")

    with pytest.raises(DeliveryError, match="changed after it landed") as refused:
        build_usage(Lineage(lineage.settings), "usage.tokens", PERIOD)
    assert refused.value.where == f"source gateway, period {DAY}, version {landed.version}, file {file}"
    shutil.rmtree(file.parent)
    with pytest.raises(DeliveryError, match="no longer in landing"):
        build_usage(Lineage(lineage.settings), "usage.tokens", PERIOD)
    pull(lineage.lake, source, PERIOD)
    build_usage(Lineage(lineage.settings), "usage.tokens", PERIOD)

    tokens = contracts()["usage.tokens"]
    with connect() as connection:
        kept = relation_sql(connection, tokens, [part.path for part in table_files(lineage.lake, tokens)])
        assert connection.sql(f"SELECT tokens_input_uncached, tokens_output FROM ({kept})").fetchall() == [(100, 20)]
