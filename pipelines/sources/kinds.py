"""The kinds of sources, and the module behind each; a module, and the libraries that it needs, is imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import duckdb

    from pipelines.sources.delivered_files import DeliveredRows
    from pipelines.sources.deliveries import Delivery, Landed
    from pipelines.sources.findings import Finding, Sample

_SOURCES: Mapping[str, str] = {
    "aws-cur": "aws_cur",
    "azure-cost": "azure_cost",
    "focus": "focus",
    "gcp-billing": "gcp_billing",
    "dcgm-files": "dcgm_files",
    "litellm": "litellm",
}
_READERS: Mapping[str, str] = {
    "aws-cur": "aws_cur_relation",
    "azure-cost": "azure_cost_relation",
    "focus": "focus_relation",
    "gcp-billing": "gcp_billing_relation",
}
# What may not enter the lake, landing included, is refused before a byte is copied.
_REFUSALS: Mapping[str, str] = {"litellm": "refuse_prompts"}


class SourceKind(Protocol):
    """What a source's module offers. ``source`` is the configuration's entry, of the kind's own type."""

    def look(self, source: Any, landed: Landed = ...) -> Mapping[str, str]:
        """Billing period to a text that changes whenever anything delivered for it did. Reads no data file."""

    def deliveries(self, source: Any, period: str | None = ..., landed: Landed = ...) -> Sequence[Delivery]:
        """The newest delivery of each period, or of the one given."""

    def check(self, source: Any) -> Sequence[Finding]:
        """What a read-only trial of the source finds."""


class BillKind(SourceKind, Protocol):
    """What the module of a bill's kind offers beyond that."""

    def sample(self, source: Any) -> Sample | None:
        """A data file of what is there now, whose first rows can be tried; None where reading rows costs too much."""


class Reader(Protocol):
    """What a mapping's relation module offers (:mod:`pipelines.sources.delivered_files`)."""

    def create_delivered(
        self,
        connection: duckdb.DuckDBPyConnection,
        files: Sequence[Path],
        names: Sequence[str],
        details: Mapping[str, str],
        *,
        billing_period: str,
        scratch: Path,
    ) -> list[DeliveredRows]:
        """Create ``delivered`` over landed files; returns what it reads."""

    def create_delivered_rows(
        self,
        connection: duckdb.DuckDBPyConnection,
        delivered: Sequence[DeliveredRows],
        details: Mapping[str, str],
        *,
        billing_period: str,
        relation: str = ...,
    ) -> None:
        """Create a relation over these rows alone."""


def mappings_of(kind: str) -> tuple[str, ...]:
    """The normalisations that deliveries of a bill kind may need: its own, and that of FOCUS for native exports."""
    return tuple(dict.fromkeys((kind, "focus")))


def source_kind(kind: str) -> SourceKind:
    """The module that knows a kind of source."""
    return cast(SourceKind, _module(_SOURCES[kind]))


def bill_kind(kind: str) -> BillKind | None:
    """The module that knows a kind of bill; None for a kind that is none."""
    return cast(BillKind, _module(_SOURCES[kind])) if kind in _READERS else None


def reader(mapping: str) -> Reader:
    """The module that reads what a normalisation maps."""
    return cast(Reader, _module(_READERS[mapping]))


def refusal_before_landing(kind: str) -> Callable[[Delivery], None] | None:
    """What raises DeliveryError for a delivery that may not enter the lake; None for kinds without such a rule."""
    name = _REFUSALS.get(kind)
    return getattr(_module(_SOURCES[kind]), name) if name else None


def _module(name: str) -> Any:
    return importlib.import_module(f"pipelines.sources.{name}")
