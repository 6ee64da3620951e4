"""Google Cloud's billing export as one DuckDB relation, ``delivered``: nested records as flat columns with exact types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import DeliveryError
from pipelines.lake.database import identifier, literal, scanned
from pipelines.sources import delivered_files
from pipelines.sources.delivered_files import (
    DeliveredRows,
    Unreadable,
    decimal_expression,
    text_expression,
    timestamp_expression,
)
from pipelines.sources.files import FileColumn, compression, reading, refuse_damaged_archive
from pipelines.sources.gcp_billing_columns import (
    CREDIT_AMOUNT,
    DECIMALS,
    LISTS,
    REQUIRED,
    TEXTS,
    TIMESTAMPS,
    column_types,
    fields,
)

__all__ = ["LAYOUT", "create_delivered", "create_delivered_rows", "invoice_months", "is_json"]

PROVIDER = "Google Cloud"

# A line of the export with hundreds of labels stays far below it.
_LONGEST_LINE = 16_777_216
_JSON_FILE = re.compile(r"\.(json|ndjson|jsonl)(\.gz)?$", re.IGNORECASE)
_NUMBER = re.compile(r"VARCHAR|FLOAT|DOUBLE|DECIMAL\(.*\)|U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
_TIME = re.compile(r"VARCHAR|DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE")
_TEXT = re.compile(r"VARCHAR|BOOLEAN|DATE|U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
_AMOUNT = "a number below 10^20"


@dataclass(frozen=True)
class _GcpBilling:
    """The layout of the standard and the detailed export (:class:`pipelines.sources.delivered_files.Layout`)."""

    columns: Mapping[str, str] = field(default_factory=column_types)
    period: str = "substr(invoice_month, 1, 4) || '-' || substr(invoice_month, 5, 2)"
    provider: str = PROVIDER

    def refuse_unreadable(self, delivered: Sequence[FileColumn], where: str) -> None:
        leaves = _leaves(delivered)
        _refuse_missing_fields(leaves, where)
        _refuse_unknown_types(leaves, where)

    def expression(self, column: str, delivered: Sequence[FileColumn], unreadable: Unreadable) -> str:
        source = _leaves(delivered).get(_field_of(column))
        if source is None:
            return f"CAST(NULL AS {self.columns[column]})"
        if column == "usage_amount":
            # 1.03 PiB for a day are 10^20 byte-seconds; the amount in pricing units, which is what costs, says the same.
            return decimal_expression(
                source,
                lambda source, what: (
                    f"CASE WHEN is_number_too_large({source.name}) THEN NULL ELSE {unreadable(source, what)} END"
                ),
            )
        if column in DECIMALS:
            return decimal_expression(source, unreadable)
        if column in TIMESTAMPS:
            return timestamp_expression(source, unreadable)
        if column in LISTS:
            return _list_expression(column, source, self.columns[column], unreadable)
        return text_expression(source)

    def fallible(self, delivered: Sequence[FileColumn]) -> Iterator[tuple[str, FileColumn, str]]:
        leaves = _leaves(delivered)
        for columns, what in ((DECIMALS, _AMOUNT), (TIMESTAMPS, "a time")):
            for column, name in columns.items():
                if name in leaves:
                    yield column, leaves[name], what


LAYOUT = _GcpBilling()


def create_delivered(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    names: Sequence[str],
    details: Mapping[str, str],
    *,
    billing_period: str,
    scratch: Path,
) -> list[DeliveredRows]:
    """``delivered`` over landed export files, as :func:`pipelines.sources.delivered_files.create_delivered` says.

    Columns: those of ``gcp_billing_columns.column_types()``: text, empty text as NULL; amounts as DECIMAL(38,18); times without
    zone, in UTC; labels, tags, ancestors and credits as lists of records. Newline-delimited JSON becomes Parquet under
    ``scratch`` first, every value as text, so that a row's number is its line's.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    readable = [
        _json_as_parquet(connection, file, name, scratch / f"{number:05d}.json.parquet") if is_json(name) else file
        for number, (file, name) in enumerate(zip(files, names, strict=True))
    ]
    return delivered_files.create_delivered(
        connection, LAYOUT, readable, names, details, billing_period=billing_period, scratch=scratch
    )


