"""A landed bill becomes FOCUS charges, if its control totals say that nothing was lost or invented (CONTRACTS.md §3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import duckdb
import yaml

from pipelines.errors import AuditFailed, DeliveryError
from pipelines.lake.audits import AuditResult, contract_audits, run_audits
from pipelines.lake.database import SQL_FOLDER, connect, identifier, literal, thread_count
from pipelines.lake.landing import LandedDelivery, newest, refuse_changed, refuse_gone
from pipelines.lake.tables import StagedPartition, commit, stage
from pipelines.models.build import Built, Workspace, bind_used, bound_audits, record_audits, register_staged, workspace
from pipelines.models.contracts import Audit, contracts
from pipelines.models.lineage import Lineage, build_token
from pipelines.models.sql_models import Parameter, load_sql, register_mappings
from pipelines.sources.delivered_files import DeliveredRows, slices
from pipelines.sources.kinds import reader

# Below this a second DuckDB session costs more than it saves.
_ROWS_WORTH_SLICING = 50_000
_COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
_MONEY = "DECIMAL(38,18)"
# A product reaches 10^20 with one factor of 10^10 at least, a sum of any number of rows that a bill has with larger ones.
_TOO_LARGE_TO_MULTIPLY = 10**10


@dataclass(frozen=True)
class _Bill:
    """The delivery being normalised and the partitions it makes."""

    delivery: LandedDelivery
    charges: Mapping[str, str]
    control: Mapping[str, str]
    parameters: Mapping[str, Parameter]

    @property
    def mapping(self) -> str:
        """The normalisation that the delivery needs: its kind's, or that of FOCUS for a native export."""
        return self.delivery.details.get("mapping", self.delivery.source_kind)

    @property
    def where(self) -> str:
        return f"source {self.delivery.source_name}, billing period {self.delivery.period}, version {self.delivery.version}"


def normalise(lineage: Lineage, source_name: str, period: str) -> Built | None:
    """Make ``billing.charges`` of one source and period from its newest landed delivery; None where nothing landed.

    The control totals and the rejected rows are committed too. Raises AuditFailed (the delivery is refused: charges
    keep their last good partition, ``quality.rejected`` says why) and DeliveryError (it can't be read).
    """
    delivery = newest(lineage.lake, source_name, period)
    if delivery is None:
        refuse_gone(lineage.lake, source_name, period)
        return None
    contract = contracts()["billing.charges"]
    bill = _describe(delivery)
    token = build_token(contract, bill.charges, lineage.inputs(contract, bill.charges))
    if (kept := lineage.rows_if_built(contract, bill.charges, token)) is not None:
        return Built(contract.table, (bill.charges,), kept, unchanged=True)
    # No refusal of the delivery, so that it isn't kept as one: with what landed in its place again, nothing is wrong.
    refuse_changed(delivery)
    with workspace(lineage.lake) as space:
        register_mappings(space.connection)
        _create_no_rejected(space.connection)
        try:
            staged, audits = _stage_and_audit(lineage, space, bill, token)
        except (duckdb.OutOfMemoryException, duckdb.InterruptException):
            # Nothing that the delivery is to blame for.
            raise
        except (DeliveryError, duckdb.Error) as error:
            # DuckDB meets a value that is no number, and damaged pages, only when it reads them. Its message names file,
            # row and column of such a value, but nothing of a damaged file, nor of an amount that no sum can hold.
            refusal = (
                error.within(bill.where)
                if isinstance(error, DeliveryError)
                else _too_large(space.connection, bill, error) or _unreadable(bill, error)
            )
            _keep_rejected(lineage, space, bill, [], str(refusal))
            raise refusal from error
        label = f"{bill.delivery.source_name}.{period}"
        record_audits(lineage.lake, space, contract, audits, label=label, token=token)
        failed = [audit for audit in audits if not audit.passed and audit.severity == "error"]
        _keep_rejected(lineage, space, bill, failed, "")
        if failed:
            raise AuditFailed(
                "The delivery was refused.",
                where=bill.where,
                found="\n    ".join(
                    [f"{audit.audit}: {audit.description}: {audit.message}" for audit in failed]
                    + _first_rejected(space.connection)
                ),
                remedy="the charges of its last good delivery stay in place; see quality.rejected. If you know and "
                "accept a cost difference, name it under accepted_differences in the configuration",
                audits=audits,
            )
        _commit_control(lineage, space, bill)
        # Last, because charges that are in place say that all of this was done.
        commit(lineage.lake, contract, staged)
    rows = sum(part.rows for part in staged)
    return Built(contract.table, (bill.charges,), rows, unchanged=False, audits=tuple(audits))


