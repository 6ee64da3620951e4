"""What BigQuery is asked for Google Cloud's billing table, what that may cost, and what its refusals come to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pyarrow.parquet as pq
import pytest

from pipelines.config import GcpBillingSource
from pipelines.errors import DeliveryError
from pipelines.sources import gcp_bigquery
from pipelines.sources.deliveries import ObjectMoved
from pipelines.sources.gcp_billing import check, deliveries, look
from tests.sources.bigquery_answers import BigQueryAnswers, served

_DAYS = [("2026-09-03", "202609", "1788436800000000", 2)]
_LONG = "0.12345678901234567890123456789012345678"


@pytest.fixture
def bigquery_answers() -> Iterator[BigQueryAnswers]:
    with served(BigQueryAnswers(days=list(_DAYS), rows=["1.5", _LONG])) as answers:
        yield answers


def _source(answers: BigQueryAnswers, **fields: Any) -> GcpBillingSource:
    return GcpBillingSource(
        name="gcp-org", table="acme.billing.export", endpoint_url=answers.endpoint_url, since="2026-09", **fields
    )


def test_every_query_is_tried_dry_first_and_carries_the_limit(bigquery_answers: BigQueryAnswers) -> None:
    assert sorted(look(_source(bigquery_answers, maximum_bytes_billed=5000))) == ["2026-09"]
    dry, real = bigquery_answers.queries
    assert (dry["dryRun"], dry["query"]["useQueryCache"]) == (True, False)
    assert real["query"]["maximumBytesBilled"] == "5000"
    assert dry["query"]["query"] == real["query"]["query"]


def test_every_query_names_its_partitions_and_none_is_distinct(
    bigquery_answers: BigQueryAnswers, tmp_path: Path
) -> None:
    [delivery] = deliveries(_source(bigquery_answers), "2026-09")
    delivery.files[0].save(tmp_path / "day.parquet")
    asked = [query["query"]["query"] for query in bigquery_answers.queries if not query.get("dryRun")]
    assert asked == [
        "SELECT FORMAT_TIMESTAMP('%Y-%m-%d', _PARTITIONTIME) AS day, invoice.month AS month, "
        "CAST(UNIX_MICROS(MAX(export_time)) AS STRING) AS marker, COUNT(*) AS row_count FROM `acme.billing.export` "
        "WHERE _PARTITIONTIME >= TIMESTAMP '2026-08-27 00:00:00' AND invoice.month IN ('202609') "
        "GROUP BY day, month ORDER BY day, month",
        # export_time and what we don't know are not read.
        "SELECT `billing_account_id`, `invoice`, `cost_type`, `service`, `sku`, `usage_start_time`, `usage_end_time`, "
        "`cost`, `currency`, `credits` FROM `acme.billing.export` WHERE _PARTITIONTIME >= TIMESTAMP '2026-09-03 00:00:00' "
        "AND _PARTITIONTIME < TIMESTAMP '2026-09-04 00:00:00' AND invoice.month = '202609'",
    ]


def test_the_estimate_is_told_with_the_run(bigquery_answers: BigQueryAnswers) -> None:
    [delivery] = deliveries(_source(bigquery_answers), "2026-09")
    assert delivery.details["run_estimate_bytes"] == "1000"
    assert delivery.details["run_read_through"] == "query results over REST"


def test_digits_beyond_what_parquet_keeps_are_landed_as_text(bigquery_answers: BigQueryAnswers, tmp_path: Path) -> None:
    [delivery] = deliveries(_source(bigquery_answers), "2026-09")
    delivery.files[0].save(tmp_path / "day.parquet")
    [first, second] = pq.read_table(tmp_path / "day.parquet").to_pylist()
    assert (first["cost"].rstrip("0"), second["cost"]) == ("1.5", _LONG)
    assert second["credits"] == [{"amount": f"-{_LONG}", "type": "DISCOUNT"}]


def test_what_would_cost_more_than_the_limit_is_refused_before_it_is_read(bigquery_answers: BigQueryAnswers) -> None:
    bigquery_answers.estimate = 3 * 1024**3
    with pytest.raises(DeliveryError) as refused:
        look(_source(bigquery_answers, maximum_bytes_billed=1024**3))
    assert [query.get("dryRun") for query in bigquery_answers.queries] == [True]
    assert (refused.value.expected, refused.value.found, refused.value.where) == (
        "at most 1,073,741,824 bytes (1.0 GiB): maximum_bytes_billed",
        "3,221,225,472 bytes (3.0 GiB), as BigQuery estimates",
        "table acme.billing.export",
    )
    assert "raise 'maximum_bytes_billed'" in refused.value.remedy


def test_a_job_that_passes_the_limit_all_the_same_says_the_same(bigquery_answers: BigQueryAnswers) -> None:
    bigquery_answers.refusals["job-1"] = (
        400,
        "bytesBilledLimitExceeded",
        "Query exceeded limit for bytes billed: 5000. 10485760 or higher required.",
    )
    with pytest.raises(DeliveryError) as refused:
        look(_source(bigquery_answers, maximum_bytes_billed=5000))
    assert "raise 'maximum_bytes_billed'" in refused.value.remedy


def test_a_day_with_another_row_count_than_looked_at_is_read_again(
    bigquery_answers: BigQueryAnswers, tmp_path: Path
) -> None:
    [delivery] = deliveries(_source(bigquery_answers), "2026-09")
    bigquery_answers.rows.append("2")
    with pytest.raises(ObjectMoved) as refused:
        delivery.files[0].save(tmp_path / "day.parquet")
    assert (refused.value.expected, refused.value.found) == ("2 rows, as when the table was looked at", "3 rows")


@pytest.mark.parametrize(
    ("request_name", "status", "reason", "message", "remedy"),
    [
        (
            "export",
            403,
            "accessDenied",
            "Access Denied: Table acme:billing.export: Permission bigquery.tables.get denied",
            "grant roles/bigquery.dataViewer (bigquery.tables.get, bigquery.tables.getData) on dataset acme.billing",
        ),
        (
            "jobs",
            403,
            "accessDenied",
            "Access Denied: Project acme: User does not have bigquery.jobs.create permission in project acme.",
            "grant roles/bigquery.jobUser (bigquery.jobs.create) on project acme",
        ),
        ("jobs", 403, "quotaExceeded", "Quota exceeded: too many table reads", "a quota is used up"),
        ("export", 404, "notFound", "Not found: Table acme:billing.export", "correct 'table'"),
    ],
)
def test_a_refusal_says_what_to_grant(
    request_name: str, status: int, reason: str, message: str, remedy: str, bigquery_answers: BigQueryAnswers
) -> None:
    bigquery_answers.refusals[request_name] = (status, reason, message)
    source = _source(bigquery_answers)
    with pytest.raises(DeliveryError) as refused:
        look(source)
    assert remedy in refused.value.remedy
    assert message in refused.value.found
    missing = check(source)[-1]
    assert (missing.state, missing.remedy) == ("missing", refused.value.remedy)


@pytest.fixture
def no_read_sessions() -> Iterator[str]:
    """The address of a Storage Read interface that permits no session."""

    class Refusing(grpc.GenericRpcHandler):
        def service(self, call_details: Any) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(self._refuse)

        def _refuse(self, request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(
                grpc.StatusCode.PERMISSION_DENIED, "the user does not have 'bigquery.readsessions.create' permission"
            )
            return b""

    server = grpc.server(ThreadPoolExecutor(max_workers=1), handlers=[Refusing()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_without_permission_for_read_sessions_rows_come_by_queries(
    bigquery_answers: BigQueryAnswers, no_read_sessions: str, tmp_path: Path
) -> None:
    source = _source(bigquery_answers, storage_endpoint=no_read_sessions)
    [delivery] = deliveries(source, "2026-09")
    delivery.files[0].save(tmp_path / "day.parquet")
    assert delivery.details["run_read_through"] == "query results over REST"
    assert pq.read_table(tmp_path / "day.parquet").num_rows == 2
    warning = check(source)[-1]
    assert (warning.state, warning.remedy.split(";")[0]) == (
        "warning",
        "grant roles/bigquery.readSessionUser (bigquery.readsessions.create) on project acme",
    )


def test_a_table_of_something_else_is_refused(
    bigquery_answers: BigQueryAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.sources.bigquery_answers._SCHEMA", [{"name": "cost", "type": "FLOAT"}])
    with pytest.raises(DeliveryError) as refused:
        look(_source(bigquery_answers))
    assert refused.value.found == "cost"
    assert "gcp_billing_export_resource_v1_" in refused.value.remedy


def test_a_server_that_is_not_there_is_told_soon(
    bigquery_answers: BigQueryAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcp_bigquery, "_RETRY", gcp_bigquery._RETRY.with_timeout(0.1))
    source = GcpBillingSource(name="gcp-org", table="acme.billing.export", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(DeliveryError) as refused:
        look(source)
    assert "can't be reached" in refused.value.remedy
