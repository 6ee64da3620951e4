"""The facts in sql/mappings hold together: keys are unique, files are sorted, and what one file names another has."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from pipelines.lake.database import SQL_FOLDER, connect
from pipelines.models.sql_models import register_mappings

MAPPINGS = SQL_FOLDER / "mappings"
SAMPLES = SQL_FOLDER.parents[1] / "shared" / "samples" / "aws"

KEYS = {
    "commitment_rates": ("provider", "sku_pattern"),
    "gpu_models": ("telemetry_name",),
    "instance_types": ("provider", "instance_type"),
    "regions": ("provider", "region_id"),
    "service_categories": ("service_category", "service_subcategory"),
    "services": ("provider", "service_code"),
    "token_weights": ("model", "token_class"),
    "units": ("provider", "source_unit"),
}
TOKEN_CLASSES = {"input_uncached", "cache_read", "cache_write", "output"}


def rows_of(mapping: str) -> list[dict[str, str]]:
    with (MAPPINGS / f"{mapping}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("mapping", sorted(KEYS))
def test_no_key_appears_twice_or_is_empty(mapping: str) -> None:
    keys = Counter(tuple(row[column] for column in KEYS[mapping]) for row in rows_of(mapping))
    assert {key: count for key, count in keys.items() if count > 1 or "" in key} == {}


@pytest.mark.parametrize("mapping", sorted(KEYS))
def test_rows_are_sorted_by_bytes_and_have_no_blanks_around(mapping: str) -> None:
    rows = [[value.encode() for value in row.values()] for row in rows_of(mapping)]
    assert rows == sorted(rows)
    assert [row for row in rows if any(value != value.strip() for value in row)] == []


@pytest.mark.parametrize("mapping", sorted(KEYS))
def test_sql_reads_what_the_file_says(mapping: str) -> None:
    connection = connect()
    register_mappings(connection)
    read = connection.execute(f"SELECT * FROM mappings.{mapping}")
    assert {str(column[1]) for column in read.description} == {"VARCHAR"}
    assert read.fetchall() == [tuple(value or None for value in row.values()) for row in rows_of(mapping)]


def test_every_service_lies_in_a_pair_of_category_and_subcategory_that_focus_allows() -> None:
    allowed = {(row["service_category"], row["service_subcategory"]) for row in rows_of("service_categories")}
    services = rows_of("services")
    assert [row for row in services if (row["service_category"], row["service_subcategory"]) not in allowed] == []
    assert len(services) >= 150


def test_every_gpu_of_an_instance_type_has_a_model_and_only_gpu_types_have_a_count() -> None:
    models = {row["gpu_model"] for row in rows_of("gpu_models")}
    types = rows_of("instance_types")
    assert {row["gpu_model"] for row in types} - models - {""} == set()
    assert [row for row in types if bool(row["gpu_model"]) != bool(row["gpu_count"])] == []
    assert [row for row in types if row["gpu_count"] and int(row["gpu_count"]) < 1] == []


def test_instance_types_have_the_figures_that_aws_publishes() -> None:
    by_type = {row["instance_type"]: tuple(row.values())[2:] for row in rows_of("instance_types")}
    expected = {
        "t3.micro": ("t3", "2", "1", "", ""),
        "m5.large": ("m5", "2", "8", "", ""),
        "g4dn.xlarge": ("g4dn", "4", "16", "1", "NVIDIA T4"),
        "g6.48xlarge": ("g6", "192", "768", "8", "NVIDIA L4"),
        "p3.2xlarge": ("p3", "8", "61", "1", "NVIDIA V100 16GB"),
        "p4d.24xlarge": ("p4d", "96", "1152", "8", "NVIDIA A100 40GB"),
        "p5.48xlarge": ("p5", "192", "2048", "8", "NVIDIA H100 80GB"),
        "trn1.32xlarge": ("trn1", "128", "512", "16", "AWS Trainium"),
    }
    assert {name: by_type[name] for name in expected} == expected


def test_instance_types_have_the_figures_that_google_publishes() -> None:
    by_type = {
        row["instance_type"]: tuple(row.values())[2:]
        for row in rows_of("instance_types")
        if row["provider"] == "Google Cloud"
    }
    expected = {
        "a2-highgpu-8g": ("a2", "96", "680", "8", "NVIDIA A100 40GB"),
        "a3-highgpu-8g": ("a3", "208", "1872", "8", "NVIDIA H100 80GB"),
        "g2-standard-24": ("g2", "24", "96", "2", "NVIDIA L4"),
        "n1-standard-4": ("n1", "4", "15", "", ""),
        "n2-highmem-128": ("n2", "128", "864", "", ""),
    }
    assert {name: by_type[name] for name in expected} == expected


def test_the_rate_of_a_commitment_is_the_part_of_the_list_price_that_is_left() -> None:
    rows = rows_of("commitment_rates")
    assert [row for row in rows if not 0 < Decimal(row["rate"]) < 1 or not row["basis"]] == []
    # 6 places at most: the rate is multiplied with amounts exactly.
    assert [row for row in rows if int(Decimal(row["rate"]).as_tuple().exponent) < -6] == []
    # Compute flexible commitments take 28 % off in one year, 46 % in three.
    rates = {row["sku_pattern"]: row["rate"] for row in rows}
    assert rates["Commitment - dollar based v1: GCE for 1 year%"] == "0.72"
    assert rates["Commitment - dollar based v1: GCE for 3 years%"] == "0.54"


def test_every_name_of_a_gpu_model_has_the_same_price_and_memory() -> None:
    facts = {(row["gpu_model"], row["list_price_per_gpu_hour"], row["memory_gib"]) for row in rows_of("gpu_models")}
    assert [model for model, count in Counter(model for model, _, _ in facts).items() if count > 1] == []


def test_gpu_prices_are_positive_decimals_with_their_basis() -> None:
    rows = rows_of("gpu_models")
    assert [row for row in rows if not Decimal(row["list_price_per_gpu_hour"]) > 0 or not row["price_basis"]] == []
    assert [row for row in rows if not row["as_of"] and not row["note"]] == []
    # AWS p4d.24xlarge: 21.957642 USD an hour, 8 GPUs: 21.957642 / 8 = 2.74470525
    a100 = {row["list_price_per_gpu_hour"] for row in rows if row["gpu_model"] == "NVIDIA A100 40GB"}
    assert a100 == {"2.74470525"}


def test_every_model_has_a_weight_for_every_token_class() -> None:
    classes: dict[str, set[str]] = {}
    for row in rows_of("token_weights"):
        classes.setdefault(row["model"], set()).add(row["token_class"])
    assert {model for model, found in classes.items() if found != TOKEN_CLASSES} == set()
    assert "*" in classes


def test_token_weights_are_decimals_that_say_what_they_rest_on() -> None:
    rows = rows_of("token_weights")
    assert [row for row in rows if Decimal(row["weight"]) < 0 or row["basis"] not in ("list_price", "declared")] == []
    assert [row for row in rows if row["basis"] == "declared" and not row["note"]] == []
    assert [row["as_of"] for row in rows if date.fromisoformat(row["as_of"]).isoformat() != row["as_of"]] == []
    # USD 2.50, 1.25, 2.50 (no surcharge for writing the cache) and 10 for a million tokens
    gpt_4o = {row["token_class"]: row["weight"] for row in rows if row["model"] == "gpt-4o"}
    assert gpt_4o == {"input_uncached": "2.5", "cache_read": "1.25", "cache_write": "2.5", "output": "10"}


def test_regions_cover_the_commercial_china_and_government_partitions() -> None:
    names = {row["region_id"]: row["region_name"] for row in rows_of("regions")}
    expected = {
        "us-east-1": "US East (N. Virginia)",
        "eu-central-1": "Europe (Frankfurt)",
        "cn-north-1": "China (Beijing)",
        "us-gov-west-1": "AWS GovCloud (US-West)",
    }
    assert {region: names[region] for region in expected} == expected


def test_units_say_the_same_however_the_bill_spells_them() -> None:
    units = {row["source_unit"]: row["focus_unit"] for row in rows_of("units")}
    assert {units[spelling] for spelling in ("Hrs", "hours", "Hourly")} == {"Hours"}
    assert {units[spelling] for spelling in ("GB-Mo", "GB-month", "GB-Month")} == {"GB-Months"}


@pytest.mark.skipif(not SAMPLES.exists(), reason="the sample bills are not beside the repository")
def test_mappings_know_what_a_real_bill_uses() -> None:
    sample = SAMPLES / "cur1_anonymous_2023-11.csv"
    with sample.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 1281
    services = {row["service_code"]: row["service_name"] for row in rows_of("services")}
    units = {row["source_unit"] for row in rows_of("units")}
    regions = {row["region_id"] for row in rows_of("regions")}
    billed = {line["lineItem/ProductCode"]: line["product/ProductName"] for line in lines}
    assert {code: services.get(code) for code in billed} == billed
    assert {line["pricing/unit"] for line in lines} - units == {""}
    assert {line["product/region"] for line in lines} - regions == {"", "global"}
