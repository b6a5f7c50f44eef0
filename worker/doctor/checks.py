"""One finding of the doctor."""

from dataclasses import dataclass, replace
from enum import StrEnum

from worker.adapters.error_text import one_line
from worker.adapters.log_redaction import Redactor


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """The worker runs, but something can be lost, or will not work."""
    FATAL = "fatal"
    """The worker does not start."""
    SKIPPED = "skipped"
    """It could not be looked at, because of another finding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding; `str()` is a line that says what was found and what to do."""

    name: str
    """What was checked. Several findings about one thing have the same name."""
    status: Status
    detail: str
    """What was found, as a clause without a stop."""
    remedy: str | None = None
    """What to do, as a command without a stop; None where nothing needs doing."""

    def __str__(self) -> str:
        return self.detail if self.remedy is None else f"{self.detail}: {self.remedy}"

    def shown_with(self, redactor: Redactor) -> "Check":
        """The same, fit to be shown: servers' own words are in it, and words of theirs may hold a password."""
        remedy = None if self.remedy is None else one_line(self.remedy, redactor)
        return replace(self, detail=one_line(self.detail, redactor), remedy=remedy)


def ok(name: str, detail: str) -> Check:
    """Nothing to do."""
    return Check(name=name, status=Status.OK, detail=detail)


def warning(name: str, detail: str, remedy: str) -> Check:
    """Something that does not keep the worker from its start."""
    return Check(name=name, status=Status.WARNING, detail=detail, remedy=remedy)


def fatal(name: str, detail: str, remedy: str) -> Check:
    """Something that does."""
    return Check(name=name, status=Status.FATAL, detail=detail, remedy=remedy)


def skipped(name: str, why: str) -> Check:
    """Something that could not be looked at."""
    return Check(name=name, status=Status.SKIPPED, detail=why)
