"""A finding of `reconciler doctor`, and its parts."""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from worker.adapters.safe_text import Redactor, one_line
from worker.domain.records.sentences import Sentence, _


class Status(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    """The worker can run, but some data can be lost, or some function will not work."""
    FATAL = "fatal"
    """The worker does not start, or cannot do its work."""
    SKIPPED = "skipped"
    """The check was not possible. Another finding gives the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding. `str()` is a line with the detail and the remedy."""

    name: str
    """The name of the check. Several findings have the same name if one check leads to them."""
    status: Status
    detail: Sentence
    """The finding as a clause without a full stop."""
    remedy: Sentence | None = None
    """The remedy as a command without a full stop; None if there is nothing to do."""

    @property
    def sentence(self) -> Sentence:
        """The detail and the remedy."""
        return self.detail if self.remedy is None else _("%(what)s: %(reason)s", self.detail, self.remedy)

    def __str__(self) -> str:
        return self.sentence

    def shown_with(self, redactor: Redactor) -> "Check":
        """A copy of this finding without secrets: the finding may quote a server's message that contains a password."""
        shown = partial(one_line, redactor=redactor)
        remedy = None if self.remedy is None else self.remedy.with_each(shown)
        return replace(self, detail=self.detail.with_each(shown), remedy=remedy)


def ok(name: str, message: str, *values: object) -> Check:
    """A finding that needs no action."""
    return Check(name=name, status=Status.OK, detail=Sentence(message, *values))


def warning(name: str, detail: Sentence, remedy: Sentence) -> Check:
    """A finding that does not prevent the worker's start."""
    return Check(name=name, status=Status.WARNING, detail=detail, remedy=remedy)


def fatal(name: str, detail: Sentence, remedy: Sentence) -> Check:
    """A finding that prevents the worker's start."""
    return Check(name=name, status=Status.FATAL, detail=detail, remedy=remedy)


def skipped(name: str, message: str, *values: object) -> Check:
    """A check that was not possible, and the reason."""
    return Check(name=name, status=Status.SKIPPED, detail=Sentence(message, *values))
