"""Cost details reports over HTTP: made on request, polled, downloaded; throttled, cut off, and asked for no more than needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.config import AzureCostSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import LandedSource
from pipelines.lake.paths import Lake
from pipelines.models.pull import pull
from pipelines.sources import azure_cost_details
from pipelines.sources.azure_cost import check, deliveries, look
from pipelines.sources.deliveries import Delivery
from tests.integration.cost_management import SCOPE, Answer, CostManagementServer
from tests.normalise.azure_bills import PERIOD, Line, normalised, write_export
from tests.normalise.test_azure_cost import ACTUAL, AMORTISED

# What Microsoft says when query units, or requests of one kind, ran out.
_QUOTA = "x-ms-ratelimit-microsoft.costmanagement"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CostManagementServer]:
    monkeypatch.setattr(azure_cost_details, "_today", lambda: date(2026, 10, 16))
    running = CostManagementServer()
    yield running
    running.stop()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waited, in seconds; it doesn't."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def _report(tmp_path: Path, *parts: Sequence[Line]) -> list[bytes]:
    return [write_export(tmp_path / "part.csv", lines).read_bytes() for lines in parts]


def _serve(server: CostManagementServer, tmp_path: Path, period: str = PERIOD) -> None:
    server.reports[("ActualCost", period)] = _report(tmp_path, ACTUAL[:1], ACTUAL[1:])
    server.reports[("AmortizedCost", period)] = _report(tmp_path, AMORTISED)


def _source(server: CostManagementServer) -> AzureCostSource:
    return AzureCostSource(name="azure", scope=SCOPE, endpoint_url=server.endpoint_url)


def _contents(delivery: Delivery, folder: Path) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    contents = {}
    for file in delivery.files:
        file.save(folder / "file")
        contents[file.name] = (folder / "file").read_bytes()
    return contents


def test_both_reports_of_a_month_are_made_polled_and_downloaded(
    server: CostManagementServer, tmp_path: Path, waits: list[float]
) -> None:
    _serve(server, tmp_path)
    server.polls = 2
    [delivery] = deliveries(_source(server), PERIOD)
    contents = _contents(delivery, tmp_path / "saved")
    assert list(contents) == ["actual/000000.csv", "actual/000001.csv", "amortised/000000.csv"]
    assert list(contents.values()) == [
        *server.reports[("ActualCost", PERIOD)],
        *server.reports[("AmortizedCost", PERIOD)],
    ]
    assert server.definitions == [
        {"metric": metric, "timePeriod": {"start": "2026-09-01", "end": "2026-09-30"}}
        for metric in ("ActualCost", "AmortizedCost")
    ]
    assert (server.count("create"), server.count("poll"), server.count("blob")) == (2, 6, 3)
    # What was downloaded becomes the charges of the same two reports delivered as exports.
    files = {file.name: tmp_path / file.name for file in delivery.files}
    for file in delivery.files:
        files[file.name].parent.mkdir(exist_ok=True)
        file.save(files[file.name])
    assert normalised(tmp_path / "scratch", files).sql(
        "SELECT sum(BilledCost), sum(EffectiveCost) FROM staged"
    ).fetchall() == [(Decimal(744), Decimal(744))]


def test_the_links_get_no_token_of_ours(server: CostManagementServer, tmp_path: Path, waits: list[float]) -> None:
    _serve(server, tmp_path)
    deliveries(_source(server), PERIOD)
    assert [token for kind, token in server.asked if kind == "blob"] == ["", "", ""]


@pytest.mark.parametrize(
    ("kind", "headers", "wait"),
    [
        ("create", {"Retry-After": "7"}, 7),
        ("create", {f"{_QUOTA}-qpu-retry-after": "11"}, 11),
        ("create", {f"{_QUOTA}-tenant-retry-after": "5", f"{_QUOTA}-client-retry-after": "13"}, 13),
        ("poll", {f"{_QUOTA}-entity-retry-after": "17"}, 17),
        ("poll", {"Retry-After": "19"}, 19),
        ("exports", {f"{_QUOTA}-qpu-retry-after": "23"}, 23),
    ],
)
def test_a_throttled_request_waits_as_long_as_either_header_says(
    server: CostManagementServer,
    tmp_path: Path,
    waits: list[float],
    kind: str,
    headers: dict[str, str],
    wait: float,
) -> None:
    _serve(server, tmp_path)
    server.before[kind] = [Answer(429, headers, body={"error": {"code": "429", "message": "Too many requests."}})]
    if kind == "exports":
        assert [finding.state for finding in check(_source(server))] == ["works"]
    else:
        assert len(deliveries(_source(server), PERIOD)) == 1
    assert wait in waits


def test_a_throttled_request_without_a_time_is_repeated_with_growing_waits(
    server: CostManagementServer, tmp_path: Path, waits: list[float]
) -> None:
    _serve(server, tmp_path)
    server.before["create"] = [Answer(429), Answer(429), Answer(503)]
    assert len(deliveries(_source(server), PERIOD)) == 1
    assert server.count("create") == 5
    assert [wait for wait in waits if wait > 1] == [2, 4]


def test_a_quota_that_stays_used_up_is_told(server: CostManagementServer, tmp_path: Path, waits: list[float]) -> None:
    server.before["create"] = [Answer(429, {f"{_QUOTA}-qpu-retry-after": "30"}) for _ in range(20)]
    with pytest.raises(DeliveryError, match="the quota of Cost Management is used up") as refused:
        deliveries(_source(server), PERIOD)
    assert refused.value.where == f"actual cost of {SCOPE}, 2026-09"
    assert server.count("create") == 9


def test_a_wait_of_hours_is_not_waited_for(server: CostManagementServer, tmp_path: Path, waits: list[float]) -> None:
    server.before["create"] = [Answer(429, {f"{_QUOTA}-tenant-retry-after": "7200"})]
    with pytest.raises(DeliveryError, match="the quota of Cost Management is used up"):
        deliveries(_source(server), PERIOD)
    assert (server.count("create"), max(waits, default=0)) == (1, 0)


@pytest.mark.parametrize("kind", ["create", "poll", "blob"])
def test_a_dropped_connection_is_asked_again(
    server: CostManagementServer, tmp_path: Path, waits: list[float], kind: str
) -> None:
    _serve(server, tmp_path)
    server.before[kind] = [Answer(cut="before")]
    [delivery] = deliveries(_source(server), PERIOD)
    assert list(_contents(delivery, tmp_path / "saved").values()) == [
        *server.reports[("ActualCost", PERIOD)],
        *server.reports[("AmortizedCost", PERIOD)],
    ]


def test_a_download_that_breaks_off_half_way_begins_anew(
    server: CostManagementServer, tmp_path: Path, waits: list[float]
) -> None:
    _serve(server, tmp_path)
    server.before["blob"] = [Answer(cut="half")]
    [delivery] = deliveries(_source(server), PERIOD)
    assert next(iter(_contents(delivery, tmp_path / "saved").values())) == server.reports[("ActualCost", PERIOD)][0]
    server.before["blob"] = [Answer(cut="half") for _ in range(3)]
    with pytest.raises(DeliveryError, match="can not be reached"):
        deliveries(_source(server), PERIOD)


def test_a_month_without_cost_has_no_delivery(server: CostManagementServer, waits: list[float]) -> None:
    assert deliveries(_source(server), PERIOD) == []


def test_a_report_that_fails_says_why(server: CostManagementServer, tmp_path: Path, waits: list[float]) -> None:
    server.polls = 0
    server.before["poll"] = [
        Answer(200, body={"status": "Failed", "error": {"code": "E", "message": "No such month."}})
    ]
    with pytest.raises(DeliveryError) as refused:
        deliveries(_source(server), PERIOD)
    assert "No such month." in str(refused.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_scope_that_may_not_be_read_names_the_role(
    server: CostManagementServer, waits: list[float], status: int
) -> None:
    for kind in ("create", "exports"):
        server.before[kind] = [Answer(status, body={"error": {"code": "RBACAccessDenied", "message": "No access."}})]
    with pytest.raises(DeliveryError, match="lacks the role Cost Management Reader"):
        deliveries(_source(server), PERIOD)
    [finding] = check(_source(server))
    assert (finding.state, "az role assignment create" in finding.remedy) == ("missing", True)


def test_a_scope_that_does_not_exist_is_told(server: CostManagementServer, waits: list[float]) -> None:
    server.before["create"] = [Answer(404, body={"error": {"code": "NotFound", "message": "No scope."}})]
    with pytest.raises(DeliveryError, match="there is no such scope"):
        deliveries(_source(server), PERIOD)


def test_a_check_points_to_exports_that_there_are(server: CostManagementServer, waits: list[float]) -> None:
    server.exports = ("daily",)
    assert [(finding.state, finding.detail) for finding in check(_source(server))] == [
        ("works", "cost details reports may be asked for"),
        ("warning", "the scope has exports: daily"),
    ]
    assert server.count("create") == 0


def test_open_months_are_asked_for_once_a_day_and_closed_ones_once(
    server: CostManagementServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    _serve(server, tmp_path)
    source, lake = _source(server), Lake(tmp_path / "lake")

    def made_on(day: date) -> int:
        monkeypatch.setattr(azure_cost_details, "_today", lambda: day)
        before = server.count("create")
        pull(lake, source, PERIOD)
        return server.count("create") - before

    asked = [
        made_on(date(2026, 9, 20)),
        made_on(date(2026, 9, 20)),
        made_on(date(2026, 9, 21)),
        made_on(date(2026, 10, 5)),
        # The first day after it closed brings its last figures.
        made_on(date(2026, 10, 6)),
        made_on(date(2026, 10, 7)),
        made_on(date(2026, 11, 20)),
    ]
    assert asked == [2, 0, 2, 2, 2, 0, 0]
    assert server.definitions[0]["timePeriod"] == {"start": "2026-09-01", "end": "2026-09-20"}


def test_equal_lines_in_another_order_are_no_new_delivery(
    server: CostManagementServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    _serve(server, tmp_path)
    source, lake = _source(server), Lake(tmp_path / "lake")
    assert pull(lake, source, PERIOD).copied == 1
    landed = LandedSource(lake, "azure").period(PERIOD)
    server.reports[("AmortizedCost", PERIOD)] = _report(tmp_path, AMORTISED[::-1])
    monkeypatch.setattr(azure_cost_details, "_today", lambda: date(2026, 10, 2))
    assert pull(lake, source, PERIOD).copied == 0
    assert LandedSource(lake, "azure").period(PERIOD) == landed
    server.reports[("AmortizedCost", PERIOD)] = _report(tmp_path, [*AMORTISED, ACTUAL[2]])
    monkeypatch.setattr(azure_cost_details, "_today", lambda: date(2026, 10, 3))
    assert pull(lake, source, PERIOD).copied == 1


def test_a_look_asks_nothing_and_knows_thirteen_months(server: CostManagementServer) -> None:
    seen = look(_source(server))
    assert (min(seen), max(seen), len(seen)) == ("2025-10", "2026-10", 13)
    assert {period: state for period, state in seen.items() if state != "closed"} == {"2026-10": "2026-10-16"}
    assert server.asked == []
