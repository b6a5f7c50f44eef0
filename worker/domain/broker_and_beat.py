"""Whether the broker answers the workers, and whether beat sends ticks, by the rows of the processes that tick.

Processes poll and tick by themselves while both are away, so their ticks say nothing of it. A tick's message is taken
for beat's, whatever sent it: it carries nothing to tell a forged one by, and a forged one changes nothing else.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from worker.domain.records.overview import WorkerRow


def heard_broker_at(row: WorkerRow) -> datetime | None:
    """When the broker last answered a process, or its start before the first answer; None where it does not ask."""
    return None if row.broker_asked_at is None else row.broker_answered_at or row.started_at


def heard_beat_at(rows: Iterable[WorkerRow]) -> datetime | None:
    """When one of these processes last received a tick's message.

    Where none has: the start of the one that has run for longest. None where no release among them says.
    """
    able = [row for row in rows if row.broker_asked_at is not None]
    received = [row.last_beat_at for row in able if row.last_beat_at is not None]
    return max(received) if received else min((row.started_at for row in able), default=None)


def unanswered(rows: Iterable[WorkerRow], within: timedelta) -> Collection[WorkerRow]:
    """The processes that the broker has not answered within this time, when they wrote their rows."""
    # By the row's own time: what a process that hangs since has heard is not known.
    return [row for row in rows if (heard := heard_broker_at(row)) is not None and row.written_at - heard > within]


def is_broker_silent(rows: Collection[WorkerRow], within: timedelta) -> bool:
    """Whether the broker answers none of the processes that ask it, and some do."""
    asking = sum(row.broker_asked_at is not None for row in rows)
    return 0 < asking == len(unanswered(rows, within))


def broker_in_words(rows: Collection[WorkerRow], now: datetime, within: timedelta) -> str | None:
    """What is to be said of the broker, without a full stop; None where it answers all who ask."""
    silent = unanswered(rows, within)
    if not silent:
        return None
    heard = [row.broker_answered_at for row in silent if row.broker_answered_at is not None]
    how_long = f"for {(now - max(heard)).total_seconds():,.0f} s" if heard else "yet"
    if is_broker_silent(rows, within):
        return f"the broker has not answered {how_long}: no order comes in by tasks"
    hosts = ", ".join(sorted({row.host for row in silent}))
    return f"the broker has not answered {how_long} on {hosts}"


def beat_in_words(rows: Collection[WorkerRow], now: datetime, within: timedelta) -> str | None:
    """What is to be said of beat, without a full stop; None where its ticks come, or that cannot be told."""
    heard = heard_beat_at(rows)
    if heard is None or max(row.written_at for row in rows) - heard <= within:
        return None
    how_long = f"{(now - heard).total_seconds():,.0f} s"
    return f"no tick of beat has come for {how_long}: workers tick by themselves, less often"
