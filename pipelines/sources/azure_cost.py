"""Azure's cost data: exports by their manifests from Blob Storage or a folder, bare files, or reports asked for by scope.

Microsoft's libraries are imported only for a source that needs them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import cast

from pipelines.config import AzureCostSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.azure_cost_relation import LAYOUT
from pipelines.sources.azure_exports import (
    ACTUAL,
    AMORTISED,
    FOCUS,
    ExportRun,
    NamedBlob,
    manifests,
    named_blobs,
    newest_runs,
    period_in_path,
    read_run,
)
from pipelines.sources.delivered_files import billing_periods
from pipelines.sources.deliveries import (
    NOTHING_LANDED,
    DeliveredFile,
    Delivery,
    Landed,
    content_version,
    local_file,
    signature_of,
)
from pipelines.sources.findings import Finding, Sample, cheapest, missing
from pipelines.sources.stores import Store, StoredObject, open_store, stored_file

_NOT_IN_A_VERSION = re.compile(r"[^A-Za-z0-9._-]")


def look(source: AzureCostSource, landed: Landed = NOTHING_LANDED) -> dict[str, str]:
    """Billing period to a hash of what lies there for it: every manifest, and the objects in the manifests' folders.

    One listing; only manifests whose path doesn't tell their month are read. Of a scope: the UTC day for open months.
    """
    if source.scope is not None:
        from pipelines.sources import azure_cost_details

        return azure_cost_details.look(source)
    if source.location is None:
        signature = signature_of(_bare_files(source))
        read = landed.read.get(signature) or ",".join(delivery.period for delivery in _bare_deliveries(source))
        landed.note_read({signature: read})
        return dict.fromkeys(read.split(","), signature)
    store = open_store(source)
    listing = store.objects()
    by_folder: dict[str, list[StoredObject]] = {}
    for each in listing:
        by_folder.setdefault(_folder(each), []).append(each)
    found = _manifests_by_period(source, store, listing)
    return {
        period: _hash_of(each for folder in sorted(set(map(_folder, of_period))) for each in by_folder[folder])
        for period, of_period in sorted(found.items())
    }


def deliveries(source: AzureCostSource, period: str | None = None, landed: Landed = NOTHING_LANDED) -> list[Delivery]:
    """The newest delivery of each billing period, in order of period, or of one billing period alone.

    A delivery has the newest run of the actual cost export, of the amortised cost export, or of both; the files' names begin
    with ``actual/`` or ``amortised/``. A FOCUS export is a delivery of its own (``mapping`` focus). ``details``: ``format``
    (csv, parquet), ``reports``, ``row_counts`` (JSON: file name to the rows that the manifest says it has) and ``rows``
    (all, or of-period where bare files hold several periods).

    Raises DeliveryError for a location without manifests, a manifest that can't be followed, and a blob that it names but
    that isn't there or not whole.
    """
    if source.scope is not None:
        from pipelines.sources import azure_cost_details

        return azure_cost_details.deliveries(source, period)
    if source.location is None:
        return [delivery for delivery in _bare_deliveries(source) if period in (None, delivery.period)]
    store = open_store(source)
    listing = store.objects()
    runs: dict[str, list[ExportRun]] = {}
    for month, found in _manifests_by_period(source, store, listing).items():
        if period in (None, month):
            for manifest in found:
                run = read_run(source.name, store, manifest)
                runs.setdefault(run.period, []).append(run)
    delivered = []
    for _, of_month in sorted(runs.items()):
        if newest := newest_runs(source.name, store, of_month):
            delivered.append(_delivery(source, store, newest, listing))
    return delivered


def check(source: AzureCostSource) -> list[Finding]:
    """What a read-only trial of the source finds: may it be listed and read, and does it have both reports."""
    if source.scope is not None:
        from pipelines.sources import azure_cost_details

        return azure_cost_details.check(source)
    if source.location is None:
        return [_check_files(source)]
    try:
        store = open_store(source)
        listing = store.objects()
    except DeliveryError as error:
        return [missing(f"list {source.location}", error)]
    try:
        found = _manifests_by_period(source, store, listing)
        newest = deliveries(source, max(found))
    except DeliveryError as error:
        return [
            Finding(f"list {store.address}", "works", f"{len(listing):,} objects"),
            missing("follow the newest manifest", error),
        ]
    findings = [
        Finding(f"list {store.address}", "works", f"{len(found)} billing periods, the newest {max(found)}"),
        _check_read(store, newest, listing),
    ]
    reports = {report for delivery in newest for report in delivery.details["reports"].split()}
    if reports in ({ACTUAL}, {AMORTISED}):
        absent = "amortised" if ACTUAL in reports else "actual"
        findings.append(
            Finding(
                "actual and amortised cost",
                "warning",
                f"there is no export of {absent} cost for {max(found)}",
                "with reservations or savings plans both are needed: create it with the same schedule (docs/connect/azure.md)",
            )
        )
    return findings


def sample(source: AzureCostSource) -> Sample | None:
    """A data file of the newest delivery; none of a scope, whose reports are made when they are asked for."""
    if source.scope is not None:
        return None
    if source.location is None:
        return Sample(source.kind, _bare_files(source)[-1])
    store = open_store(source)
    delivery = deliveries(source, max(_manifests_by_period(source, store, store.objects())))[-1]
    return Sample(delivery.details["mapping"], cheapest(delivery.files))


def _manifests_by_period(
    source: AzureCostSource, store: Store, listing: Sequence[StoredObject]
) -> dict[str, list[StoredObject]]:
    """The manifests by billing period: by the folder of their date range, or as they say themselves where they have none."""
    found: dict[str, list[StoredObject]] = {}
    for manifest in manifests(listing):
        period = period_in_path(manifest) or read_run(source.name, store, manifest).period
        found.setdefault(period, []).append(manifest)
    if not found:
        raise DeliveryError(
            f"{source.name}: no manifest found.",
            where=store.address,
            expected="manifest.json beside the data of each run, here or below",
            found=", ".join(each.name for each in listing[:5]) or "nothing",
            remedy="set 'location' to the folder of the exports; Azure writes the manifest last, so that a first run may not "
            "have ended yet. Single files go under 'files:'",
        )
    return found


def _delivery(
    source: AzureCostSource, store: Store, runs: Mapping[str, ExportRun], listing: Sequence[StoredObject]
) -> Delivery:
    files: list[DeliveredFile] = []
    row_counts: dict[str, int] = {}
    for report, run in sorted(runs.items()):
        for blob, name in _names(report, named_blobs(source.name, store, run, listing)):
            files.append(stored_file(store, blob.found, name))
            if blob.rows is not None:
                row_counts[name] = blob.rows
    first = next(iter(runs.values()))
    if not files:
        raise DeliveryError(
            f"{source.name}: the manifest of {first.period} names no blob.",
            where=f"{store.address}/{first.manifest.name}",
            remedy="an empty delivery would wipe the month; look at the export's run history in the portal",
        )
    _refuse_empty_beside_full(source, store, runs, row_counts)
    signature = signature_of(files, b"\n".join(run.raw for _, run in sorted(runs.items())))
    return Delivery(
        source_name=source.name,
        source_kind=source.kind,
        period=first.period,
        version=_version(runs, signature),
        signature=signature,
        files=tuple(files),
        manifest=_kept_manifest(runs),
        details={
            "mapping": FOCUS if FOCUS in runs else "azure-cost",
            "format": _format(source.name, files),
            "reports": " ".join(sorted(runs)),
            "row_counts": json.dumps(row_counts, sort_keys=True),
            "rows": "all",
            "run_exports": ", ".join(run.export for _, run in sorted(runs.items())),
            "run_submitted": ", ".join(run.submitted or "unknown" for _, run in sorted(runs.items())),
        },
    )


def _names(report: str, blobs: Sequence[NamedBlob]) -> list[tuple[NamedBlob, str]]:
    """Each blob with its name in the delivery: its report's folder, then its own name, or the path where names repeat."""
    names = [PurePosixPath(blob.found.name).name for blob in blobs]
    if len(set(names)) < len(names):
        names = [blob.found.name for blob in blobs]
    prefix = "" if report == FOCUS else f"{report}/"
    return [(blob, f"{prefix}{name}") for blob, name in zip(blobs, names, strict=True)]


