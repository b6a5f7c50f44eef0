"""Write into the database when this worker process last ticked. A thread that does nothing else writes this.

The row of the process is not written by its messages or ticks. So it is still written while a tick hangs, and then
shows how old the last tick is. If the broker or the beat is away, processes tick by themselves, so the worker does not
look dead. The row also says when the broker last answered this process, when the process last received a tick's
message, how many messages wait at the broker, and when a task last committed its work.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from worker.adapters.clock import Clock
from worker.adapters.log import VERSION
from worker.adapters.watchdog import Watchdog
from worker.database.read_identity import identity_of
from worker.database.transactions import Database, is_transient, retry_contention
from worker.domain.monitoring.worker_processes import HEARTBEAT_SECONDS
from worker.domain.records.monitoring import PollingProcess, WorkerRow
from worker.stores.accounts import (
    delete_outdated_cut_off,
    delete_unwritten,
    delete_worker,
    read_deployment,
    read_processes,
    save_worker,
)

log = structlog.stdlib.get_logger(__name__)

FORGOTTEN_AFTER = timedelta(minutes=10)
"""If a process's row was not written for this long, it is deleted, because the process was killed or its host is
gone."""
_CUT_OFF_FORGOTTEN_AFTER = timedelta(days=1)
_TICKED_WITHIN = timedelta(seconds=4 * HEARTBEAT_SECONDS)
"""If a process has not ticked for this long, the other processes take its share of the slots."""
_BEFORE_FIRST_TICK_SECONDS = 1.0
"""The time between two writes until the process has ticked. It is short, so that a new worker is shown soon after its
first tick."""
_LONGEST_HOST = 90
"""The most characters of a host's name: the name must fit into a column, together with the process id and the start
time."""


def host_name() -> str:
    """Return this host's name as `worker_processes` shows it; in a container, this is the container's name."""
    return socket.gethostname()[:_LONGEST_HOST]


@dataclass(kw_only=True, slots=True)
class Peers:
    """This process, and all processes that take slots. The thread that writes this process's row reads them anew at
    each write."""

    host: str = field(default_factory=host_name)
    credentials: str = ""
    """A digest of this host's credentials."""
    own: str = ""
    """The name of this process in `worker_processes`; empty until the process has written its row."""
    processes: Mapping[str, PollingProcess] = field(default_factory=dict)
    """The processes that take slots, by name."""
    is_connected: bool = True
    """Whether this host can connect to the platform, as far as this process knows."""
    deployment: str = ""
    """The random id of the database; empty until it is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """Signs of life of this process. Each function returns how many seconds ago something last happened, or None if it
    never has; the last two return how many messages wait."""

    tick: Callable[[], float | None]
    """Seconds since a tick last ended without an error."""
    beat: Callable[[], float | None]
    """Seconds since a message last came that requests a tick."""
    broker_asked: Callable[[], float | None]
    broker_answered: Callable[[], float | None]
    queue_empty: Callable[[], float | None]
    """Seconds since the queue of orders at the broker was last found empty."""
    taken_in: Callable[[], float | None]
    """Seconds since the work of a task was last committed."""
    other_deployment: Callable[[], float | None]
    """Seconds since another deployment was last found to use the same queues."""
    orders_waiting: Callable[[], int | None]
    """How many messages wait in the queue of orders; None if unknown."""
    ticks_waiting: Callable[[], int | None]


class Heartbeat:
    """Writes this process's row every few seconds until `close` is called. It starts a thread, so make it after the
    process was forked."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        signs: Signs,
        accounts: Iterable[str],
        watchdog: Watchdog,
        *,
        peers: Peers | None = None,
        period_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """`accounts` are the names of the accounts in the settings. Each write also brings `peers` up to date."""
        self._database = database
        self._clock = clock
        self._signs = signs
        # The names are sorted, because processes with the same accounts share slots, even if their settings list the
        # accounts in another order.
        self._accounts = tuple(sorted(accounts))
        self._peers = peers or Peers()
        self._period = period_seconds
        self._started = time.monotonic()
        self._host, self._pid = self._peers.host, os.getpid()
        self.name = f"{self._host}:{self._pid}:{clock.now():%Y%m%dT%H%M%S.%f}"
        """The name of this process in its row."""
        self._started_at: datetime | None = None
        self._is_written = False
        self._closing = threading.Event()
        self._watchdog = watchdog
        self._thread = watchdog.start_thread(self._run, name="heartbeat")

    def close(self) -> None:
        """Stop writing, and delete this process's row, because the process ends normally. Never raise an error."""
        self._closing.set()
        self._thread.join()
        # If the last write failed, the database may be away. Do not wait for it: other processes delete the row later.
        if self._is_written:
            self._guarded(lambda: _delete(self._database, self.name))

    def _run(self) -> None:
        while True:
            self._watchdog.step()
            has_ticked = self._signs.tick() is not None
            self._is_written = self._guarded(self._write)
            if self._closing.wait(self._period if has_ticked else min(self._period, _BEFORE_FIRST_TICK_SECONDS)):
                return

    def _write(self) -> None:
        begins = self._started_at is None
        self._started_at = _write(self._database, self._row, self._peers, begins=begins)
        self._peers.own = self.name

    def _row(self, now: datetime) -> WorkerRow:
        signs = self._signs
        return WorkerRow(
            name=self.name,
            host=self._host,
            pid=self._pid,
            # The start time stays as it was first written. If a clock is stepped, the row must not look like that of
            # another process.
            started_at=self._started_at or now - timedelta(seconds=time.monotonic() - self._started),
            last_tick_at=_before(now, signs.tick()),
            written_at=now,
            clock_offset_seconds=(self._clock.now() - now).total_seconds(),
            accounts=self._accounts,
            broker_asked_at=_before(now, signs.broker_asked()),
            broker_answered_at=_before(now, signs.broker_answered()),
            last_beat_at=_before(now, signs.beat()),
            orders_waiting=signs.orders_waiting(),
            ticks_waiting=signs.ticks_waiting(),
            queue_empty_at=_before(now, signs.queue_empty()),
            taken_in_at=_before(now, signs.taken_in()),
            other_deployment_at=_before(now, signs.other_deployment()),
            hanging_since=_before(now, self._watchdog.seconds_hanging()),
            database_full_at=_before(now, self._database.seconds_since_full()),
            version=VERSION,
        )

    def _guarded(self, act: Callable[[], None]) -> bool:
        """Call `act`, and return whether it succeeded. If the database is away, log nothing, because ticks log that;
        the next call tries again."""
        try:
            act()
        except Exception as error:
            if not is_transient(error):
                log.exception("this process's row in worker_processes was not written", action="heartbeat_failed")
            return False
        return True


