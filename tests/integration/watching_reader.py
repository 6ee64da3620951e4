"""Reads what analysts read, over and over, until told to stop; prints a line for each state it saw.

Usage: python -m tests.integration.watching_reader LAKE STOP_FILE. Every read opens the newest publication by the link that analysts
use and takes the period's total from five tables at once: they must always agree.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb

_TOTALS = """
SELECT
  (SELECT sum(EffectiveCost) FROM billing.charges),
  (SELECT sum(EffectiveCost) FROM allocation.charges),
  (SELECT sum(EffectiveCost) FROM showback.daily),
  (SELECT sum(amount) FROM chargeback.monthly),
  (SELECT sum(effective_control) FROM quality.reconciliation)
"""


def main(lake: Path, stop: Path) -> None:
    """Read until the stop file is there."""
    reads, seen = 0, set()
    while not stop.exists() or reads == 0:
        if not (lake / "apportion.duckdb").exists():
            continue
        publication = (lake / "apportion.duckdb").resolve()
        with duckdb.connect(str(publication), read_only=True) as connection:
            totals = tuple(str(total) for total in connection.sql(_TOTALS).fetchall()[0])
        reads += 1
        seen.add(totals)
    print(json.dumps({"reads": reads, "seen": sorted(seen)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
