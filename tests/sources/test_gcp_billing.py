"""Google Cloud's billing export as files that `bq extract` wrote: which periods they have, and what makes them look otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.config import GcpBillingSource
from pipelines.errors import DeliveryError
from pipelines.lake.landing import LandedSource
from pipelines.lake.paths import Lake
from pipelines.models.pull import pull
from pipelines.sources import gcp_billing
from pipelines.sources.gcp_bigquery import BillingTable, IngestedDay
from pipelines.sources.gcp_billing import check, deliveries, look
from tests.normalise.google_bills import line, write_json, write_parquet

_AUGUST = {"invoice": {"month": "202608"}}


@dataclass(frozen=True)
class _Landed:
    """Landing that remembers looks and pins."""

    looks: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    read: Mapping[str, str] = field(default_factory=dict)

    def note_read(self, read: Mapping[str, str]) -> None:
        """A table has no files to be read."""

    def period(self, period: str) -> Any:
        """A period's pins, as a landed delivery has them."""
        return _Pins(self.pins[period]) if period in self.pins else None


@dataclass(frozen=True)
class _Pins:
    pins: Mapping[str, str]
    version: str = "v"
    signature: str = "s"


def _folder(tmp_path: Path) -> GcpBillingSource:
    return GcpBillingSource(name="gcp-org", location=str(tmp_path / "export"))


def _write(tmp_path: Path, name: str, lines: Sequence[dict[str, Any]]) -> Path:
    path = tmp_path / "export" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_parquet(path, lines) if name.endswith(".parquet") else write_json(path, lines)


def test_rows_belong_to_the_periods_of_their_invoice_months(tmp_path: Path) -> None:
    _write(tmp_path, "2026-09-01/000.parquet", [line(1, **_AUGUST), line(2)])
    _write(tmp_path, "2026-09-02/000.json.gz", [line(3)])
    (tmp_path / "export" / "README.md").write_text("who made it", encoding="utf-8")

    august, september = deliveries(_folder(tmp_path))

    assert [file.name for file in august.files] == ["2026-09-01/000.parquet"]
    assert [file.name for file in september.files] == ["2026-09-01/000.parquet", "2026-09-02/000.json.gz"]
    assert (august.period, september.period) == ("2026-08", "2026-09")
    assert dict(august.details) == {"mapping": "gcp-billing", "format": "parquet", "rows": "of-period"}
    assert [delivery.period for delivery in deliveries(_folder(tmp_path), "2026-08")] == ["2026-08"]


def test_files_of_one_month_are_read_whole(tmp_path: Path) -> None:
    _write(tmp_path, "000.ndjson", [line(1)])
    [delivery] = deliveries(_folder(tmp_path))
    assert dict(delivery.details) == {"mapping": "gcp-billing", "format": "json", "rows": "all"}


def test_a_new_file_makes_only_its_periods_look_otherwise(tmp_path: Path) -> None:
    _write(tmp_path, "1.parquet", [line(1, **_AUGUST)])
    _write(tmp_path, "2.parquet", [line(2)])
    before = look(_folder(tmp_path))
    _write(tmp_path, "3.parquet", [line(3)])
    after = look(_folder(tmp_path))
    assert {period for period in after if after[period] != before[period]} == {"2026-09"}


def test_what_has_landed_is_not_read_again_for_its_months(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "1.parquet", [line(1, **_AUGUST), line(2)])
    source, lake = _folder(tmp_path), Lake(tmp_path / "lake")
    # Only one of its two months landed; the file is known with both.
    pull(lake, source, "2026-09")
    monkeypatch.setattr(gcp_billing, "invoice_months", None)
    looks = look(source, LandedSource(lake, "gcp-org"))
    assert (sorted(looks), pull(lake, source, "2026-09").copied) == (["2026-08", "2026-09"], 0)


def test_bare_files_keep_their_names_and_their_version_is_their_content(tmp_path: Path) -> None:
    one = write_json(tmp_path / "one.json", [line(1)])
    source = GcpBillingSource(name="gcp-org", files=(one,))
    [first] = deliveries(source)
    one.touch()
    [again] = deliveries(source)
    assert [file.name for file in first.files] == ["one.json"]
    assert first.version == again.version


def test_months_before_the_sources_first_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path, "1.parquet", [line(1, **_AUGUST), line(2)])
    source = GcpBillingSource(name="gcp-org", location=str(tmp_path / "export"), since="2026-09")
    assert sorted(look(source)) == ["2026-09"]


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "1.parquet", [line(1)])
    (tmp_path / "export" / "2.csv").write_text("cost\n1\n", encoding="utf-8")
    with pytest.raises(DeliveryError) as refused:
        look(_folder(tmp_path))
    assert refused.value.where.endswith("2.csv")
    assert "NEWLINE_DELIMITED_JSON" in refused.value.remedy


