"""Files of UTC days: endings in capital letters are read, unknown ones are refused by name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Literal

import pytest

from pipelines.config import UsageSource
from pipelines.errors import DeliveryError
from pipelines.sources.kinds import source_kind
from tests.usage.small_days import DAY, GPU, REQUEST, UTILISATION, SmallDays, every, response, series


def test_logs_with_endings_in_capital_letters_packed_and_plain_are_read_together(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / DAY
    folder.mkdir(parents=True)
    for number, (name, is_packed) in enumerate({"A.JSONL": False, "B.JSONL.GZ": True, "c.jsonl": False}.items()):
        content = f"{json.dumps({**REQUEST, 'id': str(number)})}\n".encode()
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if is_packed else content)
    # 3 requests of 100 and 20 tokens.
    assert SmallDays(tmp_path).tokens("requests", "tokens_input_uncached", "tokens_output") == [(3, 300, 60)]


def test_telemetry_with_endings_in_capital_letters_packed_and_plain_is_read_together(tmp_path: Path) -> None:
    folder = tmp_path / "telemetry" / DAY
    folder.mkdir(parents=True)
    for name, start, end in (("A.JSON", "10:00", "11:00"), ("B.JSON.GZ", "11:00", "12:00")):
        content = json.dumps(response(series(UTILISATION, GPU, every(5, start, end), "100"))).encode()
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith("GZ") else content)
    [counts] = SmallDays(tmp_path).gpu_counts()
    # Every 5 minutes for two hours.
    assert (counts.delivered, counts.used) == (24, 24)


@pytest.mark.parametrize(
    ("kind", "name"), [("dcgm-files", "power.csv"), ("litellm", "more.json"), ("litellm", "x.jsonl.zst")]
)
def test_a_file_of_an_unknown_ending_in_a_days_folder_is_refused(
    tmp_path: Path, kind: Literal["dcgm-files", "litellm"], name: str
) -> None:
    (tmp_path / DAY).mkdir()
    for beside in (".hidden", "_SUCCESS", "notes.md", name):
        (tmp_path / DAY / beside).write_bytes(b"x")
    with pytest.raises(DeliveryError) as refused:
        source_kind(kind).look(UsageSource(name="use", kind=kind, location=tmp_path))
    assert (refused.value.where, refused.value.found) == (f"source use, file {tmp_path / DAY / name}", name)


def test_a_log_of_a_day_with_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json").write_bytes(b"{}")
    with pytest.raises(DeliveryError, match="an ending that we don't read"):
        source_kind("litellm").look(UsageSource(name="use", kind="litellm", location=tmp_path))
