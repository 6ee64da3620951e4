"""Token rows from hand-made LiteLLM payloads: classes that exclude each other, requests, labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.models import usage_facts
from tests.usage.small_days import DAY, SmallDays, seconds

CLASSES = (
    "tokens_input_uncached",
    "tokens_cache_read",
    "tokens_cache_write",
    "tokens_output",
    "tokens_reasoning",
)


@pytest.fixture
def days(tmp_path: Path) -> SmallDays:
    return SmallDays(tmp_path)


def payload(
    request_id: str = "chatcmpl-1",
    start: str = "10:00",
    prompt: Any = 100,
    completion: Any = 20,
    total: Any = None,
    usage: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A standard logging payload of a request that took two seconds."""
    return {
        "id": request_id,
        "trace_id": f"trace-{request_id}",
        "call_type": "acompletion",
        "status": "success",
        "custom_llm_provider": "openai",
        "model": "gpt-4o-2024-08-06",
        "model_group": "chat",
        "api_base": "https://api.openai.com",
        "startTime": seconds(start) + 0.25,
        "endTime": seconds(start) + 2.25,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
        "metadata": {"user_api_key_hash": "key-1", "usage_object": usage, **(metadata or {})},
        "request_tags": [],
        "end_user": None,
        "cache_hit": None,
        "messages": None,
        "response": None,
        **fields,
    }


def test_a_request_is_one_row_of_its_hour(days: SmallDays) -> None:
    days.log(payload(start="10:59"))

    assert days.tokens(
        "x_Day", "hour", "source_name", "provider", "endpoint", "model_requested", "model_served", "api_key_hash",
        *CLASSES, "requests", "requests_failed",
    ) == [
        (DAY, "10:00", "gateway", "openai", "chat", "chat", "gpt-4o-2024-08-06", "key-1", 100, 0, 0, 20, 0, 1, 0)
    ]  # fmt: skip


def test_without_a_model_group_the_model_is_the_endpoint(days: SmallDays) -> None:
    days.log(payload(model_group=None))

    assert days.tokens("endpoint", "model_requested", "model_served") == [("gpt-4o-2024-08-06",) * 3]


def test_requests_of_an_hour_are_summed_by_model_and_key(days: SmallDays) -> None:
    days.log(
        payload("1", "10:00"),
        payload("2", "10:30", prompt=7, completion=3),
        payload("3", "11:00"),
        payload("4", "10:45", metadata={"user_api_key_hash": "key-2"}),
    )

    assert days.tokens("hour", "api_key_hash", "tokens_input_uncached", "tokens_output", "requests") == [
        ("10:00", "key-1", 107, 23, 2),
        ("10:00", "key-2", 100, 20, 1),
        ("11:00", "key-1", 100, 20, 1),
    ]


@pytest.mark.parametrize(
    ("description", "prompt", "completion", "total", "usage", "classes"),
    [
        (
            "OpenAI: cached tokens are part of the prompt, reasoning of the completion",
            1000, 300, 1300,
            {"prompt_tokens_details": {"cached_tokens": 600}, "completion_tokens_details": {"reasoning_tokens": 200}},
            (400, 600, 0, 300, 200),
        ),
        (
            "Anthropic as LiteLLM normalises it: 50 + 600 read + 350 written are the prompt of 1000",
            1000, 80, 1080,
            {
                "cache_read_input_tokens": 600,
                "cache_creation_input_tokens": 350,
                "prompt_tokens_details": {"cached_tokens": 600, "cache_creation_tokens": 350, "text_tokens": 50},
            },
            (50, 600, 350, 80, 0),
        ),
        (
            "Anthropic's own shape: the prompt is what was neither read nor written; 50 + 600 + 350 + 80 = 1080",
            50, 80, 1080,
            {"cache_read_input_tokens": 600, "cache_creation_input_tokens": 350},
            (50, 600, 350, 80, 0),
        ),
        (
            "xAI's own shape: reasoning beside the completion; 100 + 20 + 500 = 620",
            100, 20, 620,
            {"completion_tokens_details": {"reasoning_tokens": 500}},
            (100, 0, 0, 520, 500),
        ),
        ("counts as floats", "100.0", 20, 120, None, (100, 0, 0, 20, 0)),
        ("an embedding has no completion", 40, None, 40, None, (40, 0, 0, 0, 0)),
    ],
)  # fmt: skip
def test_token_classes_exclude_each_other_and_sum_to_the_total(
    days: SmallDays, description: str, prompt: Any, completion: Any, total: int, usage: Any, classes: tuple[int, ...]
) -> None:
    days.log(payload(prompt=prompt, completion=completion, total=total, usage=usage))

    assert days.tokens(*CLASSES) == [classes], description
    assert sum(classes[:4]) == total


def test_a_request_that_is_logged_twice_counts_once(days: SmallDays) -> None:
    days.log(payload("1"), payload("2"), payload("1", prompt=999))

    assert days.token_counts() == [
        usage_facts.DayCounts("gateway", DAY, delivered=3, used=2, outside_day=0, duplicate=1, rejected=0)
    ]
    assert days.tokens("tokens_input_uncached", "requests") == [(200, 2)]


