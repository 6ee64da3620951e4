"""Azure's cost exports by their manifests: which runs lie in a store, of which report and billing period, with which blobs.

Microsoft writes two shapes of manifest ("Cost Management exports", manifest version 2021-01-01): the older has blobs and their
rows alone, the newer adds which export ran (``exportConfig``), where to (``deliveryConfig``) and when (``runInfo``). What a
manifest says is never looked for in a path; only where the older shape says nothing, its folders are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pipelines.errors import DeliveryError
from pipelines.sources.stores.base import Store, StoredObject

ACTUAL, AMORTISED, FOCUS = "actual", "amortised", "focus"

_REPORTS: Mapping[str, str] = {
    "actualcost": ACTUAL,
    "amortizedcost": AMORTISED,
    "focuscost": FOCUS,
    # Exports of pay-as-you-go subscriptions: actual cost without purchases.
    "usage": ACTUAL,
}
# Of a manifest that doesn't say what was exported: the words of its export's name.
_WORDS: Sequence[tuple[str, str]] = (("amorti[sz]ed", AMORTISED), ("focus", FOCUS))
_RANGE = re.compile(r"(\d{4})(\d{2})\d{2}-(\d{4})(\d{2})\d{2}")
_RUN = re.compile(r"\d{12}(?:\d{2})?")
_DAY = re.compile(r"(\d{4}-\d{2})-\d{2}")


@dataclass(frozen=True)
class NamedBlob:
    """A blob that a manifest names: its own object in the store, and the rows that it is said to hold."""

    found: StoredObject
    rows: int | None


@dataclass(frozen=True)
class ExportRun:
    """One run of an export, as its manifest tells it.

    ``export`` is whose cost was exported: the scope where the manifest names it, else the export itself. ``report`` is actual,
    amortised or focus, None for reports that are no bill.
    ``submitted`` orders runs; ``run_id`` is Microsoft's name of the run, None in the older shape.
    """

    manifest: StoredObject
    raw: bytes
    content: Mapping[str, Any]
    export: str
    report: str | None
    period: str
    submitted: str
    run_id: str | None

    @property
    def day(self) -> str:
        """The day on which the run was submitted, where that is known."""
        return self.submitted[:10]


def manifests(listing: Iterable[StoredObject]) -> list[StoredObject]:
    """The manifests among a store's objects."""
    return [found for found in listing if PurePosixPath(found.name).name.lower().endswith("manifest.json")]


def period_in_path(manifest: StoredObject) -> str | None:
    """The billing period of a manifest by the folder of its date range (``20260901-20260930``); None without one."""
    for part in reversed(PurePosixPath(manifest.name).parent.parts):
        if match := _RANGE.fullmatch(part):
            return f"{match[1]}-{match[2]}"
    return None