def _version(runs: Mapping[str, ExportRun], signature: str) -> str:
    """Microsoft's id of the run; a hash of both where there are two; what was listed stands for a run without an id."""
    if any(run.run_id is None for run in runs.values()):
        return signature[:16]
    ids = [f"{report} {run.run_id}" for report, run in sorted(runs.items())]
    if len(ids) > 1:
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    return _NOT_IN_A_VERSION.sub("-", ids[0].partition(" ")[2])


def _kept_manifest(runs: Mapping[str, ExportRun]) -> DeliveredFile:
    """The manifest as it was read; of two, one document that holds both, each as text."""
    single = next(iter(runs.values())).raw if len(runs) == 1 else None
    both = {
        f"{report}/{PurePosixPath(run.manifest.name).name}": run.raw.decode("utf-8") for report, run in runs.items()
    }
    content = single if single is not None else json.dumps(both, indent=1, sort_keys=True, ensure_ascii=False).encode()
    first = next(iter(runs.values())).manifest

    def save(target: Path) -> None:
        target.write_bytes(content)

    return DeliveredFile(
        name="manifest.json" if single is not None else "manifests.json",
        size=len(content),
        pin=hashlib.sha256(content).hexdigest(),
        where=first.name,
        save=save,
    )


def _refuse_empty_beside_full(
    source: AzureCostSource, store: Store, runs: Mapping[str, ExportRun], row_counts: Mapping[str, int]
) -> None:
    rows = {
        report: sum(count for name, count in row_counts.items() if name.startswith(f"{report}/"))
        for report, run in runs.items()
    }
    if len(runs) > 1 and row_counts and 0 in rows.values() and any(rows.values()):
        empty, full = sorted(rows, key=lambda report: rows[report])
        raise DeliveryError(
            f"{source.name}: the {empty} cost export of {runs[empty].period} is empty, the {full} one is not.",
            where=f"{store.address}/{runs[empty].manifest.name}",
            expected=f"rows, as in the {full} cost export, which has {rows[full]:,}",
            found="0 rows",
            remedy="run that export again; until then the period keeps its last good rows",
        )


