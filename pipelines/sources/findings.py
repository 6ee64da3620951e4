"""What a read-only trial of a source found out, for `apportion check`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["works", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    ``subject``: what was tried, such as ``list s3://bucket/prefix``. ``state``: it works, works but deserves a look, or is
    missing and keeps the source from being pulled. ``detail``: what was seen, such as ``24 billing periods, the newest
    2026-10``. ``remedy``: how to grant or mend what isn't there, with the permission's exact name; empty where all is well.
    """

    subject: str
    state: State
    detail: str
    remedy: str = ""


def can_be_pulled(findings: Iterable[Finding]) -> bool:
    """Whether nothing that a pull needs is missing."""
    return all(finding.state != "missing" for finding in findings)
