"""Connections that are kept from one delivery to the next, and given to one thread at a time."""

import time
from collections import deque
from typing import Generic, Protocol, TypeVar

IDLE_SECONDS = 30.0
"""What was unused for longer is not used again: a firewall in between may have dropped it without a word."""


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """Close it; raises nothing."""


T = TypeVar("T", bound=Closable)


class KeptConnections(Generic[T]):
    """The latest is used first, so that few are kept where few are needed."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._kept: deque[tuple[T, float]] = deque()
        self._is_closed = False

    def take(self) -> T | None:
        """A connection that is now the caller's; None where there is none."""
        while True:
            try:
                connection, since = self._kept.pop()
            except IndexError:
                return None
            if time.monotonic() - since <= self._idle_seconds:
                return connection
            connection.close()

    def keep(self, connection: T) -> None:
        """Keep a connection that the caller uses no more."""
        self._kept.append((connection, time.monotonic()))
        if self._is_closed:
            self.close()

    def drop(self) -> None:
        """Close those that are kept; others may be kept from now on."""
        while True:
            try:
                connection, _ = self._kept.pop()
            except IndexError:
                return
            connection.close()

    def close(self) -> None:
        """Close those that are kept, and keep no more."""
        self._is_closed = True
        self.drop()
