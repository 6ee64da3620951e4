"""Billing periods as Dagster partitions."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from pipelines.config import Settings
from pipelines.orchestration.nights import FIRST_PERIOD

PERIOD_FORMAT = "%Y-%m"


def billing_periods(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Every billing period from FIRST_PERIOD to the one that is running (UTC months, ``2026-10``).

    Where the configuration fixes ``as_of``, the period of that moment is the last one, whatever the clock says.
    """
    if settings.as_of is None:
        return dg.MonthlyPartitionsDefinition(start_date=FIRST_PERIOD, fmt=PERIOD_FORMAT, end_offset=1)
    as_of, clock = settings.now(), datetime.now(UTC)
    months_ahead = (as_of.year - clock.year) * 12 + as_of.month - clock.month
    return dg.MonthlyPartitionsDefinition(
        start_date=FIRST_PERIOD,
        end_date=f"{as_of.year + as_of.month // 12}-{as_of.month % 12 + 1:02}",
        fmt=PERIOD_FORMAT,
        end_offset=1 + max(0, months_ahead),
    )
