"""Cost details reports of an Azure scope that has no export: asked for month by month, downloaded, compared by content.

A report is made on request (Microsoft, "Cost Details API"): a long-running operation that ends with links to its blobs. Each
request counts against the tenant's quota, so that open months are asked for once a UTC day and closed ones not again.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from azure.core import PipelineClient
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
)
from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy
from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential
from azure.mgmt.costmanagement import CostManagementClient
from azure.mgmt.costmanagement.models import (
    CostDetailsTimePeriod,
    GenerateCostDetailsReportRequestDefinition,
)

from pipelines.config import AzureCostSource
from pipelines.errors import DeliveryError
from pipelines.sources.azure_exports import ACTUAL, AMORTISED
from pipelines.sources.deliveries import DeliveredFile, Delivery, signature_of
from pipelines.sources.findings import Finding, missing

ROLE = "Cost Management Reader"

# Microsoft's quota headers, by what ran out: query units, requests of this entity, of this tenant, of this client.
_QUOTA_HEADERS = tuple(
    f"x-ms-ratelimit-microsoft.costmanagement-{quota}-retry-after" for quota in ("qpu", "entity", "tenant", "client")
)
_METRICS = {ACTUAL: "ActualCost", AMORTISED: "AmortizedCost"}
# Until this day of the next month a month's cost may still change.
_LAST_OPEN_DAY = 5
# Of months that the API still makes reports of; older ones are asked for by name.
_MONTHS_LOOKED_AT = 13
_DOWNLOADS = 3
_LONGEST_WAIT = 900.0
_HASH_BYTES = 16
_CLOSED = "closed"


def look(source: AzureCostSource) -> dict[str, str]:
    """The last 13 months: the UTC day for those that may still change, else that they are closed. Asks nothing."""
    today = _today()
    months = list(_months_back(today))
    return {_period(month): today.isoformat() if _is_open(month, today) else _CLOSED for month in reversed(months)}


def deliveries(source: AzureCostSource, period: str | None = None) -> list[Delivery]:
    """The reports of each month, or of one: actual and amortised cost, downloaded; months without cost have no delivery.

    The version is a hash of the lines whatever their order, so that a report made anew with equal lines changes nothing.
    Raises DeliveryError where the scope may not be read, the quota stays used up, or a report can't be made.
    """
    months = [date.fromisoformat(f"{period}-01")] if period else sorted(_months_back(_today()))
    return [delivery for month in months if (delivery := _delivery(source, month))]


def check(source: AzureCostSource) -> list[Finding]:
    """Whether the scope's exports may be listed, which takes the same role as its reports; asks for no report."""
    scope = str(source.scope)
    subject = f"read cost of {scope}"
    try:
        exports = [str(export.name) for export in _client(source).exports.list(scope).value or []]
    except AzureError as error:
        refusal = _refusal(source, error)
        return [missing(subject, refusal)]
    findings = [Finding(subject, "works", "cost details reports may be asked for")]
    if exports:
        findings.append(
            Finding(
                subject,
                "warning",
                f"the scope has exports: {', '.join(sorted(exports))}",
                "reading an export costs no quota: set 'location' to where it delivers (docs/connect/azure.md)",
            )
        )
    return findings


@dataclass(frozen=True)
class _Report:
    """A downloaded report: its files below a temporary folder."""

    name: str
    files: tuple[Path, ...]


