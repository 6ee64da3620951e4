"""`python -m examples.acme --out demo-data`: write the demo company's deliveries."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from examples.acme.generate import generate
from examples.acme.span import END_DAY, FIRST_DAY


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(prog="python -m examples.acme", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-data"), help="folder to write into")
    parser.add_argument("--first-day", type=date.fromisoformat, default=FIRST_DAY, help="first UTC day to write")
    parser.add_argument("--end-day", type=date.fromisoformat, default=END_DAY, help="the UTC day after the last")
    arguments = parser.parse_args()
    written = generate(
        arguments.out,
        first_day=arguments.first_day,
        end_day=arguments.end_day,
        report=lambda line: print(line, flush=True),
    )
    print(
        f"wrote {written.bill_lines:,} bill lines, {written.telemetry_samples:,} telemetry samples and "
        f"{written.requests:,} logged requests to {arguments.out}"
    )


if __name__ == "__main__":
    main()