def _before(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now - timedelta(seconds=seconds)


@retry_contention
def _write(database: Database, row_at: Callable[[datetime], WorkerRow], peers: Peers, *, begins: bool) -> datetime:
    """Write the row that `row_at` returns for the database's time, and bring `peers` up to date. Return when the
    process started.

    If `begins`, this is the process's first write. Then also delete old rows about hosts that were cut off: those of
    this host with other credentials, and those of hosts that were not tried for a day.
    """
    with database.write() as connection:
        now = database.now(connection)
        row = replace(row_at(now), database_identity=identity_of(connection).text or None)
        save_worker(connection, row)
        delete_unwritten(connection, now - FORGOTTEN_AFTER)
        if begins:
            delete_outdated_cut_off(connection, peers.host, peers.credentials, now - _CUT_OFF_FORGOTTEN_AFTER)
        # If a tick lies further in the future, a clock was set back since, and the tick does not count.
        latest = now + timedelta(seconds=HEARTBEAT_SECONDS)
        peers.processes = read_processes(connection, now - _TICKED_WITHIN, latest, peers.processes)
        peers.deployment = read_deployment(connection)
        return row.started_at


@retry_contention
def _delete(database: Database, name: str) -> None:
    with database.write() as connection:
        delete_worker(connection, name)
