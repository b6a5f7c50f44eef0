"""Read from the rows of the processes whether workers tick, whether the broker answers, and whether beat sends ticks.

A worker is alive if it ticks, even if no message comes: without beat or the broker, each process ticks by itself. So a
worker counts as dead only after a long time without a tick. This time is at least ten tick periods plus two of the
periods in which processes write their rows.

Ticks do not show whether tasks take in orders: Celery's main process may have stopped, or each task may wait for
something. So each process also writes how many messages wait at the broker, and when a task last committed its work.

Ticks do not show either whether the broker and beat work: without them, processes tick and poll by themselves. So each
process also writes when it last received a message that requests a tick. Any such message counts as sent by beat. A
forged message cannot be recognised, but it can change nothing else.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta

from worker.domain.records.accounts import Rules
from worker.domain.records.monitoring import Finding, FindingKind, Level, WorkerRow

HEARTBEAT_SECONDS = 5.0
"""How often a worker process writes its row."""
_TICKS_MISSED = 10
_SHORTEST_MISSED_SECONDS = 2.0
_LONGEST_STEP_SECONDS = 60.0
_FULL_FOR = timedelta(seconds=90)
_FRESH = timedelta(seconds=4 * HEARTBEAT_SECONDS)
_INTAKE_PATIENCE = timedelta(seconds=60)


def hang_patience(rules: Rules) -> float:
    """How long an activity in a worker process may take without a step, in seconds. If it takes longer, it counts as
    hanging.

    A pass makes no step during its exchange with the platform. It makes none either while the database is away: the
    pass then repeats its write-back for the length of a reservation. Each statement to a slow database is a step; a
    statement to a silent server ends within 40 seconds.
    """
    return rules.reservation_seconds + _LONGEST_STEP_SECONDS


def tick_allowance(at_least: float, tick_seconds: float) -> float:
    """How many seconds may pass without a visible tick before a worker counts as dead."""
    missed = max(_SHORTEST_MISSED_SECONDS, _TICKS_MISSED * tick_seconds)
    return max(at_least, missed + 2 * HEARTBEAT_SECONDS)


def last_tick(workers: Iterable[WorkerRow], now: datetime) -> datetime | None:
    """The latest tick of a process in which nothing hangs; None if no such tick is known.

    A tick in the future does not count. It was written before a clock was set back, and the process writes a new tick
    within seconds.
    """
    latest = now + timedelta(seconds=HEARTBEAT_SECONDS)
    ticks = [row.last_tick_at for row in workers if row.last_tick_at is not None and row.hanging_since is None]
    return max((tick for tick in ticks if tick <= latest), default=None)


def is_ticking(workers: Iterable[WorkerRow], now: datetime, within_seconds: float) -> bool:
    """Whether any of these processes has ticked within the last `within_seconds`."""
    latest = last_tick(workers, now)
    return latest is not None and now - latest <= timedelta(seconds=within_seconds)


def polled_accounts(
    workers: Iterable[WorkerRow], configured: Collection[str], now: datetime, within_seconds: float
) -> Collection[str]:
    """The accounts of the processes that have ticked within the last `within_seconds`.

    If no process has ticked, these are the accounts of our settings (`configured`). They also stand for the accounts of
    a process whose row lacks its own.
    """
    ticking = [row for row in workers if is_ticking([row], now, within_seconds)]
    said = [configured if row.accounts is None else row.accounts for row in ticking]
    return set().union(*said) if ticking else configured


def heard_broker_at(row: WorkerRow) -> datetime | None:
    """When the broker last answered a process, or when the process started if it has had no answer; None if it does not
    ask."""
    return None if row.broker_asked_at is None else row.broker_answered_at or row.started_at


def heard_beat_at(rows: Iterable[WorkerRow]) -> datetime | None:
    """When one of these processes last received a tick's message.

    If no process has received one, this is the start of the process that has run for longest. It is None if every
    process has a release that does not record these messages.
    """
    able = [row for row in rows if row.broker_asked_at is not None]
    received = [row.last_beat_at for row in able if row.last_beat_at is not None]
    return max(received) if received else min((row.started_at for row in able), default=None)


def unanswered(rows: Iterable[WorkerRow], within: timedelta) -> Collection[WorkerRow]:
    """The processes that, when they wrote their rows, had not had an answer from the broker within this time."""
    # Compare with the time of the row and not with now: the row of a process that hangs does not show what it heard
    # later.
    return [row for row in rows if (heard := heard_broker_at(row)) is not None and row.written_at - heard > within]


def is_broker_silent(rows: Collection[WorkerRow], within: timedelta) -> bool:
    """Whether some processes ask the broker, and it answers none of them."""
    asking = sum(row.broker_asked_at is not None for row in rows)
    return 0 < asking == len(unanswered(rows, within))


def full_disk(rows: Iterable[WorkerRow], now: datetime) -> Iterator[Finding]:
    """Report that the database's disk is full, until 90 seconds after the last write that failed because of it."""
    failed = max((row.database_full_at for row in rows if row.database_full_at is not None), default=None)
    if failed is not None and now - failed <= _FULL_FOR:
        yield Finding(kind=FindingKind.DATABASE_FULL, level=Level.CRITICAL, values={"lasts": now - failed})


