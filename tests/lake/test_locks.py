"""Locks end with the process that holds them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from pipelines.lake.locks import HeldFolder, exclusive

_HOLD = """
import sys, pathlib
from pipelines.lake.locks import HeldFolder, exclusive
folder = HeldFolder(pathlib.Path(sys.argv[1]) / "held")
with exclusive(pathlib.Path(sys.argv[1]) / "lock"):
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_holds_neither_lock_nor_folder(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    assert HeldFolder.is_held(tmp_path / "held")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not HeldFolder.is_held(tmp_path / "held")
    with exclusive(tmp_path / "lock"):
        pass


def test_a_folder_without_a_lock_file_is_not_held(tmp_path: Path) -> None:
    assert not HeldFolder.is_held(tmp_path)
