"""A night without changes: `apportion run` over 24 billing periods of six sources, on servers of this machine.

`python -m benchmarks.nights` prints how long the command takes from its start to its end, how many objects it read, and how
much of the time is Python's own start.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.config import load_settings
from tests.integration.servers.blob import ACCOUNT_KEY, BlobServer
from tests.integration.servers.install import AZURITE
from tests.integration.servers.s3 import ENVIRONMENT, S3Server
from tests.integration.six_sources import PERIODS, deliver, land_everything

_NIGHTS = 5
_GOAL = 10.0


def main() -> None:
    """Let the six sources land, build the two open months, then measure nights on which nothing changes."""
    if (reason := AZURITE.missing()) is not None:
        sys.exit(f"needs {AZURITE.name}: {reason}")
    os.environ.update(ENVIRONMENT, AZURE_STORAGE_KEY=ACCOUNT_KEY, DAGSTER_HOME="")
    with tempfile.TemporaryDirectory() as folder:
        s3, azure = S3Server(Path(folder) / "s3.log"), BlobServer(Path(folder) / "azure.log")
        try:
            configuration = deliver(Path(folder), s3, azure)
            land_everything(load_settings(configuration))
            _run("--period", f"{PERIODS[-2]}..{PERIODS[-1]}", configuration=configuration)
            before = len(s3.fetched()) + len(azure.fetched())
            nights = [_run(configuration=configuration) for _ in range(_NIGHTS)]
            fetched = len(s3.fetched()) + len(azure.fetched()) - before
        finally:
            s3.stop()
            azure.stop()
    seconds = sorted(taken for taken, _ in nights)
    start, _ = _timed([sys.executable, "-c", "pass"])
    print(nights[-1][1].strip())
    print(
        f"{_NIGHTS} nights: median {statistics.median(seconds):.2f} s, slowest {seconds[-1]:.2f} s (goal {_GOAL:.0f} s), of which "
        f"Python's start {start:.2f} s; {fetched} objects read"
    )


def _run(*arguments: str, configuration: Path) -> tuple[float, str]:
    return _timed([sys.executable, "-m", "pipelines.cli", "run", *arguments, "--config", str(configuration)])


def _timed(command: list[str]) -> tuple[float, str]:
    begun = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - begun, ended.stdout


if __name__ == "__main__":
    main()
