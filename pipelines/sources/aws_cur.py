"""AWS cost exports, from S3 or from a folder laid out as AWS delivers them: CUR 2.0, the legacy report, native FOCUS.

Manifests name the data files; folders of data are never taken as they lie, because they hold superseded and half-written
files (AWS, "Viewing your Cost and Usage Reports files in Amazon S3"; "Understanding export delivery").
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines.config import AwsCurSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.aws_cur_columns import is_legacy
from pipelines.sources.aws_cur_manifests import (
    CUR_2,
    LEGACY,
    S3,
    Manifest,
    ManifestPlace,
    data_files,
    dialect,
    manifests,
    newest,
    period_of,
)
from pipelines.sources.aws_cur_relation import LAYOUT, is_packed_csv, readable_file
from pipelines.sources.aws_exports import DATA_EXPORTS, LEGACY_REPORTS, Export, KnownExports, known_exports
from pipelines.sources.delivered_files import billing_periods, file_columns
from pipelines.sources.deliveries import (
    NOTHING_LANDED,
    DeliveredFile,
    Delivery,
    Landed,
    LandedPeriod,
    ObjectMoved,
    content_version,
    local_file,
    signature_of,
)
from pipelines.sources.files import is_csv, is_parquet
from pipelines.sources.findings import Finding, Sample, cheapest, missing
from pipelines.sources.stores import FolderStore, Store, StoredObject, open_store, stored_file

if TYPE_CHECKING:
    from pipelines.sources.stores.s3 import S3Store


@dataclass(frozen=True)
class _Export:
    """One export as it lies in a store: its manifests by billing period, and every object of the listing, by name."""

    store: Store
    manifests: Mapping[str, Sequence[ManifestPlace]]
    objects: Mapping[str, StoredObject]

    @cached_property
    def data(self) -> Mapping[str, Sequence[StoredObject]]:
        """The objects in folders of a billing period, by period: what manifests may name, and what they no longer do."""
        by_period: dict[str, list[StoredObject]] = {}
        for found in self.objects.values():
            if period := period_of(found.name.split("/")[:-1]):
                by_period.setdefault(period, []).append(found)
        return by_period


@dataclass(frozen=True)
class _Account:
    """What the account's own services say of its exports; asked once, and only where something depends on it."""

    source: AwsCurSource

    @cached_property
    def known(self) -> KnownExports:
        return known_exports(endpoint_url=self.source.endpoint_url, region=self.source.region)

    def table_of(self, export: str) -> str | None:
        """What an export selects from; None where nobody tells."""
        if not (self.source.location or S3).startswith(S3):
            return None
        return next((known.table for known in self.known.exports if known.name == export and known.table), None)


def look(source: AwsCurSource, landed: Landed = NOTHING_LANDED) -> dict[str, str]:
    """Billing period to a hash of what its newest delivery lies in: manifests and data files, by name, size and pin.

    One listing. Of bare files it is the hash of their sizes and times.
    """
    if source.files:
        return _look_at_files(source, landed)
    with _errors_name(source):
        export = _listed(source, _Account(source))
    return {period: _hash_of(_objects_of(export, places)) for period, places in sorted(export.manifests.items())}


def deliveries(source: AwsCurSource, period: str | None = None, landed: Landed = NOTHING_LANDED) -> list[Delivery]:
    """The newest delivery of each billing period, in order of period, or of one billing period alone.

    ``source.location`` is the export's folder or a prefix above it; ``source.export`` picks one of several, or finds the
    location through the account's own services. With ``source.files`` the files are one delivery for each billing period
    that their lines name. ``details`` of a delivery: ``dialect`` (cur-2.0, cur-1, focus-1.0, focus-1.2), ``mapping``
    (focus, for a native FOCUS export), ``format`` (parquet, csv), ``export`` (its name, where it has a manifest) and
    ``rows`` (all, or of-period where the files hold the lines of several periods).

    Raises DeliveryError for a location without manifests or with those of two exports, a manifest that can't be read,
    contradicts its folder or names what isn't its own, and a file that a manifest names but that isn't there;
    ObjectMoved where the export is being refreshed.
    """
    if source.files:
        return [delivery for delivery in _bare_deliveries(source) if period in (None, delivery.period)]
    with _errors_name(source):
        account = _Account(source)
        export = _listed(source, account)
        return [
            _delivery(source, export, newest(export.store, places), account, landed.period(month))
            for month, places in sorted(export.manifests.items())
            if period in (None, month)
        ]


