"""The model gateway's log: one LiteLLM standard logging payload a request, without prompts or completions.

Field names follow LiteLLM's published StandardLoggingPayload. `prompt_tokens` includes cached tokens for every
provider, as LiteLLM normalises them; `metadata.usage_object` tells how many were read from or written to a cache.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

from examples.acme.noise import identifier, noise, token
from examples.acme.span import DAY_SECONDS, HOUR_SECONDS, Span, epoch, hour_of_day, is_weekend

SILENT_HOUR = datetime(2026, 8, 19, 4, tzinfo=UTC)
"""The cluster's models were drained for an upgrade: nodes ran, nobody sent them a token."""

DUPLICATED_DAY = date(2026, 9, 3)
"""The gateway wrote one record twice on this day."""

_NUMBERS_PER_REQUEST = 6
_MOST_REQUESTS_PER_HOUR = 7


@dataclass(frozen=True)
class ServedModel:
    """A model behind the gateway. Prices are US dollars per token by class."""

    group: str
    name: str
    provider: str
    api_base: str
    input_price: Decimal
    cache_read_price: Decimal
    cache_write_price: Decimal
    output_price: Decimal
    call_type: str = "acompletion"
    bedrock_meter: str = ""
    """How the AWS bill spells the model in usage types; empty for a model that AWS doesn't bill."""
    batch: int = 1
    """Prompts in a call: the cluster's callers send theirs in batches, each logged as one call."""


def _self_hosted(name: str, input_price: str, output_price: str, call_type: str = "acompletion") -> ServedModel:
    price = Decimal(input_price)
    address = f"http://{name}.serving.svc.cluster.local:8000/v1"
    return ServedModel(
        name, name, "hosted_vllm", address, price, price, price, Decimal(output_price), call_type, batch=64
    )


_BEDROCK_ADDRESS = "https://bedrock-runtime.us-east-1.amazonaws.com"

LLAMA = _self_hosted("llama-3-70b", "0.0000006", "0.0000009")
MISTRAL = _self_hosted("mistral-large", "0.000001", "0.000003")
EMBED = _self_hosted("embed-v2", "0.00000002", "0", "aembedding")
WHISPER = _self_hosted("whisper-large-v3", "0.0000001", "0.0000003", "atranscription")
SONNET = ServedModel(
    "claude-sonnet-4-5",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock",
    _BEDROCK_ADDRESS,
    Decimal("0.000003"),
    Decimal("0.0000003"),
    Decimal("0.00000375"),
    Decimal("0.000015"),
    bedrock_meter="Claude4.5Sonnet",
)
NOVA = ServedModel(
    "nova-pro",
    "amazon.nova-pro-v1:0",
    "bedrock",
    _BEDROCK_ADDRESS,
    Decimal("0.0000008"),
    Decimal("0.0000002"),
    Decimal("0"),
    Decimal("0.0000032"),
    bedrock_meter="NovaPro",
)
GPT = ServedModel(
    "gpt-5-mini",
    "gpt-5-mini",
    "openai",
    "https://api.openai.com/v1/",
    Decimal("0.00000025"),
    Decimal("0.000000025"),
    Decimal("0"),
    Decimal("0.000002"),
)

MODELS = (LLAMA, MISTRAL, EMBED, WHISPER, SONNET, NOVA, GPT)
BEDROCK_MODELS = (SONNET, NOVA)


@dataclass(frozen=True)
class Caller:
    """One feature of a team that calls one model, with the key it uses and the size of its requests."""

    team: str
    """As the gateway spells the team's name, not always as the others do."""
    product: str
    feature: str
    environment: str
    model: ServedModel
    customers: tuple[str, ...]
    requests_per_hour: int
    """At the busiest hour of a working day."""
    prompt_tokens: int
    """Of one prompt."""
    completion_tokens: int
    cached_percent: int = 0

    @property
    def key_hash(self) -> str:
        """The hash of the virtual key the caller authenticates with."""
        return token(f"key {self.team} {self.product} {self.feature} {self.environment}", 64)


_SHOPS = ("initech", "umbrella", "hooli")
_BANKS = ("gringotts", "piggybank")

