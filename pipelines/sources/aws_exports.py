"""The cost exports that an AWS account has: data exports (``bcm-data-exports``) and legacy reports (``cur``).

Both services live in one region of a partition. Neither is needed to pull a bill: where the credentials may not ask
them, the manifests in the bucket say the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

DATA_EXPORTS = ("bcm-data-exports:ListExports", "bcm-data-exports:GetExport")
LEGACY_REPORTS = ("cur:DescribeReportDefinitions",)

_TABLE = re.compile(r"\bFROM\s+\"?(\w+)", re.IGNORECASE)
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


@dataclass(frozen=True)
class Export:
    """A data export or legacy report as its account defines it.

    ``table``: what the export selects from, such as ``COST_AND_USAGE_REPORT`` or ``FOCUS_1_2_AWS``; empty for a legacy
    report. ``overwrites``: a refresh replaces the files. ``problem``: why AWS can't deliver it; empty where it can.
    """

    name: str
    table: str
    bucket: str
    prefix: str
    region: str
    overwrites: bool
    format: str
    problem: str = ""

    @property
    def location(self) -> str:
        """Where it is delivered: ``s3://bucket/prefix/name``."""
        return f"s3://{self.bucket}/{'/'.join(part for part in (self.prefix.strip('/'), self.name) if part)}"


@dataclass(frozen=True)
class KnownExports:
    """What the services told: the exports, and which permissions were missing, each with what AWS said."""

    exports: tuple[Export, ...]
    untold: Mapping[str, str]


def known_exports(*, endpoint_url: str | None, region: str | None) -> KnownExports:
    """The exports of the account, as far as the credentials may ask; raises nothing for what they may not.

    ``endpoint_url`` is the S3 server's: beside one that isn't AWS's, only services that are configured to be elsewhere
    (``AWS_ENDPOINT_URL_BCM_DATA_EXPORTS``, ``AWS_ENDPOINT_URL_COST_AND_USAGE_REPORT_SERVICE``) are asked.
    """
    # Loaded only where it is asked for: folders need none of it.
    from botocore.exceptions import BotoCoreError, ClientError

    exports: list[Export] = []
    untold: dict[str, str] = {}
    for service, permissions, ask in (
        ("bcm-data-exports", DATA_EXPORTS, _data_exports),
        ("cur", LEGACY_REPORTS, _legacy_reports),
    ):
        try:
            client = _client(service, region)
            if endpoint_url and _is_aws(client.meta.endpoint_url):
                untold[", ".join(permissions)] = "not asked: 'endpoint_url' is another server than AWS's"
                continue
            exports.extend(ask(client))
        except (BotoCoreError, ClientError) as error:
            untold[", ".join(permissions)] = str(error)
    return KnownExports(tuple(exports), untold)


def _data_exports(client: Any) -> Iterator[Export]:
    for page in client.get_paginator("list_exports").paginate():
        for reference in page["Exports"]:
            answer = client.get_export(ExportArn=reference["ExportArn"])
            export, status = answer["Export"], answer.get("ExportStatus", reference["ExportStatus"])
            destination = export["DestinationConfigurations"]["S3Destination"]
            output = destination["S3OutputConfigurations"]
            table = _TABLE.search(export["DataQuery"]["QueryStatement"])
            yield Export(
                name=export["Name"],
                table=table[1].upper() if table else "",
                bucket=destination["S3Bucket"],
                prefix=destination["S3Prefix"],
                region=destination["S3Region"],
                overwrites=output["Overwrite"] == "OVERWRITE_REPORT",
                format=output["Format"],
                problem="" if status.get("StatusCode") == "HEALTHY" else status.get("StatusReason", "UNHEALTHY"),
            )


def _legacy_reports(client: Any) -> Iterator[Export]:
    for page in client.get_paginator("describe_report_definitions").paginate():
        for report in page["ReportDefinitions"]:
            status = report.get("ReportStatus", {}).get("lastStatus", "SUCCESS")
            yield Export(
                name=report["ReportName"],
                table="",
                bucket=report["S3Bucket"],
                prefix=report["S3Prefix"],
                region=report["S3Region"],
                overwrites=report.get("ReportVersioning") == "OVERWRITE_REPORT",
                format=report["Format"],
                problem="" if status == "SUCCESS" else status,
            )


def _client(service: str, region: str | None) -> Any:
    from botocore.config import Config

    from pipelines.sources.stores.aws_clients import aws_client

    # Nothing depends on an answer, so that a network that leads to S3 alone must not hold up a night.
    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
    return aws_client(
        service,
        region=lambda configured: "cn-northwest-1" if (region or configured or "").startswith("cn-") else "us-east-1",
        config=lambda _: config,
    )


def _is_aws(endpoint_url: str) -> bool:
    return (urlsplit(endpoint_url).hostname or "").endswith(_AWS_HOSTS)