class _Downloads:
    """The folder of a month's reports; it goes with the last file that could still be copied from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def copy(self, path: Path, target: Path) -> None:
        shutil.copyfile(path, target)


class _Backoff(RetryPolicy[Any, Any]):
    """Waits as Cost Management says, in either of its ways, and asks again where a connection broke off.

    azure-core knows ``Retry-After`` alone, and never repeats a POST that got no answer. To ask for a report twice makes it twice.
    """

    def __init__(self) -> None:
        super().__init__(retry_total=8, retry_status=8, retry_backoff_factor=1, retry_backoff_max=60)

    def get_retry_after(self, response: Any) -> float | None:
        waits = [super().get_retry_after(response) or 0.0]
        waits += [
            self.parse_retry_after(value)
            for header in _QUOTA_HEADERS
            if (value := response.http_response.headers.get(header))
        ]
        longest = max(waits)
        return longest if 0 < longest <= _LONGEST_WAIT else None

    def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
        status = response.http_response.status_code
        if any(_seconds(response.http_response.headers.get(header)) > _LONGEST_WAIT for header in _WAIT_HEADERS):
            return False
        return bool(settings["total"]) and (status in (408, 429) or status >= 500)

    def _is_method_retryable(self, settings: dict[str, Any], request: Any, response: Any = None) -> bool:
        return True


_WAIT_HEADERS = ("Retry-After", *_QUOTA_HEADERS)


def _seconds(value: str | None) -> float:
    try:
        return float(value or 0)
    except ValueError:
        # A date: azure-core reads it.
        return 0.0


def _today() -> date:
    return datetime.now(UTC).date()


def _months_back(today: date) -> Iterator[date]:
    month = today.replace(day=1)
    for _ in range(_MONTHS_LOOKED_AT):
        yield month
        month = (month - timedelta(days=1)).replace(day=1)


def _period(month: date) -> str:
    return month.strftime("%Y-%m")


def _next_month(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


def _is_open(month: date, today: date) -> bool:
    return today < _next_month(month) + timedelta(days=_LAST_OPEN_DAY)


def _delivery(source: AzureCostSource, month: date) -> Delivery | None:
    downloads = _Downloads(Path(tempfile.mkdtemp(prefix="apportion-cost-details-")))
    client = _client(source)
    reports = [_download(source, client, month, report, downloads.folder) for report in sorted(_METRICS)]
    files = tuple(_delivered(source, report, path, downloads) for report in reports for path in report.files)
    if not files:
        return None
    signature = signature_of(files)
    return Delivery(
        source_name=source.name,
        source_kind=source.kind,
        period=_period(month),
        version=signature[:16],
        signature=signature,
        files=files,
        details={
            "mapping": "azure-cost",
            "format": "csv",
            "reports": " ".join(report.name for report in reports if report.files),
            "rows": "all",
            "run_scope": str(source.scope),
        },
    )


def _download(source: AzureCostSource, client: CostManagementClient, month: date, report: str, folder: Path) -> _Report:
    end = min(_next_month(month) - timedelta(days=1), max(_today(), month))
    definition = GenerateCostDetailsReportRequestDefinition(
        metric=_METRICS[report],
        time_period=CostDetailsTimePeriod(start=month.isoformat(), end=end.isoformat()),
    )
    where = f"{report} cost of {source.scope}, {_period(month)}"
    try:
        result = client.generate_cost_details_report.begin_create_operation(str(source.scope), definition).result()
    except HttpResponseError as error:
        # No cost in that month: nothing to make a report of.
        if error.status_code == 204:
            return _Report(report, ())
        raise _refusal(source, error, where) from error
    except AzureError as error:
        raise _refusal(source, error, where) from error
    if result.status == "NoDataFound":
        return _Report(report, ())
    if result.status == "Failed" or result.manifest is None:
        raise DeliveryError(
            f"{source.name}: Azure could not make the report.",
            where=where,
            found=result.error.message if result.error and result.error.message else str(result.status),
            remedy="run again; if it stays, create an export of the scope and set 'location' to it",
        )
    blobs = list(result.manifest.blobs or [])
    if result.manifest.blob_count not in (None, len(blobs)):
        raise DeliveryError(
            f"{source.name}: the report's manifest contradicts itself.",
            where=where,
            expected=f"{result.manifest.blob_count} blobs",
            found=f"{len(blobs)}",
            remedy="run again",
        )
    suffix = ".csv.gz" if result.manifest.compress_data else ".csv"
    targets = []
    for number, blob in enumerate(blobs):
        target = folder / report / f"{number:06d}{suffix}"
        target.parent.mkdir(exist_ok=True)
        _fetch(source, str(blob.blob_link), target, blob.byte_count, where)
        targets.append(target)
    return _Report(report, tuple(targets))


def _fetch(source: AzureCostSource, link: str, target: Path, size: int | None, where: str) -> None:
    # The link carries its own signature; the token stays with Cost Management.
    client: PipelineClient[Any, Any] = PipelineClient(base_url=link, policies=[_Backoff()])
    with client:
        for attempt in range(1, _DOWNLOADS + 1):
            try:
                answer = client.send_request(HttpRequest("GET", link), stream=True)
                answer.raise_for_status()
                with target.open("wb") as file:
                    for block in answer.iter_bytes():
                        file.write(block)
            except AzureError as error:
                # A connection that breaks off has no status; what the server says against the request has one.
                if attempt == _DOWNLOADS or getattr(error, "status_code", None) is not None:
                    raise _refusal(source, error, where) from error
            else:
                break
    found = target.stat().st_size
    if size is not None and found != size:
        raise DeliveryError(
            f"{source.name}: a downloaded report is not as long as its manifest says.",
            where=where,
            expected=f"{size:,} bytes",
            found=f"{found:,} bytes",
            remedy="run again; until then the period keeps its last good rows",
        )


def _delivered(source: AzureCostSource, report: _Report, path: Path, downloads: _Downloads) -> DeliveredFile:
    return DeliveredFile(
        name=f"{report.name}/{path.name}",
        size=path.stat().st_size,
        pin=_content_pin(path),
        where=f"{report.name} cost of {source.scope}",
        save=partial(downloads.copy, path),
    )


def _content_pin(path: Path) -> str:
    """A hash of a file's lines in any order: two reports of the same cost may list it differently."""
    total = 0
    with path.open("rb") as content:
        for line in content:
            total += int.from_bytes(hashlib.blake2b(line.rstrip(b"\r\n"), digest_size=_HASH_BYTES).digest(), "big")
    return f"{total % (1 << (8 * _HASH_BYTES)):032x}"


