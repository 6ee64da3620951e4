"""Request logs become deliveries and lines; logs with prompts are refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import UsageSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources import litellm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def write(folder: Path, name: str, content: str = "{}\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def source(folder: Path) -> UsageSource:
    return UsageSource(name="gateway", kind="litellm", location=folder)


def test_each_day_is_a_delivery_of_its_file_or_folder(folder: Path) -> None:
    write(folder, "2026-10-05.jsonl")
    write(folder, "2026-10-06.jsonl.gz")
    write(folder, "2026-10-07/b.jsonl")
    write(folder, "2026-10-07/a/1.jsonl")
    write(folder, "2026-10-07/.part.jsonl")
    write(folder, "other.jsonl")

    assert [
        (delivery.source_name, delivery.source_kind, delivery.period, [file.name for file in delivery.files])
        for delivery in litellm.deliveries(source(folder))
    ] == [
        ("gateway", "litellm", "2026-10-05", ["2026-10-05.jsonl"]),
        ("gateway", "litellm", "2026-10-06", ["2026-10-06.jsonl.gz"]),
        ("gateway", "litellm", "2026-10-07", ["2026-10-07/a/1.jsonl", "2026-10-07/b.jsonl"]),
    ]


def test_the_version_names_the_content(folder: Path) -> None:
    path = write(folder, "2026-10-05.jsonl", "{}\n")
    (first,) = litellm.deliveries(source(folder))
    write(folder, "2026-10-05.jsonl", "{ }\n")
    (second,) = litellm.deliveries(source(folder))
    write(folder, path.name, "{}\n")
    (third,) = litellm.deliveries(source(folder))

    assert (first.version == second.version, first.version == third.version) == (False, True)


@pytest.mark.parametrize("name", ["2026-13-01.jsonl", "2026-02-30/a.jsonl"])
def test_a_log_named_like_a_day_that_does_not_exist_is_refused(folder: Path, name: str) -> None:
    write(folder, name)

    with pytest.raises(DeliveryError, match=name[:10]):
        litellm.deliveries(source(folder))


def test_a_location_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(DeliveryError, match="source gateway"):
        litellm.deliveries(source(folder))


def test_a_file_that_is_named_by_itself_tells_its_day(folder: Path) -> None:
    path = write(folder, "2026-10-05.jsonl")
    (delivery,) = litellm.deliveries(UsageSource(name="gateway", kind="litellm", files=(path,)))

    assert delivery.period == "2026-10-05"
    with pytest.raises(DeliveryError, match=r"log\.jsonl"):
        litellm.deliveries(UsageSource(name="gateway", kind="litellm", files=(write(folder, "log.jsonl"),)))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"messages": None, "response": None},
        {"messages": "", "response": {}},
        {"messages": [], "response": []},
        {
            "messages": [{"role": "user", "content": "redacted-by-litellm"}],
            "response": {"text": "redacted-by-litellm"},
        },
        {
            "response": {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1790000000,
                "model": "gpt-4o",
                "choices": [
                    {
                        "finish_reason": "stop",
                        "index": 0,
                        "message": {"content": "redacted-by-litellm", "role": "assistant", "tool_calls": None},
                    }
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
            }
        },
        {"metadata": {"messages": "a label"}},
    ],
)
def test_a_log_without_prompts_may_land(folder: Path, content: dict[str, Any]) -> None:
    write(folder, "2026-10-05.jsonl", json.dumps({"id": "1", **content}) + "\n\n")

    for delivery in litellm.deliveries(source(folder)):
        litellm.refuse_prompts(delivery)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"messages": [{"role": "user", "content": "Who am I?"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Who am I?"}]}]}, "messages"),
        ({"messages": "Who am I?"}, "messages"),
        ({"messages": None, "response": {"choices": [{"message": {"content": "You are."}}]}}, "response"),
        ({"response": "You are."}, "response"),
        ('{"id": "2", "messages": [{"content": "Who', "messages"),
    ],
)
@pytest.mark.parametrize("name", ["2026-10-05.jsonl", "2026-10-05.jsonl.gz"])
def test_a_log_with_prompts_is_refused_by_file_and_row(folder: Path, name: str, line: Any, field: str) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    write(folder, name, '{"id": "1", "messages": null}\n' + text + "\n")
    (delivery,) = litellm.deliveries(source(folder))

    with pytest.raises(DeliveryError) as refused:
        litellm.refuse_prompts(delivery)

    assert refused.value.where == f"source gateway, day 2026-10-05, file {name}, row 2, field {field}"
    assert "turn_off_message_logging: true" in refused.value.remedy
    assert "Who am I" not in str(refused.value)


def created_lines(*paths: Path) -> list[tuple[Any, ...]]:
    connection = connect()
    connection.execute("SET threads = 2")
    connection.execute("CREATE TABLE files (path VARCHAR, source_name VARCHAR, x_Day VARCHAR, source_file VARCHAR)")
    connection.executemany(
        "INSERT INTO files VALUES (?, 'gateway', '2026-10-05', ?)", [(str(path), path.name) for path in paths]
    )
    litellm.create_lines(connection, files="files")
    return connection.sql("SELECT source_file, source_row, line FROM litellm_lines ORDER BY ALL").fetchall()


def test_lines_are_numbered_as_an_editor_numbers_them(folder: Path) -> None:
    plain = write(folder, "a.jsonl", '{"text": "a, \\"b\\"; é"}\n\n  \nnot JSON\n{"last": 1}')
    windows = write(folder, "b.jsonl", '{"first": 1}\r\n\r\n{"last": 1}\r\n')
    packed = write(folder, "c.jsonl.gz", '{"packed": 1}\n')

    assert created_lines(plain, windows, packed) == [
        ("a.jsonl", 1, '{"text": "a, \\"b\\"; é"}'),
        ("a.jsonl", 4, "not JSON"),
        ("a.jsonl", 5, '{"last": 1}'),
        ("b.jsonl", 1, '{"first": 1}'),
        ("b.jsonl", 3, '{"last": 1}'),
        ("c.jsonl.gz", 1, '{"packed": 1}'),
    ]


def test_a_log_whose_name_is_a_pattern_is_refused(tmp_path: Path) -> None:
    log = write(tmp_path, "a*.jsonl")

    with pytest.raises(DeliveryError) as refused:
        created_lines(log)

    assert refused.value.where == str(log)


def test_lines_of_large_files_keep_their_numbers(folder: Path) -> None:
    # Larger than what DuckDB reads at a time, so that several threads take parts of each file.
    paths = [
        write(
            folder,
            f"{name}.jsonl",
            "".join(f'{{"id": "{name}-{row}", "filler": "{"x" * 400}"}}\n' for row in range(1, 60_001)),
        )
        for name in "ab"
    ]

    wrong = [
        (file, row) for file, row, line in created_lines(*paths) if not line.startswith(f'{{"id": "{file[0]}-{row}"')
    ]
    assert wrong == []


@pytest.mark.parametrize("content", [b'{"id": "\xff\xfe"}\n', b'{"id": "1"}\n{"id": "2"}\r\n', b'{"id": "1\r2"}\n'])
def test_a_file_that_is_no_text_in_lines_is_refused(folder: Path, content: bytes) -> None:
    folder.mkdir()
    path = folder / "2026-10-05.jsonl"
    path.write_bytes(content)

    with pytest.raises(DeliveryError, match=r"2026-10-05\.jsonl"):
        created_lines(path)
