"""One bill under two sources: who brings it, by the configuration's claims, and what is refused (CONTRACTS.md §2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.normalise.bills import line, write_legacy
from tests.normalise.focus_files import row, write_csv
from tests.test_cli import CommandLine, apportion

__all__ = ["apportion"]

PAYER, MEMBER = "012345678901", "000000000042"


def configure(apportion: CommandLine, bills: str, claims: str) -> None:
    apportion.configuration.write_text(
        f"lake: ./lake\nas_of: 2026-10-16T00:00:00\nbills:\n{bills}" + (f"claims:\n{claims}" if claims else "")
    )


def folder(apportion: CommandLine) -> Path:
    return apportion.configuration.parent


def billed(apportion: CommandLine) -> list[str]:
    """Each source's sum of what is published."""
    query = "SELECT source_name, sum(BilledCost) AS billed FROM showback.daily GROUP BY ALL ORDER BY ALL"
    return apportion("sql", query, "--csv").output.splitlines()[1:]


def left_out(apportion: CommandLine) -> list[str]:
    query = (
        "SELECT source_name, BillingAccountId, SubAccountId, claimed_by, rows_claimed, BilledCost FROM quality.claimed "
        "ORDER BY ALL"
    )
    return apportion("sql", query, "--csv").output.splitlines()[1:]


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_claimant_whose_own_bill_lacks_the_account_keeps_the_period_from_being_published(
    apportion: CommandLine,
) -> None:
    write_legacy(folder(apportion) / "payer.csv", [line("Usage", "3"), line("Usage", "4")])
    write_legacy(folder(apportion) / "other.csv", [line("Usage", "5", bill_payer_account_id="999999999999")])
    configure(
        apportion,
        "  - {name: payer, kind: aws-cur, files: [./payer.csv]}\n  - {name: other, kind: aws-cur, files: [./other.csv]}\n",
        f"  - {{source: other, billing_account: '{PAYER}'}}\n",
    )

    answer = apportion("run", "--period", "2026-09")

    assert answer.exit_code == 4
    assert (
        f"other claims account {PAYER} but has no bill of 1 account(s) of it, such as {MEMBER}, for 2026-09, while 2 row(s) "
        "of payer were left out for it"
    ) in words(answer.output)
    assert billed(apportion) == []

    # Without the claim nobody's rows are left out: 3 + 4 of one and 5 of the other.
    text = apportion.configuration.read_text()
    apportion.configuration.write_text(text[: text.index("claims:")])
    assert apportion("run", "--period", "2026-09").exit_code == 0
    assert billed(apportion) == ["other,5", "payer,7"]


CUR = [
    line("Usage", "10"),
    line("Usage", "2.5", line_item_usage_account_id="000000000043"),
    line("Tax", "0.75", line_item_usage_account_id=PAYER),
]


def aws_focus(cost: str, account: str, **columns: str) -> dict[str, str]:
    """The same charges as AWS spells them in FOCUS, as a spreadsheet leaves the ids."""
    of_september = {
        "BillingPeriodStart": "2026-09-01T00:00:00Z",
        "BillingPeriodEnd": "2026-10-01T00:00:00Z",
        "ChargePeriodStart": "2026-09-03T07:00:00Z",
        "ChargePeriodEnd": "2026-09-03T08:00:00Z",
    }
    costs = dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), cost)
    names = {"ProviderName": "AWS", "PublisherName": "AWS", "InvoiceIssuerName": "Amazon Web Services, Inc."}
    return row(**of_september, **costs, **names, BillingAccountId="12345678901", SubAccountId=account, **columns)


NATIVE = [
    aws_focus("10", "42"),
    aws_focus("2.5", "43"),
    # AWS names no account for the tax of an invoice.
    aws_focus("0.75", "", ChargeCategory="Tax"),
]


@pytest.mark.parametrize("claimant", ["cur", "native"])
def test_two_whole_exports_of_one_bill_in_two_spellings_count_once_whoever_claims_it(
    apportion: CommandLine, claimant: str
) -> None:
    write_legacy(folder(apportion) / "cur.csv", CUR)
    write_csv(folder(apportion) / "native.csv", NATIVE)
    bills = (
        "  - {name: cur, kind: aws-cur, files: [./cur.csv]}\n  - {name: native, kind: focus, files: [./native.csv]}\n"
    )
    configure(apportion, bills, "")

    refused = apportion("run", "--period", "2026-09")

    assert refused.exit_code == 4
    assert "are billed by both cur and native: name under claims" in words(refused.output)

    configure(apportion, bills, f"  - {{source: {claimant}, billing_account: '{PAYER}'}}\n")
    answer = apportion("run", "--period", "2026-09")

    assert answer.exit_code == 0, answer.output
    # 10 + 2.5 + 0.75, once
    assert billed(apportion) == [f"{claimant},13.25"]
    assert (
        left_out(apportion)
        == {
            "cur": [
                "native,12345678901,42,cur,1,10",
                "native,12345678901,43,cur,1,2.5",
                "native,12345678901,,cur,1,0.75",
            ],
            "native": [
                f"cur,{PAYER},000000000042,native,1,10",
                f"cur,{PAYER},000000000043,native,1,2.5",
                f"cur,{PAYER},{PAYER},native,1,0.75",
            ],
        }[claimant]
    )


def test_an_account_divided_by_claims_in_both_directions_counts_each_part_once(apportion: CommandLine) -> None:
    write_legacy(folder(apportion) / "cur.csv", CUR)
    write_csv(folder(apportion) / "native.csv", NATIVE)
    bills = (
        "  - {name: cur, kind: aws-cur, files: [./cur.csv]}\n  - {name: native, kind: focus, files: [./native.csv]}\n"
    )
    divided = (
        f"  - {{source: cur, billing_account: '{PAYER}', sub_account: '{MEMBER}'}}\n"
        f"  - {{source: native, billing_account: '{PAYER}', sub_account: '43'}}\n"
    )
    configure(apportion, bills, divided)

    refused = apportion("run", "--period", "2026-09")

    # The tax: cur has it under the billing account, native under none. Both kept it.
    assert refused.exit_code == 4
    assert "1 account(s) of" in words(refused.output)
    assert "are billed by both cur and native: name under claims" in words(refused.output)

    configure(apportion, bills, f"{divided}  - {{source: native, billing_account: '{PAYER}'}}\n")

    assert apportion("run", "--period", "2026-09").exit_code == 0
    # cur: 10. native: 2.5 and the tax, 0.75.
    assert billed(apportion) == ["cur,10", "native,3.25"]


def test_a_claim_that_is_taken_back_later_refuses_the_period_and_readers_keep_what_they_had(
    apportion: CommandLine,
) -> None:
    write_legacy(folder(apportion) / "cur.csv", CUR)
    write_csv(folder(apportion) / "native.csv", NATIVE)
    bills = (
        "  - {name: cur, kind: aws-cur, files: [./cur.csv]}\n  - {name: native, kind: focus, files: [./native.csv]}\n"
    )
    configure(apportion, bills, f"  - {{source: cur, billing_account: '{PAYER}'}}\n")
    assert apportion("run").exit_code == 0
    assert billed(apportion) == ["cur,13.25"]

    configure(apportion, bills, "")
    assert apportion("run").exit_code == 4
    assert billed(apportion) == ["cur,13.25"]

    # The other source is to bring it from now on.
    configure(apportion, bills, f"  - {{source: native, billing_account: '{PAYER}'}}\n")
    assert apportion("run").exit_code == 0
    assert billed(apportion) == ["native,13.25"]