def create_delivered_rows(
    connection: duckdb.DuckDBPyConnection,
    delivered: Sequence[DeliveredRows],
    details: Mapping[str, str],
    *,
    billing_period: str,
    relation: str = "delivered",
) -> None:
    """The relation over these rows alone."""
    delivered_files.create_delivered_rows(
        connection, LAYOUT, delivered, details, billing_period=billing_period, relation=relation
    )


def is_json(name: str) -> bool:
    """Whether a file's name says newline-delimited JSON, compressed or not."""
    return _JSON_FILE.search(name) is not None


def invoice_months(connection: duckdb.DuckDBPyConnection, file: Path, where: str) -> list[str]:
    """The billing periods of a file's rows, ``YYYY-MM``, in order. Raises DeliveryError where a row has none.

    ``where`` is the file's name for messages, and says what it is.
    """
    if is_json(where):
        refuse_damaged_archive(file, where, PROVIDER)
        relation = _json_reader(file, {"invoice": "STRUCT(month VARCHAR)"})
    else:
        delivered_files.file_columns(connection, LAYOUT, file, where)
        relation = f"read_parquet({literal(scanned(file))}, hive_partitioning = false)"
    with reading(where, PROVIDER):
        months = connection.sql(f"SELECT DISTINCT CAST(invoice.month AS VARCHAR) FROM {relation}").fetchall()
    periods = []
    for (month,) in months:
        if month is None or not re.fullmatch(r"\d{4}(0[1-9]|1[0-2])", month):
            raise DeliveryError(
                "Some rows name no invoice month.",
                where=where,
                expected="invoice.month as YYYYMM in every row",
                found=repr(month),
                remedy="export the table again with its column invoice",
            )
        periods.append(f"{month[:4]}-{month[4:]}")
    return sorted(periods)


def _field_of(column: str) -> str:
    if column in LISTS:
        return LISTS[column][0]
    return (TEXTS.get(column) or DECIMALS.get(column) or TIMESTAMPS[column]).lower()


def _leaves(delivered: Sequence[FileColumn]) -> dict[str, FileColumn]:
    """The file's fields by their name in the export, those of records with a dot; lists whole."""
    leaves = {}
    for source in delivered:
        if source.type.startswith("STRUCT(") and not source.type.endswith("[]"):
            for member, kind in _members(source.type):
                leaves[f"{source.header}.{member}".lower()] = FileColumn(
                    f"{source.header}.{member}", f"{source.name}.{identifier(member)}", kind
                )
        else:
            leaves[source.header.lower()] = source
    return leaves


@lru_cache(maxsize=256)
def _members(record: str) -> tuple[tuple[str, str], ...]:
    """The names and types of a record's members, from the record's type."""
    children: Any = duckdb.sqltype(record).children
    return tuple((name, str(kind)) for name, kind in children)


def _list_expression(column: str, source: FileColumn, kind: str, unreadable: Unreadable) -> str:
    # Members that are delivered as they are wanted need no copy.
    if source.type == kind:
        return source.name
    delivered = dict(_members(source.type.removesuffix("[]")))
    by_name = {name.lower(): (name, member_type) for name, member_type in delivered.items()}
    values = []
    for member in LISTS[column][1]:
        name, member_type = by_name.get(member, (member, ""))
        entry = FileColumn(f"{source.header}.{member}", f"entry.{identifier(name)}", member_type)
        is_amount = (column, member) == ("credits", CREDIT_AMOUNT)
        if not member_type:
            value = f"CAST(NULL AS {'DECIMAL(38,18)' if is_amount else 'VARCHAR'})"
        else:
            value = decimal_expression(entry, unreadable) if is_amount else text_expression(entry)
        values.append(f"{literal(member)}: {value}")
    return f"list_transform({source.name}, lambda entry: {{{', '.join(values)}}})"


