"""AWS Cost and Usage Reports as AWS lays them out: CUR 2.0 data exports and the legacy report.

CUR 2.0: ``<export>/metadata/BILLING_PERIOD=YYYY-MM/[<timestamp>-<execution>/]<export>-Manifest.json`` beside
``<export>/data/…``. Legacy: ``<report>/yyyymmdd-yyyymmdd/<report>-Manifest.json``. Manifests name the data files; folders
of data are never listed, because they hold superseded and half-written files (AWS, "Viewing your Cost and Usage Reports
files in Amazon S3"; "Understanding export delivery").
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.config import AwsCurSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.aws_cur_columns import is_legacy
from pipelines.sources.aws_cur_relation import LAYOUT
from pipelines.sources.delivered_files import billing_periods, file_columns, is_csv
from pipelines.sources.deliveries import (
    NOTHING_LANDED,
    DeliveredFile,
    Delivery,
    Landed,
    content_version,
    local_file,
    signature_of,
)

CUR_2 = "cur-2.0"
LEGACY = "cur-1"

_PARTITION = re.compile(r"BILLING_PERIOD=(\d{4}-\d{2})")
_LEGACY_FOLDER = re.compile(r"(\d{4})(\d{2})01-\d{8}")
_YEAR_FOLDER = re.compile(r"year=\d{4}")
_MONTH = re.compile(r"(\d{4})-?(\d{2})")
_MANIFEST_PATTERN = "*-Manifest.json"


@dataclass(frozen=True)
class _Manifest:
    """A manifest as read, and what its place in the export says of it."""

    path: Path
    period: str
    execution_folder: str | None
    content: Mapping[str, Any]
    raw: bytes

    @property
    def dialect(self) -> str:
        return LEGACY if "assemblyId" in self.content else CUR_2

    @property
    def identifier(self) -> str | None:
        """What AWS calls this delivery: assembly id, execution id, else the folder made for the execution."""
        given = self.content.get("assemblyId") or self.content.get("executionId") or self.execution_folder
        return re.sub(r"[^A-Za-z0-9._-]", "-", str(given)) if given else None

    @property
    def export_name(self) -> str:
        return self.path.name.removesuffix(_MANIFEST_PATTERN.removeprefix("*"))


def look(source: AwsCurSource, landed: Landed = NOTHING_LANDED) -> dict[str, str]:
    """Billing period to the signature of its newest delivery."""
    return {delivery.period: delivery.signature for delivery in deliveries(source)}


def deliveries(source: AwsCurSource, period: str | None = None, landed: Landed = NOTHING_LANDED) -> list[Delivery]:
    """The newest delivery of each billing period, in order of period, or of one billing period alone.

    ``source.location`` is the export's folder or the prefix above it; with ``source.files`` the files are one delivery
    for each billing period that their lines name. ``details`` of a delivery: ``dialect`` (cur-2.0, cur-1), ``format``
    (parquet, csv), ``export`` (its name, where it has a manifest) and ``rows`` (all, or of-period where the files hold
    the lines of several periods).

    Raises DeliveryError for a location without manifests or with those of two exports, a manifest that can't be read or
    contradicts its folder, and a file that a manifest names but that isn't there.
    """
    if source.location is None:
        return [delivery for delivery in _bare_deliveries(source) if period in (None, delivery.period)]
    export = _export_folder(source.name, Path(source.location))
    chosen = [files for month, files in sorted(_manifest_files(export).items()) if period in (None, month)]
    return [_delivery(source, export, _newest(source.name, files)) for files in chosen]


def _export_folder(source_name: str, location: Path) -> Path:
    if not location.is_dir():
        raise DeliveryError(
            f"{source_name}: the location is no folder.",
            where=str(location),
            remedy="set 'location' to the folder of the export, or to the prefix above it",
        )
    folders = [folder for folder in (location, *_folders(location)) if _manifest_files(folder)]
    if not folders:
        raise DeliveryError(
            f"{source_name}: no manifest found.",
            where=str(location),
            expected="metadata/BILLING_PERIOD=YYYY-MM/<export>-Manifest.json (CUR 2.0) or "
            "yyyymmdd-yyyymmdd/<report>-Manifest.json (legacy), here or one folder below",
            found=", ".join(folder.name for folder in _folders(location)) or "no folder",
            remedy="copy the whole export, metadata included; single files go under 'files:'",
        )
    names = sorted(
        {manifest.name for folder in folders for files in _manifest_files(folder).values() for manifest in files}
    )
    if len(folders) > 1 or len(names) > 1:
        raise DeliveryError(
            f"{source_name}: two exports under one location would count each charge twice.",
            where=str(location),
            expected="one export",
            found="; ".join([*(str(folder) for folder in folders), *names]),
            remedy="set 'location' to one export's folder, and give each other export a source of its own",
        )
    return folders[0]


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir())


def _manifest_files(export: Path) -> dict[str, list[Path]]:
    """The manifest files of an export's folder by billing period; empty where the folder is no export."""
    found: dict[str, list[Path]] = {}
    for folder in _folders(export / "metadata") if (export / "metadata").is_dir() else []:
        if match := _PARTITION.fullmatch(folder.name):
            files = [*folder.glob(_MANIFEST_PATTERN), *folder.glob(f"*/{_MANIFEST_PATTERN}")]
            found.setdefault(match[1], []).extend(sorted(files))
    for folder in _folders(export):
        if match := _LEGACY_FOLDER.fullmatch(folder.name):
            found.setdefault(f"{match[1]}-{match[2]}", []).extend(sorted(folder.glob(_MANIFEST_PATTERN)))
    return {period: files for period, files in found.items() if files}


