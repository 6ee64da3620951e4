"""Table contracts: ``sql/<schema>/<table>.yaml`` says once what Dagster, the dictionary, Delta and the audits need."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from pipelines.errors import ConfigurationError
from pipelines.lake.database import SQL_FOLDER

_TYPES = ("VARCHAR", "BIGINT", "INTEGER", "BOOLEAN", "DATE", "TIMESTAMP", "JSON")


def _known_type(name: str) -> str:
    if name not in _TYPES and not re.fullmatch(r"DECIMAL\(\d{1,2},\d{1,2}\)", name):
        raise ValueError(f"unknown type {name!r}; use {', '.join(_TYPES)} or DECIMAL(p,s)")
    return name


ColumnType = Annotated[str, AfterValidator(_known_type)]
Scope = Literal["period", "month", "charged_days", "source_period", "day", "all"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Part):
    """One column: its type, unit (``BillingCurrency``, ``hours``, ``tokens``) and meaning."""

    name: str
    type: ColumnType
    meaning: str
    nullable: bool = True
    unit: str | None = None
    focus: str | None = None

    @property
    def stored_type(self) -> str:
        """The type in the data files: JSON is text there, because Delta has no JSON."""
        return "VARCHAR" if self.type == "JSON" else self.type


class ComputedColumn(Column):
    """A column of the published view that is not stored, with the expression that makes it."""

    expression: str


class Audit(_Part):
    """A query over ``staged`` and the table's inputs that must return no row."""

    name: str
    description: str
    sql: str
    severity: Literal["error", "warn"] = "error"


class TableContract(_Part):
    """What a table promises. ``grain`` is its unique key; ``partition_by`` are text columns kept in the path.

    ``publication`` tells how its rows reach analysts: ``period`` moves with its billing period, ``newest`` is always
    as it stands (our own records). ``canonical`` is false for those records: they hold clock times. ``rows_ascend``:
    the rows are written in the order of the grain, so that its uniqueness shows by comparing neighbours.
    """

    table: str
    description: str
    kind: Literal["table", "view"] = "table"
    grain: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    inputs: dict[str, Scope] = {}
    columns: tuple[Column, ...]
    computed_columns: tuple[ComputedColumn, ...] = ()
    audits: tuple[Audit, ...] = ()
    rows_ascend: bool = False
    canonical: bool = True
    publication: Literal["period", "newest"] = "period"
    file: Path

    @model_validator(mode="after")
    def _names_columns(self) -> TableContract:
        names = [column.name for column in self.columns]
        unknown = [name for name in (*self.grain, *self.partition_by) if name not in names]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if unknown or doubled:
            raise ValueError(f"grain or partition columns not listed: {unknown}; columns listed twice: {doubled}")
        return self

    @property
    def schema_name(self) -> str:
        """The part before the dot."""
        return self.table.split(".")[0]

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """The columns inside the data files: all but the partition columns."""
        return tuple(column for column in self.columns if column.name not in self.partition_by)

    @property
    def sql_file(self) -> Path:
        """The table's SQL, beside the contract."""
        return self.file.with_suffix(".sql")

    def period_column(self) -> str | None:
        """The partition column that holds a billing period or a day, or None."""
        return next(
            (c for c in self.partition_by if c in ("x_BillingPeriod", "billing_period", "period", "x_Day")), None
        )


def load_contract(file: Path) -> TableContract:
    """Read one contract. Raises ConfigurationError naming the file and every entry that can't be used."""
    try:
        contract = TableContract.model_validate(
            {**yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader), "file": file}
        )
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise ConfigurationError("A table contract can't be used.", where=str(file), found=str(error)) from error
    if contract.table != f"{file.parent.name}.{file.stem}":
        raise ConfigurationError(
            "A table contract lies in the wrong place.",
            where=str(file),
            expected=f"table: {file.parent.name}.{file.stem}",
            found=f"table: {contract.table}",
        )
    return contract


@cache
def contracts() -> dict[str, TableContract]:
    """Every contract of ``sql/``, by table name, in name order."""
    files = sorted(file for file in SQL_FOLDER.glob("*/*.yaml") if file.parent.name != "normalise")
    return {contract.table: contract for contract in map(load_contract, files)}
