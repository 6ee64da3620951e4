"""Trying, read-only, whether what the configuration names can be used: `apportion check`."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from pipelines.allocation.rules import load_rule_set
from pipelines.config import BillSource, Settings, UsageSource
from pipelines.errors import ApportionError, ConfigurationError, DeliveryError
from pipelines.models.first_rows import try_first_rows
from pipelines.sources.findings import Finding, can_be_pulled, missing
from pipelines.sources.kinds import bill_kind, source_kind

SECONDS = 60.0


@dataclass(frozen=True)
class Trial:
    """What was tried of one thing: ``name`` is a source's, or what the configuration names beside sources."""

    name: str
    kind: str
    findings: tuple[Finding, ...]
    exit_code_if_missing: int

    @property
    def exit_code(self) -> int:
        """0 where nothing that is needed is missing."""
        return 0 if can_be_pulled(self.findings) else self.exit_code_if_missing


def try_configuration(settings: Settings) -> Iterator[Trial]:
    """The configuration, its rules and its lake."""
    for name, kind, tried in (
        ("configuration", str(settings.file), _configuration),
        ("rules", str(settings.rules or "none"), _rules),
        ("lake", str(settings.lake), _lake),
    ):
        yield Trial(name, kind, tuple(tried(settings)), ConfigurationError.exit_code)


def try_sources(sources: Sequence[BillSource | UsageSource]) -> Iterator[Trial]:
    """Each source, in order; they are tried side by side, and one that gives no answer in time is let go."""
    answers = [_begin(source) for source in sources]
    deadline = time.monotonic() + SECONDS
    for source, answer in zip(sources, answers, strict=True):
        try:
            findings = answer.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            findings = (
                Finding(
                    "get an answer",
                    "missing",
                    f"none within {SECONDS:g} s",
                    "check the address in the configuration, and whether a firewall or proxy stands between",
                ),
            )
        yield Trial(source.name, source.kind, findings, DeliveryError.exit_code)


def _begin(source: BillSource | UsageSource) -> SimpleQueue[tuple[Finding, ...]]:
    """Begin a source's trial; the queue gets what it finds."""
    answer: SimpleQueue[tuple[Finding, ...]] = SimpleQueue()
    # A daemon, because a library that waits for ever must not keep the process.
    threading.Thread(target=lambda: answer.put(_try(source)), daemon=True).start()
    return answer


def _try(source: BillSource | UsageSource) -> tuple[Finding, ...]:
    try:
        findings = tuple(source_kind(source.kind).check(source))
        return (*findings, *_first_rows(source)) if can_be_pulled(findings) else findings
    except ApportionError as error:
        return (missing("read it", error),)
    except Exception as error:  # the other sources' findings are wanted whatever a vendor's library raises
        remedy = "this is nothing that apportion expects: report it, with what the source is"
        return (Finding("read it", "missing", f"{type(error).__name__}: {error}", remedy),)


def _first_rows(source: BillSource | UsageSource) -> Iterator[Finding]:
    kind = bill_kind(source.kind)
    if kind and (sample := kind.sample(source)):
        yield try_first_rows(sample)


def _configuration(settings: Settings) -> Iterator[Finding]:
    counts = f"{len(settings.bills)} bill(s), {len(settings.usage)} usage source(s)"
    if settings.bills:
        yield Finding("read it", "works", counts)
    else:
        yield Finding("read it", "warning", counts, "name a bill under 'bills:'")
    if settings.as_of is not None:
        detail = f"{settings.now():%Y-%m-%d %H:%M} UTC is now for apportion; nothing later exists"
        yield Finding("as_of", "warning", detail, "leave as_of out for figures as of the clock")


def _rules(settings: Settings) -> Iterator[Finding]:
    if settings.rules is None:
        yield Finding("read them", "warning", "there are none; every charge is unallocated", "docs/rules.md says how")
        return
    try:
        loaded = load_rule_set(settings.rules)
    except ApportionError as error:
        yield missing("read them", error)
    else:
        yield Finding("read them", "works", f"{len(loaded.rules)} rule(s)")


def _lake(settings: Settings) -> Iterator[Finding]:
    folder = settings.lake
    while not folder.exists():
        folder = folder.parent
    try:
        if folder == settings.lake:
            with tempfile.TemporaryFile(dir=folder):
                pass
        elif not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"no right to make a folder in {folder}")
    except OSError as error:
        yield Finding("write to it", "missing", str(error), "give whoever runs apportion the right to write there")
        return
    free = shutil.disk_usage(folder).free
    made = "" if folder == settings.lake else "the first run makes it; "
    yield Finding("write to it", "works", f"{made}{free / 1024**3:,.1f} GiB free")
