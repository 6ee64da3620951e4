"""apportion.yaml as typed settings."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.errors import ConfigurationError

DEFAULT_CONFIGURATION = "apportion.yaml"
BILL_KINDS = ("aws-cur", "azure-cost", "focus", "gcp-billing")
USAGE_KINDS = ("dcgm-files", "litellm")

STORE_SCHEMES = ("s3://", "az://")

_PERIOD = r"^\d{4}-(0[1-9]|1[0-2])$"
# DuckDB takes names for patterns, and would read other files (pipelines.lake.database.scanned).
_PATTERN = re.compile(r"[*?\[]")
_PathOrText = TypeVar("_PathOrText", str, Path)
_ENVIRONMENT_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _source_name(name: str) -> str:
    # The name is a folder, a Delta partition and part of every charge key.
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        raise ValueError("a source name has lower-case letters, digits, '-' and '_' only, 63 at most")
    return name


def _no_pattern(path: _PathOrText) -> _PathOrText:
    if _PATTERN.search(str(path)):
        raise ValueError(f"'*', '?' or '[' in {path} would be read as a pattern; rename the file or its folder")
    return path


def _no_pattern_of_a_folder(location: str) -> str:
    return location if location.startswith(STORE_SCHEMES) else _no_pattern(location)


SourceName = Annotated[str, AfterValidator(_source_name)]
ReadableFile = Annotated[Path, AfterValidator(_no_pattern)]
ReadableLocation = Annotated[str, AfterValidator(_no_pattern_of_a_folder)]
"""Of sources whose files are read where they lie."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Source(_Part):
    name: SourceName


class StoredSource(_Source):
    """A source that lies somewhere as files: in a folder, a bucket, a container, or as ``files`` of this machine.

    ``location`` is an absolute path, ``s3://bucket/prefix`` or ``az://container/prefix``. ``endpoint_url`` and ``region`` are
    of S3, ``account_url`` is the storage account's, such as ``https://acme.blob.core.windows.net``.
    """

    location: str | None = None
    files: tuple[ReadableFile, ...] = ()
    endpoint_url: str | None = None
    region: str | None = None
    account_url: str | None = None

    @field_validator("location")
    @classmethod
    def _scheme_is_known(cls, location: str | None) -> str | None:
        if location and "://" in location and not location.startswith(STORE_SCHEMES):
            raise ValueError(f"a location is a folder or begins with {' or '.join(STORE_SCHEMES)}")
        if location and re.match(r"\w+://(/|$)", location):
            raise ValueError("no bucket or container is named: s3://bucket/prefix, az://container/prefix")
        return location

    @model_validator(mode="after")
    def _one_place(self) -> StoredSource:
        _exactly_one(self, "location", "files")
        return self


class AwsCurSource(StoredSource):
    """An AWS cost export. ``export`` names it where the location holds several, or alone: the account tells where it lies."""

    kind: Literal["aws-cur"] = "aws-cur"
    export: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> AwsCurSource:
        _exactly_one(self, "location", "files", *(("export",) if not self.location else ()))
        return self


class AzureCostSource(StoredSource):
    """Azure cost exports, or a ``scope`` without one, whose cost details reports are asked for."""

    kind: Literal["azure-cost"] = "azure-cost"
    scope: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> AzureCostSource:
        _exactly_one(self, "location", "files", "scope")
        return self


class GcpBillingSource(StoredSource):
    """Google Cloud's billing export: a BigQuery ``table`` (project.dataset.table), or files that ``bq extract`` wrote.

    ``project`` pays for queries (by default the table's); none may read more than ``maximum_bytes_billed``. ``since`` is the
    first billing period to read. ``storage_endpoint`` is the Storage Read API's, for test servers.
    """

    kind: Literal["gcp-billing"] = "gcp-billing"
    location: ReadableLocation | None = None
    table: Annotated[str, Field(pattern=r"^[^.`]+\.[^.`]+\.[^.`]+$")] | None = None
    project: str | None = None
    maximum_bytes_billed: Annotated[int, Field(gt=0)] = 100 * 1024**3
    since: Annotated[str, Field(pattern=_PERIOD)] | None = None
    storage_endpoint: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> GcpBillingSource:
        _exactly_one(self, "location", "files", "table")
        return self


class FocusSource(StoredSource):
    """Files in FOCUS, from anyone."""

    kind: Literal["focus"] = "focus"
    location: ReadableLocation | None = None


BillSource = AwsCurSource | AzureCostSource | GcpBillingSource | FocusSource


class UsageSource(_Source):
    """A usage source: where telemetry or a log lies."""

    kind: Literal["dcgm-files", "litellm"]
    location: Path | None = None
    files: tuple[ReadableFile, ...] = ()

    @model_validator(mode="after")
    def _one_place(self) -> UsageSource:
        _exactly_one(self, "location", "files")
        return self


def _exactly_one(source: _Source, *places: str) -> None:
    if sum(bool(getattr(source, place)) for place in places) != 1:
        raise ValueError(f"give exactly one of {', '.join(map(repr, places))}")