def read_run(source_name: str, store: Store, manifest: StoredObject) -> ExportRun:
    """Read a manifest. Raises DeliveryError for one that is no manifest, spans months, or whose period nothing tells."""
    where = f"{store.address}/{manifest.name}"
    raw = store.read(manifest)
    try:
        content = json.loads(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise DeliveryError(
            f"{source_name}: the manifest is no JSON.",
            where=where,
            found=str(error),
            remedy="wait until Azure has written it whole, or copy it again",
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("blobs"), list):
        raise DeliveryError(
            f"{source_name}: the manifest is no manifest of a cost export.",
            where=where,
            expected="a JSON object with a list of 'blobs'",
            found=", ".join(sorted(content)) if isinstance(content, dict) else type(content).__name__,
            remedy="copy it again from the container, or move what isn't an export elsewhere",
        )
    config, run = _object(content, "exportConfig"), _object(content, "runInfo")
    return ExportRun(
        manifest=manifest,
        raw=raw,
        content=content,
        export=_exported(config, store, manifest),
        report=_report(config, store, manifest),
        period=_period(source_name, where, run, manifest),
        submitted=str(run.get("submittedTime") or _run_folder(manifest)),
        run_id=str(run["runId"]) if run.get("runId") else None,
    )


def named_blobs(source_name: str, store: Store, run: ExportRun, listing: Iterable[StoredObject]) -> list[NamedBlob]:
    """The blobs that a run's manifest names, each in the listing, with the bytes and in the number that it says.

    Raises DeliveryError for a blob that isn't there or not whole, one elsewhere, and sums that don't agree.
    """
    where = f"{store.address}/{run.manifest.name}"
    _refuse_other_container(source_name, store, run, where)
    present = {found.name: found for found in listing}
    named, bytes_named = [], 0
    for blob in run.content["blobs"]:
        name = _name_in_store(source_name, store, run, str(blob.get("blobName", "")), where)
        found = present.get(name)
        if found is None:
            raise DeliveryError(
                f"{source_name}: a blob that the manifest of {run.period} names isn't there.",
                where=where,
                expected=f"{store.address}/{name}",
                found="no such blob: the delivery is incomplete",
                remedy="wait until the export has finished, or copy it again, manifest last; until then the period keeps "
                "its last good rows",
            )
        stated = _count(blob, "byteCount")
        # Of packed blobs Microsoft doesn't say which bytes it counts; those tell themselves whether they are whole.
        if stated is not None and name.lower().endswith(".csv") and stated != found.size:
            raise DeliveryError(
                f"{source_name}: a blob of {run.period} is not as long as its manifest says.",
                where=f"{store.address}/{name}",
                expected=f"{stated:,} bytes",
                found=f"{found.size:,} bytes: the delivery is incomplete, or being written",
                remedy="run again once the export has finished writing; if it stays, run the export again",
            )
        bytes_named += stated or 0
        named.append(NamedBlob(found, _count(blob, "dataRowCount")))
    _refuse_other_sum(source_name, run, where, "blobCount", len(named))
    if all(_count(blob, "byteCount") is not None for blob in run.content["blobs"]):
        _refuse_other_sum(source_name, run, where, "byteCount", bytes_named)
    if all(blob.rows is not None for blob in named):
        _refuse_other_sum(source_name, run, where, "dataRowCount", sum(blob.rows or 0 for blob in named))
    names = [blob.found.name for blob in named]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DeliveryError(
            f"{source_name}: the manifest names a blob twice.",
            where=where,
            found=", ".join(doubled),
            remedy="copy the manifest again from the container",
        )
    return named


def newest_runs(source_name: str, store: Store, runs: Sequence[ExportRun]) -> dict[str, ExportRun]:
    """Of one billing period's runs the newest of each report.

    A month-to-date export that keeps its runs holds the whole month in each: only the newest counts. Where actual and
    amortised cost have runs of the same day, the newest such day is taken, so that both know the same use.

    Raises DeliveryError where two exports deliver the same report, or nothing says which run is newer.
    """
    by_report: dict[str, list[ExportRun]] = {}
    for run in runs:
        if run.report is not None:
            by_report.setdefault(run.report, []).append(run)
    for report, found in by_report.items():
        _refuse_two_exports(source_name, store, report, found)
        _refuse_undated(source_name, store, found)
    if FOCUS in by_report and len(by_report) > 1:
        raise DeliveryError(
            f"{source_name}: a FOCUS export beside others of the same cost would count each charge twice.",
            where=store.address,
            expected="a FOCUS export, or actual and amortised cost",
            found=", ".join(sorted(run.export for found in by_report.values() for run in found[:1])),
            remedy="set 'location' to the folder of the one that should count",
        )
    days = [{run.day for run in by_report.get(report, [])} for report in (ACTUAL, AMORTISED)]
    common = sorted(days[0] & days[1])
    if common:
        for report in (ACTUAL, AMORTISED):
            by_report[report] = [run for run in by_report[report] if run.day == common[-1]]
    return {report: max(found, key=lambda run: run.submitted) for report, found in by_report.items()}


def _object(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _count(content: Mapping[str, Any], key: str) -> int | None:
    value = content.get(key)
    return value if isinstance(value, int) else None


def _report(config: Mapping[str, Any], store: Store, manifest: StoredObject) -> str | None:
    if stated := config.get("type"):
        return _REPORTS.get(str(stated).lower())
    name = str(config.get("exportName") or _export_folder(store, manifest)).lower()
    return next((report for words, report in _WORDS if re.search(words, name)), ACTUAL)


def _exported(config: Mapping[str, Any], store: Store, manifest: StoredObject) -> str:
    # Two exports of one scope, such as of this month daily and of the last month once, have the same cost.
    scope = str(config.get("resourceId") or "").lower().partition("/providers/microsoft.costmanagement/exports/")[0]
    return scope or str(config.get("exportName") or _export_folder(store, manifest)).lower()


def _export_folder(store: Store, manifest: StoredObject) -> str:
    """Where an export's runs lie: its folder above that of the date range, or else the manifest's own."""
    parts = PurePosixPath(manifest.name).parent.parts
    above = next((parts[:place] for place, part in enumerate(parts) if _RANGE.fullmatch(part)), parts)
    return "/".join([store.address, *above])


def _run_folder(manifest: StoredObject) -> str:
    return next((part for part in PurePosixPath(manifest.name).parent.parts if _RUN.fullmatch(part)), "")


def _period(source_name: str, where: str, run: Mapping[str, Any], manifest: StoredObject) -> str:
    start, end = (_DAY.match(str(run.get(key, ""))) for key in ("startDate", "endDate"))
    if start and end and start[1] != end[1]:
        raise DeliveryError(
            f"{source_name}: the export's run spans more than a calendar month.",
            where=where,
            expected="one calendar month",
            found=f"{run['startDate']} to {run['endDate']}",
            remedy="run the export month by month: a billing period's delivery holds that month whole",
        )
    period = start[1] if start else period_in_path(manifest)
    if period is None:
        raise DeliveryError(
            f"{source_name}: nothing says which month the manifest is of.",
            where=where,
            expected="'runInfo' with a 'startDate', or a folder such as 20260901-20260930",
            remedy="copy the export with its folders, or give its files under 'files:'",
        )
    return period


def _name_in_store(source_name: str, store: Store, run: ExportRun, blob_name: str, where: str) -> str:
    """A blob's name below the store's root: it lies beside its manifest, or in folders there."""
    folder = PurePosixPath(run.manifest.name).parent.parts
    parts = PurePosixPath(unquote(urlsplit(blob_name).path) if "://" in blob_name else blob_name).parts
    if parts and not folder and ".." not in parts:
        return parts[-1]
    for place in range(len(parts) - len(folder)):
        if parts[place : place + len(folder)] == folder and ".." not in parts:
            return "/".join(parts[place:])
    raise DeliveryError(
        f"{source_name}: the manifest names a blob outside its own folder.",
        where=where,
        expected=f"…/{'/'.join(folder)}/… in the same container" if folder else "a blob beside the manifest",
        found=blob_name or "no blobName",
        remedy="copy the whole export as it lies in the container; if it lies so there, ask who wrote this manifest",
    )


def _refuse_other_container(source_name: str, store: Store, run: ExportRun, where: str) -> None:
    if not store.address.startswith("az://"):
        return
    container = store.address.removeprefix("az://").split("/", 1)[0]
    stated = str(_object(run.content, "deliveryConfig").get("containerUri") or "")
    urls = [str(blob.get("blobName", "")) for blob in run.content["blobs"]]
    others = [PurePosixPath(urlsplit(stated).path).name] if stated else []
    others += [PurePosixPath(urlsplit(url).path).parts[1] for url in urls if "://" in url]
    if wrong := sorted({other for other in others if other != container}):
        raise DeliveryError(
            f"{source_name}: the manifest names another container.",
            where=where,
            expected=container,
            found=", ".join(wrong),
            remedy="set 'location' to the container that the export delivers to; a manifest may not lead elsewhere",
        )


def _refuse_other_sum(source_name: str, run: ExportRun, where: str, key: str, found: int) -> None:
    stated = _count(run.content, key)
    if stated is not None and stated != found:
        raise DeliveryError(
            f"{source_name}: the manifest of {run.period} contradicts itself.",
            where=where,
            expected=f"{key} {stated:,}",
            found=f"{found:,} in its blobs",
            remedy="run the export again, or copy its manifest again",
        )


def _refuse_two_exports(source_name: str, store: Store, report: str, runs: Sequence[ExportRun]) -> None:
    exports = sorted({run.export for run in runs})
    if len(exports) > 1:
        raise DeliveryError(
            f"{source_name}: exports of {report} cost of two scopes lie under one location.",
            where=store.address,
            expected=f"{report} cost of one scope for {runs[0].period}, so that no charge counts twice",
            found="; ".join(exports),
            remedy="set 'location' to one export's folder, and give each other billing account a source of its own",
        )


def _refuse_undated(source_name: str, store: Store, runs: Sequence[ExportRun]) -> None:
    if len(runs) > 1 and len({run.submitted for run in runs}) < len(runs):
        raise DeliveryError(
            f"{source_name}: {runs[0].period} has several runs of an export, and nothing says which is the newest.",
            where=store.address,
            expected="'runInfo' with a 'submittedTime' in each manifest, or folders such as 202609040200",
            found=", ".join(run.manifest.name for run in runs),
            remedy="remove the runs that should no longer count",
        )
