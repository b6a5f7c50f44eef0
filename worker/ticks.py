"""Ticks: each starts a pass for every slot that may carry a query before the next tick, and waits for none of them.

A pass has two halves. Grants are short and need the database: a few threads make them, first come first served. An
exchange may hang for its whole deadline and needs only a thread, so it has one of its own: an account whose platform
hangs delays no other.

Ticks have a thread of their own. A message only requests one, and however many come during a tick, one more tick
follows: neither a flood of messages nor a database that holds up a tick keeps the pool's processes from taking in
orders. A process that gets none ticks by itself: Celery's pool gives a message that is done at once to the same process
each time, whose one running thread would make every pass.

The processes take turns (`worker.operations.cut_off_hosts.Turns`): a tick starts passes only where it is this
process's turn.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from worker.adapters.clock import Alarm, Throttle, seconds_since
from worker.adapters.watchdog import Watchdog, Watched
from worker.database.error_kinds import OUTAGES
from worker.domain.records.accounts import LongerWindow, Opening, SlotKey
from worker.operations.maintain_slots import SlotMaintenance, longer_window_remedy
from worker.reconcile import Granted, Reconciler

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)

GRANTS_AT_ONCE = 8
"""Fewer than the database's connections, so that write-backs find one however many slots are open."""
MOST_EXCHANGES_AT_ONCE = 1000
"""For a thousand accounts whose platform hangs at once. Beyond it a slot waits until an exchange ends."""
# A slot that is tried too early waits for the next tick, and clocks differ a little.
_SPARE_SECONDS = 0.001
# Made when the worker imports its tasks, before it forks: its processes share it.
_LONGER_WINDOW_LINES = Throttle(60.0)
_MOST_NAMED = 5
# Longer than a period: the process that gets the messages ticks by these alone.
_PERIODS_WITHOUT_TICK = 1.5
# So often the thread of the ticks shows that it lives.
_LONGEST_WAIT_SECONDS = 5.0


