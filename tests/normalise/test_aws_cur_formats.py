"""The forms that AWS delivers bills in: ZIP archives, CUR 2.0 in CSV, split cost allocation data."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config import AwsCurSource
from pipelines.errors import DeliveryError
from pipelines.sources.aws_cur import deliveries
from tests.normalise.bills import control, failed_audits, line, normalised, rows, write_cur2, write_legacy

_INSTANCE = "i-0abc"


def _zipped(folder: Path, *members: str, lines: int = 2) -> Path:
    """A report of ``lines`` lines that cost 1, 2, …, in an archive once under each of these names."""
    plain = write_legacy(folder / "plain.csv", [line("Usage", cost) for cost in range(1, lines + 1)])
    file = folder / "report-1.csv.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, plain.read_bytes())
    plain.unlink()
    return file


def test_a_report_in_a_zip_archive_is_read_as_the_csv_in_it(tmp_path: Path) -> None:
    connection = normalised(tmp_path / "scratch", [_zipped(tmp_path, "report-1.csv")])
    assert rows(connection, "SELECT x_SourceFile, x_SourceRow, BilledCost FROM staged") == [
        ("report-1.csv.zip", 1, "1"),
        ("report-1.csv.zip", 2, "2"),
    ]


def test_the_name_inside_an_archive_leads_nowhere(tmp_path: Path) -> None:
    connection = normalised(tmp_path / "scratch", [_zipped(tmp_path, "../../outside.csv")])
    assert rows(connection, "SELECT sum(BilledCost) FROM staged") == [("3",)]
    assert not list(tmp_path.rglob("outside.csv"))


def test_an_unpacked_archive_takes_no_room_once_it_is_read(tmp_path: Path) -> None:
    normalised(tmp_path / "scratch", [_zipped(tmp_path, "report-1.csv")])
    assert not list((tmp_path / "scratch").rglob("*.csv"))


@pytest.mark.parametrize("members", [(), ("one.csv", "two.csv"), ("report.json",)])
def test_an_archive_of_anything_but_one_csv_file_is_refused(tmp_path: Path, members: tuple[str, ...]) -> None:
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "scratch", [_zipped(tmp_path, *members)])
    assert refused.value.problem == "The ZIP archive holds something else than one CSV file."
    assert (refused.value.where, refused.value.found) == ("report-1.csv.zip", ", ".join(members) or "nothing")


def _broken_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _other_bytes(content: bytes) -> bytes:
    # A local header is 30 bytes and the name; the packed bytes follow.
    start = 30 + len("report-1.csv") + 40
    return content[:start] + bytes(8) + content[start + 8 :]


def _other_checksum(content: bytes) -> bytes:
    # The checksum that counts is the central directory's: 16 bytes after its signature.
    at = content.rindex(b"PK\x01\x02") + 16
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [_broken_off, _other_bytes, _other_checksum])
def test_a_damaged_archive_is_refused_by_name(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = _zipped(tmp_path, "report-1.csv", lines=200)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "scratch", [file])
    assert (refused.value.problem, refused.value.where) == ("The ZIP archive can't be read.", "report-1.csv.zip")


def test_a_bare_archive_takes_its_period_from_its_lines(tmp_path: Path) -> None:
    (delivery,) = deliveries(AwsCurSource(name="payer", files=(_zipped(tmp_path, "report-1.csv"),)))
    assert (delivery.period, dict(delivery.details)) == (
        "2026-09",
        {"dialect": "cur-1", "format": "csv", "rows": "all"},
    )


def test_cur_2_in_csv_gives_the_charges_of_its_parquet(tmp_path: Path) -> None:
    bill = [
        line(
            "Usage",
            10.25,
            pricing_public_on_demand_cost=12.5,
            pricing_rate_code="SKU1.JRTCKXETXF",
            resource_tags={"user_team": "search", "user_note": 'say "hi",\nü'},
            cost_category={"unit": "u1"},
            product={"product_name": "Amazon Elastic Compute Cloud", "vcpu": "96"},
            discount={"edp": "-0.125"},
        ),
        line("Usage", 2.93e-8, resource_tags={}, cost_category={}, product={}, discount={}),
    ]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(list(dict.fromkeys(name for row in bill for name in row)))
    for row in bill:
        # AWS prints a map as JSON, and numbers in it bare.
        cells = {**row, "discount": {key: float(value) for key, value in row["discount"].items()}}
        writer.writerow(
            json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
            for value in (cells.get(name, "") for name in dict.fromkeys(n for r in bill for n in r))
        )
    packed = tmp_path / "bill.csv"
    packed.write_text(text.getvalue(), encoding="utf-8", newline="")
    everything = "SELECT * EXCLUDE (x_SourceFile) FROM staged"
    from_csv = normalised(tmp_path / "a", [packed])
    from_parquet = normalised(tmp_path / "b", [write_cur2(tmp_path / "bill.parquet", bill)])
    assert from_csv.sql(everything).fetchall() == from_parquet.sql(everything).fetchall()
    assert rows(from_csv, "SELECT BilledCost, Tags FROM staged") == [
        ("10.25", '{"note":"say \\"hi\\",\\nü","team":"search"}'),
        ("0.0000000293", None),
    ]


def test_container_shares_are_facts_of_their_parent_and_cost_nothing_on_top(tmp_path: Path) -> None:
    share = {
        "line_item_operation": "EKSPod-EC2",
        "line_item_usage_type": "EU-EKS-EC2-vCPU-Hours",
        "split_line_item_parent_resource_id": _INSTANCE,
        "split_line_item_reserved_usage": 4,
        "split_line_item_split_usage": 4,
    }
    file = write_cur2(
        tmp_path / "bill.parquet",
        [
            line("Usage", 10, line_item_resource_id=_INSTANCE, line_item_operation="RunInstances"),
            line(
                "Usage",
                0,
                line_item_resource_id="arn:aws:eks:eu-central-1:000000000042:pod/train/ns/job/1",
                split_line_item_split_usage_ratio=0.75,
                split_line_item_split_cost=6.5,
                split_line_item_unused_cost=0.25,
                **share,
            ),
            line(
                "Usage",
                None,
                line_item_resource_id="arn:aws:eks:eu-central-1:000000000042:pod/train/ns/job/2",
                split_line_item_split_usage_ratio=0.25,
                split_line_item_split_cost=3.1e-7,
                **share,
            ),
        ],
    )
    connection = normalised(tmp_path / "scratch", [file])
    assert rows(
        connection, "SELECT BilledCost, EffectiveCost, ConsumedQuantity, x_SplitCostAllocation FROM staged"
    ) == [
        ("10", "10", None, None),
        (
            "0",
            "0",
            None,
            '{"ParentResourceId":"i-0abc","ReservedUsage":4,"SplitCost":6.5,"SplitUsage":4,"SplitUsageRatio":0.75,'
            '"UnusedCost":0.25}',
        ),
        (
            "0",
            "0",
            None,
            '{"ParentResourceId":"i-0abc","ReservedUsage":4,"SplitCost":0.00000031,"SplitUsage":4,"SplitUsageRatio":0.25}',
        ),
    ]
    # The instance's 10 are all there is; the shares' 6.5 + 0.25 + 0.00000031 are parts of it.
    assert control(connection) == [("USD", 3, 0, 0, 0, "10", "10", "10", "10")]
    assert failed_audits(connection) == {}


def test_a_fargate_share_costs_what_its_own_line_says(tmp_path: Path) -> None:
    file = write_cur2(
        tmp_path / "bill.parquet",
        [line("Usage", 2, line_item_operation="FargateTask", split_line_item_split_cost=1.5)],
    )
    connection = normalised(tmp_path / "scratch", [file])
    assert rows(connection, "SELECT BilledCost, x_SplitCostAllocation FROM staged") == [("2", '{"SplitCost":1.5}')]


@pytest.mark.parametrize(
    ("machine", "details"),
    [
        # Amazon's own page of the types: 8 H100 and 2 TiB; an RDS class is the machine behind its prefix.
        (
            "p5.48xlarge",
            '{"CoreCount":192,"GpuCount":8,"InstanceSeries":"p5","InstanceType":"p5.48xlarge","MemorySize":2048}',
        ),
        ("db.r5.large", '{"CoreCount":2,"InstanceSeries":"r5","InstanceType":"db.r5.large","MemorySize":16}'),
        ("ml.g5.xlarge", '{"CoreCount":4,"GpuCount":1,"InstanceSeries":"g5","InstanceType":"ml.g5.xlarge","MemorySize":16}'),
        # Not in the mappings: the bill's own words.
        ("zz9.large", '{"CoreCount":6,"GpuCount":2,"InstanceSeries":"zz9","InstanceType":"zz9.large","MemorySize":1152}'),
    ],
)  # fmt: skip
def test_a_machine_has_the_properties_that_focus_names(tmp_path: Path, machine: str, details: str) -> None:
    product = {"vcpu": "6", "gpu": "2", "memory": "1,152 GiB"} if machine == "zz9.large" else {}
    file = write_cur2(
        tmp_path / "bill.parquet",
        [line("Usage", 1, pricing_rate_code="SKU.A", product_instance_type=machine, product=product)],
    )
    assert rows(normalised(tmp_path / "scratch", [file]), "SELECT SkuPriceDetails FROM staged") == [(details,)]


def test_a_focus_file_is_sent_to_its_own_kind(tmp_path: Path) -> None:
    file = tmp_path / "focus.csv"
    file.write_text("BilledCost,ChargePeriodStart\n1,2026-09-01T00:00:00Z\n")
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "scratch", [file])
    assert "kind: focus" in refused.value.remedy