CALLERS = (
    Caller("Search", "site-search", "query-rewrite", "production", LLAMA, _SHOPS, 5, 1800, 160, 30),
    Caller("Search", "site-search", "semantic-index", "production", EMBED, (), 5, 6400, 0),
    Caller("search", "site-search", "answer-box", "production", NOVA, _SHOPS, 4, 21000, 420, 55),
    Caller("assistant", "shopping-assistant", "chat", "production", LLAMA, _SHOPS, 7, 5200, 610, 45),
    Caller("assistant", "shopping-assistant", "chat", "production", SONNET, _SHOPS, 6, 42000, 1150, 70),
    Caller("assistant", "shopping-assistant", "tool-use", "production", SONNET, _SHOPS, 4, 88000, 2100, 80),
    Caller("assistant", "shopping-assistant", "chat", "staging", GPT, (), 2, 3900, 480, 35),
    Caller("Recs", "storefront", "ranking-explanations", "production", MISTRAL, _SHOPS, 5, 2600, 240, 20),
    Caller("Recs", "storefront", "item-embeddings", "production", EMBED, (), 3, 9100, 0),
    Caller("fraud", "payments", "transaction-review", "production", MISTRAL, _BANKS, 4, 3100, 190, 25),
    Caller("fraud", "payments", "case-summaries", "production", SONNET, _BANKS, 3, 36000, 900, 60),
    Caller("vision", "catalog", "image-captions", "production", LLAMA, ("initech",), 4, 1500, 120),
    Caller("Speech ", "call-center", "transcripts", "production", WHISPER, ("umbrella",), 5, 2400, 700),
    Caller("Speech ", "call-center", "call-summaries", "production", NOVA, ("umbrella",), 3, 16000, 520, 40),
    Caller("ML-Research", "foundation-models", "evaluation", "research", LLAMA, (), 4, 7400, 950, 10),
    Caller("ML-Research", "foundation-models", "judge", "research", GPT, (), 3, 6100, 700, 30),
    Caller("ML-Platform", "model-gateway", "canary", "production", MISTRAL, (), 1, 220, 24),
    # Nobody set this key's team: its tokens have no target.
    Caller("", "", "", "", LLAMA, (), 1, 2900, 300),
)


@dataclass(frozen=True)
class LoggedDay:
    """What one day's log holds. `bedrock_tokens` counts billable tokens by (hour, meter, class)."""

    requests: int
    bedrock_tokens: Counter[tuple[int, str, str]]


