"""A server as a process of the tests: started on a free port, its log kept, ended with the tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
SECONDS_TO_START = 90


class ServerProcess:
    """A running server. Everything it prints goes to ``log``."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.servers.guard", *command],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )

    def text(self, start: int = 0) -> str:
        """What it has printed, from a byte on."""
        with self.log.open("rb") as printed:
            printed.seek(start)
            return printed.read().decode(errors="replace")

    def wait_for(self, pattern: str, start: int = 0) -> re.Match[str]:
        """The first match in what it prints; raises RuntimeError, with the log, if it ends or says nothing of the kind."""
        deadline = time.monotonic() + SECONDS_TO_START
        while (found := re.search(pattern, self.text(start))) is None:
            if self._guard.poll() is not None:
                raise RuntimeError(f"{self.name} ended before it said {pattern!r}; its log {self.log}:\n{self.text()}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"{self.name} did not say {pattern!r} within {SECONDS_TO_START} s; its log {self.log}:\n{self.text()}"
                )
            time.sleep(0.02)
        return found

    def stop(self) -> None:
        """End the server and all that it started."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(timeout=30)
