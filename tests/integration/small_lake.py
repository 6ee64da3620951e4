"""A lake of one billing period and two sources, built and published without Dagster, and what its readers see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pipelines.config import BillSource, Settings
from pipelines.errors import ApportionError
from pipelines.lake.canonical_export import canonical_hash
from pipelines.lake.database import connect, file_list
from pipelines.lake.paths import Lake
from pipelines.lake.publishing import newest_publication
from pipelines.models.allocation_tables import build_allocation
from pipelines.models.build import build_model, ensure_tables
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.normalisation import normalise
from pipelines.models.publication import publish
from pipelines.models.pull import pull
from tests.integration.exports import Aws, Folder

PERIOD = "2026-09"
_REPORTS = (
    "showback.daily",
    "showback.unit_cost_amounts",
    "chargeback.monthly",
    "quality.reconciliation",
    "quality.billed_to_effective",
)


_NEIGHBOUR = {"bill_payer_account_id": "210987654321", "line_item_usage_account_id": "000000000007"}


def neighbour(folder: Path) -> BillSource:
    """A source at AWS that is in order."""
    return Aws().source("neighbour", Folder(folder))


def neighbour_delivers(folder: Path, run: int, cost: str) -> None:
    """Its month in two lines, of this cost together; each is a file, and two that are the same would be refused."""
    quarter = Decimal(cost) / 4
    lines = [Aws().line(str(part), **_NEIGHBOUR) for part in (quarter, Decimal(cost) - quarter)]
    place = Folder(folder)
    place.deliver(Aws().export(place, run, lines, ".parquet"))


@dataclass(frozen=True)
class Night:
    """How a night ended: the sources that were refused, each with why, and why the period was not published anew."""

    refused: Mapping[str, ApportionError]
    stale: tuple[str, ...]


@dataclass(frozen=True)
class SmallLake:
    """A lake in ``folder``, of these bills."""

    folder: Path
    bills: tuple[BillSource, ...]

    @property
    def settings(self) -> Settings:
        """The configuration: no rules, no usage; figures are as of the 20th."""
        return Settings(
            lake=self.folder, bills=self.bills, as_of=datetime(2026, 9, 20), file=self.folder.parent / "apportion.yaml"
        )

    def night(self) -> Night:
        """Pull and normalise each source whatever became of the others; build the rest where all of them are well; publish."""
        ensure_tables(Lake(self.folder))
        refused = {}
        for source in self.bills:
            try:
                pull(Lake(self.folder), source, PERIOD)
                normalise(Lineage(self.settings), source.name, PERIOD)
            except ApportionError as error:
                refused[source.name] = error
        if not refused:
            build_allocation(Lineage(self.settings), PERIOD)
            for table in _REPORTS:
                build_model(Lineage(self.settings), contracts()[table], PERIOD)
        return Night(refused, publish(Lineage(self.settings)).stale.get(PERIOD, ()))

    def seen(self) -> dict[str, str]:
        """What readers see of the period: the canonical hash of each published table."""
        publication = newest_publication(Lake(self.folder))
        assert publication is not None
        with connect() as connection:
            return {
                table: canonical_hash(connection, contracts()[table], [self.folder / name for name in names])
                for table, names in publication.periods[PERIOD].tables.items()
                if contracts()[table].canonical
            }

    def built(self, source_name: str) -> dict[str, Decimal]:
        """The charges of a source that are built, published or not: BilledCost by currency."""
        files = [
            file.path
            for file in Lineage(self.settings).files("billing.charges")
            if file.partition == {"x_SourceName": source_name, "x_BillingPeriod": PERIOD}
        ]
        return self._billed(files)

    def billed(self) -> dict[str, Decimal]:
        """What readers see of the period's bills together: BilledCost by currency."""
        publication = newest_publication(Lake(self.folder))
        assert publication is not None
        return self._billed([self.folder / name for name in publication.periods[PERIOD].tables["billing.charges"]])

    def refuses(self, *words: str) -> None:
        """A night refuses ``cloud`` alone, saying these words, and changes nothing that readers see; ``neighbour`` finishes."""
        before = self.seen()
        night = self.night()
        assert set(night.refused) == {"cloud"}, "only the faulty source is refused"
        error = night.refused["cloud"]
        for word in ("cloud", PERIOD, *words):
            assert word in str(error)
        assert error.remedy
        assert self.seen() == before
        # 3.75 of cloud and 100 of neighbour, as published before; neighbour has delivered 200 since.
        assert self.billed() == {"USD": Decimal("103.75")}
        assert self.built("neighbour") == {"USD": Decimal("200")}
        assert [reason for reason in night.stale if "cloud" in reason]

    def _billed(self, files: list[Path]) -> dict[str, Decimal]:
        with connect() as connection:
            return dict(
                connection.sql(
                    f"SELECT BillingCurrency, sum(BilledCost) FROM read_parquet({file_list(files)}) GROUP BY 1 ORDER BY 1"
                ).fetchall()
            )
