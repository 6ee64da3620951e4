"""A delivery that breaks while it is read is refused by name, and its refusal is kept."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest

from pipelines.config import AwsCurSource, Settings
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.lake.landing import land
from pipelines.lake.tables import ensure_table, relation_sql, table_files
from pipelines.models.contracts import contracts
from pipelines.models.lineage import Lineage
from pipelines.models.normalisation import normalise
from pipelines.sources.aws_cur import deliveries
from tests.normalise.bills import PERIOD, line, write_cur2


def _with_damaged_costs(path: Path) -> Path:
    """The bill with every byte of the costs' pages set to 0xff; its footer is whole."""
    write_cur2(path, [line("Usage", cost) for cost in range(1, 500)])
    group = pyarrow.parquet.read_metadata(path).row_group(0)
    costs = next(
        chunk
        for chunk in map(group.column, range(group.num_columns))
        if chunk.path_in_schema == "line_item_unblended_cost"
    )
    start = costs.dictionary_page_offset or costs.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + costs.total_compressed_size] = b"\xff" * costs.total_compressed_size
    path.write_bytes(content)
    return path


def test_a_damaged_parquet_file_is_refused_by_name_and_the_refusal_kept(tmp_path: Path) -> None:
    file = _with_damaged_costs(tmp_path / "cur.parquet")
    source = AwsCurSource(name="payer", files=(file,))
    lineage = Lineage(Settings(lake=tmp_path / "lake", bills=(source,), file=tmp_path / "apportion.yaml"))
    [delivery] = deliveries(source)
    land(lineage.lake, delivery)
    for contract in contracts().values():
        if contract.kind == "table":
            ensure_table(lineage.lake, contract)

    with pytest.raises(DeliveryError) as refused:
        normalise(lineage, "payer", PERIOD)

    assert refused.value.exit_code == 3
    assert refused.value.where == (
        f"source payer, billing period {PERIOD}, version {delivery.version}, file(s) cur.parquet"
    )
    assert isinstance(refused.value.__cause__, duckdb.Error)
    rejected = contracts()["quality.rejected"]
    with connect() as connection:
        kept = relation_sql(connection, rejected, [part.path for part in table_files(lineage.lake, rejected)])
        assert connection.sql(f"SELECT reason, audit, message FROM ({kept})").fetchall() == [
            ("delivery refused", "readable", str(refused.value))
        ]