def _bare_files(source: AzureCostSource) -> tuple[DeliveredFile, ...]:
    for path in source.files:
        if not path.is_file():
            raise DeliveryError(
                f"{source.name}: a file of the configuration isn't there.",
                where=str(path),
                remedy="correct 'files:' in the configuration",
            )
    files = tuple(local_file(path, f"{_report_by_name(path)}/{path.name}") for path in source.files)
    if doubled := sorted({file.name for file in files if [each.name for each in files].count(file.name) > 1}):
        raise DeliveryError(
            f"{source.name}: two files have the same name.",
            where=", ".join(str(path) for path in source.files),
            found=", ".join(doubled),
            remedy="rename one of them: a file's name is part of the key of its charges",
        )
    return files


def _bare_deliveries(source: AzureCostSource) -> list[Delivery]:
    files = _bare_files(source)
    format_ = _format(source.name, files)
    with connect() as connection:
        periods = sorted({period for path in source.files for period in billing_periods(connection, LAYOUT, path)})
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
                "format": format_,
                "reports": " ".join(sorted({file.name.partition("/")[0] for file in files})),
                "rows": "all" if len(periods) == 1 else "of-period",
            },
        )
        for period in periods
    ]


def _report_by_name(path: Path) -> str:
    return AMORTISED if re.search("amorti[sz]ed", path.name, re.IGNORECASE) else ACTUAL


def _format(source_name: str, files: Sequence[DeliveredFile]) -> str:
    for format_, endings in (("csv", (".csv", ".csv.gz")), ("parquet", (".parquet",))):
        if all(file.name.lower().endswith(endings) for file in files):
            return format_
    raise DeliveryError(
        f"{source_name}: the delivery has files that we don't read, or of two formats.",
        where=files[0].where,
        expected="all .csv or .csv.gz, or all .parquet",
        found=", ".join(sorted({"".join(PurePosixPath(file.name).suffixes[-2:]) for file in files})),
        remedy="give both exports the same format: Parquet, or CSV with gzip",
    )


def _folder(found: StoredObject) -> str:
    return PurePosixPath(found.name).parent.as_posix()


def _hash_of(found: Iterable[StoredObject]) -> str:
    digest = hashlib.sha256()
    for each in found:
        digest.update(f"{each.name}\t{each.size}\t{each.pin}\n".encode())
    return digest.hexdigest()


def _check_read(store: Store, newest: Sequence[Delivery], listing: Sequence[StoredObject]) -> Finding:
    where = newest[0].files[0].where
    found = next(each for each in listing if where.endswith(f"/{each.name}"))
    try:
        if store.address.startswith("az://"):
            from pipelines.sources.stores.blob import BlobStore

            cast(BlobStore, store).try_read(found)
    except DeliveryError as error:
        return missing(f"read {where}", error)
    return Finding(f"read {where}", "works", f"{found.size:,} bytes")


def _check_files(source: AzureCostSource) -> Finding:
    subject = f"read {', '.join(str(path) for path in source.files)}"
    try:
        periods = [delivery.period for delivery in _bare_deliveries(source)]
    except DeliveryError as error:
        return missing(subject, error)
    return Finding(subject, "works", f"billing periods {', '.join(periods)}")