class Ticks:
    """Turns ticks into passes, in one process.

    `idle_accounts` returns which of these accounts need no pass now: no order is due, or they back off. `each_tick` is
    the tick's other work. Ticks are requested every `period_seconds`, of one process or another: one that gets none for
    longer ticks by itself. `in_turn` returns which of the slots that open this process takes.
    """

    def __init__(
        self,
        *,
        maintenance: SlotMaintenance,
        slots: Sequence[SlotKey],
        reconciler: Reconciler,
        idle_accounts: Callable[[Collection[str]], Collection[str]],
        each_tick: Callable[[], None],
        period_seconds: float,
        watchdog: Watchdog,
        in_turn: Callable[[Sequence[Opening]], Sequence[Opening]] = lambda openings: openings,
    ) -> None:
        self._maintenance = maintenance
        self._slots = {slot.key: slot for slot in slots}
        self._reconciler = reconciler
        self._idle_accounts = idle_accounts
        self._each_tick = each_tick
        self._patience = _PERIODS_WITHOUT_TICK * period_seconds
        self._in_turn = in_turn
        self._granting = ThreadPoolExecutor(GRANTS_AT_ONCE, thread_name_prefix="grant")
        self._watchdog = watchdog
        self._free_exchanges = threading.BoundedSemaphore(MOST_EXCHANGES_AT_ONCE)
        # The passes, and those among them that wait for a thread to make the grant.
        self._under_way: dict[tuple[str, int], Watched] = {}
        self._waiting: set[Watched] = set()
        self._exchanges: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._requested = threading.Event()
        self._closing = False
        self._resting_since = time.monotonic()
        self._last_end: float | None = None
        self._last_request: float | None = None
        self._alarm = Alarm(self._start, name="slots-alarm")
        self._ticking = watchdog.start_thread(self._keep_ticking, name="ticks")

    def request(self) -> None:
        """Have a tick made that begins after this call. Returns at once; requests made before it begins are one."""
        self._last_request = time.monotonic()
        self._requested.set()

    def tick(self) -> None:
        """Start the passes that may start, in the caller's thread. Harmless at any time, and however often."""
        try:
            self._start_passes()
            if not self._closing:
                self._each_tick()
            self._last_end = time.monotonic()
        except Exception as error:
            if not OUTAGES.explains(error, "a tick was cut short"):
                raise
        finally:
            # Not from its begin: where no message comes, ticks on a slow database follow each other after a rest.
            self._resting_since = time.monotonic()

    def seconds_since_tick(self) -> float | None:
        """How long ago the last tick ended without an error; None where none has yet."""
        return seconds_since(self._last_end)

    def seconds_since_request(self) -> float | None:
        """How long ago a tick was last requested: by beat, or by a forged message. None where none was."""
        return seconds_since(self._last_request)

    def close(self) -> None:
        """Start no more passes, and wait for those under way: at most a deadline and its write-back.

        A tick that is under way ends with the statement that it waits for.
        """
        with self._lock:
            # Under the lock: a pass that is just being started is either refused or waited for.
            self._closing = True
        self._requested.set()
        self._ticking.join()
        self._alarm.close()
        self._granting.shutdown(wait=True, cancel_futures=True)
        # No grant is left that could start another exchange.
        for exchange in self._exchanges.copy():
            exchange.join()

    def _start_passes(self) -> None:
        # The next tick begins a patience after the end of this one.
        openings = self._maintenance.openings(list(self._slots.values()), within_seconds=2 * self._patience)
        _log_longer_windows(self._maintenance.longer_windows)
        idle = set(self._idle_accounts({account for opening in openings for account in opening.slot.app_ids}))
        wanted = self._in_turn([opening for opening in openings if not idle.issuperset(opening.slot.app_ids)])
        # A slot opens at any moment. To leave it to the next tick would cost half a period of each window.
        self._alarm.set({one.slot.key: one.in_seconds + _SPARE_SECONDS for one in wanted if one.in_seconds > 0})
        # In random order: processes that read the same list would compete for the same slots, one after the other. No
        # slot waits for long, since grants are made first come first served.
        for opening in random.sample(wanted, len(wanted)):
            if opening.in_seconds <= 0:
                self._start(opening.slot.key)

    def _start(self, key: tuple[str, int]) -> None:
        with self._lock:
            if self._closing or key in self._under_way:
                return
            watched = self._under_way[key] = self._watchdog.begin("a pass")
            self._waiting.add(watched)
            try:
                self._granting.submit(self._grant, self._slots[key], watched)
            except (RuntimeError, MemoryError):
                # Out of threads: the next tick tries again.
                self._waiting.discard(watched)
                self._under_way.pop(key).end()
                log.exception("a grant could not be started", action="pass_failed")

    def _grant(self, slot: SlotKey, watched: Watched) -> None:
        with self._lock:
            self._waiting.discard(watched)
            # While grants are made, those that wait for their turn do not hang.
            for waiting in self._waiting:
                waiting.step()
        watched.here()
        # Before the grant: once a slot is granted, its deadline runs.
        self._free_exchanges.acquire()
        granted = None if self._closing else _guarded(lambda: self._reconciler.take(slot))
        if granted is None:
            self._release(slot)
            return
        exchange = threading.Thread(target=self._exchange, args=(slot, granted, watched), name="exchange")
        self._exchanges.add(exchange)
        try:
            exchange.start()
        except RuntimeError:
            # Out of threads. The slot is taken, so the query is made here, and holds up other grants. Not so after a
            # MemoryError: the thread may have begun all the same, and the query would be sent twice.
            self._exchanges.discard(exchange)
            self._exchange(slot, granted, watched)

    def _exchange(self, slot: SlotKey, granted: Granted, watched: Watched) -> None:
        watched.here()
        try:
            _guarded(lambda: self._reconciler.query(granted))
        finally:
            self._exchanges.discard(threading.current_thread())
            self._release(slot)

    def _release(self, slot: SlotKey) -> None:
        self._free_exchanges.release()
        with self._lock:
            # None where `submit` had refused a grant that was made all the same.
            if (watched := self._under_way.pop(slot.key, None)) is not None:
                watched.end()

    def _keep_ticking(self) -> None:
        while True:
            self._watchdog.step()
            requested = self._requested.wait(min(self._seconds_left(), _LONGEST_WAIT_SECONDS))
            if not requested and self._seconds_left() > 0:
                continue
            # Cleared before it is read whether to close, which requests as well: no request is lost.
            self._requested.clear()
            if self._closing:
                return
            if not requested:
                log.debug("no tick came: the process ticks by itself", action="self_tick")
            try:
                self.tick()
            except Exception:
                log.exception("a tick failed", action="tick_failed")

    def _seconds_left(self) -> float:
        return max(0.0, self._resting_since + self._patience - time.monotonic())


def _log_longer_windows(found: Sequence[LongerWindow]) -> None:
    """Log once a minute that no query is sent on some slots, and what to do."""
    if not found or not _LONGER_WINDOW_LINES.passes():
        return
    accounts = sorted({account for one in found for account in one.slot.app_ids})
    ours, theirs = found[0].our_window, max(one.its_window for one in found)
    log.error(
        "no query is sent: another worker on this database has a longer window",
        action="longer_window",
        accounts=accounts[:_MOST_NAMED],
        account_count=len(accounts),
        our_window_seconds=ours,
        their_window_seconds=theirs,
        help=longer_window_remedy(ours, theirs),
    )


def _guarded(half: Callable[[], T]) -> T | None:
    """Run half a pass, and log its error: the lease and the reservation expire by themselves."""
    try:
        return half()
    except Exception as error:
        if not OUTAGES.explains(error, "a pass was cut short"):
            log.exception("a pass failed", action="pass_failed")
    return None
