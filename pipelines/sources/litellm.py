"""Requests through a LiteLLM proxy: its standard logging payloads as JSON lines, a file or folder for each UTC day.

Laid out as ``<location>/<YYYY-MM-DD>.jsonl`` (or ``.jsonl.gz``), or as a folder ``<location>/<YYYY-MM-DD>/`` of
such files. The payload is https://docs.litellm.ai/docs/proxy/logging_spec; docs/sources/litellm.md says what is read from it.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import DeliveryError
from pipelines.sources.days import check_days, deliveries_of_days, is_of_data, look_at_days
from pipelines.sources.deliveries import (
    NOTHING_LANDED,
    Delivery,
    Landed,
)
from pipelines.sources.files import by_compression, open_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.config import UsageSource
    from pipelines.sources.findings import Finding

KIND = "litellm"
_FILE_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.jsonl(\.gz)?", re.IGNORECASE)
_FOLDER_NAME = re.compile(r"\d{4}-\d{2}-\d{2}")
_SUFFIXES = (".jsonl", ".jsonl.gz")

# What LiteLLM writes in place of a text when message logging is off.
_REDACTED = "redacted-by-litellm"
_CONTENT_FIELDS = ("messages", "response")
_CONTENT_MARKS = tuple(f'"{field}"'.encode() for field in _CONTENT_FIELDS)
# Parts of a message or answer that are no text of a person or model.
_FORM_FIELDS = frozenset(
    {"role", "type", "object", "finish_reason", "id", "model", "system_fingerprint", "service_tier"}
)

# One column of whole lines: U+0001 can't occur in JSON. A line that is no JSON is a row too, and so is an empty one.
_READ_LINES = """
SELECT filename AS path, line
FROM read_csv(
    ${number},
    {compression},
    filename = true,
    auto_detect = false,
    header = false,
    columns = {{line: 'VARCHAR'}},
    delim = chr(1),
    quote = '',
    escape = ''
)
"""


def look(source: UsageSource, landed: Landed = NOTHING_LANDED) -> dict[str, str]:
    """Billing period to a hash over its files' names, sizes and times. Raises DeliveryError as :func:`deliveries` does."""
    return look_at_days(_files(source))


def deliveries(source: UsageSource, period: str | None = None, landed: Landed = NOTHING_LANDED) -> list[Delivery]:
    """One delivery for each UTC day that has a log, in order of days; with ``period`` only those that its charges are measured on.

    Raises DeliveryError when the location doesn't exist or a log is named like a day that no calendar has.
    """
    return deliveries_of_days(source, _files(source), period, landed)


def check(source: UsageSource) -> list[Finding]:
    """Whether the days can be listed and the newest file read."""
    return check_days(str(source.location or ", ".join(map(str, source.files))), lambda: _files(source))


def refuse_prompts(delivery: Delivery) -> None:
    """Make sure that no prompt or answer is in a delivery. To be called before it is landed.

    Raises DeliveryError naming the first line whose ``messages`` or ``response`` holds anything but LiteLLM's
    redaction mark. Reads the files once.
    """
    for file in delivery.files:
        if file.path is None:
            raise ValueError(f"{file.where} is not on this machine")
        for row, line in enumerate(_lines(file.path), start=1):
            if any(mark in line for mark in _CONTENT_MARKS) and (field := _content_field(line)):
                raise DeliveryError(
                    "A request log holds what people asked or models answered; it isn't landed.",
                    where=f"source {delivery.source_name}, day {delivery.period}, file {file.name}, row {row}, "
                    f"field {field}",
                    expected=f"nothing, or {_REDACTED!r}",
                    found="text",
                    remedy="set 'turn_off_message_logging: true' under litellm_settings of the proxy, and remove "
                    "'messages' and 'response' from the log that has been written",
                )


