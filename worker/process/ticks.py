"""Start passes on ticks.

A tick starts a pass for every slot that opens before the next tick. It does not wait for the passes.

A pass has two halves: a grant and an exchange. Grants are short and need the database, so a few threads make them, in
the order of arrival. An exchange may hang until its deadline. So each exchange has its own thread, and an account whose
platform hangs does not delay the others.

Ticks run in their own thread; a Celery message only requests a tick. All requests that arrive during a tick lead to one
more tick. So neither a flood of messages nor a slow database keeps the pool's processes from taking in orders.

A process that receives no request ticks by itself. Otherwise one process would make all passes, because Celery's pool
gives short messages, such as requests for ticks, to the same process every time.

The processes take turns (`worker.operations.let_other_hosts_go_first.Turns`): a tick starts a pass for a slot only if
it is this process's turn.
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
from worker.process.reconcile import Granted, Reconciler

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)

GRANTS_AT_ONCE = 8
"""Number of threads that make grants. It is below the number of database connections, so that a write-back always finds
a free connection.
"""
MOST_EXCHANGES_AT_ONCE = 1000
"""The most exchanges at the same time. If all of them hang, further slots wait until an exchange ends."""
# This is added to the time until a slot opens, because clocks differ a little: a slot that is tried too early has to
# wait for the next tick.
_SPARE_SECONDS = 0.001
# This throttle is created before the worker forks, so that all processes of the worker share it.
_LONGER_WINDOW_LINES = Throttle(60.0)
_MOST_NAMED = 5
# A process ticks by itself after this many periods without a request. This is more than one period, so that a process
# that receives the requests does not also tick by itself.
_PERIODS_WITHOUT_TICK = 1.5
# The longest time for which the thread of the ticks waits before it tells the watchdog that it is alive.
_LONGEST_WAIT_SECONDS = 5.0


class Ticks:
    """Turns ticks into passes, in one process.

    `idle_accounts` returns the accounts that need no pass now: they have no due order, back off or are paused.
    `each_tick` does the work of a tick that is not about passes. A tick is requested every `period_seconds`, each time
    from only one of the processes. A process that has received no request for longer than that ticks by itself.
    `in_turn` selects the slots for which it is this process's turn.
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
        # `_under_way` has all passes; `_waiting` has those among them that still wait for a thread to make their grant.
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
        """Request a tick, and return at once. The tick begins after this call. Requests until it begins are merged."""
        self._last_request = time.monotonic()
        self._requested.set()

    def tick(self) -> None:
        """Run a tick in the caller's thread: start the passes that may start now, and do the tick's other work.

        May be called at any time and repeatedly.
        """
        try:
            self._start_passes()
            if not self._closing:
                self._each_tick()
            self._last_end = time.monotonic()
        except Exception as error:
            if not OUTAGES.explains(error, "a tick was cut short"):
                raise
        finally:
            # Count the wait for the next tick from this tick's end. So even if the database makes ticks slow, there is
            # a rest between two ticks that this process makes by itself.
            self._resting_since = time.monotonic()

    def seconds_since_tick(self) -> float | None:
        """Seconds since a tick last ended without an error; None if no tick has done so yet."""
        return seconds_since(self._last_end)

    def seconds_since_request(self) -> float | None:
        """Seconds since a tick was last requested, by beat or by a forged message; None if it was never requested."""
        return seconds_since(self._last_request)

    def close(self) -> None:
        """Stop starting passes, and wait for those under way: at most a query's deadline and its write-back.

        If a tick is under way, it ends after its current database statement.
        """
        with self._lock:
            # Set `_closing` under the lock, so that a pass that starts at this moment is either refused or waited for.
            self._closing = True
        self._requested.set()
        self._ticking.join()
        self._alarm.close()
        self._granting.shutdown(wait=True, cancel_futures=True)
        # By now no grant is left that could start another exchange.
        for exchange in self._exchanges.copy():
            exchange.join()

    def _start_passes(self) -> None:
        # Look ahead for longer than it takes until the next tick: it begins at most `_patience` seconds after the end
        # of this one.
        openings = self._maintenance.openings(list(self._slots.values()), within_seconds=2 * self._patience)
        _log_longer_windows(self._maintenance.longer_windows)
        idle = set(self._idle_accounts({account for opening in openings for account in opening.slot.app_ids}))
        wanted = self._in_turn([opening for opening in openings if not idle.issuperset(opening.slot.app_ids)])
        # Start the passes of slots that open between two ticks by an alarm. If such a slot waited for the next tick,
        # each of its windows would become longer, by half a period on average.
        self._alarm.set({one.slot.key: one.in_seconds + _SPARE_SECONDS for one in wanted if one.in_seconds > 0})
        # Take the slots in random order: if all processes took them in the same order, they would compete for one slot
        # after the other. No slot waits for long, since the grants are made in the order in which they are submitted.
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
                # No thread is available. Forget the pass; the next tick starts it again.
                self._waiting.discard(watched)
                self._under_way.pop(key).end()
                log.exception("a grant could not be started", action="pass_failed")

    def _grant(self, slot: SlotKey, watched: Watched) -> None:
        with self._lock:
            self._waiting.discard(watched)
            # Grants are being made, so the passes that wait for a thread do not hang. Tell this to the watchdog.
            for waiting in self._waiting:
                waiting.step()
        watched.here()
        # Wait until another exchange may start. Do this before the grant, because the query's deadline starts with it.
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
            # No thread is available. The slot is already taken, so send the query in this thread, although this delays
            # other grants. Do not catch a MemoryError: the thread may have started nevertheless, and the query would be
            # sent twice.
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
            # The pass is missing if `submit` raised an error, so that `_start` removed the pass, but the grant ran
            # nevertheless.
            if (watched := self._under_way.pop(slot.key, None)) is not None:
                watched.end()

    def _keep_ticking(self) -> None:
        while True:
            self._watchdog.step()
            requested = self._requested.wait(min(self._seconds_left(), _LONGEST_WAIT_SECONDS))
            if not requested and self._seconds_left() > 0:
                continue
            # Clear the event before `_closing` is read and before the tick begins. So neither the end, for which
            # `close` sets the event, nor a request during the tick is lost.
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
    """Log that no query is sent for some slots because another worker has a longer window, and log the remedy.

    Do this at most once a minute.
    """
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
    """Run half a pass. If it raises an error, log the error and return None.

    After an error nothing needs to be undone: the lease and the reservation expire by themselves.
    """
    try:
        return half()
    except Exception as error:
        if not OUTAGES.explains(error, "a pass was cut short"):
            log.exception("a pass failed", action="pass_failed")
    return None
