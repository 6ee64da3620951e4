"""quality.billed_to_effective: the bridge from the invoice to the cost that teams are charged."""

from __future__ import annotations

from tests.small_tables import failed_audits, rows_of, run_model, session, stage_model

_TABLE = "quality.billed_to_effective"

_CHARGES = [
    # Plain use and tax: billed is effective.
    {"BilledCost": "100", "EffectiveCost": "100"},
    {"ChargeCategory": "Tax", "BilledCost": "8", "EffectiveCost": "8"},
    # Savings plan: a recurring fee of 24, of which 20 covered use (15 + 5) and 4 went unused.
    {"CommitmentDiscountId": "sp", "ChargeCategory": "Purchase", "BilledCost": "24"},
    {"CommitmentDiscountId": "sp", "CommitmentDiscountStatus": "Used", "EffectiveCost": "15"},
    {"CommitmentDiscountId": "sp", "CommitmentDiscountStatus": "Used", "EffectiveCost": "5"},
    {"CommitmentDiscountId": "sp", "CommitmentDiscountStatus": "Unused", "EffectiveCost": "4"},
    # Reservation paid for years ago: nothing billed, 2.5 released; and a credit on it, which is both.
    {"CommitmentDiscountId": "ri", "CommitmentDiscountStatus": "Used", "EffectiveCost": "2.5"},
    {"CommitmentDiscountId": "ri", "ChargeCategory": "Credit", "BilledCost": "-1", "EffectiveCost": "-1"},
    # A fee that covers nothing else, such as support: billed is effective, no commitment.
    {"ChargeCategory": "Purchase", "BilledCost": "50", "EffectiveCost": "50"},
    {"x_SourceName": "subsidiary", "BilledCost": "3", "EffectiveCost": "3"},
    {"x_BillingPeriod": "2026-09", "BilledCost": "1000", "EffectiveCost": "1"},
]


def test_the_bridge_explains_each_commitment() -> None:
    assert rows_of(run_model(session(billing_charges=_CHARGES), _TABLE)) == [
        # 100 + 8 + 50
        ("payer", "2026-10", "USD", "", "158", "0", "0", "158", "0"),
        # -1 + 2.5 - 0 = 1.5
        ("payer", "2026-10", "USD", "ri", "-1", "2.5", "0", "1.5", "0"),
        # 24 + (15 + 5 + 4) - 24 = 24
        ("payer", "2026-10", "USD", "sp", "24", "24", "24", "24", "0"),
        ("subsidiary", "2026-10", "USD", "", "3", "0", "0", "3", "0"),
    ]


def test_covered_use_that_is_billed_as_well_is_refused() -> None:
    # 6 billed + 6 released - 0 - 6 effective leaves 6: the use is on the invoice and in the commitment.
    charge = {
        "CommitmentDiscountId": "sp",
        "CommitmentDiscountStatus": "Used",
        "BilledCost": "6",
        "EffectiveCost": "6",
    }
    connection = session(billing_charges=[charge])
    stage_model(connection, _TABLE)
    assert [audit for audit, _ in failed_audits(connection, _TABLE)] == ["nothing_unexplained"]
    assert rows_of(connection.sql("SELECT * FROM staged"), "commitment", "unexplained") == [("sp", "6")]


def test_a_purchase_that_is_also_effective_is_refused() -> None:
    # 24 billed + 0 - 24 purchased - 24 effective leaves -24: teams would pay the fee and the use that it covers.
    charge = {"CommitmentDiscountId": "sp", "ChargeCategory": "Purchase", "BilledCost": "24", "EffectiveCost": "24"}
    connection = session(billing_charges=[charge])
    stage_model(connection, _TABLE)
    assert rows_of(connection.sql("SELECT * FROM staged"), "commitment", "unexplained") == [("sp", "-24")]


def test_a_bill_in_focus_may_prepay_without_a_commitment() -> None:
    focus = {"x_SourceLineItemType": "FOCUS Usage"}
    connection = session(
        billing_charges=[
            # A contract of 1,200, of which 48 were used, a grant of 5 that nobody charges on, and plain use.
            {**focus, "ChargeCategory": "Purchase", "BilledCost": "1200"},
            {**focus, "EffectiveCost": "48"},
            {**focus, "BilledCost": "-5"},
            {**focus, "BilledCost": "7", "EffectiveCost": "7"},
            {**focus, "CommitmentDiscountId": "ri", "CommitmentDiscountStatus": "Used", "EffectiveCost": "3"},
        ]
    )
    assert rows_of(run_model(connection, _TABLE)) == [
        # 1,200 - 5 + 7 = 1,202 billed; 48 + 5 released; 1,200 bought: 1,202 + 53 - 1,200 = 55 = 48 + 7
        ("payer", "2026-10", "USD", "", "1202", "53", "1200", "55", "0"),
        ("payer", "2026-10", "USD", "ri", "0", "3", "0", "3", "0"),
    ]


def test_a_bill_in_focus_that_bills_covered_use_is_refused_all_the_same() -> None:
    charge = {
        "x_SourceLineItemType": "FOCUS Usage",
        "CommitmentDiscountId": "sp",
        "CommitmentDiscountStatus": "Used",
        "BilledCost": "6",
        "EffectiveCost": "6",
    }
    connection = session(billing_charges=[charge])
    stage_model(connection, _TABLE)
    assert [audit for audit, _ in failed_audits(connection, _TABLE)] == ["nothing_unexplained"]
