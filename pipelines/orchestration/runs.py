"""Which runs are alive, told by the kernel: a run holds a lock for as long as its process lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.lake.paths import Lake

if TYPE_CHECKING:
    import dagster as dg

_LOCKS = "run.*.lock"

_held: dict[Path, int] = {}


def hold_run(lake: Lake, run_id: str) -> None:
    """Take the run's lock and keep it until this process ends, so that a killed run can be told from a living one."""
    lock = _lock(lake, run_id)
    if lock in _held:
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    # Locked under another name first: a lock file that is found is held, or its process has ended.
    nascent = lock.with_suffix(f".{os.getpid()}")
    descriptor = os.open(nascent, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    nascent.rename(lock)
    _held[lock] = descriptor


def release_run(lake: Lake, run_id: str) -> None:
    """Give up the lock of a run that has ended and been recorded."""
    lock = _lock(lake, run_id)
    if (descriptor := _held.pop(lock, None)) is not None:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def any_abandoned(lake: Lake) -> bool:
    """Whether some run's process ended without giving up its lock: the run may have to be marked as failed."""
    for lock in lake.locks.glob(_LOCKS):
        with _if_abandoned(lock) as abandoned:
            if abandoned:
                return True
    return False


def mark_dead_runs(instance: dg.DagsterInstance, lake: Lake) -> list[str]:
    """Mark as failed each unfinished run whose process has ended; returns their ids."""
    dead = []
    for lock in sorted(lake.locks.glob(_LOCKS)):
        with _if_abandoned(lock) as abandoned:
            if not abandoned:
                continue
            run = instance.get_run_by_id(lock.name.split(".")[1])
            if run is not None and not run.is_finished:
                instance.report_run_failed(
                    run,
                    "The process of this run ended without finishing it (killed, or the machine restarted). What it "
                    "had committed is whole; a new run builds the rest.",
                )
                dead.append(run.run_id)
            lock.unlink(missing_ok=True)
    return dead


def _lock(lake: Lake, run_id: str) -> Path:
    return lake.locks / f"run.{run_id}.lock"


@contextmanager
def _if_abandoned(lock: Path) -> Iterator[bool]:
    """Tell whether no living process holds the lock; if so, hold it meanwhile."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
