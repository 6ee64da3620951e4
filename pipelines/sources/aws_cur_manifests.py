"""Manifests of AWS cost exports: which there are, what they say, and which objects they name.

Data exports: ``<export>/metadata/BILLING_PERIOD=YYYY-MM/[<timestamp>-<execution>/]<export>-Manifest.json`` beside
``<export>/data/…``. Legacy: ``<report>/yyyymmdd-yyyymmdd/<report>-Manifest.json``. AWS writes a manifest after the files
that it names, and names them by their place in the bucket that it delivers to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import DeliveryError
from pipelines.sources.stores import Store, StoredObject

CUR_2 = "cur-2.0"
LEGACY = "cur-1"
S3 = "s3://"

_FOLDER = r"(?:(?P<folder>.+)/)?"
_DATA_EXPORT = re.compile(
    _FOLDER + r"metadata/BILLING_PERIOD=(?P<year>\d{4})-(?P<month>\d{2})/"
    r"(?:(?P<execution>[^/]+)/)?(?P<export>[^/]+)-Manifest\.json"
)
_REPORT = re.compile(_FOLDER + r"(?P<span>(?P<year>\d{4})(?P<month>\d{2})01-\d{8})/(?P<export>[^/]+)-Manifest\.json")
_PARTITION = re.compile(r"BILLING_PERIOD=(\d{4})-(\d{2})")
_SPAN = re.compile(r"(\d{4})(\d{2})01-\d{8}")
_YEAR, _MONTH = re.compile(r"year=(\d{4})"), re.compile(r"month=(\d{1,2})")
_STATED_MONTH = re.compile(r"(\d{4})-?(\d{2})")
# Columns that tell FOCUS from a cost and usage report, and its version 1.2 from 1.0.
_FOCUS_COLUMN, _FOCUS_1_2_COLUMN, _CUR_COLUMN = "ChargePeriodStart", "BillingAccountType", "line_item_line_item_type"
_FOCUS_TABLE = re.compile(r"FOCUS_(\d)_(\d)_AWS(_PREVIEW)?")


@dataclass(frozen=True)
class ManifestPlace:
    """A manifest as listed: the folder of its export ('' at the root), the export's name, and whose delivery it is.

    ``span`` is a legacy report's folder; ``execution`` the folder that an export makes for each delivery that it keeps.
    """

    found: StoredObject
    folder: str
    export: str
    period: str
    span: str | None = None
    execution: str | None = None

    def holds(self, name: str) -> bool:
        """Whether an object of this name would be among this delivery's data."""
        below = f"{self.folder}/" if self.folder else ""
        if self.span is None:
            data = f"{below}data/BILLING_PERIOD={self.period}/" + (f"{self.execution}/" if self.execution else "")
            return name.startswith(data)
        if not name.startswith(below):
            return False
        steps = name.removeprefix(below).split("/")
        return steps[0] == self.span or period_of(steps[:-1]) == self.period


@dataclass(frozen=True)
class Manifest:
    """A manifest as read."""

    place: ManifestPlace
    where: str
    content: Mapping[str, Any]
    raw: bytes

    @property
    def period(self) -> str:
        """The billing period."""
        return self.place.period

    @property
    def identifier(self) -> str | None:
        """What AWS calls this delivery: assembly id, execution id, else the folder made for the execution."""
        given = self.content.get("assemblyId") or self.content.get("executionId") or self.place.execution
        return re.sub(r"[^A-Za-z0-9._-]", "-", str(given)) if given else None

    @property
    def is_legacy(self) -> bool:
        """Whether it is that of a legacy report."""
        return "assemblyId" in self.content

    @property
    def words(self) -> frozenset[str]:
        """Every word in it: AWS says that a manifest lists the columns, and nowhere in which form."""
        return frozenset(re.findall(r"\w+", self.raw.decode(errors="replace")))

    @property
    def lists_columns(self) -> bool:
        """Whether it tells what the files hold."""
        return bool(self.words & {_FOCUS_COLUMN, _CUR_COLUMN})


