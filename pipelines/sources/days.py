"""What the trial of a source finds that lies as files of days."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pipelines.errors import DeliveryError
from pipelines.sources.findings import Finding


def check_days(place: str, files: Callable[[], Iterable[tuple[str, str, Path]]]) -> list[Finding]:
    """Whether a place can be listed and its newest file read; ``files`` lists day, name and path of each."""
    subject = f"list {place}"
    try:
        found = sorted(files())
    except (DeliveryError, OSError) as error:
        remedy = (
            error.remedy if isinstance(error, DeliveryError) else "give whoever runs apportion the right to read it"
        )
        return [Finding(subject, "missing", _in_a_line(error), remedy)]
    if not found:
        return [
            Finding(subject, "warning", "no day has been delivered", "docs/sources says how files have to be named")
        ]
    days = sorted({day for day, _, _ in found})
    newest = found[-1][2]
    listed = Finding(subject, "works", f"{len(days)} day(s), {days[0]} to {days[-1]}")
    try:
        with newest.open("rb") as content:
            content.read(1)
    except OSError as error:
        return [
            listed,
            Finding(f"read {newest}", "missing", _in_a_line(error), "give whoever runs apportion the right"),
        ]
    return [listed, Finding(f"read {newest}", "works", "its first byte was read")]


def _in_a_line(error: Exception) -> str:
    if isinstance(error, DeliveryError):
        return "; ".join(filter(None, [error.problem, error.where, error.found]))
    return str(error)
