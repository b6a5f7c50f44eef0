"""Whether workers tick, whether the broker answers them and whether beat sends ticks, by the rows of the processes.

A worker is alive by its ticks, not by its messages: where no tick comes (beat or the broker is gone), each process
ticks by itself. So the time without a tick after which a worker counts as dead is never shorter than ten periods of
ticks and two of the rows together.

A process that ticks says nothing of what comes in by tasks: Celery's main process may have stopped, or each task may
wait for something. So each process also writes how many messages wait at the broker, and when a task last committed its
work.

Processes poll and tick by themselves while both are away, so their ticks say nothing of the broker and of beat. A
tick's message is taken for beat's, whatever sent it: it carries nothing to tell a forged one by, and a forged one
changes nothing else.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta

from worker.domain.records.accounts import Rules
from worker.domain.records.watching import Finding, FindingKind, Level, WaitingItems, WorkerRow

HEARTBEAT_SECONDS = 5.0
"""How often a worker process writes its row."""
_TICKS_MISSED = 10
_SHORTEST_MISSED_SECONDS = 2.0
_LONGEST_STEP_SECONDS = 60.0
_FULL_FOR = timedelta(seconds=90)
_FRESH = timedelta(seconds=4 * HEARTBEAT_SECONDS)
_INTAKE_PATIENCE = timedelta(seconds=60)
_LOCKS_LAST = timedelta(minutes=10)


def hang_patience(rules: Rules) -> float:
    """How many seconds something under way in a worker process may take without a step: it hangs from then on.

    A pass makes no step during its exchange, nor while the database is away and its write-back is repeated, which is
    for a reservation. Each statement to a slow database is a step; one to a silent server ends within 40 seconds.
    """
    return rules.reservation_seconds + _LONGEST_STEP_SECONDS


def tick_allowance(at_least: float, tick_seconds: float) -> float:
    """How many seconds may pass without a tick that is to be seen, before a worker counts as dead."""
    missed = max(_SHORTEST_MISSED_SECONDS, _TICKS_MISSED * tick_seconds)
    return max(at_least, missed + 2 * HEARTBEAT_SECONDS)


def last_tick(workers: Iterable[WorkerRow], now: datetime) -> datetime | None:
    """The latest tick of a process in which nothing hangs; None where none is known.

    One that lies ahead is the mark of a clock that was set back since: it is written again within seconds.
    """
    latest = now + timedelta(seconds=HEARTBEAT_SECONDS)
    ticks = [row.last_tick_at for row in workers if row.last_tick_at is not None and row.hanging_since is None]
    return max((tick for tick in ticks if tick <= latest), default=None)


def is_ticking(workers: Iterable[WorkerRow], now: datetime, within_seconds: float) -> bool:
    """Whether any of these processes has ticked within so many seconds."""
    latest = last_tick(workers, now)
    return latest is not None and now - latest <= timedelta(seconds=within_seconds)


def polled_accounts(
    workers: Iterable[WorkerRow], configured: Collection[str], now: datetime, within_seconds: float
) -> Collection[str]:
    """The accounts of the processes that have ticked within so many seconds; those of our settings where none has, and
    for a process that does not say."""
    ticking = [row for row in workers if is_ticking([row], now, within_seconds)]
    said = [configured if row.accounts is None else row.accounts for row in ticking]
    return set().union(*said) if ticking else configured


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


def full_disk(rows: Iterable[WorkerRow], now: datetime) -> Iterator[Finding]:
    """That the database's disk is full, for 90 seconds after the last write of a process that failed by it."""
    failed = max((row.database_full_at for row in rows if row.database_full_at is not None), default=None)
    if failed is not None and now - failed <= _FULL_FOR:
        yield Finding(kind=FindingKind.DATABASE_FULL, level=Level.CRITICAL, values={"lasts": now - failed})


def broker_and_beat(rows: Collection[WorkerRow], now: datetime, within: timedelta) -> Iterator[Finding]:
    """What is to be reported of the broker, or else of beat; nothing where it answers all who ask and ticks come."""
    if silent := unanswered(rows, within):
        # Where only some hosts reach it, orders still come in.
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
    """The process that was last told how many messages wait; None if none of those that write their rows was."""
    told = (row for row in rows if row.orders_waiting is not None and now - row.written_at <= _FRESH)
    return max(told, key=lambda row: row.written_at, default=None)


def intake_findings(rows: Iterable[WorkerRow], now: datetime, put_off: WaitingItems | None = None) -> Iterator[Finding]:
    """Whether another deployment takes our messages; whether messages waited at every reading for a minute, while no
    task committed its work; and whether items were put off for ten minutes."""
    # Rows of processes that were killed count as well, since each of their successors may end at its first message. A
    # row that lies ahead was written before a clock was set back.
    rows = [row for row in rows if row.written_at <= now + _FRESH]
    if any(now - row.other_deployment_at <= _INTAKE_PATIENCE for row in rows if row.other_deployment_at is not None):
        yield Finding(kind=FindingKind.SHARED_QUEUES, level=Level.CRITICAL)
    reading = queue_reading(rows, now)
    times = [at for row in rows for at in (row.queue_empty_at, row.taken_in_at) if at is not None]
    # A release before this one is never told what waits: how long its processes run says nothing.
    starts = (row.started_at for row in rows if row.orders_waiting is not None)
    since = max(times, default=min(starts, default=now))
    if reading is not None and reading.orders_waiting and now - since > _INTAKE_PATIENCE:
        values = {"count": reading.orders_waiting, "lasts": now - since}
        yield Finding(kind=FindingKind.NOTHING_TAKEN_IN, level=Level.CRITICAL, values=values)
    if put_off is not None and now - put_off.since > _LOCKS_LAST:
        yield Finding(kind=FindingKind.ORDERS_PUT_OFF, values={"count": put_off.count, "lasts": now - put_off.since})
