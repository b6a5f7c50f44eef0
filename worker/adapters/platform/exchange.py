"""The deadline of one exchange: when it may begin, and a thread that ends it at the deadline.

requests' own timeouts are per read, so an answer that comes byte by byte never meets them. Here a thread of the
exchange's own watches the boot clock, which counts suspend, and shuts the connection down at the deadline, whatever
the reader is doing.
"""

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from worker.adapters.clock import Clock
from worker.adapters.deadline import Deadline
from worker.domain.budget import is_too_late_to_send
from worker.domain.records.query_errors import DeadlineExceeded, NotSent

# After a suspend a thread's wait resumes where it stood, while the boot clock has moved on: so the wait is cut into
# pieces.
_LONGEST_WAIT = 0.25
_SHORTEST_WAIT = 0.001


class Exchange:
    """One query's exchange, as a context: the watching thread lives as long as the context, and no longer.

    `started` is the boot clock's reading at the grant's first step, `deadline` the seconds that the whole exchange
    may take from there, `connect_timeout` the seconds for making a connection.
    """

    def __init__(self, *, clock: Clock, started: float, deadline: float, connect_timeout: float) -> None:
        self._clock = clock
        self._started = started
        self._deadline = deadline
        self._ends = started + deadline
        # A connection that comes later than this could not be used: see `is_too_late_to_send`.
        self.connecting = Deadline(clock, min(connect_timeout, self._ends - deadline / 3 - clock.boot()))
        """When a connection must have been made."""
        self._done = threading.Event()
        self._guard = threading.Lock()
        self._line: socket.socket | None = None
        self._cut = False
        self._watcher = threading.Thread(target=self._watch, name="exchange-deadline", daemon=True)
        self.sent = False
        """Whether the first byte of the request was handed to the network, or may have been."""

    def __enter__(self) -> Self:
        try:
            self._watcher.start()
        except RuntimeError:
            # Out of threads: an exchange may not begin without a watcher.
            no_watch = NotSent("no thread could be started to watch the deadline")
        else:
            return self
        raise no_watch

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join()
        if self._line is not None:
            # The last handle on the connection: by SO_LINGER this is the reset.
            self._line.close()

    @property
    def rest(self) -> float:
        """Seconds until the deadline; negative past it."""
        return self._ends - self._clock.boot()

    @property
    def over(self) -> bool:
        """Whether the exchange was cut, or should have been by now."""
        return self._cut or self.rest <= 0

    def check_may_begin(self) -> None:
        """Raise NotSent where less than a third of the deadline is left."""
        boot = self._clock.boot()
        if is_too_late_to_send(started=self._started, boot=boot, deadline_seconds=self._deadline):
            rest = max(self._ends - boot, 0)
            raise NotSent(f"{rest:.3f} s were left before the deadline, less than the third that a query needs")

    def before_write(self) -> None:
        """To be called before each write. Raises NotSent before the first one, DeadlineExceeded before a later one."""
        if self.sent:
            if self.over:
                raise DeadlineExceeded("the deadline passed while the request was being sent")
            return
        if self._line is not None:
            _give_up_after(self._line, self.rest)
        self.check_may_begin()
        self.sent = True

    def prepare(self, line: socket.socket) -> None:
        """Set a socket's options, before it is connected."""
        # A plain close lets the kernel deliver what it still holds, after the slot's wait has been counted from the
        # deadline. With SO_LINGER 1, 0 a close, and the end of the process, discards it and resets the connection.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _give_up_after(line, self.rest)

    def watch(self, line: socket.socket) -> None:
        """Take a connected socket under watch, before TLS takes it over. Raises NotSent past the deadline."""
        with self._guard:
            # A handle of our own: the reader may close its handle at any time, and that number may be another file's
            # when the connection is cut.
            self._line = line.dup()
        if self.over:
            raise NotSent("the deadline passed while the connection was being made")

    def _watch(self) -> None:
        while not self._done.wait(min(max(self.rest, _SHORTEST_WAIT), _LONGEST_WAIT)):
            if self.rest <= 0:
                self._cut_now()
                return

    def _cut_now(self) -> None:
        with self._guard:
            self._cut = True
            if self._line is not None:
                # The platform may have closed the connection already.
                with suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)


def _give_up_after(line: socket.socket, seconds: float) -> None:
    # How long the kernel goes on sending without an acknowledgement, in ms: also when this process is stopped or
    # killed. Linux only; elsewhere the close alone ends it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(seconds * 1000)))
