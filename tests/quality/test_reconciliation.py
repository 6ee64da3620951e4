"""quality.reconciliation: delivery, charges and allocation side by side, and which differences are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.small_tables import Row, failed_audits, rows_of, run_model, session, stage_model

_TABLE = "quality.reconciliation"

# Two charges: billed 10 + 0, effective 10 + 4, list 12 + 8, contracted 11 + 6.
_CHARGES = [
    {"BilledCost": "10", "EffectiveCost": "10", "ListCost": "12", "ContractedCost": "11"},
    {"BilledCost": "0", "EffectiveCost": "4", "ListCost": "8", "ContractedCost": "6"},
]
_CONTROL: dict[str, Any] = {
    "rows_delivered": 4, "rows_mapped": 1, "rows_netted": 3, "rows_added": 1,
    "billed_control": "10", "effective_control": "14", "list_control": "20", "contracted_control": "17",
}  # fmt: skip
_TOTALS = [
    {"team": "search", "BilledCost": "10", "EffectiveCost": "13.5", "ListCost": "20", "ContractedCost": "17"},
    {"component": "unallocated", "EffectiveCost": "0.5"},
]


def problems(
    charges: Sequence[Row] = _CHARGES,
    control: Sequence[Row] = (_CONTROL,),
    totals: Sequence[Row] = _TOTALS,
    accepted: Sequence[Row] = (),
) -> list[str]:
    """The names of the audits that the reconciliation of these tables fails."""
    connection = session(
        billing_charges=charges,
        quality_control=control,
        allocation_totals=totals,
        configuration_accepted_differences=accepted,
    )
    stage_model(connection, _TABLE)
    return [audit for audit, _ in failed_audits(connection, _TABLE)]


def test_what_adds_up_shows_every_side_and_no_difference() -> None:
    connection = session(billing_charges=_CHARGES, quality_control=[_CONTROL], allocation_totals=_TOTALS)
    assert rows_of(run_model(connection, _TABLE)) == [
        (
            "payer", "2026-10", "USD", "v1", "v1",
            # delivered 4 = mapped 1 + netted 3 + rejected 0 + claimed 0; charges 2 = mapped 1 + added 1
            4, 1, 3, 0, 0, 1, 2, 0, 0,
            # control, claimed, charges, allocated, control - claimed - charges, charges - allocated, accepted
            "10", "0", "10", "10", "0", "0", "0",
            "14", "0", "14", "14", "0", "0", "0",
            "20", "0", "20", "20", "0", "0", "0",
            "17", "0", "17", "17", "0", "0", "0",
        )
    ]  # fmt: skip


def test_what_another_source_claims_is_taken_off_the_delivery() -> None:
    # 10 delivered = 4 claimed elsewhere + 6 charged; rows: 4 = 1 mapped + 2 netted + 1 claimed
    control = {**_CONTROL, "rows_netted": 2, "rows_claimed": 1, "billed_claimed": "4"}
    charges = [{**charge, "BilledCost": "3"} for charge in _CHARGES]
    totals = [{**total, "BilledCost": "6" if number == 0 else "0"} for number, total in enumerate(_TOTALS)]
    assert problems(control=[control], charges=charges, totals=totals) == []
    assert problems(control=[{**control, "billed_claimed": "3"}], charges=charges, totals=totals) == [
        "delivery_equals_charges"
    ]


def test_sources_and_currencies_are_compared_apart() -> None:
    charges = [
        {"BilledCost": "5"},
        {"BilledCost": "7", "BillingCurrency": "EUR"},
        {"BilledCost": "9", "x_SourceName": "subsidiary", "x_SourceVersion": "v9"},
        {"BilledCost": "1000", "x_BillingPeriod": "2026-09"},
    ]
    control = [
        {"rows_delivered": 1, "rows_mapped": 1, "billed_control": "5"},
        {"rows_delivered": 1, "rows_mapped": 1, "billed_control": "7", "BillingCurrency": "EUR"},
        {
            "rows_delivered": 1,
            "rows_mapped": 1,
            "billed_control": "9",
            "source_name": "subsidiary",
            "source_version": "v9",
        },
        {"rows_delivered": 1, "rows_mapped": 1, "billed_control": "1000", "billing_period": "2026-09"},
    ]
    totals = [
        {"BilledCost": "5"},
        {"BilledCost": "7", "BillingCurrency": "EUR"},
        {"BilledCost": "9", "source_name": "subsidiary"},
        {"BilledCost": "1000", "period": "2026-09"},
    ]
    connection = session(billing_charges=charges, quality_control=control, allocation_totals=totals)
    columns = ("source_name", "BillingCurrency", "billed_control", "billed_charges", "billed_allocated")
    assert rows_of(run_model(connection, _TABLE), *columns) == [
        ("payer", "EUR", "7", "7", "7"),
        ("payer", "USD", "5", "5", "5"),
        ("subsidiary", "USD", "9", "9", "9"),
    ]


def test_a_charge_that_the_delivery_does_not_hold_is_refused() -> None:
    assert problems(control=[{**_CONTROL, "effective_control": "13.999999999999999999"}]) == ["delivery_equals_charges"]


def test_a_delivered_row_that_is_nowhere_is_refused() -> None:
    assert problems(control=[{**_CONTROL, "rows_delivered": 5}]) == ["delivery_equals_charges"]


def test_a_charge_that_no_delivered_row_became_is_refused() -> None:
    assert problems(control=[{**_CONTROL, "rows_added": 0}]) == ["delivery_equals_charges"]


def test_a_cost_that_the_allocation_lost_is_refused() -> None:
    assert problems(totals=_TOTALS[:1]) == ["charges_equal_allocated"]


def test_charges_without_control_totals_are_refused() -> None:
    assert problems(control=[]) == ["delivery_equals_charges"]


def test_control_totals_of_another_delivery_are_refused() -> None:
    assert problems(control=[{**_CONTROL, "source_version": "v2"}]) == ["one_version"]


def test_a_rejected_row_is_told() -> None:
    assert problems(control=[{**_CONTROL, "rows_delivered": 5, "rows_rejected": 1}]) == ["nothing_rejected"]


def test_an_accepted_difference_passes_and_stays_visible() -> None:
    connection = session(
        billing_charges=_CHARGES,
        quality_control=[{**_CONTROL, "billed_control": "12.5"}],
        allocation_totals=_TOTALS,
        configuration_accepted_differences=[
            {"amount": "2"},
            {"amount": "0.5"},
            {"amount": "99", "billing_period": "2026-09"},
        ],
    )
    columns = ("billed_control", "billed_charges", "difference_billed_charges", "accepted_difference_billed")
    assert rows_of(run_model(connection, _TABLE), *columns) == [("12.5", "10", "2.5", "2.5")]


def test_a_difference_of_another_amount_than_the_accepted_one_is_refused() -> None:
    assert problems(control=[{**_CONTROL, "billed_control": "12.5"}], accepted=[{"amount": "2"}]) == [
        "delivery_equals_charges",
        "accepted_differences_exist",
    ]


def test_an_accepted_difference_that_is_gone_is_told() -> None:
    assert problems(accepted=[{"amount": "2"}]) == ["accepted_differences_exist"]
