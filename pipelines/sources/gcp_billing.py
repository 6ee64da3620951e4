"""Google Cloud's billing export: a BigQuery table, or files that ``bq extract`` wrote of it.

A table grows by ingestion day: a billing period's delivery is one Parquet file for each day that brought rows of it, and only days
that have changed are read again. Extracted files hold rows of one or more invoice months, which are read once and then
remembered beside what landed.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import GcpBillingSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.deliveries import (
    NOTHING_LANDED,
    DeliveredFile,
    Delivery,
    Landed,
    content_version,
    local_file,
    signature_of,
)
from pipelines.sources.files import is_beside_data, is_parquet
from pipelines.sources.findings import Finding, Sample, cheapest, missing
from pipelines.sources.gcp_billing_relation import invoice_months, is_json
from pipelines.sources.stores import open_store, stored_file

if TYPE_CHECKING:
    from pipelines.sources.gcp_bigquery import BillingTable, IngestedDay

# Rows of a month come until the tenth of the next one, when Google closes it; late ones are looked for that much longer.
_WINDOW = timedelta(days=10)
_WINDOW_AT_MONTH_CLOSE = timedelta(days=35)
_LAST_DAY_OF_MONTH_CLOSE = 10
# The billing month begins at midnight in Los Angeles, hours after it does in UTC.
_BEFORE_MONTH = timedelta(days=5)
_EVER = "2010-01-01"
_PARQUET = ".parquet"


def look(source: GcpBillingSource, landed: Landed = NOTHING_LANDED) -> dict[str, str]:
    """Billing period to a hash over its days (or files) and what they hold.

    Of a table: one query over the ingestion days since ten days before the newest that landed, at month close 35; days before
    count as they landed. Of files: a listing; only files that are new are read, for the months of their rows.
    """
    if source.table is None:
        return _looks({period: _pins(files) for period, files in _files_by_period(source, landed).items()})
    table = _table(source)
    newest = max((day for period in landed.looks for day in _landed_days(landed, period)), default=None)
    if newest is None:
        return _looks(_day_pins(table.ingested_days(since=_first_day(source))))
    window = max(_window_start(newest), _first_day(source))
    seen = _day_pins(table.ingested_days(since=window))
    # Days of the window that landed and are gone make their period look otherwise, one without any day left too. A period
    # whose landed delivery is gone is asked for anew, however old.
    seen |= {
        period: {}
        for period in landed.looks
        if period not in seen and (landed.period(period) is None or _landed_days(landed, period, since=window))
    }
    unknown = [period for period in seen if landed.period(period) is None]
    if unknown:
        seen |= _day_pins(table.ingested_days(since=_first_day(source, min(unknown)), periods=unknown))
    merged = {
        period: {**(_landed_pins(landed, period, before=window) if period not in unknown else {}), **pins}
        for period, pins in seen.items()
    }
    return {**landed.looks, **_looks(merged)}


def deliveries(source: GcpBillingSource, period: str | None = None, landed: Landed = NOTHING_LANDED) -> list[Delivery]:
    """The delivery of each billing period, in order of period, or of one billing period alone.

    ``details``: ``mapping`` (gcp-billing, or focus of a table in FOCUS), ``format``, ``rows`` (all, or of-period where files hold
    several months), ``table``, ``run_read_through`` and ``run_estimate_bytes`` (of what has to be read anew).

    Raises DeliveryError for a table or files that can't be read, that would cost more than the source's limit, or that
    no longer have what has landed of them.
    """
    if source.table is None:
        listed = _files_by_period(source, landed)
        return [_file_delivery(source, month, listed[month]) for month in sorted(listed) if period in (None, month)]
    table = _table(source)
    days = table.ingested_days(since=_first_day(source, period), periods=[period] if period else [])
    by_period: dict[str, list[IngestedDay]] = {}
    for day in days:
        by_period.setdefault(day.period, []).append(day)
    if period and landed.period(period):
        by_period.setdefault(period, [])
    return [_table_delivery(table, month, by_period[month], landed) for month in sorted(by_period)]


def check(source: GcpBillingSource) -> list[Finding]:
    """Try the source without landing anything: describe the table, look into it, open a read session; or list the files."""
    if source.table is None:
        return _check_files(source)
    table = _table(source)
    described = f"describe {table.name}"
    try:
        kind = "FOCUS" if table.mapping == "focus" else "detailed" if "resource" in table.columns else "standard"
    except DeliveryError as error:
        return [missing(described, error)]
    findings = [Finding(described, "works", f"the {kind} export, {len(table.read_columns)} columns to read")]
    looked = f"query {table.name}"
    try:
        days = table.ingested_days(since=_first_day(source))
    except DeliveryError as error:
        return [*findings, missing(looked, error)]
    periods = sorted({day.period for day in days})
    findings.append(
        Finding(looked, "works", f"{len(periods)} billing periods, the newest {periods[-1]}")
        if periods
        else Finding(looked, "warning", "no row yet", "wait: the first rows come hours after the export was enabled")
    )
    return [*findings, _check_storage(table)]


def sample(source: GcpBillingSource) -> Sample | None:
    """One of the files; none of a table, whose rows cost money to read."""
    return None if source.table else Sample(source.kind, cheapest(_listed_files(source)))


def _check_storage(table: BillingTable) -> Finding:
    subject = f"open a read session on {table.name}"
    try:
        readable = table.readable_through_storage()
    except DeliveryError as error:
        return Finding(subject, "warning", error.found or error.problem, error.remedy)
    if readable:
        return Finding(subject, "works", "rows are read through the Storage Read API")
    return Finding(
        subject,
        "warning",
        "rows are read as query results, which takes longer",
        f"grant roles/bigquery.readSessionUser (bigquery.readsessions.create) on project {table.paying_project}; a view can "
        "only be queried",
    )


def _check_files(source: GcpBillingSource) -> list[Finding]:
    subject = f"list {source.location or ', '.join(str(path) for path in source.files)}"
    try:
        listed = _files_by_period(source, NOTHING_LANDED)
    except DeliveryError as error:
        return [missing(subject, error)]
    return [Finding(subject, "works", f"{len(listed)} billing periods, the newest {max(listed)}")]


def _table(source: GcpBillingSource) -> BillingTable:
    # Only sources with a table need Google's libraries.
    from pipelines.sources.gcp_bigquery import BillingTable

    return BillingTable(source)


def _window_start(newest: str) -> str:
    day = date.fromisoformat(newest)
    return (day - (_WINDOW_AT_MONTH_CLOSE if day.day <= _LAST_DAY_OF_MONTH_CLOSE else _WINDOW)).isoformat()


def _first_day(source: GcpBillingSource, period: str | None = None) -> str:
    """The first ingestion day that may hold rows of a billing period, or of the source's first."""
    first = max(filter(None, (source.since, period)), default=None)
    return (date.fromisoformat(f"{first}-01") - _BEFORE_MONTH).isoformat() if first else _EVER