def _unreadable(bill: _Bill, error: duckdb.Error) -> DeliveryError:
    return DeliveryError(
        "The delivery can't be read.",
        where=f"{bill.where}, file(s) {', '.join(file.name for file in bill.delivery.files)}",
        found=str(error),
        remedy="the charges of its last good delivery stay in place; ask for the export to be delivered again",
    )


def _too_large(connection: duckdb.DuckDBPyConnection, bill: _Bill, error: duckdb.Error) -> DeliveryError | None:
    """What to say of the largest delivered number where arithmetic left its type; None where none is so large."""
    if not isinstance(error, (duckdb.OutOfRangeException, duckdb.ConversionException)):
        return None
    try:
        described = connection.sql("DESCRIBE delivered").fetchall()
        branches = " UNION ALL ".join(
            f"SELECT * FROM (SELECT x_SourceFile, x_SourceRow, {literal(name)} AS name, {identifier(name)} AS value "
            f"FROM delivered WHERE abs({identifier(name)}) >= {_TOO_LARGE_TO_MULTIPLY} ORDER BY abs(value) DESC LIMIT 1)"
            for name, type_, *_ in described
            if type_ == _MONEY
        )
        largest = connection.sql(f"SELECT * FROM ({branches}) ORDER BY abs(value) DESC LIMIT 1").fetchone()
    except duckdb.Error:
        # The delivery isn't even read so far.
        return None
    if largest is None:
        return None
    file, row, column, value = largest
    return DeliveryError(
        "A number is too large to be calculated with.",
        where=f"{bill.where}, file {file}, row {row}, column {column}",
        expected="sums and products below 10^20",
        found=plain(value),
        remedy="the charges of its last good delivery stay in place; have whoever made the file correct the number, and deliver "
        "it again",
    )


def _refuse_doubled_files(bill: _Bill, delivered: Sequence[DeliveredRows]) -> None:
    """Refuse a file that was delivered under two names: its charges would count twice. Files without a row may be equal."""
    seen: dict[tuple[str, str], str] = {}
    for file, rows in zip(bill.delivery.files, delivered, strict=True):
        # Azure's actual and amortised cost are two reports of one bill, equal where nothing was committed to.
        report = file.name.partition("/")[0] if bill.mapping == "azure-cost" else ""
        if rows.file_rows and (report, file.sha256) in seen:
            raise DeliveryError(
                "Two files of the delivery are the same, byte for byte: their charges would count twice.",
                where=f"files {seen[report, file.sha256]} and {file.name}",
                expected="each file once",
                found=f"{rows.file_rows:,} rows twice, SHA-256 {file.sha256}",
                remedy="take one of them out of 'files:' or away from where the source's files lie, and run again",
            )
        if rows.file_rows:
            seen[report, file.sha256] = file.name


def _describe(delivery: LandedDelivery) -> _Bill:
    return _Bill(
        delivery=delivery,
        charges={"x_SourceName": delivery.source_name, "x_BillingPeriod": delivery.period},
        control={"source_name": delivery.source_name, "billing_period": delivery.period},
        parameters={
            "source_name": delivery.source_name,
            "source_kind": delivery.source_kind,
            "billing_period": delivery.period,
            "source_version": delivery.version,
        },
    )


def _stage_and_audit(
    lineage: Lineage, space: Workspace, bill: _Bill, token: str
) -> tuple[list[StagedPartition], list[AuditResult]]:
    connection, mapping = space.connection, bill.mapping
    contract = contracts()["billing.charges"]
    scratch = space.folder / "delivered"
    scratch.mkdir()
    delivered = reader(mapping).create_delivered(
        connection,
        [file.path for file in bill.delivery.files],
        [file.name for file in bill.delivery.files],
        bill.delivery.details,
        billing_period=bill.delivery.period,
        scratch=scratch,
    )
    _refuse_doubled_files(bill, delivered)
    _create_delivery(connection, bill, delivered)
    staged = _stage(lineage, space, bill, token, delivered)
    register_staged(connection, contract, staged)
    _create_claimed(lineage, connection, bill)
    _create_control(connection, mapping, bill.parameters)
    compared = _compare(connection)
    # Judging each line takes as long as summing it, and most deliveries have none to reject.
    if any(found.unmapped_rows or found.rejected_rows for found in compared):
        _create_rejected(connection, mapping, bill.parameters)
    audits = bound_audits([*mapping_audits(mapping), *contract_audits(contract)], bill.parameters)
    # Last, because an audit that fails tells why the totals differ.
    return staged, [*run_audits(connection, contract.table, audits), _control(compared, lineage, bill)]


