"""Google's month ends at midnight in Los Angeles, 07:00 UTC on the 1st in summer: usage of that night, measured in UTC days.

A cluster of 4, 8 and 12 USD an hour, and the requests that it served:

===================  =======  ==========  =================
hour (UTC)           invoice  cost        requests
===================  =======  ==========  =================
31 August 23:00      August   4 USD       search 1, ads 1
1 September 06:00    August   8 USD       search 3, ads 1
1 September 07:00    Sept.    12 USD      search 1, ads 3
===================  =======  ==========  =================
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import GcpBillingSource, Settings, UsageSource
from pipelines.lake.canonical_export import period_hashes
from pipelines.lake.database import connect
from pipelines.lake.landing import clear_pending, landed_periods, pending_periods
from pipelines.lake.paths import Lake
from pipelines.lake.publishing import newest_publication
from pipelines.lake.tables import relation_sql
from pipelines.models.allocation_tables import build_allocation
from pipelines.models.build import build_model, ensure_tables
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.night import periods_to_run
from pipelines.models.normalisation import normalise
from pipelines.models.periods import period_state
from pipelines.models.publication import publish
from pipelines.models.pull import pull
from pipelines.models.usage_tables import build_usage
from tests.normalise.google_bills import line, write_json

AUGUST, SEPTEMBER = "2026-08", "2026-09"
MIDDLE_OF_SEPTEMBER = datetime(2026, 9, 20)
REPORTS = (
    "showback.daily",
    "showback.unit_cost_amounts",
    "chargeback.monthly",
    "quality.reconciliation",
    "quality.billed_to_effective",
)
RULE = """
rule: cluster
priority: 10
valid_from: 2026-01-01
state: showback
pool: {where: {column: ProviderName, equals: Google Cloud}}
grain: hour
target: [team]
method: {driver: requests}
"""


def hour_of(cost: str, start: str, end: str, month: str) -> dict[str, Any]:
    """A line of the bill."""
    return line(cost, invoice={"month": month}, usage_start_time=start, usage_end_time=end)


BILL = [
    hour_of("4", "2026-08-31 23:00:00+00", "2026-09-01 00:00:00+00", "202608"),
    hour_of("8", "2026-09-01 06:00:00+00", "2026-09-01 07:00:00+00", "202608"),
    hour_of("12", "2026-09-01 07:00:00+00", "2026-09-01 08:00:00+00", "202609"),
]
SERVED = {
    "2026-08-31": {"23": {"search": 1, "ads": 1}},
    "2026-09-01": {"06": {"search": 3, "ads": 1}, "07": {"search": 1, "ads": 3}},
}


@dataclass(frozen=True)
class Company:
    """A bill, a request log, and a lake that is built and published without Dagster."""

    folder: Path
    as_of: datetime = MIDDLE_OF_SEPTEMBER
    lake_name: str = "lake"

    @property
    def settings(self) -> Settings:
        return Settings(
            lake=self.folder / self.lake_name,
            rules=self.folder / "rules",
            as_of=self.as_of,
            bills=(GcpBillingSource(name="gcp-org", location=str(self.folder / "google")),),
            usage=(UsageSource(name="gateway", kind="litellm", location=self.folder / "logs"),),
            file=self.folder / "apportion.yaml",
        )

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def serve(self, day: str, hours: dict[str, dict[str, int]]) -> None:
        """Write a day's log, in place of the one before."""
        requests = [
            {
                "id": f"{day}-{hour}-{team}-{number}",
                "status": "success",
                "startTime": datetime.fromisoformat(f"{day}T{hour}:10:00+00:00").timestamp(),
                "model": "gpt-4o",
                "custom_llm_provider": "openai",
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "total_tokens": 12,
                "metadata": {"requester_metadata": {"team": team}},
            }
            for hour, teams in hours.items()
            for team, count in teams.items()
            for number in range(count)
        ]
        (self.folder / "logs").mkdir(exist_ok=True)
        content = "".join(json.dumps(request) + "\n" for request in requests)
        (self.folder / "logs" / f"{day}.jsonl").write_text(content, encoding="utf-8")

    def run(self, period: str) -> None:
        """What a run of a billing period does."""
        ensure_tables(self.lake)
        for source in (*self.settings.bills, *self.settings.usage):
            pull(self.lake, source, period)
        normalise(Lineage(self.settings), "gcp-org", period)
        for table in ("usage.gpu_hours", "usage.tokens", "usage.deliveries"):
            build_usage(Lineage(self.settings), table, period)
        build_allocation(Lineage(self.settings), period)
        for table in REPORTS:
            build_model(Lineage(self.settings), contracts()[table], period)
        publish(Lineage(self.settings))

    def parts(self, period: str) -> list[tuple[str, str, str, Decimal]]:
        """The published parts of a period's charges: hour, team, quality of the key and cost."""
        with connect() as connection:
            files = [self.lake.root / name for name in self.published(period)["allocation.charges"]]
            rows = relation_sql(connection, contracts()["allocation.charges"], files)
            return connection.sql(
                "SELECT strftime(ChargePeriodStart, '%d %H:%M'), coalesce(x_Team, x_UnallocatedReason), x_KeyQuality, "
                f"EffectiveCost FROM ({rows}) ORDER BY ALL"
            ).fetchall()

    def published(self, period: str) -> dict[str, tuple[str, ...]]:
        """The files of each table that readers see of a period."""
        publication = newest_publication(self.lake)
        assert publication is not None
        return {table: tuple(files) for table, files in publication.periods[period].tables.items()}

    def problems(self, period: str) -> tuple[str, ...]:
        """What of a period is out of step."""
        with connect() as connection:
            return period_state(connection, Lineage(self.settings), period).problems

    def reasons(self, *open_periods: str) -> dict[str, tuple[str, ...]]:
        """What the next night would run, and why."""
        return dict(periods_to_run(self.settings, open_periods).reasons)


