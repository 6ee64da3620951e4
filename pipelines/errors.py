"""Errors for the person who reads them at 3 a.m.: what is wrong, where, what was expected and found, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pipelines.lake.audits import AuditResult


def gravest(exit_codes: Iterable[int]) -> int:
    """The exit code that tells most: an unexpected error (1), then causes before what follows of them (2, 3, 4)."""
    return min((code for code in exit_codes if code), default=0)


class ApportionError(Exception):
    """A problem that a person has to act on.

    ``exit_code`` is what the command line ends with: 2 for words we can't follow (configuration, rules), 3 for a
    delivery or table that was refused, 4 for a period that could not be published.
    """

    exit_code = 1

    def __init__(self, problem: str, *, where: str = "", expected: str = "", found: str = "", remedy: str = "") -> None:
        self.problem = problem
        self.where = where
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = (
            ("where", self.where),
            ("expected", self.expected),
            ("found", self.found),
            ("what to do", self.remedy),
        )
        return "\n".join([self.problem, *(f"  {label}: {text}" for label, text in parts if text)])


class ConfigurationError(ApportionError):
    """The configuration can't be used."""

    exit_code = 2


class RuleError(ApportionError):
    """The allocation rules or dimensions can't be used."""

    exit_code = 2


class DeliveryError(ApportionError):
    """What a source delivered was refused."""

    exit_code = 3

    def within(self, place: str) -> Self:
        """The same error, told with what it lies in: a file's error with its source and period."""
        where = ", ".join(part for part in (place, self.where) if part)
        return type(self)(self.problem, where=where, expected=self.expected, found=self.found, remedy=self.remedy)


class AuditFailed(ApportionError):
    """Rows that were about to be committed failed an audit; nothing was committed. ``audits`` holds every result."""

    exit_code = 3

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        expected: str = "",
        found: str = "",
        remedy: str = "",
        audits: Sequence[AuditResult] = (),
    ) -> None:
        self.audits = tuple(audits)
        super().__init__(problem, where=where, expected=expected, found=found, remedy=remedy)


class PublicationError(ApportionError):
    """A period could not be published; readers keep its previous figures."""

    exit_code = 4