def manifests(objects: Iterable[StoredObject]) -> list[ManifestPlace]:
    """The manifests among the objects of a store, by their names."""
    found = []
    for stored in objects:
        match = _DATA_EXPORT.fullmatch(stored.name) or _REPORT.fullmatch(stored.name)
        if match:
            given = match.groupdict()
            found.append(
                ManifestPlace(
                    found=stored,
                    folder=given["folder"] or "",
                    export=given["export"],
                    period=f"{given['year']}-{given['month']}",
                    span=given.get("span"),
                    execution=given.get("execution"),
                )
            )
    return found


def newest(store: Store, places: Sequence[ManifestPlace]) -> Manifest:
    """The manifest of a billing period's newest delivery.

    An export that keeps its deliveries has a folder for each, whose name begins with its time. Raises DeliveryError where
    a manifest that AWS overwrites stands beside those and nothing says which is newer.
    """
    kept = sorted((place for place in places if place.execution), key=lambda place: str(place.execution))
    overwritten = [place for place in places if not place.execution]
    if not kept and len(overwritten) == 1:
        return read_manifest(store, overwritten[0])
    if not overwritten:
        return read_manifest(store, kept[-1])
    top, *executions = (read_manifest(store, place) for place in [*overwritten, *kept])
    known = {manifest.content.get("executionId") or manifest.place.execution for manifest in executions}
    if len(overwritten) > 1 or top.content.get("executionId") not in known:
        raise DeliveryError(
            f"Period {top.period} has a manifest that AWS overwrites and others beside it; nothing says which is newer.",
            where=top.where,
            expected="one manifest in the period's folder, or one in the folder of each execution",
            found=", ".join(place.found.name for place in places),
            remedy="remove the one that the export no longer refreshes",
        )
    return executions[-1]


def read_manifest(store: Store, place: ManifestPlace) -> Manifest:
    """A manifest's content. Raises DeliveryError for what is no manifest, or that of another period."""
    raw = store.read(place.found)
    where = f"{store.address}/{place.found.name}"
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise DeliveryError(
            "The manifest is no JSON.",
            where=where,
            found=f"{error}",
            remedy="wait until AWS has written it whole, or copy it again",
        ) from error
    if not isinstance(content, dict):
        raise DeliveryError(
            "The manifest is no JSON object.",
            where=where,
            found=type(content).__name__,
            remedy="copy it again from the bucket",
        )
    manifest = Manifest(place, where, content, raw)
    _refuse_other_period(manifest, _stated_period(content), "The manifest's billingPeriod")
    return manifest


def data_files(store: Store, objects: Mapping[str, StoredObject], manifest: Manifest) -> list[StoredObject]:
    """The objects that a manifest names, in its order.

    Raises DeliveryError for a manifest that names none, one twice, one that isn't there, or anything outside its own
    export: ``..``, another bucket, another prefix, another billing period.
    """
    found, keys = [], _keys(manifest)
    _refuse_two_places(manifest, keys)
    for key in keys:
        name = _name(store, manifest, key)
        steps = name.split("/")
        _refuse_other_period(manifest, period_of(steps[:-1]), f"The period of {steps[-1]}")
        if name not in objects:
            raise DeliveryError(
                f"A data file that the manifest of {manifest.period} names isn't there.",
                where=manifest.where,
                expected=f"{store.address}/{name}",
                found="no such file",
                remedy="AWS writes a manifest last: if the export was copied, copy it again, data before metadata; until "
                "then the period keeps its last good rows",
            )
        found.append(objects[name])
    return found


def dialect(manifest: Manifest, table: str | None) -> str:
    """``cur-1``, ``cur-2.0``, ``focus-1.0`` or ``focus-1.2``: what the files hold.

    By the manifest's columns; where it lists none, by the ``table`` that the export selects from, where that is known.
    """
    if manifest.is_legacy:
        return LEGACY
    if _FOCUS_COLUMN in manifest.words:
        return "focus-1.2" if _FOCUS_1_2_COLUMN in manifest.words else "focus-1.0"
    if not manifest.lists_columns and table and (match := _FOCUS_TABLE.fullmatch(table)):
        return f"focus-{match[1]}.{match[2]}"
    return CUR_2


