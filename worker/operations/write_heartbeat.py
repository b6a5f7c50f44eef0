"""A worker process says in the database when it last ticked, by a thread of its own.

Neither a message nor a tick writes the row. So a tick that hangs shows by its age, and a broker or a beat that is away,
during which processes tick by themselves, is not taken for a dead worker. The row says apart from that when the broker
last answered this process, and when it last received a tick's message; how many messages wait at the broker, and when
a task last committed its work.
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
from worker.database.identity import identity_of
from worker.database.transactions import Database, is_transient, retry_contention
from worker.domain.records.watching import PollingProcess, WorkerRow
from worker.domain.watching.workers import HEARTBEAT_SECONDS
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
"""A row that was not written for so long is deleted: its process was killed, or its host is gone."""
_CUT_OFF_FORGOTTEN_AFTER = timedelta(days=1)
_TICKED_WITHIN = timedelta(seconds=4 * HEARTBEAT_SECONDS)
"""A process whose row shows no later tick takes no slot: the others take its share."""
_BEFORE_FIRST_TICK_SECONDS = 1.0
"""A worker that has just started is shown soon after its first tick."""
_LONGEST_HOST = 90
"""The name, with process id and start, fits into its column."""


def host_name() -> str:
    """What this host is called in `worker_processes`; in a container, its own name."""
    return socket.gethostname()[:_LONGEST_HOST]


@dataclass(kw_only=True, slots=True)
class Peers:
    """This process among all that take slots, as the timer of its row last read them."""

    host: str = field(default_factory=host_name)
    credentials: str = ""
    """A digest of this host's credentials."""
    own: str = ""
    """This process's name; empty before its row is written."""
    processes: Mapping[str, PollingProcess] = field(default_factory=dict)
    """By name."""
    is_connected: bool = True
    """Whether this host can connect to the platform, as far as this process knows."""
    deployment: str = ""
    """The random id of the database; empty before it was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """How many seconds ago something last happened in this process, None where it never has; and what waits."""

    tick: Callable[[], float | None]
    """A tick ended without an error."""
    beat: Callable[[], float | None]
    """A tick's message came."""
    broker_asked: Callable[[], float | None]
    broker_answered: Callable[[], float | None]
    queue_empty: Callable[[], float | None]
    """No order was found to wait at the broker."""
    taken_in: Callable[[], float | None]
    """A task's work was committed."""
    other_deployment: Callable[[], float | None]
    """Another deployment was found to use the same queues."""
    orders_waiting: Callable[[], int | None]
    """How many messages wait in the queue of orders; None if it is not known."""
    ticks_waiting: Callable[[], int | None]


class Heartbeat:
    """Writes this process's row every few seconds, from its start to `close`. To be made after the fork."""

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
        """`accounts` are the names of those in the settings. `peers` is kept up to date."""
        self._database = database
        self._clock = clock
        self._signs = signs
        # Whatever their order in a file: processes with the same accounts share the slots.
        self._accounts = tuple(sorted(accounts))
        self._peers = peers or Peers()
        self._period = period_seconds
        self._started = time.monotonic()
        self._host, self._pid = self._peers.host, os.getpid()
        self.name = f"{self._host}:{self._pid}:{clock.now():%Y%m%dT%H%M%S.%f}"
        """Of its row."""
        self._started_at: datetime | None = None
        self._is_written = False
        self._closing = threading.Event()
        self._watchdog = watchdog
        self._thread = watchdog.start_thread(self._run, name="heartbeat")

    def close(self) -> None:
        """Write no more, and delete the row: this process ends in order. Raises nothing."""
        self._closing.set()
        self._thread.join()
        # A database that was away a moment ago is not waited for: others delete the row later.
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
            # As it was first written: a clock that is stepped does not make this another process.
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
        """Whether it was done. A database that is away is tried again; ticks say in the log that it is."""
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
    """Write the row as it is at the database's time, and read what `peers` holds; returns when its process started.

    If it `begins`, it forgets what is known of its host with other credentials, and of hosts that were not tried for
    long.
    """
    with database.write() as connection:
        now = database.now(connection)
        row = replace(row_at(now), database_identity=identity_of(connection).text or None)
        save_worker(connection, row)
        delete_unwritten(connection, now - FORGOTTEN_AFTER)
        if begins:
            delete_outdated_cut_off(connection, peers.host, peers.credentials, now - _CUT_OFF_FORGOTTEN_AFTER)
        # A tick that lies ahead is the mark of a clock that was set back since.
        latest = now + timedelta(seconds=HEARTBEAT_SECONDS)
        peers.processes = read_processes(connection, now - _TICKED_WITHIN, latest, peers.processes)
        peers.deployment = read_deployment(connection)
        return row.started_at


@retry_contention
def _delete(database: Database, name: str) -> None:
    with database.write() as connection:
        delete_worker(connection, name)
