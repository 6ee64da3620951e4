"""What spellings of one account and provider have in common, so that two exports of one bill are seen to be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import Claim
from pipelines.lake.database import connect


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12345678", "/providers/Microsoft.Billing/billingAccounts/12345678"),
        ("012345678901", "12345678901"),
        ("0A1B-2C3D", "0a1b-2c3d"),
    ],
)
def test_two_spellings_of_an_account_are_one(one: str, other: str) -> None:
    with connect() as connection:
        assert connection.execute("SELECT account_key($1) = account_key($2)", [one, other]).fetchone() == (True,)


def test_two_accounts_stay_apart() -> None:
    with connect() as connection:
        row = connection.execute(
            "SELECT account_key('10'), account_key('1'), account_key('000'), account_key(NULL)"
        ).fetchone()
    assert row == ("10", "1", "000", None)


@given(st.text("0a/A1-", min_size=1))
def test_a_claim_knows_an_account_by_what_sql_knows_it_by(account: str) -> None:
    with connect() as connection:
        row = connection.execute("SELECT account_key($1)", [account]).fetchone()
    assert row is not None
    assert Claim(source="payer", billing_account=account).key == (row[0], "")


def test_two_spellings_of_a_provider_are_one() -> None:
    with connect() as connection:
        row = connection.execute(
            "SELECT provider_key('AWS'), provider_key('Amazon Web Services, Inc.'), provider_key('Google Cloud'), "
            "provider_key('GCP'), provider_key('Microsoft'), provider_key('Azure'), provider_key('Acme')"
        ).fetchone()
    assert row == ("aws", "aws", "google cloud", "google cloud", "microsoft", "microsoft", "acme")