def period_of(steps: Sequence[str]) -> str | None:
    """The billing period that the folders of a data file name; None where they name none."""
    for step, following in zip(steps, [*steps[1:], ""], strict=True):
        if match := _PARTITION.fullmatch(step) or _SPAN.fullmatch(step):
            return f"{match[1]}-{match[2]}"
        if (year := _YEAR.fullmatch(step)) and (month := _MONTH.fullmatch(following)):
            return f"{year[1]}-{int(month[1]):02d}"
    return None


def _keys(manifest: Manifest) -> list[str]:
    keys = manifest.content.get("dataFiles") or manifest.content.get("reportKeys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise DeliveryError(
            "The manifest names no data file.",
            where=manifest.where,
            expected="a list of s3:// addresses in 'dataFiles', or of keys in 'reportKeys'",
            found=", ".join(sorted(manifest.content)) or "an empty object",
            remedy="an empty delivery would wipe the period; check the export in the AWS console",
        )
    if doubled := sorted({key for key in keys if keys.count(key) > 1}):
        raise DeliveryError(
            "The manifest names a data file twice.",
            where=manifest.where,
            found=", ".join(doubled),
            remedy="copy the manifest again from the bucket",
        )
    return keys


def _refuse_two_places(manifest: Manifest, keys: Sequence[str]) -> None:
    """A copied export can't be held against the bucket that it came from, but its files must come from one."""
    stated = manifest.content.get("bucket")
    places = {key.removeprefix(S3).split("/")[0] if key.startswith(S3) else stated for key in keys}
    if len(places | ({stated} if stated else set())) > 1:
        raise DeliveryError(
            "The manifest names files in two buckets.",
            where=manifest.where,
            found=", ".join(sorted(place or "none" for place in places | ({stated} if stated else set())))
            + f": {', '.join(sorted(keys))}",
            remedy="AWS delivers an export to one bucket: find out who wrote this manifest",
        )


def _name(store: Store, manifest: Manifest, key: str) -> str:
    """The name, below the store's root, of what a manifest names by its place in AWS's bucket."""
    folder, export = manifest.place.folder, manifest.place.export
    in_bucket = store.address.startswith(S3)
    if in_bucket:
        root = f"{store.address}/{folder}".rstrip("/")
        bucket = manifest.content.get("bucket") or store.address.removeprefix(S3).split("/")[0]
        address = key if key.startswith(S3) else f"{S3}{bucket}/{key}"
        below = address.removeprefix(f"{root}/") if address.startswith(f"{root}/") else None
    else:
        root = f"…/{export}"
        below = _below_export(key, export)
    if below is None or {"", ".", ".."} & set(below.split("/")):
        raise DeliveryError(
            "A data file's address doesn't lead into the export's folder.",
            where=manifest.where,
            expected=f"{root}/data/BILLING_PERIOD={manifest.period}/… or {root}/yyyymmdd-yyyymmdd/…",
            found=key,
            remedy="AWS names only files below the export's own prefix: find out who wrote this manifest. The manifests of "
            "a replicated bucket name the first one: read that, or copy the export to a folder"
            if in_bucket
            else "copy the whole export as it lies in the bucket, and leave its folder its name",
        )
    return f"{folder}/{below}" if folder else below


def _below_export(key: str, export: str) -> str | None:
    """What of a key lies below the export's folder; prefixes above it are the bucket's own business."""
    steps = key.removeprefix(S3).split("/")
    for position, step in enumerate(steps[:-1]):
        if _PARTITION.fullmatch(step) or _YEAR.fullmatch(step):
            start = position - 1
            break
        if _SPAN.fullmatch(step):
            start = position
            break
    else:
        start = next((n + 1 for n in range(len(steps) - 2, -1, -1) if steps[n] == export), 0)
    return "/".join(steps[start:]) if start > 0 and steps[start - 1] == export else None


def _stated_period(content: Mapping[str, Any]) -> str | None:
    stated = content.get("billingPeriod")
    start = stated.get("start") if isinstance(stated, dict) else stated
    match = _STATED_MONTH.match(str(start)) if start else None
    return f"{match[1]}-{match[2]}" if match else None


def _refuse_other_period(manifest: Manifest, period: str | None, what: str) -> None:
    if period is not None and period != manifest.period:
        raise DeliveryError(
            f"{what} is not the period of its folder.",
            where=manifest.where,
            expected=manifest.period,
            found=period,
            remedy="copy the export again: its folders are mixed up",
        )
