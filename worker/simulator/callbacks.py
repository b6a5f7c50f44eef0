"""Callbacks: what the platform pushes once an order has settled, unless the callback is lost."""

import heapq
import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from random import Random
from urllib.parse import urlsplit

from worker.simulator.orders import Delay, Item, PlacedOrder, item_of

CallbackSink = Callable[[Sequence[Item]], Collection[int] | None]
"""Receives the bodies of callbacks that are due together; returns the positions of those that were answered otherwise
than with status 200, or not at all. An exception means that none arrived."""

_LARGEST_PUSH = 100
_PUSH_SECONDS = 5.0
_PUSHED_AT_ONCE = 8
_LONGEST_SLEEP = 1.0
_BETWEEN_TRIES_SECONDS = 2.0
_ACCEPTED = 200


@dataclass(eq=False)
class CallbackQueue:
    """The callbacks that are not sent yet, in the order of their times. Safe to use from several threads.

    `tries` is how often a callback is pushed at most; what was not accepted is pushed again 2 s later.
    """

    sink: CallbackSink | None
    _: KW_ONLY
    delay: Delay
    tries: int
    seed: int
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        # Due at, number, order, how often it was pushed.
        self._waiting: list[tuple[float, int, PlacedOrder, int]] = []
        self._states: dict[PlacedOrder, str] = {}
        self._stopped = False

    def add(self, order: PlacedOrder) -> None:
        """Add the callback of an order that was placed; it follows the settling by the configured delay."""
        if self.sink is None or order.settles_at == float("inf"):
            return
        due = order.settles_at + self.delay.draw(Random(f"{self.seed}:callback:{order.request_id}"))
        with self._changed:
            if order.callback_lost:
                self._states[order] = "lost"
                return
            self._states[order] = "waiting"
            heapq.heappush(self._waiting, (due, len(self._states), order, 0))
            self._changed.notify()

    def deliver_due(self) -> int:
        """Push the callbacks that are due by now, at most 100; returns how many."""
        with self._changed:
            due: list[tuple[float, int, PlacedOrder, int]] = []
            while self._waiting and self._waiting[0][0] <= self.clock() and len(due) < _LARGEST_PUSH:
                due.append(heapq.heappop(self._waiting))
        if not due or self.sink is None:
            return 0
        try:
            failed = self.sink([item_of(order, self.clock()) for _, _, order, _ in due]) or ()
        except Exception:  # a receiver may fail in any way; the platform only counts that
            failed = range(len(due))
        with self._changed:
            for position, (_, number, order, pushed) in enumerate(due):
                if position not in failed:
                    self._states[order] = "sent"
                elif pushed + 1 < self.tries:
                    again = (self.clock() + _BETWEEN_TRIES_SECONDS, number, order, pushed + 1)
                    heapq.heappush(self._waiting, again)
                else:
                    self._states[order] = "failed"
        return len(due)

    def run(self) -> None:
        """Push callbacks as they become due, until `stop`. For a thread of its own."""
        while not self._stopped:
            if self.deliver_due():
                continue
            with self._changed:
                next_due = self._waiting[0][0] - self.clock() if self._waiting else _LONGEST_SLEEP
                if next_due > 0:
                    self._changed.wait(min(next_due, _LONGEST_SLEEP))

    def stop(self) -> None:
        """Let `run` return."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def state_of(self, order: PlacedOrder) -> str:
        """`none` (there will be none), `waiting`, `sent`, `failed` (the receiver did not accept it) or `lost`."""
        with self._changed:
            return self._states.get(order, "none")

    def counts(self) -> dict[str, int]:
        """How many callbacks are in each state."""
        with self._changed:
            return dict(Counter(self._states.values()))


def http_sink(url: str) -> CallbackSink:
    """Push each callback as one HTTP POST of JSON, which is to be answered with status 200; a few at once.

    Raises ValueError where the URL is none that can be posted to. The message does not show it: its path is a secret.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL of callbacks is no http:// or https:// URL")
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json;charset=utf-8"}

    def is_accepted(body: Item) -> bool:
        connection = connect(parts.hostname or "", parts.port, timeout=_PUSH_SECONDS)
        try:
            connection.request("POST", target, json.dumps(body, ensure_ascii=False).encode(), headers)
            return connection.getresponse().status == _ACCEPTED
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def push(bodies: Sequence[Item]) -> Collection[int]:
        with ThreadPoolExecutor(min(len(bodies), _PUSHED_AT_ONCE)) as pool:
            return [position for position, is_good in enumerate(pool.map(is_accepted, bodies)) if not is_good]

    return push
