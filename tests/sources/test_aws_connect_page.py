"""docs/connect/aws.md: what people paste from it is whole and grants what the code asks for."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from pipelines.config import AwsCurSource
from pipelines.lake.database import SQL_FOLDER
from pipelines.sources.aws_cur_columns import COLUMNS, REQUIRED
from pipelines.sources.aws_exports import DATA_EXPORTS, LEGACY_REPORTS

_PAGE = (SQL_FOLDER.parent / "docs" / "connect" / "aws.md").read_text(encoding="utf-8")
# Only in exports of accounts that have capacity reservations; and words that are not the columns of these names.
_NOT_SELECTED = {"capacity_reservation_capacity_reservation_arn", "discount", "tags"}


def _pasted(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


def _json() -> list[dict[str, Any]]:
    return [json.loads(text) for text in _pasted("json")]


def test_the_export_selects_every_column_that_becomes_a_charge() -> None:
    (export,) = [content for content in _json() if "DataQuery" in content]
    selected = re.fullmatch(r"SELECT (.+) FROM COST_AND_USAGE_REPORT", export["DataQuery"]["QueryStatement"])
    assert selected
    columns = selected[1].split(", ")
    sql = "".join(
        (SQL_FOLDER / "normalise" / f"aws-cur{part}.sql").read_text() for part in ("", ".control", ".rejected")
    )
    used = {column for column in COLUMNS if re.search(rf"\b{column}\b", sql)} - _NOT_SELECTED
    assert sorted(columns) == columns
    assert (used | set(REQUIRED)) - set(columns) == set()
    assert set(columns) - set(COLUMNS) == set()


def test_the_policy_grants_what_errors_ask_for_and_nothing_that_writes() -> None:
    (policy,) = [content for content in _json() if "s3:ListBucketVersions" in json.dumps(content)]
    granted = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert granted == {
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:GetObject",
        "s3:GetObjectVersion",
        *DATA_EXPORTS,
        *LEGACY_REPORTS,
    }
    assert all(re.match(r"[a-z0-9-]+:(List|Get|Describe)", action) for action in granted)


def test_the_configuration_lines_load() -> None:
    (text,) = _pasted("yaml")
    (bill,) = yaml.safe_load(text)["bills"]
    assert AwsCurSource.model_validate(bill).location == "s3://acme-billing/exports/acme-cur"
