"""Measured processes: how long each took, and the most memory that it and its children held together."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

THREADS = 2

_PROCESSES = Path("/proc")
_PAUSE = 0.02
_MIB = 1 << 20


class ProcessFailed(Exception):
    """A measured process failed, or didn't end in time; the message has the end of what it wrote."""


@dataclass(frozen=True)
class Measured:
    """One process: seconds from its start to its end, seconds of the work in it, peak memory in MiB, seconds by phase.

    ``processor_seconds`` is what all processors spent on it and its children: on a busy machine it says more than the clock.
    """

    process_seconds: float
    processor_seconds: float
    seconds: float
    peak_mib: float
    phases: Mapping[str, float] = field(default_factory=dict)


def measure_process(command: Sequence[str | Path], *, timeout: float = 3600) -> Measured:
    """Run a command to its end; the last line that it writes may be JSON that says ``seconds`` and ``phases`` of its work.

    Memory is the resident memory of the process and all its descendants, summed every 20 ms; a descendant's pages that it
    shares with its parent count twice. Raises ProcessFailed.
    """
    environment = {**os.environ, "APPORTION_THREADS": str(THREADS)}
    with tempfile.TemporaryFile("w+") as output:
        started, spent_before = time.perf_counter(), _spent_by_children()
        with subprocess.Popen(
            list(map(str, command)), env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as process:
            memory = _Memory(process.pid)
            try:
                process.wait(timeout)
                seconds = time.perf_counter() - started
            except subprocess.TimeoutExpired:
                seconds = timeout
            finally:
                peak = memory.stop()
                if process.poll() is None:
                    os.killpg(process.pid, 9)
        output.seek(0)
        lines = output.read().strip().splitlines()
        if process.returncode:
            raise ProcessFailed(f"after {seconds:.0f} s, exit code {process.returncode}: " + "\n".join(lines[-5:]))
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Measured(
        process_seconds=seconds,
        processor_seconds=_spent_by_children() - spent_before,
        seconds=told.get("seconds", seconds),
        peak_mib=peak / _MIB,
        phases=told.get("phases", {}),
    )


def _spent_by_children() -> float:
    """Processor seconds of all children that have ended so far, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Memory:
    """Looks at a process tree's memory from a thread until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The most bytes seen."""
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._peak = max(self._peak, sum(map(_resident, _descendants(self._pid))))
            self._stopped.wait(_PAUSE)


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in _PROCESSES.glob(f"{pid}/task/*/children"):
        try:
            found = children.read_text(encoding="ascii").split()
        except OSError:
            # The thread has ended since it was listed.
            continue
        for child in found:
            yield from _descendants(int(child))


def _resident(pid: int) -> int:
    try:
        return int((_PROCESSES / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
    except (OSError, IndexError):
        # The process has ended since it was listed.
        return 0
