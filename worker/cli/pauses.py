"""An account's pause, in words."""

from datetime import datetime

from worker.cli.output import time_text


def pause_in_words(paused_at: datetime, until: datetime | None, by: str | None, reason: str | None) -> str:
    """Who paused an account, since when, until when and why."""
    ends = "an operator ends it" if until is None else time_text(until)
    why = "" if reason is None else f": {reason}"
    return f"paused by {by or 'an operator'} since {time_text(paused_at)}, until {ends}{why}"
