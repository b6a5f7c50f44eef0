"""The text of an error, safe to show: one bounded line, no secret, no control character."""

from worker.adapters.log_redaction import Redactor, escape_controls

_LONGEST = 500


def one_line(text: str, redactor: Redactor | None = None) -> str:
    """A text from outside as one bounded line, without secrets and control characters."""
    joined = " ".join(text.split())
    return escape_controls((redactor or Redactor()).text(joined))[:_LONGEST]


def first_line(error: BaseException, redactor: Redactor | None = None) -> str:
    """`first_words`, safe to show."""
    return one_line(first_words(error), redactor)


def first_words(error: BaseException) -> str:
    """The first line of an error's text, as it is. Of a database error the driver's words, without statement and
    parameters."""
    # Drivers give a number and a text (PyMySQL), or several lines (psycopg), the first of which says it.
    cause = getattr(error, "orig", None) or error
    last = cause.args[-1] if cause.args else None
    words = last if isinstance(last, str) and last.strip() else str(cause)
    lines = words.strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def longer_window_remedy(our_window: float, their_window: float) -> str:
    """What a person does where a slot's row has a longer window than this worker; both in seconds."""
    return (
        f"set RECONCILER_QUERY_WINDOW_SECONDS to {their_window:g}; or, once no worker with that window runs any more,"
        f" lower it with `reconciler limit --window {our_window:g}`"
    )