def create_lines(connection: duckdb.DuckDBPyConnection, *, files: str) -> None:
    """Create the temporary view ``litellm_lines``: one row for each line of the landed files that isn't empty.

    ``files`` is a relation with the columns path, source_name, x_Day, source_file. The view has source_name, x_Day,
    source_file, source_row (1-based) and line; it reads the table ``litellm_file_lines``.

    Raises DeliveryError when a file is no text in lines.
    """
    paths = [Path(path) for (path,) in connection.sql(f"SELECT path FROM {files} ORDER BY path").fetchall()]
    packed = by_compression(paths)
    lines = " UNION ALL ".join(
        _READ_LINES.format(number=number, compression=option) for number, option in enumerate(packed, start=1)
    )
    try:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE litellm_file_lines AS "
            f"SELECT CAST(row_number() OVER () AS BIGINT) AS position, path, line FROM ({lines})",
            list(packed.values()),
        )
    except duckdb.InvalidInputException as error:
        raise DeliveryError(
            "A request log can't be read as lines of JSON.",
            where=f"source kind {KIND}",
            expected="UTF-8 text, one JSON object a line, one kind of line end in a file, no line longer than 2 MB",
            found=str(error),
            remedy="write the day's log again, and run again",
        ) from error
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP VIEW litellm_lines AS
        WITH starts AS (
            SELECT path, min(position) AS first_position FROM litellm_file_lines GROUP BY path
        )
        SELECT
            delivered.source_name,
            delivered.x_Day,
            delivered.source_file,
            lines.position - starts.first_position + 1 AS source_row,
            lines.line
        FROM litellm_file_lines AS lines
        INNER JOIN starts USING (path)
        INNER JOIN {files} AS delivered USING (path)
        -- The start is enough to tell a blank line, and trimming whole lines takes as long as parsing them.
        WHERE trim(left(lines.line, 100)) <> ''
        """
    )


def _files(source: UsageSource) -> Iterator[tuple[str, str, Path]]:
    """The day, the name inside the day's delivery and the path of every log file."""
    if source.location is None:
        for path in source.files:
            match = _FILE_NAME.fullmatch(path.name)
            yield _day(match.group(1) if match else path.name, path, source), path.name, path
        return
    if not source.location.is_dir():
        raise DeliveryError(
            "The folder of request logs doesn't exist.",
            where=f"source {source.name}",
            expected=f"a folder {source.location} with a log for each day, named YYYY-MM-DD.jsonl",
            remedy="correct 'location' in the configuration, or mount the folder",
        )
    for entry in source.location.iterdir():
        if entry.is_dir() and _FOLDER_NAME.fullmatch(entry.name):
            day = _day(entry.name, entry, source)
            for path in entry.rglob("*"):
                if is_of_data(path, _SUFFIXES, source):
                    yield day, path.relative_to(source.location).as_posix(), path
        elif entry.is_file() and (match := _FILE_NAME.fullmatch(entry.name)):
            yield _day(match.group(1), entry, source), entry.name, entry
        elif entry.is_file() and _FOLDER_NAME.match(entry.name):
            # Named after a day, and of no ending that we read.
            is_of_data(entry, _SUFFIXES, source)


def _day(name: str, path: Path, source: UsageSource) -> str:
    try:
        return date.fromisoformat(name).isoformat()
    except ValueError:
        raise DeliveryError(
            "A request log isn't named after a day.",
            where=f"source {source.name}, {path}",
            expected="the UTC day as YYYY-MM-DD.jsonl or YYYY-MM-DD.jsonl.gz",
            found=name,
            remedy="rename the log",
        ) from None


def _lines(path: Path) -> Iterator[bytes]:
    with open_bytes(path) as content:
        yield from content


def _content_field(line: bytes) -> str | None:
    try:
        payload = json.loads(line)
    except ValueError:
        # Not JSON: what it holds can't be told, and a mark was in it.
        return _CONTENT_FIELDS[0]
    if not isinstance(payload, dict):
        return None
    return next((field for field in _CONTENT_FIELDS if _holds_text(payload.get(field))), None)


def _holds_text(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() not in ("", _REDACTED)
    if isinstance(value, dict):
        return any(_holds_text(part) for key, part in value.items() if key not in _FORM_FIELDS)
    if isinstance(value, list):
        return any(_holds_text(part) for part in value)
    return False
