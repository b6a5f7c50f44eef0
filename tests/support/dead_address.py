"""Addresses that drop or refuse each attempt to connect, and names that resolve to several addresses."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

DEAD_HOST = "127.0.0.2"
"""Of loopback too. Linux routes all of 127.0.0.0/8."""


@contextmanager
def dead_address(port: int = 0, host: str = DEAD_HOST) -> Iterator[int]:
    """The port of an address that answers no SYN, as behind a firewall that drops: a listener whose queue is full."""
    with ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        address = listener.getsockname()
        stack.enter_context(socket.create_connection(address[:2]))
        # The client's side is connected a moment before the connection is in the queue.
        select.select([listener], [], [], 30)
        yield int(address[1])


@contextmanager
def refusing_address(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """An address that refuses connections: its port is held, so no other program can listen there."""
    with socket.socket() as held:
        held.bind((host, 0))
        yield held.getsockname()


def resolving_to(*addresses: tuple[str, int]) -> Callable[..., list[tuple[object, ...]]]:
    """A resolver that finds these addresses for every name, in this order."""
    return lambda *_, **__: [
        (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))
        for host, port in addresses
    ]


def connections_under_way(port: int) -> int:
    """How many TCP connections of this machine to this port are being made (SYN_SENT)."""
    under_way = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for fields in map(str.split, lines):
                under_way += fields[3] == "02" and int(fields[2].rpartition(":")[2], 16) == port
    return under_way
