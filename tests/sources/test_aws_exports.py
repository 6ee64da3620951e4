"""Exports that the account itself tells of, through the services that define them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.config import AwsCurSource
from pipelines.errors import DeliveryError
from pipelines.sources.aws_cur import check, deliveries
from pipelines.sources.aws_exports import DATA_EXPORTS, LEGACY_REPORTS, Export, known_exports
from pipelines.sources.findings import Finding
from tests.integration.servers.s3 import S3Server
from tests.sources.aws_answers import Answer, Question, answering, as_json

_ARN = "arn:aws:bcm-data-exports:us-east-1:012345678901:export"
_LEGACY = {
    "ReportName": "globex-cur",
    "TimeUnit": "HOURLY",
    "Format": "textORcsv",
    "Compression": "GZIP",
    "AdditionalSchemaElements": ["RESOURCES"],
    "S3Bucket": "globex-billing",
    "S3Prefix": "reports",
    "S3Region": "us-east-1",
    "ReportVersioning": "CREATE_NEW_REPORT",
    "ReportStatus": {"lastDelivery": "20261001T020000Z", "lastStatus": "SUCCESS"},
}


def _export(
    name: str, table: str, *, bucket: str = "acme-billing", prefix: str = "exports", status: Any = None
) -> dict[str, Any]:
    """What GetExport answers (botocore's service model of 2023-11-26)."""
    return {
        "Export": {
            "ExportArn": f"{_ARN}/{name}",
            "Name": name,
            "DataQuery": {"QueryStatement": f"SELECT bill_bill_type FROM {table}", "TableConfigurations": {}},
            "DestinationConfigurations": {
                "S3Destination": {
                    "S3Bucket": bucket,
                    "S3Prefix": prefix,
                    "S3Region": "eu-central-1",
                    "S3OutputConfigurations": {
                        "OutputType": "CUSTOM",
                        "Format": "PARQUET",
                        "Compression": "PARQUET",
                        "Overwrite": "OVERWRITE_REPORT",
                    },
                }
            },
            "RefreshCadence": {"Frequency": "SYNCHRONOUS"},
        },
        "ExportStatus": status or {"StatusCode": "HEALTHY"},
    }


class Account:
    """The two services of an account; a page of a list holds one entry."""

    def __init__(self) -> None:
        self.exports: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.denied: set[str] = set()

    def __call__(self, question: Question) -> Answer:
        if question.operation in self.denied:
            return as_json({"__type": "AccessDeniedException", "message": f"not {question.operation}"}, 400)
        if question.operation == "GetExport":
            (found,) = [e for e in self.exports if e["Export"]["ExportArn"] == question.parameters["ExportArn"]]
            return as_json(found)
        references = [
            {
                "ExportArn": e["Export"]["ExportArn"],
                "ExportName": e["Export"]["Name"],
                "ExportStatus": e["ExportStatus"],
            }
            for e in self.exports
        ]
        key, entries = {
            "ListExports": ("Exports", references),
            "DescribeReportDefinitions": ("ReportDefinitions", self.reports),
        }[question.operation]
        start = int(question.parameters.get("NextToken", "0"))
        following = {"NextToken": str(start + 1)} if start + 1 < len(entries) else {}
        return as_json({key: entries[start : start + 1], **following})


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    account = Account()
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with answering(account) as address:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_ENDPOINT_URL_BCM_DATA_EXPORTS": address,
            "AWS_ENDPOINT_URL_COST_AND_USAGE_REPORT_SERVICE": address,
        }.items():
            monkeypatch.setenv(name, value)
        yield account


def test_an_account_tells_its_exports_and_reports(account: Account) -> None:
    account.exports = [
        _export("acme-cur", "COST_AND_USAGE_REPORT"),
        _export("acme-focus", "FOCUS_1_2_AWS", status={"StatusCode": "UNHEALTHY", "StatusReason": "INSUFFICIENT_PERMISSION"}),
    ]  # fmt: skip
    account.reports = [_LEGACY, {**_LEGACY, "ReportName": "other", "ReportStatus": {"lastStatus": "ERROR_NO_BUCKET"}}]
    known = known_exports(endpoint_url=None, region=None)
    assert known.exports == (
        Export("acme-cur", "COST_AND_USAGE_REPORT", "acme-billing", "exports", "eu-central-1", True, "PARQUET"),
        Export(
            "acme-focus",
            "FOCUS_1_2_AWS",
            "acme-billing",
            "exports",
            "eu-central-1",
            True,
            "PARQUET",
            "INSUFFICIENT_PERMISSION",
        ),
        Export("globex-cur", "", "globex-billing", "reports", "us-east-1", False, "textORcsv"),
        Export("other", "", "globex-billing", "reports", "us-east-1", False, "textORcsv", "ERROR_NO_BUCKET"),
    )
    assert [export.location for export in known.exports][::2] == [
        "s3://acme-billing/exports/acme-cur",
        "s3://globex-billing/reports/globex-cur",
    ]
    assert known.untold == {}


