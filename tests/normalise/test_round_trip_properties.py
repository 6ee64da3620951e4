"""What a bill says comes back equal, whatever it says: any decimal text, any double, any id, any tag, through every reader.

Each example is a whole delivered file, so that its values also meet each other: one file's columns are read with one set of options.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.normalise import azure_bills, bills, focus_files, google_bills

LIMIT = Decimal(10) ** 20
# A NUL byte is text to no vendor: their services refuse it in names and tags, and JSON and CSV readers end there.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")


def exact(number: str) -> Decimal:
    """A number's text at 18 places, half away from zero (CONTRACTS.md §1)."""
    with localcontext(prec=400):
        return Decimal(number).quantize(Decimal("1e-18"), ROUND_HALF_UP)


@st.composite
def decimal_texts(draw: st.DrawFn) -> str:
    """A number as text: sign, up to 20 digits before and 18 behind the point, an exponent; below 10^20 in all."""
    whole = draw(st.text("0123456789", max_size=20))
    places = draw(st.text("0123456789", min_size=0 if whole else 1, max_size=18))
    text = draw(st.sampled_from(["", "-"])) + whole + (f".{places}" if places else "")
    if draw(st.booleans()):
        text += (
            draw(st.sampled_from(["e", "E"])) + draw(st.sampled_from(["", "-", "+"])) + str(draw(st.integers(0, 30)))
        )
    return text


amounts = decimal_texts().filter(lambda text: abs(exact(text)) < LIMIT)
doubles = st.floats(min_value=-(10.0**20), max_value=10.0**20, exclude_min=True, exclude_max=True, width=64)
# Exports in FOCUS write NULL for nothing.
names = st.text(CHARACTERS, min_size=1, max_size=40).filter(lambda text: text.lower() != "null")
tags = st.dictionaries(names, st.text(CHARACTERS, min_size=1, max_size=40), max_size=4)


@dataclass(frozen=True)
class Charge:
    """What one line says: a number as the format writes it, an id, tags."""

    amount: Any
    id: str
    tags: Mapping[str, str]


def charges(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Charge]]:
    """The lines of one file."""
    return st.lists(st.builds(Charge, amount=numbers, id=names, tags=tags), min_size=1, max_size=25)


@dataclass(frozen=True)
class Reader:
    """A format: how its lines are written, what reads them, and where the three values are found afterwards."""

    numbers: st.SearchStrategy[Any]
    write: Callable[[Path, Sequence[Charge]], Path]
    read: Callable[[Path, Path], duckdb.DuckDBPyConnection]
    amount: str
    id: str


def _aws_lines(charges: Sequence[Charge]) -> list[dict[str, Any]]:
    return [bills.line("Usage", charge.amount, line_item_resource_id=charge.id) for charge in charges]


def aws_csv(folder: Path, charges: Sequence[Charge]) -> Path:
    keys = sorted({key for charge in charges for key in charge.tags})
    lines = [
        {**_legacy(line), **{f"resourceTags/user:{key}": charge.tags.get(key, "") for key in keys}}
        for line, charge in zip(_aws_lines(charges), charges, strict=True)
    ]
    return _write_csv(folder / "report.csv.gz", lines)


def aws_csv_2(folder: Path, charges: Sequence[Charge]) -> Path:
    lines = [
        {**line, "resource_tags": json.dumps({f"user_{key}": value for key, value in charge.tags.items()})}
        for line, charge in zip(_aws_lines(charges), charges, strict=True)
    ]
    return _write_csv(folder / "report.csv.gz", lines)


def aws_parquet(folder: Path, charges: Sequence[Charge]) -> Path:
    columns = _columns(_aws_lines(charges))
    maps = [[(f"user_{key}", value) for key, value in charge.tags.items()] for charge in charges]
    columns["resource_tags"] = pa.array(maps, pa.map_(pa.string(), pa.string()))
    return _write_parquet(folder / "report.parquet", columns)


def azure_csv(folder: Path, charges: Sequence[Charge]) -> Path:
    lines = [
        azure_bills.line("Usage", charge.amount, ResourceId=charge.id, Tags=json.dumps(charge.tags, ensure_ascii=False))
        for charge in charges
    ]
    return azure_bills.write_export(folder / "part-0.csv.gz", lines)


def azure_csv_without_braces(folder: Path, charges: Sequence[Charge]) -> Path:
    lines = [
        azure_bills.line("Usage", charge.amount, ResourceId=charge.id, Tags=json.dumps(charge.tags)[1:-1])
        for charge in charges
    ]
    return azure_bills.write_export(folder / "part-0.csv", lines)