def test_a_row_without_an_invoice_month_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "1.json", [line(1), line(2, invoice=None)])
    with pytest.raises(DeliveryError) as refused:
        look(_folder(tmp_path))
    assert (refused.value.where, refused.value.found) == ("1.json", "None")


def test_an_empty_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(DeliveryError, match="no row of the export is there"):
        look(_folder(tmp_path))
    with pytest.raises(DeliveryError, match="isn't there"):
        look(GcpBillingSource(name="gcp-org", files=(tmp_path / "nowhere.json",)))


def test_the_trial_of_files_says_what_is_there(tmp_path: Path) -> None:
    _write(tmp_path, "1.parquet", [line(1, **_AUGUST), line(2)])
    [finding] = check(_folder(tmp_path))
    assert (finding.state, finding.detail) == ("works", "2 billing periods, the newest 2026-09")
    [missing] = check(GcpBillingSource(name="gcp-org", location=str(tmp_path / "nowhere")))
    assert missing.state == "missing"


@dataclass
class _Table:
    """A billing table that says what it was asked."""

    days: Sequence[Any]
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def ingested_days(self, *, since: str, periods: Sequence[str] = ()) -> list[Any]:
        """The table's days from ``since`` on, of these periods."""
        self.asked.append((since, tuple(periods)))
        return [day for day in self.days if day.day >= since and (not periods or day.period in periods)]


def _looked(monkeypatch: pytest.MonkeyPatch, table: _Table, landed: _Landed, **fields: str) -> dict[str, str]:
    source = GcpBillingSource(name="gcp-org", table="acme.billing.export", **fields)
    monkeypatch.setattr(gcp_billing, "_table", lambda _: table)
    return look(source, landed)


def _day(day: str, period: str, rows: int = 1) -> Any:
    return IngestedDay(day, period, "1", rows)


def test_the_first_look_at_a_table_begins_with_the_sources_first_month(monkeypatch: pytest.MonkeyPatch) -> None:
    table = _Table([_day("2026-09-02", "2026-09")])
    assert sorted(_looked(monkeypatch, table, _Landed(), since="2026-09")) == ["2026-09"]
    # Five days before: the month begins at midnight in Los Angeles, and a margin is cheap.
    assert table.asked == [("2026-08-27", ())]


@pytest.mark.parametrize(
    ("newest", "since"),
    # Ten days; while Google closes the month, until the tenth, 35.
    [("2026-09-20", "2026-09-10"), ("2026-10-10", "2026-09-05"), ("2026-10-11", "2026-10-01")],
)
def test_later_looks_go_back_from_the_newest_day_that_landed(
    newest: str, since: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = _Table([])
    landed = _Landed(
        looks={"2026-08": "unchanged", "2026-09": "x"},
        pins={"2026-08": {"2026-08-05.parquet": "1-1"}, "2026-09": {f"{newest}.parquet": "1-1"}},
    )
    looked = _looked(monkeypatch, table, landed)
    assert table.asked == [(since, ())]
    # What is before the window looks as it did; a day of it that landed and is gone doesn't.
    assert looked["2026-08"] == "unchanged"
    assert looked["2026-09"] != "x"


def test_days_before_the_window_count_as_they_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [_day("2026-09-02", "2026-09"), _day("2026-09-20", "2026-09")]
    whole = _looked(monkeypatch, _Table(days), _Landed())
    landed = _Landed(looks=whole, pins={"2026-09": {day.name: day.pin for day in days}})
    table = _Table(days)
    assert _looked(monkeypatch, table, landed) == whole
    assert table.asked == [("2026-09-10", ())]
    grown = _Table([days[0], _day("2026-09-20", "2026-09", rows=2)])
    assert _looked(monkeypatch, grown, landed)["2026-09"] != whole["2026-09"]


def test_days_that_landed_and_are_gone_from_the_table_refuse_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    table = BillingTable(GcpBillingSource(name="gcp-org", table="acme.billing.export"))
    monkeypatch.setattr(BillingTable, "ingested_days", lambda *_, **__: [_day("2026-09-20", "2026-09")])
    monkeypatch.setattr(gcp_billing, "_table", lambda _: table)
    landed = _Landed(looks={"2026-09": "x"}, pins={"2026-09": {"2026-09-02.parquet": "1-1"}})
    with pytest.raises(DeliveryError) as refused:
        deliveries(table.source, "2026-09", landed)
    assert (refused.value.expected, refused.value.found) == ("2026-09-02", "2026-09-20")


def test_the_configuration_on_the_page_is_one_that_loads(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "connect" / "google-cloud.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 2
    table, files = (
        yaml.safe_load(block if block.startswith("bills:") else f"bills:\n{block}")["bills"][0] for block in blocks
    )
    source = GcpBillingSource.model_validate(table)
    assert (source.project, source.since, source.maximum_bytes_billed) == ("acme-finops", "2026-01", 100 * 1024**3)
    assert GcpBillingSource.model_validate(files).location == "/data/google"
