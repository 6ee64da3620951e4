"""Delivered files as one relation: exact amounts, text as text, every row in its place, and what can't be read refused."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from tests.normalise.bills import (
    SAMPLES,
    control,
    failed_audits,
    line,
    normalised,
    rejected,
    rows,
    write_cur2,
    write_legacy,
)

_needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the sample bills are not at {SAMPLES}")
_session = connect()


def _rounded(text: str) -> Decimal:
    with localcontext() as context:
        context.prec = 80
        return Decimal(text).quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP)


@settings(max_examples=300, deadline=None)
@given(st.floats(min_value=-1e19, max_value=1e19, allow_nan=False))
def test_a_double_becomes_the_decimal_of_its_shortest_text(number: float) -> None:
    assert _session.execute("SELECT try_exact_decimal(?)", [number]).fetchone() == (_rounded(repr(number)),)


@settings(max_examples=300, deadline=None)
@given(st.decimals(min_value=Decimal(-(10**12)), max_value=Decimal(10**12), places=12))
def test_a_double_of_a_price_keeps_its_digits(price: Decimal) -> None:
    number = float(price)
    assert _session.execute("SELECT try_exact_decimal(?)", [number]).fetchone() == (_rounded(repr(number)),)


@settings(max_examples=300, deadline=None)
@given(
    st.decimals(min_value=Decimal(-(10**15)), max_value=Decimal(10**15), allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "e", "E"]),
    st.integers(min_value=-22, max_value=3),
)
def test_text_becomes_its_decimal_with_or_without_an_exponent(number: Decimal, mark: str, exponent: int) -> None:
    text = f"{number:f}{mark}{exponent if mark else ''}"
    # DuckDB reads no more than 38 digits, which no bill has.
    if sum(character.isdigit() for character in text) <= 20:
        assert _session.execute("SELECT try_exact_decimal_of_text(?)", [text]).fetchone() == (_rounded(text),)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e20, -1e300])
def test_what_is_no_amount_is_no_decimal(number: float) -> None:
    assert _session.execute("SELECT try_exact_decimal(?)", [number]).fetchone() == (None,)


@pytest.mark.parametrize(
    "text",
    [
        *("abc", "1,000", "nan", "inf", "Infinity", "1e20", "1e400", "12 USD", "$1", "10%", "(1)", "1 000", "1f", "."),
        # What DuckDB's casts take for numbers, or those of other languages do.
        *("1_000", "1_000_000.000000000000", "0x10", "0b11", "+-1", " +-1", "+-1234567890.123456", "true", "\uff11"),
    ],
)
def test_text_that_is_no_amount_is_no_decimal(text: str) -> None:
    assert _session.execute("SELECT try_exact_decimal_of_text(?)", [text]).fetchone() == (None,)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_rows_are_numbered_and_kept_in_delivery_order_whatever_the_threads(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPORTION_THREADS", str(threads))
    small = write_cur2(tmp_path / "small.parquet", [line("Usage", 1), line("Usage", 2)])
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    with duckdb.connect() as writer:
        for file, lines in ((first, 30_000), (second, 9_000)):
            # Many row groups, so that several threads read one file; types with and without a row in the mappings.
            writer.execute(
                f"COPY (SELECT bill.* REPLACE (CAST(n + 1 AS DOUBLE) AS line_item_unblended_cost, "
                f"CASE WHEN n % 7 = 0 THEN 'NotListed' ELSE 'AmazonEC2' END AS line_item_product_code, "
                f"CASE WHEN n % 5 = 0 THEN 'SavingsPlanNegation' ELSE 'Usage' END AS line_item_line_item_type) "
                f"FROM range({lines}) AS numbers(n), (SELECT * FROM read_parquet('{small}') LIMIT 1) AS bill) "
                f"TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
            )
    connection = normalised(tmp_path / "scratch", [first, second])
    expected = [
        (file, n + 1, n + 1) for file, lines in ((first, 30_000), (second, 9_000)) for n in range(lines) if n % 5
    ]
    assert connection.sql("SELECT x_SourceFile, x_SourceRow, CAST(BilledCost AS BIGINT) FROM staged").fetchall() == [
        (file.name, row, cost) for file, row, cost in expected
    ]


@pytest.mark.parametrize("threads", [1, 4])
def test_csv_rows_are_numbered_by_line_whatever_the_threads(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPORTION_THREADS", str(threads))
    lines = [line("Usage", number, line_item_line_item_description=f"quoted\n, {number}") for number in range(1, 3001)]
    connection = normalised(tmp_path / "scratch", [write_legacy(tmp_path / "bill.csv", lines)])
    assert connection.sql(
        "SELECT x_SourceRow, CAST(BilledCost AS BIGINT), ChargeDescription FROM staged"
    ).fetchall() == [(number, number, f"quoted\n, {number}") for number in range(1, 3001)]


def test_leading_zeros_repeated_ids_and_seventeen_digits_survive(tmp_path: Path) -> None:
    lines = [
        line("Usage", 0.1 + 0.2, identity_line_item_id="same", line_item_usage_account_id="000000000007"),
        line("Usage", 1234567890.1234567, identity_line_item_id="same", bill_payer_account_id="001234567890"),
        line("Usage", 5e-19, identity_line_item_id="same"),
    ]
    for file in (write_cur2(tmp_path / "bill.parquet", lines), write_legacy(tmp_path / "bill.csv", lines)):
        connection = normalised(tmp_path / file.suffix, [file])
        assert rows(connection, "SELECT SubAccountId, BillingAccountId, BilledCost FROM staged") == [
            # 0.1 + 0.2 is the double 0.30000000000000004; 5e-19 rounds away from zero at the 18th place.
            ("000000000007", "012345678901", "0.30000000000000004"),
            ("000000000042", "001234567890", "1234567890.1234567"),
            ("000000000042", "012345678901", "0.000000000000000001"),
        ]


def test_files_of_one_delivery_may_differ_in_columns(tmp_path: Path) -> None:
    first = write_cur2(tmp_path / "1.parquet", [line("Usage", 1, resource_tags={"user_team": "search"})])
    second = write_cur2(tmp_path / "2.parquet", [line("Usage", 2, pricing_public_on_demand_cost=3)])
    connection = normalised(tmp_path / "scratch", [first, second])
    assert rows(connection, "SELECT x_SourceFile, x_SourceRow, BilledCost, ListCost, Tags FROM staged") == [
        ("1.parquet", 1, "1", "1", '{"team":"search"}'),
        ("2.parquet", 1, "2", "3", None),
    ]


def test_legacy_parquet_with_a_column_for_each_tag_is_read_like_the_csv(tmp_path: Path) -> None:
    file = write_cur2(
        tmp_path / "bill.parquet",
        [
            line(
                "Usage",
                1,
                resource_tags_user_team="search",
                resource_tags_user_owner="",
                product_operating_system="Linux",
            )
        ],
        types=dict.fromkeys(
            ("resource_tags_user_team", "resource_tags_user_owner", "product_operating_system"), "VARCHAR"
        ),
    )
    connection = normalised(tmp_path / "scratch", [file])
    assert rows(connection, "SELECT Tags FROM staged") == [('{"team":"search"}',)]


def test_cur_2_in_csv_holds_its_maps_as_json(tmp_path: Path) -> None:
    file = tmp_path / "bill.csv"
    cells = {**line("Usage", "1"), "resource_tags": '{"user_team":"search"}', "product": "{}"}
    file.write_text(_csv([list(cells), list(cells.values())]), encoding="utf-8-sig")
    assert rows(normalised(tmp_path / "scratch", [file]), "SELECT Tags FROM staged") == [('{"team":"search"}',)]


def test_tags_that_differ_in_case_only_are_different_tags(tmp_path: Path) -> None:
    lines = [line("Usage", 1, resource_tags={"user_Team": "a", "user_team": "b"})]
    connection = normalised(tmp_path / "scratch", [write_legacy(tmp_path / "bill.csv", lines)])
    assert rows(connection, "SELECT Tags FROM staged") == [('{"Team":"a","team":"b"}',)]


def test_only_the_lines_of_the_period_are_taken_from_files_that_hold_several(tmp_path: Path) -> None:
    august = line("Usage", 5, bill_billing_period_start_date="2026-08-01T00:00:00Z")
    file = write_legacy(tmp_path / "bill.csv", [august, line("Usage", 7)])
    connection = normalised(tmp_path / "scratch", [file], details={"format": "csv", "rows": "of-period"})
    assert rows(connection, "SELECT x_SourceRow, BilledCost FROM staged") == [(2, "7")]
    other = normalised(tmp_path / "other", [file], period="2026-08", details={"format": "csv", "rows": "of-period"})
    assert rows(other, "SELECT x_SourceRow, BilledCost FROM staged") == [(1, "5")]


def test_a_csv_value_that_is_no_number_is_named(tmp_path: Path) -> None:
    file = write_legacy(tmp_path / "bill.csv", [line("Usage", 1), line("Usage", "1,5")])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "scratch", [file])
    assert refused.value.where == "bill.csv, row 2, column lineItem/UnblendedCost"
    assert refused.value.found == "'1,5'"


def test_a_csv_value_that_is_no_time_is_named(tmp_path: Path) -> None:
    file = write_legacy(tmp_path / "bill.csv", [line("Usage", 1, line_item_usage_start_date="yesterday")])
    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "scratch", [file])
    assert (refused.value.where, refused.value.found) == (
        "bill.csv, row 1, column lineItem/UsageStartDate",
        "'yesterday'",
    )


def test_a_parquet_value_that_is_no_amount_is_named(tmp_path: Path) -> None:
    file = write_cur2(tmp_path / "bill.parquet", [line("Usage", 1), line("Usage", 1e25)])
    with pytest.raises(
        duckdb.Error,
        match=r"bill\.parquet, row 2, column line_item_unblended_cost: 1e\+25 is not a number below 10\^20",
    ):
        normalised(tmp_path / "scratch", [file])


def test_a_file_that_is_no_bill_names_the_columns_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DeliveryError, match="lacks columns") as refused:
        normalised(tmp_path / "scratch", [file])
    assert "line_item_unblended_cost" in refused.value.expected


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = write_legacy(tmp_path / "bill.csv.gz", [line("Usage", number) for number in range(500)])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DeliveryError):
        normalised(tmp_path / "scratch", [file])


def test_a_csv_row_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    header = list(line("Usage", 1))
    full = [str(value) for value in line("Usage", 1).values()]
    file = tmp_path / "bill.csv"
    file.write_text(_csv([header, full, full[:-3]]))
    with pytest.raises(DeliveryError):
        normalised(tmp_path / "scratch", [file])


def test_windows_line_ends_and_gzip_make_no_difference(tmp_path: Path) -> None:
    table = _csv([list(line("Usage", 1)), [str(value) for value in line("Usage", 1.5).values()]])
    file = tmp_path / "bill.csv.gz"
    with gzip.open(file, "wb") as archive:
        archive.write(table.replace("\n", "\r\n").encode())
    assert rows(
        normalised(tmp_path / "scratch", [file]), "SELECT x_SourceRow, BilledCost, ServiceName FROM staged"
    ) == [(1, "1.5", "Amazon Elastic Compute Cloud")]


@_needs_samples
def test_a_real_bill_adds_up_to_its_text(tmp_path: Path) -> None:
    sample = SAMPLES / "cur1_anonymous_2023-11.csv"
    with sample.open(newline="") as file:
        delivered = list(csv.DictReader(file))
    unblended = sum((Decimal(row["lineItem/UnblendedCost"]) for row in delivered), Decimal(0))
    assert unblended == Decimal("1.68230869740")
    connection = normalised(tmp_path, [sample], period="2023-11")
    assert connection.sql("SELECT sum(BilledCost), sum(EffectiveCost), count(*) FROM staged").fetchall() == [
        (unblended, unblended, 1281)
    ]
    assert connection.sql("SELECT BilledCost FROM staged").fetchall() == [
        (Decimal(row["lineItem/UnblendedCost"]),) for row in delivered
    ]
    # Tax has no public price (AWS prints 0.0): its list cost is the tax.
    priced = {"Usage": "pricing/publicOnDemandCost", "Tax": "lineItem/UnblendedCost"}
    public = sum((Decimal(row[priced[row["lineItem/LineItemType"]]]) for row in delivered), Decimal(0))
    assert control(connection, "2023-11") == [
        ("USD", 1281, 0, 0, 0, "1.6823086974", "1.6823086974", f"{public.normalize():f}", "1.6823086974")
    ]
    assert rejected(connection, "2023-11") == []
    assert failed_audits(connection, "2023-11") == {}
    assert rows(connection, "SELECT x_IsFinal, ChargeCategory, count(*) FROM staged GROUP BY ALL ORDER BY ALL") == [
        (False, "Tax", 12),
        (False, "Usage", 1269),
    ]


@_needs_samples
@pytest.mark.parametrize(("name", "final"), [("2023-06-01.csv", True), ("2023-06-01-not-final.csv", False)])
def test_a_sample_without_negation_lacks_what_its_plan_covers(tmp_path: Path, name: str, final: bool) -> None:
    connection = normalised(tmp_path, [SAMPLES / name], period="2023-06")
    # Three covered hours at 10 NOK each and no negation: 30 of the invoice are in no charge. 3 x 0.1 is effective.
    assert failed_audits(connection, "2023-06") == {"savings_plan_netting_cancels": [("NOK", None, "30", "0", "-30")]}
    assert control(connection, "2023-06") == [("NOK", 3, 0, 0, 0, "30", "0.3", "30", "30")]
    assert rows(connection, "SELECT BillingCurrency, sum(BilledCost), sum(EffectiveCost), bool_and(x_IsFinal) FROM staged GROUP BY 1") == [
        ("NOK", "0", "0.3", final)
    ]  # fmt: skip
    payer = "0099999999999" if final else "9999999999999"
    assert rows(connection, "SELECT DISTINCT BillingAccountId FROM staged") == [(payer,)]


@_needs_samples
def test_a_sample_in_athena_spelling_is_free_marketplace_software(tmp_path: Path) -> None:
    connection = normalised(tmp_path, [SAMPLES / "2022-07-01-alt-columns.csv"], period="2022-07")
    assert rows(
        connection, "SELECT x_SourceRow, ServiceProviderName, BilledCost, ListCost, Tags, InvoiceId FROM staged"
    ) == [(row, "Red Hat, Inc.", "0", "0", '{"aws:created_by":"IAMUser:fake:and"}', "1") for row in (1, 2)]


@_needs_samples
def test_a_sample_whose_rows_all_lack_a_field_is_padded(tmp_path: Path) -> None:
    sample = SAMPLES / "test_cur.csv"
    with sample.open(newline="") as file:
        header, *delivered = csv.reader(file)
    cost = header.index("lineItem/UnblendedCost")
    connection = normalised(tmp_path, [sample], period="2018-06")
    assert connection.sql("SELECT sum(BilledCost), count(*) FROM staged").fetchall() == [
        (sum((_rounded(row[cost]) for row in delivered), Decimal(0)), 19)
    ]


def _csv(table: list[list[str]]) -> str:
    return "".join(",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) + "\n" for row in table)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz"])
@pytest.mark.parametrize("name", ["a[x]/cur", "cur[1]", "cur*", "cur?"])
def test_a_file_whose_name_is_a_pattern_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    file = tmp_path / f"{name}{suffix}"
    file.parent.mkdir(exist_ok=True)
    write = write_cur2 if suffix == ".parquet" else write_legacy
    write(tmp_path / f"written{suffix}", [line("Usage", 7)]).rename(file)

    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "work", [file])

    assert refused.value.where == str(file)


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "line_item_operation=Wrong"
    folder.mkdir()

    bill = normalised(
        tmp_path / "work", [write_cur2(tmp_path / "cur.parquet", [line("Usage", 7)]).rename(folder / "cur.parquet")]
    )

    assert rows(bill, "SELECT x_Operation, BilledCost FROM staged") == [(None, "7")]


def _with_column(path: Path, name: str, column: pyarrow.Array) -> Path:
    table = pyarrow.parquet.read_table(write_cur2(path, [line("Usage", 7)]))
    if name in table.column_names:
        table = table.drop_columns([name])
    pyarrow.parquet.write_table(table.append_column(name, column), path)
    return path


_LONG = pyarrow.decimal256(50, 18)


@pytest.mark.parametrize(
    ("name", "column", "found"),
    [
        (
            "line_item_unblended_cost",
            pyarrow.array([Decimal("12345678901234567.123456789012345678")], _LONG),
            "decimal of 50 digits, 18 of them decimals",
        ),
        (
            "discount",
            pyarrow.array([[("edp", Decimal("0.1"))]], pyarrow.map_(pyarrow.string(), _LONG)),
            "decimal of 50 digits, 18 of them decimals",
        ),
        ("line_item_unblended_cost", pyarrow.array([True]), "BOOLEAN"),
        ("line_item_usage_start_date", pyarrow.array([1_788_000_000]), "BIGINT"),
        ("line_item_resource_id", pyarrow.array([b"\xff"]), "BLOB"),
        ("resource_tags", pyarrow.array([["team"]]), "VARCHAR[]"),
    ],
)
def test_a_column_of_a_type_that_is_not_read_exactly_is_refused(
    tmp_path: Path, name: str, column: pyarrow.Array, found: str
) -> None:
    file = _with_column(tmp_path / "cur.parquet", name, column)

    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "work", [file])

    assert (refused.value.where, refused.value.found) == (f"cur.parquet, column {name}", found)


def test_a_decimal_of_38_digits_keeps_them(tmp_path: Path) -> None:
    cost = Decimal("12345678901234567890.123456789012345678")
    file = _with_column(
        tmp_path / "cur.parquet", "line_item_unblended_cost", pyarrow.array([cost], pyarrow.decimal128(38, 18))
    )

    assert rows(normalised(tmp_path / "work", [file]), "SELECT BilledCost FROM staged") == [(str(cost),)]


@pytest.mark.parametrize(
    ("start", "read"),
    [
        # 05:00 two hours ahead of UTC is 03:00; 22:30 at 09:30 behind is 32:00, 08:00 of the next day.
        ("2026-09-13T05:00:00+02:00", "2026-09-13 03:00:00"),
        ("2026-09-12T22:30:00-09:30", "2026-09-13 08:00:00"),
        ("2026-09-13T05:00:00Z", "2026-09-13 05:00:00"),
        ("2026-09-13 05:00:00.000", "2026-09-13 05:00:00"),
    ],
)
def test_a_time_in_csv_is_read_in_utc(tmp_path: Path, start: str, read: str) -> None:
    file = write_legacy(
        tmp_path / "cur.csv",
        [line("Usage", 7, line_item_usage_start_date=start, line_item_usage_end_date="2026-09-14T00:00:00Z")],
    )

    bill = normalised(tmp_path / "work", [file])

    assert rows(bill, "SELECT CAST(ChargePeriodStart AS VARCHAR) FROM staged") == [(read,)]


def test_a_time_in_an_unknown_zone_is_refused(tmp_path: Path) -> None:
    file = write_legacy(tmp_path / "cur.csv", [line("Usage", 7, line_item_usage_start_date="2026-09-13 05:00:00 CEST")])

    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "work", [file])

    assert refused.value.where == "cur.csv, row 1, column lineItem/UsageStartDate"
    assert refused.value.found == "'2026-09-13 05:00:00 CEST'"


def _broken_off(content: bytes) -> bytes:
    return content[:-8]


def _wrong_checksum(content: bytes) -> bytes:
    # RFC 1952: the last eight bytes are the checksum and the size.
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def _damaged_block(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(16) + content[middle + 16 :]


@pytest.mark.parametrize("damage", [_broken_off, _wrong_checksum, _damaged_block])
def test_a_damaged_archive_is_refused_by_name(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = write_legacy(tmp_path / "cur.csv.gz", [line("Usage", cost) for cost in range(1, 2000)])
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(DeliveryError) as refused:
        normalised(tmp_path / "work", [file])

    assert (refused.value.problem, refused.value.where) == ("The file can't be read.", "cur.csv.gz")


def test_an_archive_of_several_members_is_whole(tmp_path: Path) -> None:
    plain = write_legacy(tmp_path / "plain.csv", [line("Usage", 7), line("Usage", 8)]).read_bytes()
    file = tmp_path / "cur.csv.gz"
    file.write_bytes(gzip.compress(plain[:300]) + gzip.compress(plain[300:]))

    assert rows(normalised(tmp_path / "work", [file]), "SELECT sum(BilledCost) FROM staged") == [("15",)]


def test_a_header_may_be_longer_than_pythons_csv_reader_takes(tmp_path: Path) -> None:
    tag = "t" * 140_000
    file = write_legacy(tmp_path / "cur.csv", [line("Usage", 7, resource_tags={f"user_{tag}": "search"})])

    bill = normalised(tmp_path / "work", [file])

    assert rows(bill, "SELECT BilledCost, Tags = json_object($$" + tag + "$$, 'search') FROM staged") == [("7", True)]


def test_a_number_is_too_large_from_ten_to_the_twentieth_on_and_not_where_its_double_is() -> None:
    # The double of 99999999999999999999 is 10^20.
    with connect() as connection:
        row = connection.execute(
            "SELECT is_number_too_large('99999999999999999999'), is_number_too_large('100000000000000000000'), "
            "is_number_too_large('-1e20'), is_number_too_large(1e20::DOUBLE), is_number_too_large('inf'), "
            "is_number_too_large('1_00000000000000000000'), is_number_too_large(NULL)"
        ).fetchone()
    assert row == (False, True, True, True, False, False, False)