def _stage(
    lineage: Lineage, space: Workspace, bill: _Bill, token: str, delivered: Sequence[DeliveredRows]
) -> list[StagedPartition]:
    """Normalise a large delivery in slices, one on each thread, each a file of the partition.

    DuckDB keeps rows in order through joins on one thread for nothing, on several at the price of buffering them (12 s of
    processor time instead of 7 for a million lines); slices use every thread and keep the order.
    """
    contract = contracts()["billing.charges"]
    inputs = lineage.inputs(contract, bill.charges)
    select = _own_charges_sql(lineage, bill)
    threads = thread_count(space.connection)
    total = sum(len(part.rows) for part in delivered)

    def stage_slice(number: int, rows: Sequence[DeliveredRows]) -> StagedPartition:
        with connect(scratch=space.folder / f"spill-{number}", share=threads) as connection:
            register_mappings(connection)
            reader(bill.mapping).create_delivered_rows(
                connection, rows, bill.delivery.details, billing_period=bill.delivery.period
            )
            _create_delivery(connection, bill, delivered)
            return stage(
                connection,
                select,
                contract,
                bill.charges,
                token=token,
                inputs=inputs,
                folder=space.folder,
                number=number,
            )

    parts = slices(delivered, threads if total >= _ROWS_WORTH_SLICING else 1) or [list(delivered)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(stage_slice, range(len(parts)), parts))


def _charges_sql(bill: _Bill) -> str:
    return bind_used(load_sql(f"normalise/{bill.mapping}"), bill.parameters)


def _claimed_by(lineage: Lineage, bill: _Bill) -> str | None:
    """SQL that names the source that claims a charge's account (CONTRACTS.md §2); None where no other source claims one.

    A claim of a sub-account counts before one of the whole account.
    """
    claims = lineage.settings.claims
    if not lineage.claims_elsewhere(bill.delivery.source_name):
        return None
    branches = [
        f"WHEN account_key(BillingAccountId) = account_key({literal(claim.billing_account)})"
        + (f" AND account_key(SubAccountId) = account_key({literal(claim.sub_account)})" if claim.sub_account else "")
        + f" THEN {literal(claim.source)}"
        for claim in sorted(claims, key=lambda claim: claim.sub_account is None)
    ]
    return f"CASE {' '.join(branches)} END"


def _own_charges_sql(lineage: Lineage, bill: _Bill) -> str:
    """The delivery's charges without those of accounts that another source claims."""
    claimed_by = _claimed_by(lineage, bill)
    if claimed_by is None:
        return _charges_sql(bill)
    own = literal(bill.delivery.source_name)
    return f"SELECT * FROM ({_charges_sql(bill)}) WHERE coalesce({claimed_by}, {own}) = {own}"


def _create_claimed(lineage: Lineage, connection: duckdb.DuckDBPyConnection, bill: _Bill) -> None:
    """What was left out because another source claims it, by account, and by currency; none where nothing is claimed."""
    sums = ", ".join(f"CAST(sum({cost}) AS {_MONEY}) AS {cost}" for cost in _COSTS)
    claimed_by = _claimed_by(lineage, bill)
    # Planning the normalisation takes its time, even where nothing is read.
    charges = f"({_charges_sql(bill)})" if claimed_by else "staged"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE claimed_accounts AS SELECT BillingCurrency, "
        "provider_key(coalesce(ProviderName, ServiceProviderName, InvoiceIssuerName)) AS provider, BillingAccountId, SubAccountId, "
        f"{claimed_by or 'NULL::VARCHAR'} AS claimed_by, {literal(bill.delivery.version)} AS source_version, "
        f"count(*) FILTER (WHERE x_SourcePart = 1) AS rows_claimed, count(*) FILTER (WHERE x_SourcePart > 1) AS rows_added, {sums} "
        f"FROM {charges} WHERE {claimed_by or 'NULL'} <> {literal(bill.delivery.source_name)} "
        "GROUP BY ALL ORDER BY ALL"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE claimed_totals AS SELECT BillingCurrency, CAST(sum(rows_claimed) AS BIGINT) AS rows_claimed, "
        f"CAST(sum(rows_added) AS BIGINT) AS rows_added, {sums} FROM claimed_accounts GROUP BY BillingCurrency"
    )