def _client(source: AzureCostSource) -> CostManagementClient:
    options: dict[str, Any] = {"retry_policy": _Backoff()}
    if source.endpoint_url and source.endpoint_url.startswith("http://"):
        # A server on this machine: the SDK sends no token over http.
        options["authentication_policy"] = SansIOHTTPPolicy()
        options["polling_interval"] = 1
    return CostManagementClient(DefaultAzureCredential(), source.endpoint_url, **options)


def _refusal(source: AzureCostSource, error: AzureError, where: str = "") -> DeliveryError:
    found = str(error.message or error).strip().splitlines()[0] if str(error) else type(error).__name__
    status = error.status_code if isinstance(error, HttpResponseError) else None
    where = where or str(source.scope)
    if status in (401, 403):
        return DeliveryError(
            f"{source.name}: the identity lacks the role {ROLE}.",
            where=where,
            expected=f"the role {ROLE} on the scope (enterprise agreement: Enrollment reader; customer agreement: Billing "
            "profile reader)",
            found=found,
            remedy=f'assign it: az role assignment create --role "{ROLE}" --assignee <identity> --scope <scope> '
            "(docs/connect/azure.md)",
        )
    if isinstance(error, ClientAuthenticationError):
        return DeliveryError(
            f"{source.name}: there are no usable Azure credentials.",
            where=where,
            found=found,
            remedy="run with a managed or workload identity, sign in with az login, or set AZURE_CLIENT_ID, AZURE_TENANT_ID "
            "and AZURE_CLIENT_SECRET",
        )
    if status == 404:
        return DeliveryError(
            f"{source.name}: there is no such scope.",
            where=where,
            found=found,
            remedy="correct 'scope' in the configuration: /subscriptions/<id> or "
            "/providers/Microsoft.Billing/billingAccounts/<id>",
        )
    if status == 429:
        return DeliveryError(
            f"{source.name}: the quota of Cost Management is used up.",
            where=where,
            found=found,
            remedy="run again in an hour; what else in this tenant asks for cost reports? An export costs no quota",
        )
    return DeliveryError(
        f"{source.name}: Cost Management {'can not be reached' if status is None else 'refused the request'}.",
        where=where,
        found=found,
        remedy="run again; check the network, 'scope' and 'endpoint_url' in the configuration",
    )