def _newest(source_name: str, files: Sequence[Path]) -> _Manifest:
    manifests = [_read_manifest(source_name, file) for file in files]
    # The folder of an execution begins with its time, so that the last name is the newest.
    ordered = sorted(manifests, key=lambda manifest: manifest.execution_folder or "")
    newest = ordered[-1]
    overwritten = ordered[0]
    if len(ordered) > 1 and overwritten.execution_folder is None:
        known = {manifest.content.get("executionId") or manifest.execution_folder for manifest in ordered[1:]}
        if overwritten.content.get("executionId") not in known:
            raise DeliveryError(
                f"{source_name}: period {newest.period} has a manifest that AWS overwrites and others that it keeps; "
                "nothing says which is newer.",
                where=str(overwritten.path.parent),
                expected="one manifest in the period's folder, or one in the folder of each execution",
                found=", ".join(str(file.relative_to(overwritten.path.parent)) for file in files),
                remedy="remove the one that the export no longer refreshes",
            )
    return newest


def _read_manifest(source_name: str, path: Path) -> _Manifest:
    raw = path.read_bytes()
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise DeliveryError(
            f"{source_name}: the manifest is no JSON.",
            where=str(path),
            found=f"{error}",
            remedy="wait until AWS has written it whole, or copy it again",
        ) from error
    if not isinstance(content, dict):
        raise DeliveryError(
            f"{source_name}: the manifest is no JSON object.",
            where=str(path),
            found=type(content).__name__,
            remedy="copy it again from the bucket",
        )
    partition = next((match[1] for parent in path.parents if (match := _PARTITION.fullmatch(parent.name))), None)
    legacy = _LEGACY_FOLDER.fullmatch(path.parent.name)
    folder_period = f"{legacy[1]}-{legacy[2]}" if legacy else str(partition)
    in_execution_folder = not legacy and not _PARTITION.fullmatch(path.parent.name)
    manifest = _Manifest(path, folder_period, path.parent.name if in_execution_folder else None, content, raw)
    _refuse_other_period(source_name, manifest, _stated_period(content), "the manifest's billingPeriod")
    return manifest


def _stated_period(content: Mapping[str, Any]) -> str | None:
    stated = content.get("billingPeriod")
    start = stated.get("start") if isinstance(stated, dict) else stated
    match = _MONTH.match(str(start)) if start else None
    return f"{match[1]}-{match[2]}" if match else None


def _refuse_other_period(source_name: str, manifest: _Manifest, period: str | None, what: str) -> None:
    if period is not None and period != manifest.period:
        raise DeliveryError(
            f"{source_name}: {what} is not the period of its folder.",
            where=str(manifest.path),
            expected=manifest.period,
            found=period,
            remedy="copy the export again: its folders are mixed up",
        )


def _delivery(source: AwsCurSource, export: Path, manifest: _Manifest) -> Delivery:
    keys = _file_keys(source.name, manifest)
    paths = [_local_path(source.name, manifest, export, key) for key in keys]
    files = _delivered_files(paths)
    for key, file in zip(keys, files, strict=True):
        if partition := _PARTITION.search(key):
            _refuse_other_period(source.name, manifest, partition[1], f"the period of {file.name}")
    return Delivery(
        source_name=source.name,
        source_kind=source.kind,
        period=manifest.period,
        version=manifest.identifier or content_version(files),
        signature=signature_of(files, manifest.raw),
        files=files,
        manifest=local_file(manifest.path, manifest.path.name),
        details={
            "dialect": manifest.dialect,
            "format": _format(source.name, paths),
            "export": manifest.export_name,
            "rows": "all",
        },
    )