def broker_and_beat(rows: Collection[WorkerRow], now: datetime, within: timedelta) -> Iterator[Finding]:
    """The findings about the broker, or else about beat; none if the broker answers all processes that ask, and beat's
    messages come."""
    if silent := unanswered(rows, within):
        # If some hosts reach the broker, orders still come in.
        is_everywhere = is_broker_silent(rows, within)
        lasts = now - max(heard for row in silent if (heard := heard_broker_at(row)) is not None)
        yield Finding(
            kind=FindingKind.NO_BROKER if is_everywhere else FindingKind.NO_BROKER_SOMEWHERE,
            level=Level.CRITICAL if is_everywhere else Level.WARNING,
            values={"lasts": lasts, "hosts": ", ".join(sorted({row.host for row in silent}))},
        )
        return
    heard = heard_beat_at(rows)
    if heard is not None and max(row.written_at for row in rows) - heard > within:
        yield Finding(kind=FindingKind.NO_BEAT, values={"lasts": now - heard})


def queue_reading(rows: Iterable[WorkerRow], now: datetime) -> WorkerRow | None:
    """The process with the latest row that says how many messages wait; None if no fresh row has this number."""
    told = (row for row in rows if row.orders_waiting is not None and now - row.written_at <= _FRESH)
    return max(told, key=lambda row: row.written_at, default=None)


def intake_findings(rows: Iterable[WorkerRow], now: datetime) -> Iterator[Finding]:
    """Report if another deployment takes our messages, or if messages wait and no task takes them in.

    Messages count as not taken in if, for a minute, every reading of the queue found messages and no task committed its
    work.
    """
    # Rows of killed processes count as well, since each process that replaces one may be killed at its first message.
    # Rows with a time in the future do not count: they were written before a clock was set back.
    rows = [row for row in rows if row.written_at <= now + _FRESH]
    if any(now - row.other_deployment_at <= _INTAKE_PATIENCE for row in rows if row.other_deployment_at is not None):
        yield Finding(kind=FindingKind.SHARED_QUEUES, level=Level.CRITICAL)
    reading = queue_reading(rows, now)
    times = [at for row in rows for at in (row.queue_empty_at, row.taken_in_at) if at is not None]
    # Processes of an earlier release never know how many messages wait, so their start times prove nothing.
    starts = (row.started_at for row in rows if row.orders_waiting is not None)
    since = max(times, default=min(starts, default=now))
    if reading is not None and reading.orders_waiting and now - since > _INTAKE_PATIENCE:
        values = {"count": reading.orders_waiting, "lasts": now - since}
        yield Finding(kind=FindingKind.NOTHING_TAKEN_IN, level=Level.CRITICAL, values=values)
