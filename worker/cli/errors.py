"""Errors as a person at a terminal sees them: one line that says what to do, and an exit status."""

from worker.adapters.redaction import Redactor, escape_controls

_LONGEST = 500


class CommandError(Exception):
    """A command could not do what it was asked to; `str()` is one line that says what to do about it."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def one_line(text: str, redactor: Redactor | None = None) -> str:
    """A text from outside as one bounded line, without secrets, and without anything that a terminal would obey."""
    joined = " ".join(text.split())
    return escape_controls((redactor or Redactor()).text(joined))[:_LONGEST]


def first_line(error: BaseException, redactor: Redactor | None = None) -> str:
    """What an error says, in a line. Of a database error the driver's own words, without statement and parameters."""
    # Drivers give a number and a text (PyMySQL), or several lines (psycopg), the first of which says it.
    cause = getattr(error, "orig", None) or error
    words = cause.args[-1] if cause.args and isinstance(cause.args[-1], str) else str(cause)
    lines = words.strip().splitlines()
    return one_line(lines[0] if lines else type(cause).__name__, redactor)
