"""Ticks: each starts a pass for every slot that may carry a query, and waits for none of them.

A pass runs in a thread of its own, so that an account whose platform hangs delays no other. Where no tick comes for a
while (beat is gone, or its clock was set back), the process ticks by itself.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from worker.adapters.database.engine import is_unavailable
from worker.adapters.database.grants import Grants, SlotKey

log = structlog.stdlib.get_logger(__name__)

MOST_PASSES_AT_ONCE = 64


class Ticks:
    """Turns ticks into passes, in one process."""

    def __init__(
        self,
        *,
        grants: Grants,
        slots: Sequence[SlotKey],
        run_pass: Callable[[SlotKey], object],
        each_tick: Callable[[], None],
        patience_seconds: float,
    ) -> None:
        """`each_tick` is what a tick does besides. After `patience_seconds` without one the process ticks by itself."""
        self._grants = grants
        self._slots = slots
        self._run_pass = run_pass
        self._each_tick = each_tick
        self._patience = patience_seconds
        self._passes = ThreadPoolExecutor(MOST_PASSES_AT_ONCE, thread_name_prefix="pass")
        self._under_way: dict[tuple[str, int], Future[object]] = {}
        self._lock = threading.Lock()
        self._ticked = threading.Event()
        self._closing = False
        self._is_prepared = False
        self._watchdog = threading.Thread(target=self._watch, name="tick-watchdog", daemon=True)
        self._watchdog.start()

    def tick(self) -> None:
        """Start what may start. Harmless whenever it comes, and however often."""
        self._ticked.set()
        try:
            self._start_passes()
            self._each_tick()
        except Exception as error:
            if not is_unavailable(error):
                raise
            why = _first_line(error)
            log.warning("the database is away: nothing is asked", action="database_unavailable", error=why)

    def close(self) -> None:
        """Start nothing more, and wait for what is under way: at most a deadline and its write-back."""
        with self._lock:
            # Under the lock: a pass that is just being started is either refused or waited for.
            self._closing = True
        self._ticked.set()
        self._passes.shutdown(wait=True)

    def _start_passes(self) -> None:
        if not self._is_prepared:
            self._grants.prepare(self._slots)
            self._is_prepared = True
        for slot in self._grants.open_slots(self._slots):
            self._start(slot)

    def _start(self, slot: SlotKey) -> None:
        key = (slot.account_sid, slot.number)
        with self._lock:
            if self._closing or key in self._under_way:
                return
            self._under_way[key] = self._passes.submit(self._run, slot, key)

    def _run(self, slot: SlotKey, key: tuple[str, int]) -> None:
        try:
            self._run_pass(slot)
        except Exception as error:
            # Nobody waits for this thread's result. The lease and the reservation run out by themselves.
            if is_unavailable(error):
                log.warning("a pass lost the database", action="pass_failed", error=_first_line(error))
            else:
                log.exception("a pass failed", action="pass_failed")
        finally:
            with self._lock:
                self._under_way.pop(key, None)

    def _watch(self) -> None:
        while not self._closing:
            if self._ticked.wait(self._patience):
                self._ticked.clear()
                continue
            log.debug("no tick came: the process ticks by itself", action="self_tick")
            try:
                self.tick()
            except Exception:
                log.exception("a tick failed", action="tick_failed")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