def of_google(folder: Path) -> Company:
    """The company before its first run."""
    company = Company(folder)
    (folder / "google").mkdir()
    write_json(folder / "google" / "2026-09-02.json.gz", BILL)
    (folder / "rules").mkdir()
    (folder / "rules" / "cluster.yaml").write_text(RULE, encoding="utf-8")
    (folder / "rules" / "dimensions.yaml").write_text(
        "dimensions: {team: {sources: [{tag: team}]}}\n", encoding="utf-8"
    )
    for day, hours in SERVED.items():
        company.serve(day, hours)
    return company


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return of_google(tmp_path)


@dataclass(frozen=True)
class Months:
    """August, run alone, and what was published of it then; September; and August once more."""

    company: Company
    first_august: dict[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Months:
    company = of_google(tmp_path_factory.mktemp("months"))
    company.run(AUGUST)
    first_august = company.published(AUGUST)
    company.run(SEPTEMBER)
    company.run(AUGUST)
    return Months(company, first_august)


def test_an_hour_billed_in_the_month_before_is_divided_by_what_was_measured_in_it(months: Months) -> None:
    # 4 · 1/2 each; 8 · 1/4 and 8 · 3/4. The requests of 07:00 are September's to divide by: 12 · 3/4 and 12 · 1/4.
    assert months.company.parts(AUGUST) == [
        ("01 06:00", "ads", "exact", Decimal("2")),
        ("01 06:00", "search", "exact", Decimal("6")),
        ("31 23:00", "ads", "exact", Decimal("2")),
        ("31 23:00", "search", "exact", Decimal("2")),
    ]
    assert months.company.parts(SEPTEMBER) == [
        ("01 07:00", "ads", "exact", Decimal("9")),
        ("01 07:00", "search", "exact", Decimal("3")),
    ]


def test_a_month_is_the_same_before_and_after_the_next_one_and_whichever_is_run_first(months: Months) -> None:
    company = months.company
    assert company.published(AUGUST) == months.first_august
    # Files are named by what they were made from: the lake that was made in another order has the same ones.
    other_way = replace(company, lake_name="other lake")
    other_way.run(SEPTEMBER)
    other_way.run(AUGUST)
    assert {period: other_way.published(period) for period in (AUGUST, SEPTEMBER)} == {
        period: company.published(period) for period in (AUGUST, SEPTEMBER)
    }
    assert period_hashes(connect(), other_way.lake) == period_hashes(connect(), company.lake)


def test_a_day_is_published_once_with_its_own_month(months: Months) -> None:
    assert {
        period: [Path(file).parent.name for file in months.company.published(period)["usage.tokens"]]
        for period in (AUGUST, SEPTEMBER)
    } == {AUGUST: ["x_Day=2026-08-31"], SEPTEMBER: ["x_Day=2026-09-01"]}


def test_a_month_that_runs_alone_makes_no_work_for_the_next_one(company: Company) -> None:
    source = company.settings.usage[0]
    pull(company.lake, source, AUGUST)

    assert landed_periods(company.lake, "gateway") == ["2026-08-31", "2026-09-01"]
    assert pending_periods(company.lake) == [AUGUST]
    assert len(pull(company.lake, source, AUGUST).deliveries) == 2

    clear_pending(company.lake, AUGUST)
    pull(company.lake, company.settings.bills[0], AUGUST)
    clear_pending(company.lake, AUGUST)

    # September was never asked for, and October is the open month.
    night = periods_to_run(company.settings, ("2026-10",))
    assert (dict(night.reasons), night.never_pulled) == ({}, (SEPTEMBER,))


def test_a_first_night_leaves_the_month_before_the_first_measured_day_alone(company: Company) -> None:
    (company.folder / "logs" / "2026-08-31.jsonl").unlink()
    write_json(company.folder / "google" / "2026-09-02.json.gz", BILL[2:])

    assert list(company.reasons(AUGUST, SEPTEMBER)) == [SEPTEMBER]


def test_a_day_after_that_is_delivered_again_makes_both_months_run(months: Months, tmp_path: Path) -> None:
    shutil.copytree(months.company.folder, tmp_path / "copy", symlinks=True)
    company = Company(tmp_path / "copy")
    assert company.reasons(AUGUST, SEPTEMBER) == {}

    company.serve("2026-09-01", {"06": {"search": 1, "ads": 3}, "07": {"search": 1, "ads": 3}})
    assert company.reasons() == dict.fromkeys((AUGUST, SEPTEMBER), ("gateway delivered anew",))
    company.run(SEPTEMBER)

    # Readers see what August was until it has run as well.
    assert company.problems(AUGUST)
    assert company.parts(AUGUST)[1] == ("01 06:00", "search", "exact", Decimal("6"))
    assert company.reasons() == {AUGUST: ("gateway delivered anew",)}

    company.run(AUGUST)

    # 8 · 1/4.
    assert company.parts(AUGUST)[1] == ("01 06:00", "search", "exact", Decimal("2"))
    assert (company.problems(AUGUST), company.problems(SEPTEMBER), company.reasons(AUGUST, SEPTEMBER)) == ((), (), {})


def test_the_night_in_which_the_month_ends_is_provisional_until_the_day_is_over(company: Company) -> None:
    in_the_morning = replace(company, as_of=datetime(2026, 9, 1, 9))
    in_the_morning.run(AUGUST)

    # The requests are known so far and may be joined by others.
    assert in_the_morning.parts(AUGUST)[:2] == [
        ("01 06:00", "ads", "estimated", Decimal("2")),
        ("01 06:00", "search", "estimated", Decimal("6")),
    ]

    next_day = replace(company, as_of=datetime(2026, 9, 2, 4))
    assert next_day.reasons(AUGUST) == {
        AUGUST: ("usage.deliveries (x_Day=2026-09-01) was built from another watermark/gateway",)
    }
    next_day.run(AUGUST)
    assert {quality for _, _, quality, _ in next_day.parts(AUGUST)} == {"exact"}


def test_before_the_next_month_has_begun_nothing_is_said_of_its_first_day(company: Company) -> None:
    on_the_last_day = replace(company, as_of=datetime(2026, 8, 31, 23, 30))
    on_the_last_day.run(AUGUST)

    assert [file.partition["x_Day"] for file in Lineage(on_the_last_day.settings).files("usage.deliveries")][-1] == (
        "2026-08-31"
    )
    assert on_the_last_day.problems(AUGUST) == ()
