"""docs/conformance.md says of every column and provider whether it is native, derived or absent, as the SQL has it."""

from __future__ import annotations

import re
from functools import cache

import pytest

from pipelines.lake.database import SQL_FOLDER
from pipelines.models.contracts import contracts

PAGE = SQL_FOLDER.parent / "docs" / "conformance.md"
MAPPINGS = {"AWS": "aws-cur", "Google Cloud": "gcp-billing", "Microsoft": "azure-cost", "FOCUS files": "focus"}
STATE = re.compile(r"(native|derived)\b.*|absent: .+")


@cache
def _table() -> dict[str, dict[str, str]]:
    """The page's first table: column of FOCUS to heading to text."""
    lines = [
        line for line in PAGE.read_text(encoding="utf-8").split("\n\n## ")[0].splitlines() if line.startswith("| ")
    ]
    header, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def _absent(mapping: str) -> set[str]:
    """The columns of FOCUS that a normalisation always leaves empty."""
    select = (SQL_FOLDER / "normalise" / f"{mapping}.sql").read_text(encoding="utf-8").rpartition("\nSELECT\n")[2]
    return {
        name for name in re.findall(r"^    CAST\(NULL AS \w+\) AS (\w+),?$", select, re.MULTILINE) if name[0] != "x"
    }


def test_every_column_of_every_version_is_listed_in_order_with_its_versions() -> None:
    expected = {
        column.name: ", ".join(column.focus.split())
        for column in contracts()["billing.charges"].columns
        if column.focus
    }
    assert {name: cells["FOCUS"] for name, cells in _table().items()} == expected
    assert list(_table()) == list(expected)


@pytest.mark.parametrize("version", ["1_2", "1_4"])
def test_the_columns_of_a_published_view_are_all_listed(version: str) -> None:
    assert {column.name for column in contracts()[f"billing.focus_{version}"].columns} <= _table().keys()


@pytest.mark.parametrize("provider", MAPPINGS)
def test_every_column_is_native_derived_or_absent_with_its_reason(provider: str) -> None:
    assert {name: cells[provider] for name, cells in _table().items() if not STATE.fullmatch(cells[provider])} == {}


@pytest.mark.parametrize("provider", MAPPINGS)
def test_what_is_absent_on_the_page_is_what_the_mapping_leaves_empty(provider: str) -> None:
    told = {name for name, cells in _table().items() if cells[provider].startswith("absent")}
    assert told == _absent(MAPPINGS[provider])
