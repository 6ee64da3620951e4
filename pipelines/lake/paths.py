"""Where everything lies in the lake folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lake:
    """The lake's folders. Data files are named by the build that made them, so no file ever changes its rows."""

    root: Path

    @property
    def landing(self) -> Path:
        """What sources delivered, byte for byte, under source/period/version; kept for good."""
        return self.root / "landing"

    @property
    def pending(self) -> Path:
        """An empty file for each billing period of which something landed that has not been published yet."""
        return self.root / "pending"

    @property
    def staging(self) -> Path:
        """Rows that are being built or audited and that no reader sees; a folder for each running build."""
        return self.root / "staging"

    @property
    def locks(self) -> Path:
        """Kernel locks: the files are empty and stay."""
        return self.root / "locks"

    @property
    def published(self) -> Path:
        """The publications: a DuckDB file of views, and its list of files, for each."""
        return self.root / "published"

    @property
    def analysts_file(self) -> Path:
        """The DuckDB file that always names the newest publication."""
        return self.root / "apportion.duckdb"

    def table(self, name: str) -> Path:
        """The Delta table's folder: ``billing.charges`` is ``tables/billing/charges``."""
        schema, table = name.split(".")
        return self.root / "tables" / schema / table


def partition_path(partition: Mapping[str, str]) -> str:
    """``x_SourceName=aws/x_BillingPeriod=2026-10``: the partition's folder inside its table."""
    return "/".join(f"{column}={value}" for column, value in partition.items())
