"""Which billing periods are ready to be published: every table built from the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.lake.database import literal, scanned
from pipelines.lake.landing import landed_periods, refusal, refused_periods
from pipelines.lake.paths import partition_path
from pipelines.lake.tables import TableFile, recorded_inputs
from pipelines.models.contracts import TableContract, contracts
from pipelines.models.lineage import Lineage, month_of


@dataclass(frozen=True)
class PeriodState:
    """A billing period's files by table and, when it can't be published, what is out of step."""

    period: str
    files: Mapping[str, tuple[TableFile, ...]]
    problems: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        """Whether every table of the period was built from the same inputs."""
        return not self.problems


def period_tables() -> list[TableContract]:
    """The stored tables that move with their billing period."""
    return [c for c in contracts().values() if c.kind == "table" and c.publication == "period"]


def known_periods(lineage: Lineage) -> list[str]:
    """The billing periods that have charges, or a delivery that may become some, in order."""
    charged = {file.partition["x_BillingPeriod"] for file in lineage.files("billing.charges")}
    delivered = {
        period
        for bill in lineage.settings.bills
        for period in (*landed_periods(lineage.lake, bill.name), *refused_periods(lineage.lake, bill.name))
    }
    return sorted(period for period in charged | delivered if lineage.has_begun(period))


def period_state(connection: duckdb.DuckDBPyConnection, lineage: Lineage, period: str) -> PeriodState:
    """Compare what each table of a period was made from with what it would be made from now."""
    files = {contract.table: tuple(_files_of(lineage, contract, period)) for contract in period_tables()}
    compared = {table: (*group, *_of_day_after(lineage, contracts()[table], period)) for table, group in files.items()}
    recorded = recorded_inputs(connection, [file for group in compared.values() for file in group])
    problems = [
        *_refused(lineage, period),
        *_missing(lineage, files, period),
        *(
            why
            for table, group in compared.items()
            for why in _out_of_step(lineage, contracts()[table], group, recorded)
        ),
        *_claimed_twice(connection, lineage, files["billing.charges"]),
        *_claimed_but_not_brought(connection, lineage, files["billing.charges"], period),
    ]
    return PeriodState(period, files, tuple(problems))


def _files_of(lineage: Lineage, contract: TableContract, period: str) -> list[TableFile]:
    column = contract.period_column()
    if column is None:
        return lineage.files(contract.table)
    return [
        file
        for file in lineage.files(contract.table)
        if month_of(file.partition[column]) == period and lineage.has_begun(file.partition[column])
    ]


def _of_day_after(lineage: Lineage, contract: TableContract, period: str) -> list[TableFile]:
    """The files of the day after the month, where the period is charged for it. They are published with the next month."""
    _, last = lineage.charged_days(period)
    if contract.period_column() != "x_Day" or month_of(last) == period or not lineage.has_begun(last):
        return []
    return [file for file in lineage.files(contract.table) if file.partition["x_Day"] == last]


def _refused(lineage: Lineage, period: str) -> list[str]:
    """Sources whose newest delivery of the period was refused before it landed."""
    notes = {source.name: refusal(lineage.lake, source.name, period) for source in lineage.sources}
    return [
        f"landing refused the newest delivery of {name}: {note.splitlines()[0]}" for name, note in notes.items() if note
    ]


def _missing(lineage: Lineage, files: Mapping[str, tuple[TableFile, ...]], period: str) -> list[str]:
    built_sources = {file.partition["x_SourceName"] for file in files["billing.charges"]}
    problems = [
        f"billing.charges has no accepted delivery of {bill.name}"
        for bill in lineage.settings.bills
        if bill.name not in built_sources and (lineage.lake.landing / bill.name / period / "newest").exists()
    ]
    monthly = [c for c in period_tables() if c.period_column() in ("x_BillingPeriod", "billing_period", "period")]
    return problems + [f"{contract.table} has not been built" for contract in monthly if not files[contract.table]]


def _out_of_step(
    lineage: Lineage,
    contract: TableContract,
    files: Sequence[TableFile],
    recorded: Mapping[Path, Mapping[str, str]],
) -> list[str]:
    problems = []
    for file in files:
        now, then = lineage.inputs(contract, file.partition), recorded[file.path]
        if now != then:
            changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
            place = partition_path(file.partition)
            problems.append(f"{contract.table} ({place}) was built from another {', '.join(changed[:3])}")
    return problems


def _claimed_twice(
    connection: duckdb.DuckDBPyConnection, lineage: Lineage, charges: tuple[TableFile, ...]
) -> list[str]:
    """Accounts whose bill two sources brought for the same period (CONTRACTS.md §2).

    Compared by provider, not by invoice issuer, and by what two spellings of an id have in common: two exports of one
    account may spell both differently. Of a bill that claims divide by sub-account, what one source has without any is what
    another has under the billing account itself, such as the tax of an invoice.
    """
    if len({file.partition["x_SourceName"] for file in charges}) < 2:
        return []
    divided = ", ".join(
        f"account_key({literal(claim.billing_account)})" for claim in lineage.settings.claims if claim.sub_account
    )
    sub_account = (
        f"CASE WHEN account_key(BillingAccountId) IN ({divided}) THEN coalesce(SubAccountId, BillingAccountId) ELSE SubAccountId END"
        if divided
        else "SubAccountId"
    )
    overlaps = connection.sql(
        "SELECT payer, count(*) AS accounts, min(sub_account) AS example, sources FROM ("
        "  SELECT min(BillingAccountId) AS payer, min(SubAccountId) AS sub_account, "
        "    string_agg(DISTINCT source, ' and ' ORDER BY source) AS sources"
        f"  FROM ({_accounts_of(charges)}) GROUP BY provider, account_key(BillingAccountId), account_key({sub_account})"
        "  HAVING count(DISTINCT source) > 1"
        ") GROUP BY payer, sources ORDER BY ALL"
    ).fetchall()
    return [
        f"{accounts} account(s) of {payer}"
        + (f", such as {example}," if example else "")
        + f" are billed by both {sources}: name under claims in the configuration which of them brings the bill, or leave one out"
        for payer, accounts, example, sources in overlaps
    ]


def _claimed_but_not_brought(
    connection: duckdb.DuckDBPyConnection, lineage: Lineage, charges: tuple[TableFile, ...], period: str
) -> list[str]:
    """Accounts that were left out of one source's bill because another claims them, which doesn't bring them."""
    claimed = [
        file for file in lineage.files("quality.claimed") if file.partition["billing_period"] == period and file.rows
    ]
    if not claimed:
        return []
    left_out = " UNION ALL ".join(
        f"SELECT {literal(file.partition['source_name'])} AS source, * FROM read_parquet({literal(scanned(file.path))})"
        for file in claimed
    )
    brought = (
        _accounts_of(charges)
        if charges
        else "SELECT NULL AS source, NULL AS provider, '' AS BillingAccountId, '' AS SubAccountId"
    )
    lost = connection.sql(
        "SELECT claimed_by, BillingAccountId, min(SubAccountId), count(*), source, CAST(sum(rows_claimed) AS BIGINT) "
        f"FROM ({left_out}) AS left_out WHERE NOT EXISTS (SELECT 1 FROM ({brought}) AS brought "
        "  WHERE brought.source = left_out.claimed_by AND brought.provider IS NOT DISTINCT FROM left_out.provider"
        "  AND account_key(brought.BillingAccountId) = account_key(left_out.BillingAccountId)"
        # Where one export names no sub-account, as for the tax of an invoice, another may name the billing account or a user.
        "  AND (left_out.SubAccountId IS NULL OR account_key(coalesce(brought.SubAccountId, brought.BillingAccountId)) "
        "    = account_key(left_out.SubAccountId))) "
        "GROUP BY claimed_by, BillingAccountId, source ORDER BY ALL"
    ).fetchall()
    return [
        f"{claimant} claims account {payer} but has no bill of {accounts} account(s) of it"
        + (f", such as {example}," if example else "")
        + f" for {period}, while {rows:,} row(s) of {source} were left out for it"
        for claimant, payer, example, accounts, source, rows in lost
    ]


def _accounts_of(charges: tuple[TableFile, ...]) -> str:
    """SQL for the accounts that each source brought, each once."""
    return " UNION ".join(
        f"SELECT DISTINCT {literal(file.partition['x_SourceName'])} AS source, "
        "provider_key(coalesce(ProviderName, ServiceProviderName, InvoiceIssuerName)) AS provider, BillingAccountId, SubAccountId "
        f"FROM read_parquet({literal(scanned(file.path))})"
        for file in charges
    )
