"""Push the callbacks of settled orders, except the callbacks that are lost."""

import heapq
import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from worker.simulator.orders import Item, PlacedOrder, item_of

Push = Callable[[Item], bool]
"""A function that sends a callback with the given body. It returns whether the receiver answered with status 200."""

_TRIES = 3
"""The most times that a callback is pushed until the receiver accepts it.

It is not documented whether the real platform repeats callbacks.
"""
_BETWEEN_TRIES_SECONDS = 2.0
_PUSH_SECONDS = 5.0
_PUSHED_AT_ONCE = 8
_LONGEST_SLEEP = 1.0
_ACCEPTED = 200


@dataclass(eq=False)
class CallbackQueue:
    """The callbacks that are not sent yet, in the order of their due times. Safe to use from several threads."""

    push: Push | None
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        # Each entry has the due time, a serial number, the order, and the number of pushes so far.
        self._waiting: list[tuple[float, int, PlacedOrder, int]] = []
        self._states: dict[PlacedOrder, str] = {}
        self._stopped = False

    def add(self, order: PlacedOrder) -> None:
        """Add the callback of a placed order. It is due at the moment when the order settles."""
        if self.push is None or order.settles_at == float("inf"):
            return
        with self._changed:
            self._states[order] = "lost" if order.callback_lost else "waiting"
            if not order.callback_lost:
                heapq.heappush(self._waiting, (order.settles_at, len(self._states), order, 0))
                self._changed.notify()

    def deliver_due(self) -> int:
        """Push the callbacks that are due, up to `_PUSHED_AT_ONCE`. Return how many were pushed."""
        with self._changed:
            due: list[tuple[float, int, PlacedOrder, int]] = []
            while self._waiting and self._waiting[0][0] <= self.clock() and len(due) < _PUSHED_AT_ONCE:
                due.append(heapq.heappop(self._waiting))
        if not due or self.push is None:
            return 0
        with ThreadPoolExecutor(len(due)) as pool:
            accepted = list(pool.map(self.push, [item_of(order, self.clock()) for _, _, order, _ in due]))
        with self._changed:
            for is_accepted, (_, number, order, pushed) in zip(accepted, due, strict=True):
                if not is_accepted and pushed + 1 < _TRIES:
                    again = (self.clock() + _BETWEEN_TRIES_SECONDS, number, order, pushed + 1)
                    heapq.heappush(self._waiting, again)
                else:
                    self._states[order] = "sent" if is_accepted else "failed"
        return len(due)

    def run(self) -> None:
        """Push callbacks as they become due, until `stop`. Run this in a separate thread."""
        while not self._stopped:
            if self.deliver_due():
                continue
            with self._changed:
                next_due = self._waiting[0][0] - self.clock() if self._waiting else _LONGEST_SLEEP
                if next_due > 0:
                    self._changed.wait(min(next_due, _LONGEST_SLEEP))

    def stop(self) -> None:
        """Make `run` return."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def state_of(self, order: PlacedOrder) -> str:
        """The state of an order's callback.

        It is `none` (the order has no callback), `waiting`, `sent`, `failed` (the receiver did not accept it) or
        `lost`.
        """
        with self._changed:
            return self._states.get(order, "none")

    def counts(self) -> dict[str, int]:
        """The number of callbacks in each state."""
        with self._changed:
            return dict(Counter(self._states.values()))


def http_push(url: str) -> Push:
    """Return a function that pushes callbacks to `url`, as HTTP POSTs of JSON.

    Raises ValueError if `url` is not an http or https URL. The message does not show `url`, because its path is secret.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL of callbacks is no http:// or https:// URL")
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json;charset=utf-8"}

    def push(body: Item) -> bool:
        connection = connect(parts.hostname or "", parts.port, timeout=_PUSH_SECONDS)
        try:
            connection.request("POST", target, json.dumps(body, ensure_ascii=False).encode(), headers)
            return connection.getresponse().status == _ACCEPTED
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return push
