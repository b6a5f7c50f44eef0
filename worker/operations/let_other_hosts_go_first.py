"""Deal with hosts that may be cut off from the platform.

A process takes turns with the other processes. While its host cannot connect, it tries to connect. A new process ends
back-offs that other hosts caused, so that its own host is tried.

When a slot opens, one process may take it first. The other processes take the slot if it is still open a tick later. So
few processes try the same slot, but no slot stays open if a process is slow or gone. If several processes try, the lock
of the slot's row decides.
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
from worker.domain.queries.which_host_goes_first import A_TICK, CutOffHosts
from worker.domain.records.accounts import Opening, Rules
from worker.domain.records.incoming import QueryError
from worker.domain.records.monitoring import PollingProcess
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

# If ticks are further apart than this, no process leaves a slot to another one for a tick, because the slot would lose
# too much of its window.
_LONGEST_SHARED_SECONDS = 5.0
_LONGEST_TRY_SECONDS = 15.0
# How often each process of a host checks, in the time between two tries to connect, whether a try is due.
_LOOKS_PER_TRY = 3
_SHORTEST_WAIT_SECONDS = 0.2
# After this time the other processes know a new process, and consider it when they judge a refusal.
_NEW_SECONDS = 20.0


class Turns:
    """Chooses the slots that this process takes at each tick, among those that open. Ticks are `period_seconds`
    apart."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, peers: Peers, *, period_seconds: float) -> None:
        self._database, self._clock, self._rules, self._peers = database, clock, rules, peers
        self._shares = period_seconds <= _LONGEST_SHARED_SECONDS
        # Maps the name of each open slot to the time when this process first saw it open, by the boot clock.
        self._open_since: Mapping[str, float] = {}

    def mine(self, wanted: Sequence[Opening]) -> list[Opening]:
        """Return the slots that this process takes, among slots that are open or will open before the next tick."""
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
    """Tries to connect as a query would, as long as this host cannot connect. Runs from `start` to `close`.

    Each process of the host has a thread for this. The time of the next try, in the host's row, makes sure that only
    one process makes each try. The thread of a new process also ends back-offs that began when other hosts were refused
    and did not know this process yet.
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
        """`connect` makes and closes a connection. It returns the error, or None if there was none. This process counts
        as new until its row has been known for `new_seconds`."""
        self._database, self._rules, self.peers, self._connect = database, rules, peers, connect
        # The host is tried every 15 seconds or, if a quarter of a window is shorter, four times in a window.
        self._every = timedelta(seconds=min(_LONGEST_TRY_SECONDS, rules.window_seconds / 4))
        self._closing = threading.Event()
        self._new_seconds, self._known_since = new_seconds, inf

    def start(self, watchdog: Watchdog) -> Self:
        """Start the thread."""
        self._watchdog = watchdog
        self._thread = watchdog.start_thread(self._run, name="connection-probe")
        return self

    def try_once(self) -> None:
        """Try to connect if this host is not connected and its next try is due."""
        if not self.peers.is_connected and self._claim() and self._connect() is None:
            self._end()
            log.info("the platform can be reached again", action="connected", host=self.peers.host)

    def end_waits_for_others(self) -> None:
        """While this process is new, end the back-offs of accounts for which other hosts were refused, but this host
        was not. Otherwise these accounts may wait 15 windows: this is the back-off if a refused host knows of no other
        host."""
        own = self.peers.processes.get(self.peers.own)
        if own is not None:
            self._known_since = min(self._known_since, time.monotonic())
            if time.monotonic() - self._known_since < self._new_seconds:
                self._end_waits_for_others(own)

    def close(self) -> None:
        """Stop trying. If a try is under way, wait until it ends. This takes at most as long as a connection may
        take."""
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
                    # The error is only logged and the thread continues, because without it the host would stay cut off.
                    log.exception("a try to connect to the platform failed", action="connection_failed")

    @retry_contention
    def _claim(self) -> bool:
        with self._database.write() as connection:
            claimed = claim_connection(connection, self.peers.host, self._database.now(connection), self._every)
        # None means that the host has no such row any more, because another process has connected.
        self.peers.is_connected = claimed is None
        return bool(claimed)

    @retry_contention
    def _end(self) -> None:
        with self._database.write() as connection:
            # The accounts are locked before the host's row, in the same sequence as in a write-back.
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
