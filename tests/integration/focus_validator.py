"""The official FOCUS validator (PyPI focus-validator) over typed Parquet, offline, for version 1.2, the only one it ships rules for."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pipelines.config import BillSource
from pipelines.lake.database import connect, literal
from tests.integration.charges_of_sources import create_charges, focus_sql
from tests.integration.servers.install import FOCUS_VALIDATOR

MOST_ROWS = 100_000

# Rules of the shipped model (1.2.0.1) that a correct file breaks.
DEFECTIVE = {
    "CapacityReservationStatus-C-004-C": "the tool drops the rule's condition (focus_validator issue 142)",
    "CommitmentDiscountStatus-C-004-C": "the rule's condition is the wrong way round (FOCUS_Spec issue 2393)",
    "EffectiveCost-C-005-C": "the rule's condition is every purchase, not those that cover future use",
    "InvoiceId-C-004-C": "the rule has no condition, so that any invoice id breaks it",
}


@dataclass(frozen=True)
class Validation:
    """What the validator said: how many checks ran, and the rules that failed, leaving out those made of others."""

    ran: int
    failed: frozenset[str]

    @property
    def faults(self) -> frozenset[str]:
        """The rules that failed and are not defective themselves."""
        return self.failed - DEFECTIVE.keys()


def validate(file: Path) -> Validation:
    """Validate a Parquet file with the columns of FOCUS 1.2. Every rule applies, whatever the file claims of itself."""
    environment = FOCUS_VALIDATOR.folder
    [packages] = environment.glob("lib/python3*/site-packages")
    said = file.with_suffix(".xml")
    finished = subprocess.run(
        [
            environment / "bin" / "focus-validator",
            *("--data-file", file),
            *("--validate-version", "1.2"),
            "--block-download",
            *("--applicability-criteria", "ALL"),
            *("--output-type", "unittest"),
            *("--output-destination", said),
        ],
        # It opens its own list of currencies by a path from here.
        cwd=packages,
        capture_output=True,
        text=True,
    )
    # Its exit code is 0 whatever it finds; without a report it has not run.
    assert said.is_file(), finished.stdout + finished.stderr
    suite = ElementTree.parse(said).getroot()
    failed = set()
    for case in suite.iter("testcase"):
        rule, _, kind = case.attrib["name"].partition(" :: ")
        assert case.find("error") is None, f"{rule}: the validator could not run its own check"
        if case.find("failure") is not None and kind != "Composite":
            failed.add(rule)
    return Validation(int(suite.attrib["tests"]) - int(suite.attrib["skipped"]), frozenset(failed))


def write_charges(sources: Iterable[BillSource], folder: Path, *, periods: Collection[str] = ()) -> Path:
    """The sources' charges as billing.focus_1_2 has them, of every period or of some; of too many, some of every kind."""
    connection = connect(scratch=folder)
    create_charges(connection, sources, folder, periods=periods)
    # Each kind of line in turn, so that all of them are among the rows taken.
    connection.execute(
        "CREATE VIEW some_charges AS SELECT * FROM billing.charges ORDER BY row_number() OVER (PARTITION BY "
        "x_SourceName, x_BillingPeriod, x_SourceLineItemType, x_SourcePart, ChargeCategory, ServiceName "
        f"ORDER BY x_SourceFile, x_SourceRow) LIMIT {MOST_ROWS}"
    )
    target = folder / "focus_1_2.parquet"
    # The validator takes JSON for text.
    select = focus_sql("1_2", json="VARCHAR", of="some_charges")
    connection.execute(f"COPY ({select}) TO {literal(target)} (FORMAT parquet)")
    return target
