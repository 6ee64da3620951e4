"""Runs a command and ends it, with all that it started, when whoever started this one is gone.

Usage: python -m tests.integration.servers.guard COMMAND [ARGUMENT ...]; standard input is a pipe that nobody writes to. It ends when
its other end does, however that happened: pytest killed with SIGKILL leaves no server behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def run(command: list[str]) -> int:
    """Run the command in a process group of its own until it ends or standard input does."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end() -> None:
        sys.stdin.buffer.read()
        os.killpg(server.pid, signal.SIGKILL)

    threading.Thread(target=end, daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
