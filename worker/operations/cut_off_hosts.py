"""What a process does because hosts may be cut off from the platform: it takes turns with the others, tries to connect
while its host cannot, and has its host tried where the others were refused.

Where a slot opens, one of the processes goes first, and the others take it if it is still open a tick later: so few try
the same slot, and none is left where a process is slow or gone. The row's lock decides.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Self

import structlog

from worker.adapters.clock import Clock
from worker.adapters.watchdog import Watchdog
from worker.database.error_kinds import OUTAGES
from worker.database.transactions import Database, retry_contention
from worker.domain.accounts.waits import end_wait
from worker.domain.queries.cut_off_hosts import A_TICK, CutOffHosts
from worker.domain.records.accounts import Opening, Rules
from worker.domain.records.incoming import QueryError
from worker.domain.records.watching import PollingProcess
from worker.operations.write_heartbeat import Peers
from worker.stores.accounts import (
    claim_connection,
    delete_not_connected,
    lock_states,
    read_cut_off,
    read_refused,
    read_unreachable,
    save_state,
)

log = structlog.stdlib.get_logger(__name__)

# If ticks are further apart, a slot that another process leaves open would lose too much of its window.
_LONGEST_SHARED_SECONDS = 5.0
_LONGEST_TRY_SECONDS = 15.0
# Each process of the host looks whether a try is due.
_LOOKS_PER_TRY = 3
_SHORTEST_WAIT_SECONDS = 0.2
# After that the other processes know this one, and judge a refusal by it.
_NEW_SECONDS = 20.0


class Turns:
    """Chooses among the slots that open, at ticks that are `period_seconds` apart."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, peers: Peers, *, period_seconds: float) -> None:
        self._database, self._clock, self._rules, self._peers = database, clock, rules, peers
        self._shares = period_seconds <= _LONGEST_SHARED_SECONDS
        # By the opening's name: when this process first saw it open, by the boot clock.
        self._open_since: Mapping[str, float] = {}

    def mine(self, wanted: Sequence[Opening]) -> list[Opening]:
        """The slots that this process takes, among those that are open or will be before the next tick."""
        now, before, peers = self._clock.boot(), self._open_since, self._peers
        self._open_since = {one.name: before.get(one.name, now) for one in wanted if one.in_seconds <= 0}
        if not wanted:
            return []
        with self._database.read() as connection:
            hosts = CutOffHosts(read_cut_off(connection), self._database.now(connection), self._rules)
        peers.is_connected = hosts.is_connected(peers.host)
        others = list(peers.processes.values())

        def takes(opening: Opening) -> bool:
            patience = hosts.patience(opening, peers.own, peers.host, others)
            is_next = patience == A_TICK and not self._shares
            return is_next or patience <= now - before.get(opening.name, now)

        return [one for one in wanted if takes(one)]


class ConnectionProbe:
    """Makes the connection that a query would make while this host has none, from its start to `close`.

    Each process of the host has a thread that does so; the row's time gives each try to one of them. The thread of a
    new process also ends back-offs that refusals of other hosts made before they knew of it.
    """

    def __init__(
        self,
        database: Database,
        rules: Rules,
        peers: Peers,
        connect: Callable[[], QueryError | None],
        *,
        new_seconds: float = _NEW_SECONDS,
    ) -> None:
        """`connect` makes and closes a connection; it returns why that failed. A process is new for `new_seconds` from
        when the others know it."""
        self._database, self._rules, self.peers, self._connect = database, rules, peers, connect
        # Every 15 seconds, or four times in a shorter window.
        self._every = timedelta(seconds=min(_LONGEST_TRY_SECONDS, rules.window_seconds / 4))
        self._closing = threading.Event()
        self._new_seconds, self._known_since = new_seconds, inf

    def start(self, watchdog: Watchdog) -> Self:
        """Start the thread."""
        self._watchdog = watchdog
        self._thread = watchdog.start_thread(self._run, name="connection-probe")
        return self

    def try_once(self) -> None:
        """Try to connect, if the host is not connected and it is time."""
        if not self.peers.is_connected and self._claim() and self._connect() is None:
            self._end()
            log.info("the platform can be reached again", action="connected", host=self.peers.host)

    def end_waits_for_others(self) -> None:
        """End the back-offs of accounts that other hosts were refused for and this host was not, while this process is
        new: a host that knows of no other one has its accounts wait 15 windows."""
        own = self.peers.processes.get(self.peers.own)
        if own is not None:
            self._known_since = min(self._known_since, time.monotonic())
            if time.monotonic() - self._known_since < self._new_seconds:
                self._end_waits_for_others(own)

    def close(self) -> None:
        """Try no more. Waits for the try that is under way: at most the time that a connection may take."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        wait = max(self._every.total_seconds() / _LOOKS_PER_TRY, _SHORTEST_WAIT_SECONDS)
        while not self._closing.wait(wait):
            self._watchdog.step()
            try:
                self.try_once()
                self.end_waits_for_others()
            except Exception as error:
                if not OUTAGES.explains(error, "a try to connect to the platform was cut short"):
                    # The thread goes on: without it the host would stay cut off.
                    log.exception("a try to connect to the platform failed", action="connection_failed")

    @retry_contention
    def _claim(self) -> bool:
        with self._database.write() as connection:
            claimed = claim_connection(connection, self.peers.host, self._database.now(connection), self._every)
        # None: another process has connected.
        self.peers.is_connected = claimed is None
        return bool(claimed)

    @retry_contention
    def _end(self) -> None:
        with self._database.write() as connection:
            # Locked before the host's row, as by a write-back.
            states = lock_states(connection, read_unreachable(connection))
            now = self._database.now(connection)
            for state in states.values():
                if state.backoff_unreachable:
                    save_state(connection, state, replace(end_wait(state, now), backoff_unreachable=False))
            delete_not_connected(connection, self.peers.host)
        self.peers.is_connected = True

    @retry_contention
    def _end_waits_for_others(self, own: PollingProcess) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            hosts = CutOffHosts(read_cut_off(connection), now, self._rules)
            if accounts := hosts.refused_elsewhere(own) & set(read_refused(connection)):
                for state in lock_states(connection, accounts).values():
                    if state.configuration_refused:
                        save_state(connection, state, end_wait(state, now))
