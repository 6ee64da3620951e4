"""Usage that is delivered as files of UTC days: what a billing period needs of it, how it looks, and its trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import DeliveryError
from pipelines.sources.deliveries import (
    DeliveredFile,
    Delivery,
    Landed,
    LandedPeriod,
    content_version,
    local_file,
    signature_of,
)
from pipelines.sources.files import is_beside_data
from pipelines.sources.findings import Finding

if TYPE_CHECKING:
    from pipelines.config import UsageSource


def measured_days(period: str) -> list[str]:
    """The UTC days that the charges of a billing period are measured on: those of its month and the day after.

    A bill's month may end after UTC's: Google's at midnight in Los Angeles, 07:00 or 08:00 UTC
    (https://cloud.google.com/billing/docs/how-to/export-data-bigquery-tables/standard-usage).
    """
    first = date.fromisoformat(f"{period}-01")
    following = (first + timedelta(days=31)).replace(day=1)
    return [str(first + timedelta(days=number)) for number in range((following - first).days + 1)]


def is_of_data(path: Path, endings: tuple[str, ...], source: UsageSource) -> bool:
    """Whether a path is a file of a day's data. Raises DeliveryError for a file that may be and has an unknown ending."""
    if not path.is_file() or path.name.startswith("."):
        return False
    if path.name.lower().endswith(endings):
        return True
    if is_beside_data(path.name):
        return False
    raise DeliveryError(
        "A file has an ending that we don't read.",
        where=f"source {source.name}, file {path}",
        expected=f"a name that ends in {' or '.join(endings)}, in small or capital letters",
        found=path.name,
        remedy="write it so, if it is part of the day's data; else move it elsewhere, so that nobody takes it for counted",
    )


def look_at_days(files: Iterable[tuple[str, str, Path]]) -> dict[str, str]:
    """Billing period to a hash over the names, sizes and times of the files of its :func:`measured_days`.

    ``files`` lists day, name and path of each. The day after counts only for a period that has days of its own.
    """
    days: defaultdict[str, list[DeliveredFile]] = defaultdict(list)
    for day, name, path in files:
        days[day].append(local_file(path, f"{day}/{name}"))
    return {
        period: signature_of(
            sorted((file for day in measured_days(period) for file in days.get(day, ())), key=lambda file: file.name)
        )
        for period in sorted({day[: len("YYYY-MM")] for day in days})
    }


def deliveries_of_days(
    source: UsageSource, files: Iterable[tuple[str, str, Path]], period: str | None, landed: Landed
) -> list[Delivery]:
    """One delivery for each UTC day that has files, in order; with ``period`` only its :func:`measured_days`.

    ``files`` lists day, name and path of each.
    """
    wanted = None if period is None else set(measured_days(period))
    days: defaultdict[str, list[DeliveredFile]] = defaultdict(list)
    for day, name, path in files:
        if wanted is None or day in wanted:
            days[day].append(local_file(path, name))
    return [
        _delivery(source, day, sorted(delivered, key=lambda file: file.name), landed.period(day))
        for day, delivered in sorted(days.items())
    ]


def _delivery(source: UsageSource, day: str, files: list[DeliveredFile], landed: LandedPeriod | None) -> Delivery:
    signature = signature_of(files)
    return Delivery(
        source_name=source.name,
        source_kind=source.kind,
        period=day,
        # Naming a version reads every file: an unchanged day keeps the name it has.
        version=landed.version if landed and landed.signature == signature else content_version(files),
        signature=signature,
        files=tuple(files),
    )


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