def _create_delivery(connection: duckdb.DuckDBPyConnection, bill: _Bill, delivered: Sequence[DeliveredRows]) -> None:
    """The relation ``delivery``: every row of it, for what a slice needs to know of the whole, such as a fee's total."""
    reader(bill.mapping).create_delivered_rows(
        connection, delivered, bill.delivery.details, billing_period=bill.delivery.period, relation="delivery"
    )


def mapping_audits(mapping: str) -> Sequence[Audit]:
    """The audits of a normalisation, over what was delivered and what was made of it."""
    content = yaml.safe_load((SQL_FOLDER / "normalise" / f"{mapping}.yaml").read_text(encoding="utf-8"))
    return [Audit.model_validate(audit) for audit in content["audits"]]


def _create_no_rejected(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rejected "
        "(source_file VARCHAR, source_row BIGINT, line_item_type VARCHAR, reason VARCHAR, row_json VARCHAR)"
    )


def _create_rejected(connection: duckdb.DuckDBPyConnection, mapping: str, parameters: Mapping[str, Parameter]) -> None:
    select = bind_used(load_sql(f"normalise/{mapping}.rejected"), parameters)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE rejected AS {select}")


def _first_rejected(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """A line for each of the first rejected rows."""
    rows = connection.sql(
        "SELECT source_file, source_row, reason FROM rejected ORDER BY source_file, source_row LIMIT 3"
    ).fetchall()
    return [f"rejected: {file}, row {row}: {reason}" for file, row, reason in rows]


def _create_control(connection: duckdb.DuckDBPyConnection, mapping: str, parameters: Mapping[str, Parameter]) -> None:
    """The control totals of the delivery beside the sums of what was made of it, by currency."""
    select = bind_used(load_sql(f"normalise/{mapping}.control"), parameters)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE control_totals AS {select}")
    sums = ", ".join(f"CAST(sum({cost}) AS {_MONEY}) AS {cost}" for cost in _COSTS)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE charge_totals AS SELECT BillingCurrency, "
        f"count(*) FILTER (WHERE x_SourcePart = 1) AS rows_mapped, count(*) FILTER (WHERE x_SourcePart > 1) AS rows_added, {sums} "
        "FROM staged GROUP BY BillingCurrency"
    )


@dataclass(frozen=True)
class _Compared:
    """The control totals of one currency less what was made of it and what another source claims.

    ``differences`` are in that currency, one for each of ``_COSTS``.
    """

    currency: str | None
    unmapped_rows: int
    unexpected_rows: int
    rejected_rows: int
    differences: tuple[Decimal, ...]


def _compare(connection: duckdb.DuckDBPyConnection) -> list[_Compared]:
    rows = connection.sql(
        "SELECT coalesce(delivered.BillingCurrency, made.BillingCurrency) AS currency, "
        "coalesce(rows_delivered, 0) - coalesce(rows_netted, 0) - coalesce(rows_claimed, 0) - coalesce(rows_mapped, 0) AS unmapped_rows, "
        "coalesce(delivered.rows_added, 0) - coalesce(claimed.rows_added, 0) - coalesce(made.rows_added, 0) AS unexpected_rows, "
        "coalesce(rows_rejected, 0) AS rejected_rows, "
        + ", ".join(
            f"coalesce({cost.removesuffix('Cost').lower()}_control, 0) - coalesce(claimed.{cost}, 0) - coalesce(made.{cost}, 0) AS {cost}"
            for cost in _COSTS
        )
        + " FROM control_totals AS delivered FULL JOIN charge_totals AS made ON delivered.BillingCurrency IS NOT DISTINCT FROM made.BillingCurrency "
        "LEFT JOIN claimed_totals AS claimed ON coalesce(delivered.BillingCurrency, made.BillingCurrency) = claimed.BillingCurrency "
        "ORDER BY currency"
    ).fetchall()
    return [
        _Compared(currency, unmapped, unexpected, rejected, tuple(differences))
        for currency, unmapped, unexpected, rejected, *differences in rows
    ]