def check(source: AwsCurSource) -> list[Finding]:
    """Try what a pull needs, reading no more than manifests and the first byte of one data file."""
    if source.files:
        return [_check_file(file) for file in source.files]
    account = _Account(source)
    in_account = (source.location or S3).startswith(S3)
    findings = _check_account(account) if in_account else []
    place = source.location or f"export {source.export}"
    try:
        with _errors_name(source):
            export = _listed(source, account)
    except DeliveryError as error:
        return [*findings, missing(f"list {place}", error)]
    findings.append(
        Finding(
            f"list {export.store.address}",
            "works",
            f"{len(export.manifests)} billing period(s), the newest {max(export.manifests)}",
        )
    )
    findings.extend(_check_versions(export))
    findings.extend(_check_newest(source, export, account))
    return findings


def sample(source: AwsCurSource) -> Sample:
    """A data file of the newest delivery."""
    if source.files:
        return Sample(source.kind, _bare_files(source)[-1])
    with _errors_name(source):
        account = _Account(source)
        export = _listed(source, account)
        manifest = newest(export.store, export.manifests[max(export.manifests)])
        delivery = _delivery(source, export, manifest, account, None)
    return Sample(delivery.details.get("mapping", source.kind), cheapest(delivery.files))


@contextmanager
def _errors_name(source: AwsCurSource) -> Iterator[None]:
    """Put the source's name into errors of parts that don't know it."""
    try:
        yield
    except DeliveryError as error:
        raise type(error)(
            f"{source.name}: {_within_a_sentence(error.problem)}",
            where=error.where,
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error


def _within_a_sentence(problem: str) -> str:
    word = problem.split()[0]
    # Not AWS, not S3.
    return problem[0].lower() + problem[1:] if len(word) == 1 or word[1:].islower() else problem


def _listed(source: AwsCurSource, account: _Account) -> _Export:
    store = open_store(source) if source.location else _store_of_export(source, account)
    objects = store.objects()
    places = [place for place in manifests(objects) if source.export in (None, place.export)]
    if not places:
        raise DeliveryError(
            "No manifest found.",
            where=store.address,
            expected="metadata/BILLING_PERIOD=YYYY-MM/<export>-Manifest.json (data exports) or "
            "yyyymmdd-yyyymmdd/<report>-Manifest.json (legacy), here or below"
            + (f", of the export {source.export}" if source.export else ""),
            found=", ".join(sorted({found.name.split("/")[0] for found in objects})[:10]) or "nothing",
            remedy="a new export takes up to a day to deliver; of a copied one, copy the metadata too; single files go "
            "under 'files:'",
        )
    if len({(place.folder, place.export) for place in places}) > 1:
        raise DeliveryError(
            "Two exports under one location would count each charge twice.",
            where=store.address,
            expected="one export",
            found="; ".join(
                sorted({f"{store.address}/{place.folder}: {place.export}-Manifest.json" for place in places})
            ),
            remedy="set 'export' to the name of one, or 'location' to its folder, and give each other a source of its own",
        )
    by_period: dict[str, list[ManifestPlace]] = {}
    for place in places:
        by_period.setdefault(place.period, []).append(place)
    return _Export(store, by_period, {found.name: found for found in objects})


def _store_of_export(source: AwsCurSource, account: _Account) -> Store:
    named = [export for export in account.known.exports if export.name == source.export]
    if len(named) != 1:
        raise DeliveryError(
            f"The account doesn't tell where the export {source.export} is delivered.",
            where=f"source {source.name}",
            expected=f"one data export or cost and usage report called {source.export}",
            found="; ".join(
                [
                    *(f"{export.name} in {export.location}" for export in account.known.exports),
                    *(f"{permission}: {said}" for permission, said in account.known.untold.items()),
                ]
            )
            or "none",
            remedy=f"grant {', '.join(DATA_EXPORTS + LEGACY_REPORTS)}, or set 'location' to s3://bucket/prefix/{source.export}",
        )
    found = source.model_copy(update={"location": named[0].location, "region": source.region or named[0].region})
    return open_store(found)


def _objects_of(export: _Export, places: Sequence[ManifestPlace]) -> list[StoredObject]:
    """The period's manifests, and the data of its newest delivery."""
    last = max(places, key=lambda place: place.execution or "")
    data = [found for found in export.data.get(last.period, ()) if last.holds(found.name)]
    return [*(place.found for place in places), *data]


def _hash_of(objects: Sequence[StoredObject]) -> str:
    listed = sorted({f"{found.name}\t{found.size}\t{found.pin}" for found in objects})
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _delivery(
    source: AwsCurSource, export: _Export, manifest: Manifest, account: _Account, landed: LandedPeriod | None
) -> Delivery:
    found = data_files(export.store, export.objects, manifest)
    files = tuple(
        _stored(export.store, stored, name)
        for stored, name in zip(found, _names([stored.name for stored in found]), strict=True)
    )
    version = manifest.identifier or content_version(files)
    _refuse_half_refreshed(manifest, version, files, landed)
    is_told = manifest.is_legacy or manifest.lists_columns
    kind = dialect(manifest, None if is_told else account.table_of(manifest.place.export))
    return Delivery(
        source_name=source.name,
        source_kind=source.kind,
        period=manifest.period,
        version=version,
        signature=signature_of(files, manifest.raw),
        files=files,
        manifest=_stored(export.store, manifest.place.found, PurePosixPath(manifest.place.found.name).name),
        details={
            "dialect": kind,
            "format": _format([f"{export.store.address}/{stored.name}" for stored in found]),
            "export": manifest.place.export,
            "rows": "all",
            **({"mapping": "focus"} if kind.startswith("focus-") else {}),
        },
    )


def _stored(store: Store, found: StoredObject, name: str) -> DeliveredFile:
    return (
        local_file(store.root / found.name, name) if isinstance(store, FolderStore) else stored_file(store, found, name)
    )


def _refuse_half_refreshed(
    manifest: Manifest, version: str, files: Sequence[DeliveredFile], landed: LandedPeriod | None
) -> None:
    """An export that overwrites itself replaces its files before the manifest: until that follows, the old one lies."""
    if landed is None or landed.version != version:
        return
    changed = [file.where for file in files if _is_replaced(landed.pins.get(file.name, file.pin), file.pin)]
    if changed and not any(file.path for file in files):
        raise ObjectMoved(
            f"The export is being refreshed: files of {manifest.period} changed, their manifest hasn't yet.",
            where=manifest.where,
            expected=f"the files of {version}, as landed",
            found=f"changed: {', '.join(changed)}",
            remedy="run again in an hour; until then the period keeps its last good rows. If it stays, somebody else "
            "writes to the export's folder",
        )


def _is_replaced(before: str, now: str) -> bool:
    # An ETag for a version, or the other way round, only says that versions may now be listed, or no longer.
    return before != now and before.startswith('"') == now.startswith('"')


def _names(paths: Sequence[str]) -> list[str]:
    names = [PurePosixPath(path).name for path in paths]
    if len(set(names)) == len(names):
        return names
    shared = os.path.commonpath(paths)
    return [PurePosixPath(path).relative_to(shared).as_posix() for path in paths]


def _format(names: Sequence[str]) -> str:
    csv_files = [name for name in names if is_csv(Path(name)) or is_packed_csv(name)]
    parquet_files = [name for name in names if is_parquet(name)]
    if len(csv_files) == len(names):
        return "csv"
    if len(parquet_files) == len(names):
        return "parquet"
    unknown = [name for name in names if name not in csv_files and name not in parquet_files]
    raise DeliveryError(
        "The delivery has files that we don't read.",
        where=(unknown or names)[0],
        expected="all .csv, .csv.gz or .csv.zip, or all .parquet",
        found=", ".join(sorted({"".join(PurePosixPath(name).suffixes[-2:]) for name in names})),
        remedy="set the export to Parquet, or to CSV with GZIP or ZIP",
    )


def _bare_files(source: AwsCurSource) -> tuple[DeliveredFile, ...]:
    for path in source.files:
        if not path.is_file():
            raise DeliveryError(
                f"{source.name}: a file of the configuration isn't there.",
                where=str(path),
                remedy="correct 'files:' in the configuration",
            )
    if doubled := sorted({str(path) for path in source.files if source.files.count(path) > 1}):
        raise DeliveryError(
            f"{source.name}: a file stands twice in the configuration.",
            where=", ".join(doubled),
            remedy="name each file once: its lines would count twice",
        )
    names = _names([str(path) for path in source.files])
    return tuple(local_file(path, name) for path, name in zip(source.files, names, strict=True))


def _look_at_files(source: AwsCurSource, landed: Landed) -> dict[str, str]:
    signature = signature_of(_bare_files(source))
    read = landed.read.get(signature) or ",".join(delivery.period for delivery in _bare_deliveries(source))
    landed.note_read({signature: read})
    return dict.fromkeys(read.split(","), signature)


def _bare_deliveries(source: AwsCurSource) -> list[Delivery]:
    files = _bare_files(source)
    with _errors_name(source):
        format_ = _format([str(path) for path in source.files])
    with connect() as connection, TemporaryDirectory() as scratch:
        paths = [readable_file(path, path.name, Path(scratch) / str(n)) for n, path in enumerate(source.files)]
        headers = {column.header for path in paths for column in file_columns(connection, LAYOUT, path, str(path))}
        periods = sorted({period for path in paths for period in billing_periods(connection, LAYOUT, path)})
    if not periods:
        raise DeliveryError(
            f"{source.name}: the files have no line, so that they belong to no billing period.",
            where=", ".join(str(path) for path in source.files),
            remedy="take the source out of the configuration, or deliver the export with its manifest",
        )
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


def _check_file(file: Path) -> Finding:
    if os.access(file, os.R_OK) and file.is_file():
        return Finding(f"read {file}", "works", f"{file.stat().st_size:,} bytes")
    return Finding(f"read {file}", "missing", "no file that may be read", "correct 'files:' in the configuration")


def _check_account(account: _Account) -> list[Finding]:
    """What the account says of its exports; not needed for a pull that has a location."""
    known = account.known
    findings = [_check_export(export) for export in known.exports if _is_meant(account.source, export)]
    for permission, said in known.untold.items():
        if said.startswith("not asked"):
            continue
        findings.append(
            Finding(
                f"ask the account for its exports ({permission.partition(':')[0]})",
                "warning",
                said,
                f"grant {permission}; without it, what the export holds is read from its manifests",
            )
        )
    return findings


def _is_meant(source: AwsCurSource, export: Export) -> bool:
    is_there = source.location is None or f"{export.location}/".startswith(f"{source.location.rstrip('/')}/")
    return is_there and source.export in (None, export.name)


def _check_export(export: Export) -> Finding:
    subject = f"export {export.name}"
    mode = "overwritten at each refresh" if export.overwrites else "kept at each refresh"
    detail = f"{export.table or 'legacy report'}, {export.format}, {mode}, to {export.location}"
    if export.problem:
        return Finding(
            subject,
            "warning",
            f"{detail}; AWS can't deliver it: {export.problem}",
            "give the service bcm-data-exports.amazonaws.com (legacy: billingreports.amazonaws.com) s3:PutObject in the "
            "bucket's policy",
        )
    return Finding(subject, "works", detail)


def _check_versions(export: _Export) -> list[Finding]:
    bucket = _bucket(export.store)
    if bucket is None:
        return []
    subject = f"list versions in {export.store.address}"
    if bucket.versions() is None:
        return [
            Finding(
                subject,
                "warning",
                "may not be listed: objects are pinned by their ETag, and a refresh during a pull starts it again",
                "grant s3:ListBucketVersions on the bucket and s3:GetObjectVersion on its objects, if it keeps versions",
            )
        ]
    return [Finding(subject, "works", "objects are pinned by version where the bucket keeps versions, else by ETag")]


def _check_newest(source: AwsCurSource, export: _Export, account: _Account) -> list[Finding]:
    """The newest period's manifest and the first of its files."""
    period = max(export.manifests)
    subject = f"read the manifest of {period}"
    try:
        with _errors_name(source):
            manifest = newest(export.store, export.manifests[period])
            delivery = _delivery(source, export, manifest, account, None)
    except DeliveryError as error:
        return [missing(subject, error)]
    size = sum(file.size or 0 for file in delivery.files)
    findings = [
        Finding(
            subject,
            "works",
            f"{len(delivery.files)} file(s), {size:,} bytes, {delivery.details['dialect']} in {delivery.details['format']}",
        )
    ]
    bucket = _bucket(export.store)
    if bucket is None:
        return findings
    first = data_files(export.store, export.objects, manifest)[0]
    subject = f"read {bucket.address}/{first.name}"
    try:
        with _errors_name(source):
            bucket.try_read(first)
    except DeliveryError as error:
        return [*findings, missing(subject, error)]
    return [*findings, Finding(subject, "works", "its first byte was read")]


def _bucket(store: Store) -> S3Store | None:
    # The bucket's library is loaded only where there is a bucket.
    if not store.address.startswith(S3):
        return None
    from pipelines.sources.stores.s3 import S3Store

    return store if isinstance(store, S3Store) else None