def _refuse_missing_fields(leaves: Mapping[str, FileColumn], where: str) -> None:
    if missing := [name for name in REQUIRED if name not in leaves]:
        raise DeliveryError(
            "The file is no billing export of Google Cloud that we can read: it lacks fields.",
            where=where,
            expected=", ".join(missing),
            found=f"{len(leaves)} fields, the first: {', '.join(sorted(leaves)[:5])}",
            remedy="export the table gcp_billing_export_v1_… or gcp_billing_export_resource_v1_… with these columns; "
            "files in FOCUS belong to a source of kind focus",
        )


def _refuse_unknown_types(leaves: Mapping[str, FileColumn], where: str) -> None:
    for columns, known, expected in (
        (DECIMALS, _NUMBER, "FLOAT64, NUMERIC, INT64 or text; BIGNUMERIC only in newline-delimited JSON"),
        (TIMESTAMPS, _TIME, "TIMESTAMP or text"),
        (TEXTS, _TEXT, "STRING"),
    ):
        for name in columns.values():
            if name in leaves and not known.fullmatch(leaves[name].type):
                _refuse_type(leaves[name], expected, where)
    for column, (name, _) in LISTS.items():
        source = leaves.get(name)
        if source is None:
            continue
        expected = "a repeated record"
        if not re.fullmatch(r"STRUCT\(.*\)\[\]", source.type):
            _refuse_type(source, expected, where)
        for member, kind in _members(source.type.removesuffix("[]")):
            wanted = _NUMBER if (column, member.lower()) == ("credits", CREDIT_AMOUNT) else _TEXT
            if member.lower() in LISTS[column][1] and not wanted.fullmatch(kind):
                _refuse_type(FileColumn(f"{source.header}.{member}", "", kind), expected, where)


def _refuse_type(source: FileColumn, expected: str, where: str) -> None:
    raise DeliveryError(
        "A field has a type that we can't read.",
        where=f"{where}, field {source.header}",
        expected=expected,
        found=source.type,
        remedy="export the table as Google Cloud defines it",
    )


def _json_as_parquet(connection: duckdb.DuckDBPyConnection, file: Path, name: str, target: Path) -> Path:
    refuse_damaged_archive(file, name, PROVIDER)
    # COPY keeps the file's order, so that a line's number is its row number in the Parquet file, whatever the threads.
    with reading(name, PROVIDER):
        connection.execute(
            f"COPY (SELECT * FROM {_json_reader(file, _json_columns())}) TO {literal(target)} "
            "(FORMAT PARQUET, COMPRESSION snappy)"
        )
    return target


def _json_columns() -> dict[str, str]:
    """The export's columns with every value as text: bq extract writes INT64 and NUMERIC as text, FLOAT64 as numbers."""
    lists = {name for name, _ in LISTS.values()}
    tree: dict[str, dict[str, dict[str, str]]] = {}
    for path in fields():
        column, member, inner = (*path.split("."), "", "")[:3]
        members = tree.setdefault(column, {})
        if member:
            leaves = members.setdefault(member, {})
            if inner:
                leaves[inner] = "VARCHAR"
    return {
        column: _json_type(
            {member: _json_type(leaves, is_list=True) for member, leaves in members.items()}, column in lists
        )
        for column, members in tree.items()
    }


def _json_type(members: Mapping[str, str], is_list: bool) -> str:
    if not members:
        return "VARCHAR"
    listed = ", ".join(f"{identifier(member)} {kind}" for member, kind in members.items())
    return f"STRUCT({listed})" + ("[]" if is_list else "")


def _json_reader(file: Path, columns: Mapping[str, str]) -> str:
    types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in columns.items())
    return (
        f"read_json({literal(scanned(file))}, format = 'newline_delimited', columns = {{{types}}}, "
        f"maximum_object_size = {_LONGEST_LINE}, hive_partitioning = false, {compression(file)})"
    )