def _google_lines(charges: Sequence[Charge]) -> list[dict[str, Any]]:
    return [
        google_bills.line(
            charge.amount,
            resource={"name": charge.id, "global_name": None},
            labels=[{"key": key, "value": value} for key, value in charge.tags.items()],
        )
        for charge in charges
    ]


def google_json(folder: Path, charges: Sequence[Charge]) -> Path:
    return google_bills.write_json(folder / "rows.json.gz", _google_lines(charges))


def google_parquet(folder: Path, charges: Sequence[Charge]) -> Path:
    lines = _google_lines(charges)
    columns = _columns([{key: value for key, value in line.items() if key != "credits"} for line in lines])
    columns["labels"] = pa.array(
        [line["labels"] for line in lines], pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
    )
    credit = pa.struct(
        [(name, pa.string()) for name in ("name", "full_name", "id", "type")] + [("amount", pa.float64())]
    )
    columns["credits"] = pa.array([[] for _ in lines], pa.list_(credit))
    return _write_parquet(folder / "rows.parquet", columns)


def focus_csv(folder: Path, charges: Sequence[Charge]) -> Path:
    lines = [
        focus_files.row(BilledCost=charge.amount, ResourceId=charge.id, Tags=json.dumps(charge.tags))
        for charge in charges
    ]
    return _write_csv(folder / "focus.csv.gz", lines)


def focus_parquet(folder: Path, charges: Sequence[Charge]) -> Path:
    columns = _columns([focus_files.row(ResourceId=charge.id) for charge in charges])
    columns["BilledCost"] = [charge.amount for charge in charges]
    columns["Tags"] = pa.array([list(charge.tags.items()) for charge in charges], pa.map_(pa.string(), pa.string()))
    return _write_parquet(folder / "focus.parquet", columns)


def _legacy(line: Mapping[str, Any]) -> dict[str, Any]:
    return dict(bills._legacy_row(line))


def _columns(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: [line[name] for line in lines] for name in lines[0]}


def _write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    return path


def _write_parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    pq.write_table(pa.table(dict(columns)), path)
    return path


def read_aws(file: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    return bills.normalised(scratch, [file])


def read_azure(file: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    return azure_bills.normalised(scratch, {file.name: file})


def read_google(file: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    return google_bills.normalised(scratch, [file])


def read_focus(file: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    return focus_files.normalised(scratch, [file])


READERS = {
    "AWS, legacy CSV": Reader(amounts, aws_csv, read_aws, "line_item_unblended_cost", "line_item_resource_id"),
    "AWS, CUR 2.0 CSV": Reader(amounts, aws_csv_2, read_aws, "line_item_unblended_cost", "line_item_resource_id"),
    "AWS, CUR 2.0 Parquet": Reader(doubles, aws_parquet, read_aws, "line_item_unblended_cost", "line_item_resource_id"),
    "Azure, CSV": Reader(amounts, azure_csv, read_azure, "cost_in_billing_currency", "resource_id"),
    "Azure, CSV with tags that lack their braces": Reader(
        amounts, azure_csv_without_braces, read_azure, "cost_in_billing_currency", "resource_id"
    ),
    "Google, newline-delimited JSON with NUMERIC": Reader(amounts, google_json, read_google, "cost", "resource_name"),
    "Google, newline-delimited JSON with FLOAT64": Reader(doubles, google_json, read_google, "cost", "resource_name"),
    "Google, Parquet": Reader(doubles, google_parquet, read_google, "cost", "resource_name"),
    "FOCUS, CSV": Reader(amounts, focus_csv, read_focus, "BilledCost", "ResourceId"),
    "FOCUS, Parquet": Reader(doubles, focus_parquet, read_focus, "BilledCost", "ResourceId"),
}


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
# Making a file smaller takes minutes and tells little more: each of its lines is independent.
@settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_amounts_ids_and_tags_come_back_equal(name: str, data: st.DataObject) -> None:
    reader = READERS[name]
    given_charges = data.draw(charges(reader.numbers))
    with TemporaryDirectory() as folder:
        file = reader.write(Path(folder), given_charges)
        with reader.read(file, Path(folder) / "scratch") as connection:
            delivered = connection.sql(
                f"SELECT {reader.amount}, {reader.id} FROM delivered ORDER BY x_SourceRow"
            ).fetchall()
            read_tags = [
                json.loads(text) if text else {}
                for (text,) in connection.sql(
                    "SELECT Tags FROM staged WHERE x_SourcePart = 1 ORDER BY x_SourceRow"
                ).fetchall()
            ]
    assert delivered == [(exact(_text(charge.amount)), charge.id) for charge in given_charges]
    assert read_tags == [charge.tags for charge in given_charges]


def _text(amount: Any) -> str:
    return repr(amount) if isinstance(amount, float) else amount