def _control(compared: Sequence[_Compared], lineage: Lineage, bill: _Bill) -> AuditResult:
    """Whether the control totals and the charges are the same; what the user accepts is taken off."""
    problems = [] if compared else _emptied(lineage, bill)
    for found in compared:
        if found.unmapped_rows:
            problems.append(
                f"{found.currency}: {found.unmapped_rows:,} delivered row(s) were not mapped "
                f"({found.rejected_rows:,} of them rejected)"
            )
        if found.unexpected_rows:
            problems.append(
                f"{found.currency}: {found.unexpected_rows:,} row(s) expected from splitting fees are missing"
            )
        for cost, difference in zip(_COSTS, found.differences, strict=True):
            if difference not in (0, _accepted(lineage, bill, found.currency, cost)):
                problems.append(
                    f"{found.currency}: {cost} of the charges lacks {plain(difference)} against the delivery"
                )
    return AuditResult(
        table="billing.charges",
        audit="control_totals",
        severity="error",
        description="rows and costs of the charges equal those of the delivery",
        failing_rows=len(problems),
        message="; ".join(problems),
    )


def _emptied(lineage: Lineage, bill: _Bill) -> list[str]:
    """An empty delivery is none where the period has charges: it would wipe them."""
    charges = sum(file.rows for file in lineage.files("billing.charges") if file.partition == bill.charges)
    if not charges:
        return []
    return [f"the delivery has no row, while the period has {charges:,} charges, which it would wipe"]


def _accepted(lineage: Lineage, bill: _Bill, currency: str | None, cost: str) -> Decimal:
    return sum(
        (
            accepted.amount
            for accepted in lineage.settings.accepted_differences
            if (accepted.source, accepted.period, accepted.currency, accepted.cost)
            == (bill.delivery.source_name, bill.delivery.period, currency, cost)
        ),
        Decimal(0),
    )


def _commit_control(lineage: Lineage, space: Workspace, bill: _Bill) -> None:
    claimed = ", ".join(
        f"CAST(coalesce(claimed.{cost}, 0) AS {_MONEY}) AS {cost.removesuffix('Cost').lower()}_claimed"
        for cost in _COSTS
    )
    select = (
        "SELECT delivered.BillingCurrency, "
        f"{literal(bill.delivery.version)} AS source_version, rows_delivered, coalesce(made.rows_mapped, 0) AS rows_mapped, "
        "rows_netted, rows_rejected, coalesce(rows_claimed, 0) AS rows_claimed, coalesce(made.rows_added, 0) AS rows_added, "
        f"billed_control, effective_control, list_control, contracted_control, {claimed} "
        "FROM control_totals AS delivered "
        "LEFT JOIN charge_totals AS made ON delivered.BillingCurrency IS NOT DISTINCT FROM made.BillingCurrency "
        "LEFT JOIN claimed_totals AS claimed ON delivered.BillingCurrency = claimed.BillingCurrency"
    )
    _stage_and_commit(lineage, space, "quality.control", bill.control, select)
    _stage_and_commit(lineage, space, "quality.claimed", bill.control, "SELECT * FROM claimed_accounts")


def _keep_rejected(
    lineage: Lineage, space: Workspace, bill: _Bill, failed: Sequence[AuditResult], unreadable: str
) -> None:
    """Commit the delivery's rejected rows and the messages of the audits that refused it; none of both clears them."""
    version = literal(bill.delivery.version)
    selects = [
        f"SELECT {version} AS source_version, source_file, source_row, line_item_type, reason, "
        "CAST(NULL AS VARCHAR) AS audit, CAST(NULL AS VARCHAR) AS message, CAST(row_json AS VARCHAR) AS row_json FROM rejected"
    ]
    messages = [(audit.audit, f"{audit.description}: {audit.message}") for audit in failed]
    messages += [("readable", unreadable)] if unreadable else []
    selects += [
        f"SELECT {version}, NULL, NULL, NULL, 'delivery refused', {literal(audit)}, {literal(message)}, NULL"
        for audit, message in messages
    ]
    _stage_and_commit(lineage, space, "quality.rejected", bill.control, " UNION ALL ".join(selects))


def _stage_and_commit(
    lineage: Lineage, space: Workspace, table: str, partition: Mapping[str, str], select: str
) -> None:
    contract = contracts()[table]
    inputs = lineage.inputs(contract, partition)
    token = build_token(contract, partition, inputs)
    if lineage.rows_if_built(contract, partition, token) is not None:
        return
    staged = stage(space.connection, select, contract, partition, token=token, inputs=inputs, folder=space.folder)
    commit(lineage.lake, contract, [staged])


def plain(amount: Decimal) -> str:
    """An amount in plain digits, without an exponent or trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