def _landed_pins(landed: Landed, period: str, *, before: str = "9999") -> dict[str, str]:
    delivery = landed.period(period)
    return {name: pin for name, pin in delivery.pins.items() if name < before} if delivery else {}


def _landed_days(landed: Landed, period: str, *, since: str = "") -> list[str]:
    return [day for name in _landed_pins(landed, period) if (day := name.removesuffix(_PARQUET)) >= since]


def _day_pins(days: Iterable[IngestedDay]) -> dict[str, dict[str, str]]:
    pins: dict[str, dict[str, str]] = {}
    for day in days:
        pins.setdefault(day.period, {})[day.name] = day.pin
    return pins


def _pins(files: Iterable[DeliveredFile]) -> dict[str, str]:
    return {file.name: file.pin for file in files}


def _looks(pins: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {period: _hash(files) for period, files in sorted(pins.items())}


def _hash(pins: Mapping[str, str]) -> str:
    text = "\n".join(f"{name} {pin}" for name, pin in sorted(pins.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _table_delivery(table: BillingTable, period: str, days: Sequence[IngestedDay], landed: Landed) -> Delivery:
    known = _landed_pins(landed, period)
    if gone := sorted(set(known) - {day.name for day in days}):
        raise DeliveryError(
            f"{table.source.name}: days that landed are gone from the table: their rows would vanish from {period}.",
            where=table.where,
            expected=", ".join(name.removesuffix(_PARQUET) for name in gone),
            found=", ".join(day.day for day in days) or "no row of the month",
            remedy="restore the partitions; where Google delivered the month anew under other days, remove the period's folder "
            "in landing, so that it is read whole",
        )
    plans = table.plan(day for day in days if known.get(day.name) != day.pin)

    def file(day: IngestedDay) -> DeliveredFile:
        def save(target: Path) -> None:
            # A day that was linked has no plan; one that must be read after all, because its file is gone, gets its own.
            planned = plans.get(day) or table.plan([day])[day]
            table.save(day, planned, target)

        return DeliveredFile(
            name=day.name,
            size=None,
            pin=day.pin,
            where=f"{table.where}, ingestion day {day.day}",
            save=save,
        )

    files = tuple(file(day) for day in days)
    return Delivery(
        source_name=table.source.name,
        source_kind=table.source.kind,
        period=period,
        version=_hash(_pins(files)),
        signature=signature_of(files),
        files=files,
        details={
            "mapping": table.mapping,
            "format": "parquet",
            "rows": "all",
            "table": table.name,
            "run_read_through": ", ".join(sorted({planned.through for planned in plans.values()})) or "landing",
            "run_estimate_bytes": str(sum(planned.estimate_bytes for planned in plans.values())),
        },
    )


def _files_by_period(source: GcpBillingSource, landed: Landed) -> dict[str, list[DeliveredFile]]:
    """The extracted files that have rows of each billing period; a file's pin ends with the periods that it has."""
    listed = {f"{file.name}\t{file.pin}": file for file in _listed_files(source)}
    known = landed.read
    months = _months([file for key, file in listed.items() if key not in known])
    read = {key: known.get(key, ",".join(months.get(file.name, ()))) for key, file in listed.items()}
    landed.note_read(read)
    found: dict[str, list[DeliveredFile]] = {}
    for key, file in listed.items():
        for period in filter(None, read[key].split(",")):
            found.setdefault(period, []).append(replace(file, pin=f"{file.pin};{read[key]}"))
    if not found:
        raise DeliveryError(
            f"{source.name}: no row of the export is there, so that it belongs to no billing period.",
            where=source.location or ", ".join(str(path) for path in source.files),
            expected="Parquet (.parquet) or newline-delimited JSON (.json, .ndjson, .jsonl, each also .gz) with rows",
            remedy="extract the table there, or take the source out of the configuration",
        )
    return {period: files for period, files in found.items() if source.since is None or period >= source.since}


def _listed_files(source: GcpBillingSource) -> list[DeliveredFile]:
    if source.location is None:
        for path in source.files:
            if not path.is_file():
                raise DeliveryError(
                    f"{source.name}: a file of the configuration isn't there.",
                    where=str(path),
                    remedy="correct 'files:' in the configuration",
                )
        names = [path.name for path in source.files]
        # Files of one name in several folders keep what tells them apart.
        unique = len(set(names)) == len(names)
        files = [local_file(path, path.name if unique else path.as_posix().lstrip("/")) for path in source.files]
    else:
        store = open_store(source)
        files = [stored_file(store, found, found.name) for found in store.objects()]
        if source.location and "://" not in source.location:
            files = [replace(file, path=Path(source.location) / file.name) for file in files]
    readable = [file for file in files if _is_readable(file.name)]
    # What the configuration names is meant to be read, whatever it is called.
    if unknown := [
        file for file in files if not _is_readable(file.name) and (source.files or not is_beside_data(file.name))
    ]:
        raise DeliveryError(
            f"{source.name}: the delivery has a file that we don't read.",
            where=unknown[0].where,
            expected="Parquet (.parquet) or newline-delimited JSON (.json, .ndjson, .jsonl, each also .gz)",
            found=", ".join(file.name for file in unknown[:5]),
            remedy="extract with --destination_format=PARQUET or NEWLINE_DELIMITED_JSON (CSV has no nested fields), or take the "
            "file out",
        )
    return readable


def _is_readable(name: str) -> bool:
    return is_parquet(name) or is_json(name)


def _months(files: Sequence[DeliveredFile]) -> dict[str, tuple[str, ...]]:
    """The billing periods of each file's rows, by the file's name; files that lie elsewhere are fetched for it."""
    months: dict[str, tuple[str, ...]] = {}
    if not files:
        return months
    with connect() as connection, tempfile.TemporaryDirectory() as folder:
        for file in files:
            copy = Path(folder) / Path(file.name).name
            if file.path is None:
                file.save(copy)
            months[file.name] = tuple(invoice_months(connection, file.path or copy, file.name))
            copy.unlink(missing_ok=True)
    return months


def _file_delivery(source: GcpBillingSource, period: str, files: Sequence[DeliveredFile]) -> Delivery:
    mixed = any(not file.pin.endswith(f";{period}") for file in files)
    return Delivery(
        source_name=source.name,
        source_kind=source.kind,
        period=period,
        version=content_version(files),
        signature=signature_of(files),
        files=tuple(files),
        details={
            "mapping": "gcp-billing",
            "format": "json" if all(is_json(file.name) for file in files) else "parquet",
            "rows": "of-period" if mixed else "all",
        },
    )
