"""Runs a command line and has the kernel kill the process, with SIGKILL, when a named step has been reached N times.

Usage: python -m tests.integration.killed_process MODULE:NAME before|after N [ARGUMENT ...]; the arguments are apportion's. The
process is the real one and so is the signal; only the moment is chosen.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from typing import Any


def kill_at(place: str, moment: str, count: int) -> None:
    """Have the process killed before or after the N-th call of the step."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module))
    step = getattr(owner, name)
    calls = 0

    @functools.wraps(step)
    def killed(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*arguments, **options)
        if calls == count and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, killed)


if __name__ == "__main__":
    place, moment, count, *arguments = sys.argv[1:]
    kill_at(place, moment, int(count))
    from pipelines.cli import main

    sys.argv = ["apportion", *arguments]
    main()