def write_token_log(folder: Path, span: Span) -> Iterator[LoggedDay]:
    """Write `<folder>/<YYYY-MM-DD>.jsonl` for each UTC day of the span and yield each day's counts."""
    folder.mkdir(parents=True, exist_ok=True)
    for day in span.days():
        records: list[tuple[int, str]] = []
        bedrock_tokens: Counter[tuple[int, str, str]] = Counter()
        for number, caller in enumerate(CALLERS):
            records += _records(day, number, caller, bedrock_tokens)
        records.sort()
        lines = [line for _, line in records]
        if day == DUPLICATED_DAY:
            lines.insert(len(lines) // 2 + 3, lines[len(lines) // 2])
        with (folder / f"{day}.jsonl").open("w", encoding="utf-8", newline="\n") as log:
            log.writelines(lines)
        yield LoggedDay(len(lines), bedrock_tokens)


def _records(
    day: date, number: int, caller: Caller, bedrock_tokens: Counter[tuple[int, str, str]]
) -> Iterator[tuple[int, str]]:
    """A caller's requests of a day as (start in milliseconds, JSON line), adding the billable Bedrock tokens."""
    values = iter(noise(f"requests {number} {day}", 24 * (1 + _MOST_REQUESTS_PER_HOUR * _NUMBERS_PER_REQUEST)))
    model = caller.model
    for hour in range(epoch(day), epoch(day) + DAY_SECONDS, HOUR_SECONDS):
        requests = _requests_in_hour(caller, hour, next(values))
        silent = hour == int(SILENT_HOUR.timestamp()) and model.provider == "hosted_vllm"
        for position in range(_MOST_REQUESTS_PER_HOUR):
            drawn = tuple(islice(values, _NUMBERS_PER_REQUEST))
            if silent or position >= requests:
                continue
            request = _request(caller, number, hour, position, drawn)
            if model.bedrock_meter and request.is_billed:
                for token_class, tokens in request.tokens_by_class():
                    bedrock_tokens[hour, model.bedrock_meter, token_class] += tokens
            yield request.started_at, request.line()


def _requests_in_hour(caller: Caller, hour: int, drawn: int) -> int:
    # Working hours are the afternoon in UTC, as for a company on the American east coast.
    busy = 13 <= hour_of_day(hour) < 23
    percent = (100 if busy else 35) // (2 if is_weekend(hour) else 1)
    return min(_MOST_REQUESTS_PER_HOUR, (caller.requests_per_hour * percent * 65536 + drawn * 100) // 6553600)


@dataclass(frozen=True)
class Request:
    """One call through the gateway."""

    caller: Caller
    name: str
    started_at: int
    """Milliseconds since 1970-01-01 UTC."""
    duration: int
    customer: str | None
    prompt_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    failed: bool
    cache_hit: bool

    @property
    def is_billed(self) -> bool:
        """Whether the provider saw the request: it neither failed nor was answered from the gateway's own cache."""
        return not self.failed and not self.cache_hit

    def tokens_by_class(self) -> Iterator[tuple[str, int]]:
        """Mutually exclusive token classes as AWS meters them."""
        yield "input", self.prompt_tokens - self.cache_read_tokens - self.cache_write_tokens
        yield "cache-read-input", self.cache_read_tokens
        yield "cache-write-input", self.cache_write_tokens
        yield "output", self.completion_tokens

    def line(self) -> str:
        """The request as one line of JSON."""
        return json.dumps(self._payload(), separators=(",", ":")) + "\n"

    def _payload(self) -> dict[str, object]:
        model = self.caller.model
        cost = Decimal(0) if not self.is_billed else self._cost()
        ended_at = self.started_at + self.duration
        return {
            "id": f"chatcmpl-{token(self.name, 24)}",
            "trace_id": identifier(f"trace {self.name}"),
            "call_type": model.call_type,
            "stream": model.call_type == "acompletion",
            "response_cost": float(cost),
            "saved_cache_cost": float(self._cost()) if self.cache_hit else 0.0,
            "status": "failure" if self.failed else "success",
            "custom_llm_provider": model.provider,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "startTime": self.started_at / 1000,
            "endTime": ended_at / 1000,
            "completionStartTime": (self.started_at + self.duration // 4) / 1000,
            "response_time": self.duration / 1000,
            "model": model.name,
            "model_id": token(f"deployment {model.group}", 64),
            "model_group": model.group,
            "api_base": model.api_base,
            "metadata": self._metadata(),
            "cache_hit": self.cache_hit,
            "request_tags": self._tags(),
            "end_user": self.customer or "",
            "error_information": self._error(),
        }

    def _metadata(self) -> dict[str, object]:
        caller = self.caller
        key = f"{caller.feature}-{caller.environment}" if caller.feature else "unnamed-key"
        return {
            "user_api_key_hash": caller.key_hash,
            "user_api_key_alias": key,
            "user_api_key_team_id": identifier(f"team {caller.team}") if caller.team else None,
            "user_api_key_team_alias": caller.team or None,
            "user_api_key_org_id": "acme",
            "user_api_key_user_id": None,
            "spend_logs_metadata": None,
            "requester_metadata": self._labels(),
            "usage_object": self._usage(),
        }

    def _labels(self) -> dict[str, str]:
        caller = self.caller
        labels = {
            "product": caller.product,
            "feature": caller.feature,
            "model": caller.model.group,
            "environment": caller.environment,
            "customer": self.customer or "",
        }
        return {name: value for name, value in labels.items() if value}

    def _tags(self) -> list[str]:
        return [f"{name}:{value}" for name, value in self._labels().items() if name in ("feature", "environment")]

    def _usage(self) -> dict[str, object] | None:
        if self.failed:
            return None
        usage: dict[str, object] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cache_read_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }
        if self.caller.model.provider == "bedrock":
            usage["cache_read_input_tokens"] = self.cache_read_tokens
            usage["cache_creation_input_tokens"] = self.cache_write_tokens
        return usage

    def _error(self) -> dict[str, str] | None:
        if not self.failed:
            return None
        return {"error_code": "429", "error_class": "RateLimitError", "llm_provider": self.caller.model.provider}

    def _cost(self) -> Decimal:
        model = self.caller.model
        prices = (model.input_price, model.cache_read_price, model.cache_write_price, model.output_price)
        return sum(
            (tokens * price for (_, tokens), price in zip(self.tokens_by_class(), prices, strict=True)), Decimal(0)
        )


def _request(caller: Caller, number: int, hour: int, position: int, drawn: tuple[int, ...]) -> Request:
    moment, size, answer, cached, customer, fate = drawn
    model = caller.model
    failed = fate < 1000
    # Sizes vary from 40 % to 160 % of the caller's usual request.
    prompt_tokens = 0 if failed else model.batch * caller.prompt_tokens * (26214 + size * 6 // 5) // 65536
    completion_tokens = 0 if failed else model.batch * caller.completion_tokens * (26214 + answer * 6 // 5) // 65536
    cache_read_tokens = prompt_tokens * caller.cached_percent * cached // (100 * 65536)
    cache_write_tokens = (prompt_tokens - cache_read_tokens) // 8 if model is SONNET else 0
    return Request(
        caller=caller,
        name=f"request {number} {hour} {position}",
        started_at=hour * 1000 + moment * HOUR_SECONDS * 1000 // 65536,
        duration=240 + (prompt_tokens // 40 + completion_tokens * 12) // model.batch,
        customer=caller.customers[customer % len(caller.customers)] if caller.customers else None,
        prompt_tokens=prompt_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=cache_write_tokens,
        completion_tokens=completion_tokens,
        reasoning_tokens=completion_tokens // 3 if model is GPT else 0,
        failed=failed,
        cache_hit=not failed and fate > 64700,
    )