def _file_keys(source_name: str, manifest: _Manifest) -> list[str]:
    keys = manifest.content.get("dataFiles") or manifest.content.get("reportKeys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise DeliveryError(
            f"{source_name}: the manifest names no data file.",
            where=str(manifest.path),
            expected="a list of s3:// addresses in 'dataFiles', or of keys in 'reportKeys'",
            found=", ".join(sorted(manifest.content)) or "an empty object",
            remedy="an empty delivery would wipe the period; check the export in the AWS console",
        )
    if doubled := sorted({key for key in keys if keys.count(key) > 1}):
        raise DeliveryError(
            f"{source_name}: the manifest names a data file twice.",
            where=str(manifest.path),
            found=", ".join(doubled),
            remedy="copy the manifest again from the bucket",
        )
    return keys


def _local_path(source_name: str, manifest: _Manifest, export: Path, key: str) -> Path:
    tail = _tail(PurePosixPath(key.removeprefix("s3://")).parts, export.name)
    if tail is None or ".." in tail:
        raise DeliveryError(
            f"{source_name}: a data file's address doesn't lead into the export's folder.",
            where=str(manifest.path),
            expected=f"…/{export.name}/data/BILLING_PERIOD={manifest.period}/… or …/yyyymmdd-yyyymmdd/…",
            found=key,
            remedy="copy the whole export as it lies in the bucket",
        )
    path = export.joinpath(*tail)
    if not path.is_file():
        raise DeliveryError(
            f"{source_name}: a data file that the manifest of {manifest.period} names isn't there.",
            where=str(manifest.path),
            expected=str(path),
            found="no such file",
            remedy="copy the export again, data before metadata; until then the period keeps its last good rows",
        )
    return path


def _tail(parts: Sequence[str], export_name: str) -> Sequence[str] | None:
    """The part of a key that lies below the export's folder; prefixes above it are the bucket's own business."""
    for position, part in enumerate(parts[:-1]):
        if _PARTITION.fullmatch(part) or _YEAR_FOLDER.fullmatch(part):
            return parts[position - 1 :] if position else None
        if _LEGACY_FOLDER.fullmatch(part):
            return parts[position:]
    below = [position for position, part in enumerate(parts[:-1]) if part == export_name]
    return parts[below[-1] + 1 :] if below else None


def _delivered_files(paths: Sequence[Path]) -> tuple[DeliveredFile, ...]:
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        shared = os.path.commonpath(paths)
        names = [path.relative_to(shared).as_posix() for path in paths]
    return tuple(local_file(path, name) for path, name in zip(paths, names, strict=True))


def _format(source_name: str, paths: Sequence[Path]) -> str:
    csv_files = [path for path in paths if is_csv(path)]
    parquet_files = [path for path in paths if path.name.endswith(".parquet")]
    if len(csv_files) == len(paths):
        return "csv"
    if len(parquet_files) == len(paths):
        return "parquet"
    unknown = [path for path in paths if path not in csv_files and path not in parquet_files]
    raise DeliveryError(
        f"{source_name}: the delivery has files that we don't read.",
        where=str((unknown or paths)[0]),
        expected="all .csv or .csv.gz, or all .parquet",
        found=", ".join(sorted({"".join(path.suffixes[-2:]) for path in paths})),
        remedy="set the export to Parquet or to CSV with GZIP; unpack ZIP archives",
    )


def _bare_deliveries(source: AwsCurSource) -> list[Delivery]:
    for path in source.files:
        if not path.is_file():
            raise DeliveryError(
                f"{source.name}: a file of the configuration isn't there.",
                where=str(path),
                remedy="correct 'files:' in the configuration",
            )
    format_ = _format(source.name, source.files)
    with connect() as connection:
        headers = {
            column.header for path in source.files for column in file_columns(connection, LAYOUT, path, str(path))
        }
        periods = sorted({period for path in source.files for period in billing_periods(connection, LAYOUT, path)})
    if not periods:
        raise DeliveryError(
            f"{source.name}: the files have no line, so that they belong to no billing period.",
            where=", ".join(str(path) for path in source.files),
            remedy="take the source out of the configuration, or deliver the export with its manifest",
        )
    files = _delivered_files(source.files)
    version = content_version(files)
    return [
        Delivery(
            source_name=source.name,
            source_kind=source.kind,
            period=period,
            version=version,
            signature=signature_of(files),
            files=files,
            details={
                "dialect": LEGACY if is_legacy(sorted(headers)) else CUR_2,
                "format": format_,
                "rows": "all" if len(periods) == 1 else "of-period",
            },
        )
        for period in periods
    ]
