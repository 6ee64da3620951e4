"""What every partition is made from, told by name and content.

An input is named ``landing/<source>/<period>``, ``<table>/<partition>``, ``rules`` or ``dimensions``, and its content by a token. A
partition's own token is the hash of its inputs' tokens and of the code, so it is known before anything is read: a
partition whose token is already in place needs no work, and a publication can tell whether its tables were built from
the same inputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path

import duckdb

from pipelines.allocation.dimensions import fingerprint
from pipelines.allocation.rules import RuleSet, load_rule_set
from pipelines.config import BillSource, Claim, Settings, UsageSource
from pipelines.errors import ConfigurationError
from pipelines.lake.database import SQL_FOLDER, file_list
from pipelines.lake.landing import landed_periods, newest
from pipelines.lake.paths import Lake, partition_path
from pipelines.lake.tables import TableFile, table_files
from pipelines.models.contracts import Scope, TableContract, contracts
from pipelines.sources.days import measured_days

USAGE_TABLE_OF_KIND = {"dcgm-files": "usage.gpu_hours", "litellm": "usage.tokens"}


@cache
def code_fingerprint() -> str:
    """SHA-256 over apportion's own Python and SQL, mappings included: other code may give other rows."""
    digest = hashlib.sha256()
    for folder, pattern in ((Path(__file__).resolve().parents[1], "*.py"), (SQL_FOLDER, "*.*")):
        for file in sorted(folder.rglob(pattern)):
            digest.update(f"{file.relative_to(folder)}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def build_token(contract: TableContract, partition: Mapping[str, str], inputs: Mapping[str, str]) -> str:
    """Forty hex digits that name everything the partition's rows are made from."""
    lines = [contract.table, partition_path(partition), code_fingerprint()]
    lines += [f"{name} {token}" for name, token in sorted(inputs.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:40]


def rules_fingerprint(rule_set: RuleSet) -> str:
    """SHA-256 over every rule as it is written, and the dimensions."""
    lines = [f"{rule.name} {rule.rule_hash}\n{rule.text}" for rule in rule_set.rules]
    return hashlib.sha256("\n".join([fingerprint(rule_set.dimensions), *lines]).encode()).hexdigest()


def month_of(period_or_day: str) -> str:
    """``2026-10`` for a billing period or a day of it."""
    return period_or_day[:7]


class Lineage:
    """The lake's state as one step sees it: the current files, the newest deliveries, the rules in force.

    Made anew for each step; within it every table is listed once.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lake = Lake(settings.lake)
        self._files: dict[str, list[TableFile]] = {}
        self._charged_days: dict[str, tuple[str, str]] = {}
        self._rule_set: RuleSet | None = None

    @property
    def rule_set(self) -> RuleSet:
        """The rules and dimensions in force; none at all where no rules are configured. Raises RuleError."""
        if self._rule_set is None:
            self._rule_set = load_rule_set(self.settings.rules) if self.settings.rules else RuleSet()
        return self._rule_set

    def files(self, table: str) -> list[TableFile]:
        """The table's current files."""
        if table not in self._files:
            self._files[table] = table_files(self.lake, contracts()[table])
        return self._files[table]

    def rows_if_built(self, contract: TableContract, partition: Mapping[str, str], token: str) -> int | None:
        """The rows of the partition where it is in place and was made from just this; None where it has to be built."""
        files = [file for file in self.files(contract.table) if file.partition == partition]
        return sum(file.rows for file in files) if files and files[0].token == token else None

    @property
    def sources(self) -> tuple[BillSource | UsageSource, ...]:
        """Every configured source."""
        return (*self.settings.bills, *self.settings.usage)

    def has_begun(self, period_or_day: str) -> bool:
        """Whether a billing period or day began before the moment that the figures are as of; others don't exist yet."""
        return period_or_day < f"{self.settings.now():%Y-%m-%dT%H:%M:%S}"

    def claims_elsewhere(self, source_name: str) -> list[Claim]:
        """The accounts whose bill another source brings, so that this source's rows of them are no charges."""
        return [claim for claim in self.settings.claims if claim.source != source_name]

    def usage_sources(self, table: str) -> list[UsageSource]:
        """The configured sources whose facts make a usage table."""
        return [source for source in self.settings.usage if USAGE_TABLE_OF_KIND[source.kind] == table]

    def watermark(self, source_name: str) -> str:
        """The newest landed day of a usage source, or the empty text before anything landed."""
        return max(landed_periods(self.lake, source_name), default="")

    def input_files(self, contract: TableContract, partition: Mapping[str, str], table: str) -> list[TableFile]:
        """The files of one input table that a partition is made from, by the scope its contract declares."""
        chosen = self._selector(contract.inputs[table], contract, partition)
        return [
            file
            for file in self.files(table)
            if chosen(file.partition) and self.has_begun(file.partition.get("x_Day", ""))
        ]

    def inputs(self, contract: TableContract, partition: Mapping[str, str]) -> dict[str, str]:
        """Everything the partition would be made from now: name to token."""
        result: dict[str, str] = {}
        for name in contract.inputs:
            if name == "landing":
                result |= self._landing(contract, partition)
            elif name == "rules":
                result[name] = rules_fingerprint(self.rule_set)
            elif name == "dimensions":
                result[name] = fingerprint(self.rule_set.dimensions)
            elif name == "watermarks":
                result |= self._watermarks(partition["x_Day"])
            elif name == "accepted_differences":
                result[name] = repr(sorted(map(repr, self.settings.accepted_differences)))
            elif name == "claims":
                # The source's own claims count too: one of a sub-account stands against another's of the whole account.
                if self.claims_elsewhere(partition.get("x_SourceName") or partition["source_name"]):
                    result[name] = repr(sorted(map(repr, self.settings.claims)))
            else:
                for file in self.input_files(contract, partition, name):
                    result[f"{name}/{partition_path(file.partition)}"] = file.token
        return result

    def _watermarks(self, day: str) -> dict[str, str]:
        """How far each usage source had come, no further than the day's end: later days change nothing for this one."""
        today = f"{self.settings.now():%Y-%m-%d}"
        ended = "ended" if day < today else "not ended"
        return {
            f"watermark/{source.name}": f"{min(day, self.watermark(source.name))} {ended}"
            for source in self.settings.usage
        }

    def _landing(self, contract: TableContract, partition: Mapping[str, str]) -> dict[str, str]:
        if "x_Day" in partition:
            names, period = [source.name for source in self.settings.usage], partition["x_Day"]
            if contract.table in USAGE_TABLE_OF_KIND.values():
                names = [source.name for source in self.usage_sources(contract.table)]
        else:
            names = [partition.get("x_SourceName") or partition["source_name"]]
            period = partition.get("x_BillingPeriod") or partition["billing_period"]
        landed = {name: newest(self.lake, name, period) for name in names}
        return {f"landing/{name}/{period}": delivery.token for name, delivery in landed.items() if delivery}

    def charged_days(self, period: str) -> tuple[str, str]:
        """The first and the last day whose measurements a period's charges are divided by.

        A correction reaches back before the month. Use may end on the day after it, where the bill's month ends after UTC's
        (:func:`pipelines.sources.days.measured_days`); a prepaid year reaches further, where nothing is measured yet.
        """
        if period not in self._charged_days:
            *days, day_after = measured_days(period)
            files = [file.path for file in self.files("billing.charges") if file.partition["x_BillingPeriod"] == period]
            start, reaches_day_after = _reach(files, day_after)
            first = f"{start:%Y-%m-%d}" if start else days[0]
            self._charged_days[period] = min(first, days[0]), day_after if reaches_day_after else days[-1]
        return self._charged_days[period]

    def _selector(
        self, scope: Scope, contract: TableContract, partition: Mapping[str, str]
    ) -> Callable[[Mapping[str, str]], bool]:
        column = contract.period_column()
        own = partition[column] if column else ""
        if scope == "all":
            return lambda candidate: True
        if scope in ("period", "day"):
            return lambda candidate: own in candidate.values()
        if scope == "source_period":
            return lambda candidate: set(partition.values()) <= set(candidate.values())
        if scope == "month":
            return lambda candidate: candidate["x_Day"].startswith(own)
        if scope == "charged_days":
            first, last = self.charged_days(own)
            return lambda candidate: first <= candidate["x_Day"] <= last
        raise ConfigurationError(f"{contract.table} has an input of unknown scope {scope}.", where=str(contract.file))


def _reach(charges: list[Path], day_after: str) -> tuple[datetime | None, bool]:
    """When the earliest of a period's charges starts, and whether one ends within the day after its month."""
    if not charges:
        return None, False
    with duckdb.connect(":memory:") as connection:
        row = connection.execute(
            "SELECT min(ChargePeriodStart), coalesce(bool_or(ChargePeriodEnd > day_after "
            "AND ChargePeriodEnd <= day_after + INTERVAL 1 DAY), false) "
            f"FROM read_parquet({file_list(charges)}), (SELECT CAST($1 AS TIMESTAMP) AS day_after)",
            [day_after],
        ).fetchone()
    assert row is not None
    return row[0], row[1]
