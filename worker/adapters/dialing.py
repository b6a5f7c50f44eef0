"""One TCP connection to a host with several addresses, of which some may be dead: RFC 8305 ("Happy Eyeballs")."""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from selectors import EVENT_WRITE, BaseSelector, DefaultSelector

from worker.adapters.timers import Deadline

ATTEMPT_SECONDS = 0.25
"""After so long without a connection the next address is tried as well (RFC 8305, section 5)."""

Prepare = Callable[[socket.socket], None]
"""Sets a socket's options, before it is connected."""
Finish = Callable[[socket.socket], socket.socket]
"""What a connection needs besides TCP, such as a handshake. Raises OSError where the address is of no use."""
Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int | bytes, ...]]
"""What getaddrinfo says of one address."""


def dial(
    host: str, port: int, deadline: Deadline, prepare: Prepare = lambda _: None, finish: Finish = lambda line: line
) -> socket.socket:
    """Connect to the address that answers first, and finish that connection; where that fails, go on with the others.
    When this returns or raises, every other attempt is closed.

    It ends by the deadline, the search for the addresses included; the connection's timeout is what was left of that.
    Raises OSError, which includes TimeoutError; UnicodeError for a name that cannot be one; RuntimeError where no
    thread can be started.
    """
    # A resolver that is away is waited for by it for half a minute, whatever the deadline.
    found = deadline.bound(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    waiting = deque(by_turns(found))
    last = OSError("the name has no address")
    with _attempts() as attempts:
        while waiting or attempts.get_map():
            rest = deadline.rest()
            # Where there is little time, each address gets its share. Never long: a wait does not count a suspend.
            pause = min(ATTEMPT_SECONDS, rest / (len(waiting) + 1))
            try:
                if waiting:
                    _begin(attempts, waiting.popleft(), prepare)
                line = _connected(attempts, pause)
            except OSError as error:
                # Without its frame, which would make a reference cycle with the error.
                last = error.with_traceback(None)
                continue
            if line is not None:
                line.settimeout(rest)
                try:
                    return finish(line)
                except OSError as error:
                    line.close()
                    last = error.with_traceback(None)
    raise last


def by_turns(found: Sequence[Found]) -> list[Found]:
    """The addresses, the families taking turns (RFC 8305, section 4): one that is broken as a whole costs one pause."""
    families: dict[socket.AddressFamily, list[Found]] = {}
    for one in found:
        families.setdefault(one[0], []).append(one)
    return [one for turn in zip_longest(*families.values()) for one in turn if one is not None]


@contextmanager
def _attempts() -> Iterator[BaseSelector]:
    """The sockets that are being connected; those that are left are closed at the end."""
    with DefaultSelector() as attempts:
        try:
            yield attempts
        finally:
            for key in attempts.get_map().values():
                key.data.close()


def _begin(attempts: BaseSelector, found: Found, prepare: Prepare) -> None:
    """Begin to connect. Raises OSError where that fails at once."""
    family, kind, protocol, _, address = found
    line = socket.socket(family, kind, protocol)
    try:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        prepare(line)
        line.setblocking(False)
        with suppress(BlockingIOError):
            line.connect(address)
        attempts.register(line, EVENT_WRITE, line)
    except BaseException:
        line.close()
        raise


def _connected(attempts: BaseSelector, seconds: float) -> socket.socket | None:
    """The socket that has connected within so long; None where none has. Raises the OSError of one that failed."""
    for key, _ in attempts.select(seconds):
        line: socket.socket = key.data
        attempts.unregister(line)
        number = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not number:
            return line
        line.close()
        raise OSError(number, os.strerror(number))
    return None
