"""A finding of the doctor."""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from worker.adapters.safe_text import Redactor, one_line
from worker.domain.records.sentences import Sentence, _


class Status(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    """The worker runs, but something can be lost, or will not work."""
    FATAL = "fatal"
    """The worker does not start, or cannot do its work."""
    SKIPPED = "skipped"
    """It could not be checked, because of another finding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding; `str()` is a line that says what was found and what to do."""

    name: str
    """What was checked. Several findings about one thing have the same name."""
    status: Status
    detail: Sentence
    """What was found, as a clause without a stop."""
    remedy: Sentence | None = None
    """What to do, as a command without a stop; None where nothing needs doing."""

    @property
    def sentence(self) -> Sentence:
        """What was found and what to do."""
        return self.detail if self.remedy is None else _("%(what)s: %(reason)s", self.detail, self.remedy)

    def __str__(self) -> str:
        return self.sentence

    def shown_with(self, redactor: Redactor) -> "Check":
        """The same with secrets removed: it quotes servers, whose messages may hold a password."""
        shown = partial(one_line, redactor=redactor)
        remedy = None if self.remedy is None else self.remedy.with_each(shown)
        return replace(self, detail=self.detail.with_each(shown), remedy=remedy)


def ok(name: str, message: str, *values: object) -> Check:
    """A check that found nothing to do."""
    return Check(name=name, status=Status.OK, detail=Sentence(message, *values))


def warning(name: str, detail: Sentence, remedy: Sentence) -> Check:
    """A finding that does not prevent the worker's start."""
    return Check(name=name, status=Status.WARNING, detail=detail, remedy=remedy)


def fatal(name: str, detail: Sentence, remedy: Sentence) -> Check:
    """A finding that prevents the worker's start."""
    return Check(name=name, status=Status.FATAL, detail=detail, remedy=remedy)


def skipped(name: str, message: str, *values: object) -> Check:
    """A check that could not be made, and why."""
    return Check(name=name, status=Status.SKIPPED, detail=Sentence(message, *values))
