"""What a read-only trial of a source found out, for `apportion check`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import ApportionError
from pipelines.sources.deliveries import DeliveredFile

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


@dataclass(frozen=True)
class Sample:
    """A data file whose first rows tell whether the source can be normalised, and the mapping that would do it."""

    mapping: str
    file: DeliveredFile


def missing(subject: str, error: ApportionError) -> Finding:
    """What an error says of the thing that was tried, each part labelled, on one line."""
    labelled = (("expected", error.expected), ("found", error.found))
    told = "; ".join(f"{label}: {text}" for label, text in labelled if text)
    place = f" ({error.where})" if error.where and error.where not in subject else ""
    return Finding(subject, "missing", " ".join(filter(None, (f"{error.problem}{place}", told))), error.remedy)


def cheapest(files: Sequence[DeliveredFile]) -> DeliveredFile:
    """The file that is read at the least cost: the last of those on this machine, where the first rows are all that is read;
    the smallest of those that have to be fetched.
    """
    here = [file for file in files if file.path]
    return here[-1] if here else min(files, key=lambda file: (file.size or 0, file.name))


def can_be_pulled(findings: Iterable[Finding]) -> bool:
    """Whether nothing that a pull needs is missing."""
    return all(finding.state != "missing" for finding in findings)
