"""The official FOCUS validator (PyPI focus-validator) over typed Parquet, offline, for version 1.2, the only one it ships rules for."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pipelines.config import BillSource
from pipelines.lake.database import connect, literal
from pipelines.models.contracts import contracts
from pipelines.models.sql_models import bind, load_sql, parameters_of, register_mappings
from pipelines.sources.deliveries import DeliveredFile
from pipelines.sources.kinds import reader, source_kind
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
    register_mappings(connection)
    parts = []
    for source in sources:
        for delivery in source_kind(source.kind).deliveries(source):
            if periods and delivery.period not in periods:
                continue
            mapping = delivery.details.get("mapping", source.kind)
            scratch = folder / f"{source.name}-{delivery.period}"
            delivered = reader(mapping).create_delivered(
                connection,
                [_fetched(file, scratch / "landed") for file in delivery.files],
                [file.name for file in delivery.files],
                delivery.details,
                billing_period=delivery.period,
                scratch=scratch,
            )
            reader(mapping).create_delivered_rows(
                connection, delivered, delivery.details, billing_period=delivery.period, relation="delivery"
            )
            values = {
                "source_name": source.name,
                "source_kind": source.kind,
                "billing_period": delivery.period,
                "source_version": delivery.version,
            }
            sql = load_sql(f"normalise/{mapping}")
            select = bind(sql, {name: values[name] for name in parameters_of(sql)})
            part = folder / f"{source.name}-{delivery.period}.parquet"
            connection.execute(f"COPY ({select}) TO {literal(part)} (FORMAT parquet)")
            parts.append(str(part))
    listed = ", ".join(map(literal, parts))
    # Each kind of line in turn, so that all of them are among the rows taken.
    connection.execute(
        f"CREATE VIEW every_charge AS SELECT * FROM read_parquet([{listed}]) ORDER BY row_number() OVER (PARTITION BY "
        "x_SourceName, x_BillingPeriod, x_SourceLineItemType, x_SourcePart, ChargeCategory, ServiceName "
        f"ORDER BY x_SourceFile, x_SourceRow) LIMIT {MOST_ROWS}"
    )
    connection.execute("CREATE SCHEMA billing")
    connection.execute("CREATE VIEW billing.charges AS SELECT * FROM every_charge")
    columns = ", ".join(
        # The validator takes JSON for text.
        f"CAST({column.name} AS {'VARCHAR' if column.type == 'JSON' else column.type}) AS {column.name}"
        for column in contracts()["billing.focus_1_2"].columns
    )
    target = folder / "focus_1_2.parquet"
    connection.execute(
        f"COPY (SELECT {columns} FROM ({load_sql('billing/focus_1_2')})) TO {literal(target)} (FORMAT parquet)"
    )
    return target


def _fetched(file: DeliveredFile, folder: Path) -> Path:
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    file.save(target)
    return target
