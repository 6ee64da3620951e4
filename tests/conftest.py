"""What every test may ask for, and what a run didn't run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

from tests.integration.servers.fixtures import bigquery, blob, blob_server, s3, s3_server, server_logs

__all__ = ["bigquery", "blob", "blob_server", "s3", "s3_server", "server_logs"]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """After all else, how many tests were not run, by reason: a skip must not pass for a test that passed."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"not run here: {count} {'test' if count == 1 else 'tests'}: {reason}", yellow=True)
