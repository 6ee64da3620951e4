"""The package focus-converter 1.0.0 beside us: in an environment of its own, on the same lines."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from benchmarks.bills import FOLDER, focus_converter_input
from benchmarks.processes import Measured, ProcessFailed, measure_process

LOCK = Path(__file__).resolve().parents[1] / "requirements.focus-converter.lock"
MODES = ("file", "dataset")
"""How it reads Parquet: the whole file at once, or 50,000 rows at a time."""

# It waits for ever for its writers when a conversion fails.
_LONGEST_RUN = 180


class NotInstalled(Exception):
    """It can't be had here; the message says why."""


def install() -> Path:
    """Make its environment from the hashed lock, once, and return its command. Raises NotInstalled."""
    environment = FOLDER / "focus-converter" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    command = environment / "bin" / "focus-converter"
    if not command.exists():
        shutil.rmtree(environment.parent, ignore_errors=True)
        _run([sys.executable, "-m", "venv", environment])
        try:
            pip: list[str | Path] = [
                environment / "bin" / "python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            _run([*pip, "--require-hashes", "--requirement", LOCK])
        except NotInstalled:
            shutil.rmtree(environment)
            raise
    return command.absolute()


def measure_conversion(command: Path, lines: int, mode: str) -> Measured:
    """Convert the CUR bill's lines in one of :data:`MODES`; its output has its own columns alone, as ours has.

    Raises ProcessFailed, also where it made another number of rows.
    """
    target = FOLDER / "focus-converter-output"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    measured = measure_process(
        [
            *(command, "convert", "--provider", "aws"),
            *("--data-format", "parquet", "--parquet-data-format", mode, "--data-path", focus_converter_input(lines)),
            *("--export-path", target, "--no-export-include-source-columns"),
        ],
        timeout=_LONGEST_RUN,
    )
    with duckdb.connect() as connection:
        [(converted,)] = connection.sql(f"SELECT count(*) FROM '{target}/*.parquet'").fetchall()
    if converted != lines:
        raise ProcessFailed(f"it made {converted:,} rows of {lines:,} lines")
    return measured


def _run(command: Sequence[str | Path]) -> None:
    try:
        subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    except OSError as error:
        raise NotInstalled(str(error)) from error
    except subprocess.CalledProcessError as error:
        raise NotInstalled("; ".join(error.stderr.strip().splitlines()[-2:])) from error