def test_what_the_credentials_may_not_ask_is_told_and_the_rest_still_asked(account: Account) -> None:
    account.denied = {"ListExports"}
    account.reports = [_LEGACY]
    known = known_exports(endpoint_url=None, region=None)
    assert [export.name for export in known.exports] == ["globex-cur"]
    assert list(known.untold) == [", ".join(DATA_EXPORTS)]
    assert "AccessDeniedException" in known.untold[", ".join(DATA_EXPORTS)]


def test_beside_another_server_than_awss_the_account_is_not_asked(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_BCM_DATA_EXPORTS")
    account.reports = [_LEGACY]
    known = known_exports(endpoint_url="http://127.0.0.1:9000", region=None)
    assert [export.name for export in known.exports] == ["globex-cur"]
    assert list(known.untold.values()) == ["not asked: 'endpoint_url' is another server than AWS's"]


def _deliver(s3: S3Server, bucket: str, manifest: bytes) -> None:
    client = s3.client()
    client.put_object(Bucket=bucket, Key="exports/acme/data/BILLING_PERIOD=2026-09/part-1.parquet", Body=b"data")
    client.put_object(
        Bucket=bucket, Key="exports/acme/metadata/BILLING_PERIOD=2026-09/acme-Manifest.json", Body=manifest
    )


def _manifest(bucket: str) -> bytes:
    return f'{{"dataFiles": ["s3://{bucket}/exports/acme/data/BILLING_PERIOD=2026-09/part-1.parquet"]}}'.encode()


def _source(s3: S3Server, location: str | None) -> AwsCurSource:
    return AwsCurSource(name="payer", location=location, export="acme", endpoint_url=s3.endpoint_url)


def test_an_export_that_is_only_named_is_found_through_the_account(account: Account, s3: S3Server) -> None:
    bucket = s3.bucket()
    _deliver(s3, bucket, _manifest(bucket))
    account.exports = [_export("acme", "FOCUS_1_0_AWS", bucket=bucket), _export("other", "FOCUS_1_0_AWS")]
    (delivery,) = deliveries(_source(s3, None))
    # Its manifest lists no columns: the account tells what it selects from.
    assert (delivery.period, delivery.details["mapping"], delivery.details["dialect"]) == (
        "2026-09",
        "focus",
        "focus-1.0",
    )
    assert [file.where for file in delivery.files] == [
        f"s3://{bucket}/exports/acme/data/BILLING_PERIOD=2026-09/part-1.parquet"
    ]


def test_an_export_that_the_account_does_not_have_is_refused(account: Account, s3: S3Server) -> None:
    account.exports = [_export("other", "FOCUS_1_0_AWS")]
    account.denied = {"DescribeReportDefinitions"}
    with pytest.raises(DeliveryError, match="the account doesn't tell where the export acme is delivered") as refused:
        deliveries(_source(s3, None))
    assert "other in s3://acme-billing/exports/other" in refused.value.found
    assert "cur:DescribeReportDefinitions" in refused.value.found


def test_check_shows_the_export_and_what_may_not_be_asked(account: Account, s3: S3Server) -> None:
    bucket = s3.bucket()
    _deliver(s3, bucket, _manifest(bucket))
    account.exports = [
        _export("acme", "COST_AND_USAGE_REPORT", bucket=bucket, status={"StatusCode": "UNHEALTHY", "StatusReason": "INSUFFICIENT_PERMISSION"})
    ]  # fmt: skip
    account.denied = {"DescribeReportDefinitions"}
    export, legacy, *rest = check(_source(s3, f"s3://{bucket}/exports"))
    assert export == Finding(
        "export acme",
        "warning",
        f"COST_AND_USAGE_REPORT, PARQUET, overwritten at each refresh, to s3://{bucket}/exports/acme; "
        "AWS can't deliver it: INSUFFICIENT_PERMISSION",
        "give the service bcm-data-exports.amazonaws.com (legacy: billingreports.amazonaws.com) s3:PutObject in the "
        "bucket's policy",
    )
    assert (legacy.subject, legacy.state) == ("ask the account for its exports (cur)", "warning")
    assert ", ".join(LEGACY_REPORTS) in legacy.remedy
    assert {finding.state for finding in rest} == {"works"}


@pytest.mark.parametrize(
    "places",
    [
        {"export": "acme"},
        {"location": "s3://b/p"},
        {"location": "s3://b/p", "export": "acme"},
        {"files": ("bill.csv",)},
    ],
)
def test_a_source_lies_in_one_place_or_is_an_export_by_name(places: dict[str, Any]) -> None:
    assert AwsCurSource(name="payer", **places).name == "payer"


@pytest.mark.parametrize("places", [{}, {"export": "acme", "files": ("bill.csv",)}])
def test_a_source_without_a_place_or_with_two_is_refused(places: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give exactly one of 'location', 'files', 'export'"):
        AwsCurSource(name="payer", **places)