@pytest.mark.parametrize("cache_hit", [True, "True", "true"])
def test_an_answer_from_the_gateways_cache_is_a_request_without_tokens(days: SmallDays, cache_hit: Any) -> None:
    days.log(payload("1"), payload("1_cache_hit1764000000.5", cache_hit=cache_hit))

    assert days.tokens(*CLASSES, "requests", "requests_failed") == [(100, 0, 0, 20, 0, 2, 0)]


def test_a_failed_request_counts_with_the_tokens_it_drew(days: SmallDays) -> None:
    days.log(
        payload("1"),
        payload("2", prompt=0, completion=0, status="failure"),
        payload("3", prompt=30, completion=0, status="failure"),
    )

    assert days.tokens(*CLASSES, "requests", "requests_failed") == [(130, 0, 0, 20, 0, 3, 2)]


def test_a_request_over_midnight_counts_in_the_hour_that_lies_in_the_logs_day(days: SmallDays) -> None:
    yesterday = seconds("00:00") - 5
    days.log(
        payload("1", startTime=yesterday, endTime=seconds("00:00") + 3),
        payload("2", startTime=seconds("23:59"), endTime=seconds("24:00") + 9),
    )

    assert days.tokens("x_Day", "hour", "requests") == [(DAY, "00:00", 1), (DAY, "23:00", 1)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "1", "status"', "the line is not valid JSON"),
        ("[1, 2]", "no id"),
        (payload(""), "no id"),
        (payload(status="unknown"), "status is neither success nor failure"),
        (payload(startTime="yesterday"), "startTime is not a number of seconds since 1970"),
        (
            payload(startTime=seconds("00:00", "2026-10-07"), endTime=seconds("00:01", "2026-10-07")),
            "neither startTime nor endTime lies in the day of the log",
        ),
        (payload(prompt="many", total=120), "prompt_tokens is not a whole number"),
        (payload(prompt=1.5, total=21), "prompt_tokens is not a whole number"),
        (payload(completion=-20, total=80), "completion_tokens is not a whole number"),
        (payload(total=999), "the token classes do not sum to total_tokens"),
        (payload(usage={"cache_read_input_tokens": 101}), "more cached tokens than prompt_tokens"),
        (
            payload(usage={"completion_tokens_details": {"reasoning_tokens": 21}}),
            "more reasoning tokens than completion_tokens",
        ),
    ],
)
def test_a_line_that_cannot_be_used_is_rejected_by_file_and_row_and_the_rest_counts(
    days: SmallDays, line: Any, reason: str
) -> None:
    days.log(payload("good-1"), "", line, payload("good-2"))

    assert days.token_counts() == [
        usage_facts.DayCounts("gateway", DAY, delivered=3, used=2, outside_day=0, duplicate=0, rejected=1)
    ]
    assert days.rejected() == [("gateway", DAY, f"{DAY}.jsonl", 3, reason)]
    assert days.tokens("requests") == [(2,)]


def test_a_rejected_line_is_kept_without_what_a_person_could_have_written(days: SmallDays) -> None:
    days.log(payload(total=999, metadata={"requester_metadata": {"note": "private"}}), '{"private')
    days.token_counts()

    kept = days.connection.sql("SELECT row_json FROM rejected_usage ORDER BY source_row").fetchall()
    assert '"total_tokens":"999"' in kept[0][0]
    assert all("private" not in row_json for (row_json,) in kept)


def test_labels_of_the_request_win_over_what_is_known_of_the_key(days: SmallDays) -> None:
    key = {"user_api_key_team_alias": "Platform"}
    days.log(
        payload("1", metadata={**key, "requester_metadata": {"team": "search", "product": "finder"}}, end_user="c-1"),
        payload("2", metadata={**key, "spend_logs_metadata": {"team": "ads"}}),
        payload("3", metadata=key, request_tags=["team: shop ", "User-Agent: curl", "plain"]),
        payload("4", metadata=key, end_user="c-4"),
        payload("5", metadata={"requester_metadata": {"team": {"nested": 1}, "customer": 7}}, end_user="c-5"),
        payload("6", metadata={"requester_metadata": {"team": ""}, "user_api_key_team_alias": "ads"}),
    )

    assert days.tokens("team", "product", "customer", "requests") == [
        ("ads", None, None, 2),
        ("platform", None, "c-4", 1),
        ("search", "finder", "c-1", 1),
        ("shop", None, None, 1),
        (None, None, "7", 1),
    ]


@pytest.mark.parametrize("metadata", ['"x"', "[1]", "null", "5", "{}", '{"team": null}', '{"team": "a", "team": "b"}'])
def test_metadata_that_says_nothing_usable_gives_no_labels(days: SmallDays, metadata: str) -> None:
    line = json.dumps(payload(metadata={"requester_metadata": "HERE"})).replace('"HERE"', metadata)
    days.log(line, payload("2", metadata={"requester_metadata": {"team": "ads"}}))

    assert days.tokens("team", "requests") == [("ads", 1), (None, 1)]


def test_rows_are_numbered_over_several_files_of_a_day(days: SmallDays) -> None:
    folder = days.folder / "logs" / DAY
    folder.mkdir(parents=True)
    for name in ("a.jsonl", "b.jsonl"):
        (folder / name).write_text("".join(f"line {number}\n" for number in range(1, 4)), encoding="utf-8")
    days.token_counts()

    assert [(file, row) for _, _, file, row, _ in days.rejected()] == [
        (f"{DAY}/{name}", row) for name in ("a.jsonl", "b.jsonl") for row in (1, 2, 3)
    ]