class Claim(_Part):
    """Who brings the bill of an account that two sources have (CONTRACTS.md §2).

    The other sources' rows of that account are left out of their charges, and counted.
    """

    source: SourceName
    billing_account: Annotated[str, Field(min_length=1)]
    sub_account: Annotated[str, Field(min_length=1)] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The accounts as two spellings of them have them in common (sql/macros/account_key.sql)."""
        return _account_key(self.billing_account), _account_key(self.sub_account or "")


def _account_key(account: str) -> str:
    return account.lower().rpartition("/")[2].lstrip("0") or account.lower()


class AcceptedDifference(_Part):
    """A mismatch between a delivery and its control total that the user knows of and accepts (CONTRACTS.md §3)."""

    source: SourceName
    period: Annotated[str, Field(pattern=_PERIOD)]
    currency: str
    cost: Literal["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"]
    amount: Decimal
    reason: str


class Settings(_Part):
    """The whole configuration; relative paths are taken from the file's own folder."""

    lake: Path
    rules: Path | None = None
    as_of: datetime | None = None
    bills: tuple[Annotated[BillSource, Field(discriminator="kind")], ...] = ()
    usage: tuple[UsageSource, ...] = ()
    accepted_differences: tuple[AcceptedDifference, ...] = ()
    claims: tuple[Claim, ...] = ()
    file: Path

    @field_validator("lake")
    @classmethod
    def _lake_is_read_as_written(cls, lake: Path) -> Path:
        # Delta and SQLite read %20 in a path as a blank, DuckDB reads * as any name: both would look in other folders.
        if re.search("%[0-9A-Fa-f]{2}", str(lake)):
            raise ValueError(
                "a '%' before two hexadecimal digits in the lake's path would be read as another character"
            )
        if _PATTERN.search(str(lake)):
            raise ValueError("'*', '?' or '[' in the lake's path would be read as a pattern")
        return lake

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        names = [source.name for source in (*self.bills, *self.usage)]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"each source needs a name of its own; given twice: {', '.join(doubled)}")
        return self

    @model_validator(mode="after")
    def _claims_name_bills(self) -> Settings:
        bills = [bill.name for bill in self.bills]
        for claim in self.claims:
            if claim.source not in bills:
                raise ValueError(f"claims: there is no bill called {claim.source}")
        keys = [claim.key for claim in self.claims]
        doubled = [claim for claim in self.claims if keys.count(claim.key) > 1]
        if doubled:
            told = [f"{claim.sub_account or claim.billing_account} by {claim.source}" for claim in doubled]
            raise ValueError(f"claims: claimed twice: {', '.join(told)}")
        return self

    def now(self) -> datetime:
        """The moment the figures are as of, naive and in UTC: ``as_of``, or the clock where none is configured."""
        moment = self.as_of or datetime.now(UTC)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment

    def bill(self, name: str) -> BillSource:
        """The bill called ``name``. Raises KeyError for a name that isn't configured."""
        return {bill.name: bill for bill in self.bills}[name]


def configuration_path() -> Path:
    """The configuration file in force: ``APPORTION_CONFIG``, else ``apportion.yaml`` in the working directory."""
    return Path(os.environ.get("APPORTION_CONFIG", DEFAULT_CONFIGURATION))


def load_settings(path: Path) -> Settings:
    """Read a configuration file.

    Raises ConfigurationError naming the file and each entry that can't be used.
    """
    if not path.is_file():
        raise ConfigurationError(
            "The configuration file doesn't exist.",
            where=str(path),
            remedy="give --config FILE or set APPORTION_CONFIG; README.md shows a small configuration",
        )
    text = _with_environment(path.read_text(encoding="utf-8"), path)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError("The configuration is not valid YAML.", where=str(path), found=str(error)) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            "The configuration is empty.", where=str(path), expected="at least 'lake:' and 'bills:'"
        )
    folder = path.resolve().parent
    try:
        return Settings.model_validate({**_with_absolute_paths(content, folder), "file": path.resolve()})
    except ValidationError as error:
        problems = "; ".join(f"{_place(text, problem['loc'])}: {problem['msg']}" for problem in error.errors())
        raise ConfigurationError(
            "The configuration can't be used.",
            where=str(path),
            found=problems,
            expected=f"bills of kind {', '.join(BILL_KINDS)}; usage of kind {', '.join(USAGE_KINDS)}",
            remedy="correct the entries named above",
        ) from error


def _place(text: str, steps: Sequence[int | str]) -> str:
    """Where an entry stands, such as ``line 5, source azure, bills.0.azure-cost.location``."""
    node, name = cast(yaml.Node, yaml.compose(text, Loader=yaml.SafeLoader)), ""
    for step in steps:
        entries = _entries(node)
        # Between an entry of 'bills' and its fields stands the kind, which is no step of the file.
        node = entries.get(step, node)
        if "name" in (named := _entries(node)):
            name = str(named["name"].value)
    told = ".".join(map(str, steps)) or "top level"
    return ", ".join(filter(None, (f"line {node.start_mark.line + 1}", f"source {name}" if name else "", told)))


def _entries(node: yaml.Node) -> dict[int | str, yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): value for key, value in node.value}
    return dict(enumerate(node.value)) if isinstance(node, yaml.SequenceNode) else {}


def _with_environment(text: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigurationError(
                f"The configuration uses ${{{name}}}, which isn't set.", where=str(path), remedy=f"export {name}=…"
            )
        return os.environ[name]

    return _ENVIRONMENT_VARIABLE.sub(value, text)


def _with_absolute_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    def absolute(value: Any) -> Any:
        if not isinstance(value, str) or "://" in value:
            return value
        return str(folder / Path(value).expanduser())

    def source(entry: Any) -> Any:
        if not isinstance(entry, dict):
            return entry
        placed = dict(entry)
        if "location" in placed:
            placed["location"] = absolute(placed["location"])
        if isinstance(placed.get("files"), list):
            placed["files"] = [absolute(file) for file in placed["files"]]
        return placed

    result = dict(content)
    for key in ("lake", "rules"):
        if result.get(key) is not None:
            result[key] = absolute(result[key])
    for key in ("bills", "usage"):
        if isinstance(result.get(key), list):
            result[key] = [source(entry) for entry in result[key]]
        elif result.get(key) is None:
            result.pop(key, None)
    return result
