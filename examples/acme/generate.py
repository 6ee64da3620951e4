"""Writes everything the demo company's systems delivered up to its clock, 2026-10-16 00:00 UTC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from examples.acme.azure_bill import write_azure_bill
from examples.acme.google_bill import TABLE, write_google_bill
from examples.acme.payer_bill import EXPORT_NAME, write_payer_bill
from examples.acme.span import END_DAY, FIRST_DAY, Span
from examples.acme.subsidiary_bill import REPORT_NAME, write_subsidiary_bill
from examples.acme.telemetry import write_telemetry
from examples.acme.token_log import write_token_log


@dataclass(frozen=True)
class Written:
    """How much of each kind was written."""

    payer_lines: int
    subsidiary_lines: int
    google_lines: int
    azure_rows: int
    """Of the actual and the amortised export together."""
    telemetry_samples: int
    requests: int

    @property
    def bill_lines(self) -> int:
        """The lines of all bills."""
        return self.payer_lines + self.subsidiary_lines + self.google_lines + self.azure_rows


def generate(
    out: Path,
    *,
    first_day: date = FIRST_DAY,
    end_day: date = END_DAY,
    report: Callable[[str], None] = lambda line: None,
) -> Written:
    """Write the deliveries of the days from `first_day` up to, not including, `end_day` below `out`.

    The same days give the same bytes. A day's usage doesn't depend on the other days; charges on a month's total (tax,
    support, reservation fees) cover the days of it that are written. `report` gets a line for a person at each step.
    """
    span = Span(first_day, end_day)
    bedrock_tokens: Counter[tuple[int, str, str]] = Counter()
    requests = 0
    for day in write_token_log(out / "logs", span):
        requests += day.requests
        bedrock_tokens.update(day.bedrock_tokens)
    report(f"logs        {requests:>9,} requests")
    samples = sum(write_telemetry(out / "telemetry", span))
    report(f"telemetry   {samples:>9,} samples")
    payer_lines = 0
    for period in write_payer_bill(out / "aws/exports" / EXPORT_NAME, span, bedrock_tokens):
        payer_lines += period.lines
        report(f"aws-payer   {period.lines:>9,} lines of {period.label}, {sum(period.unblended.values()):,.2f} USD")
    subsidiary_lines = 0
    for period in write_subsidiary_bill(out / "aws/reports" / REPORT_NAME, span):
        subsidiary_lines += period.lines
        report(f"aws-subsidiary {period.lines:>6,} lines of {period.label}, {sum(period.unblended.values()):,.2f} USD")
    google_lines = 0
    for invoice in write_google_bill(out / "gcp" / TABLE, span):
        google_lines += invoice.lines
        report(f"gcp-org     {invoice.lines:>9,} lines of {invoice.label}, {invoice.total:,.2f} USD")
    azure_rows = 0
    for written in write_azure_bill(out / "azure", span):
        azure_rows += written.rows
        report(f"azure-ea    {written.rows:>9,} rows of {written.label}, {sum(written.actual.values()):,.2f} USD")
    return Written(payer_lines, subsidiary_lines, google_lines, azure_rows, samples, requests)
