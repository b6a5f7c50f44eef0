"""Callbacks over HTTP: how many `reconciler serve` takes in each second, each of them settling an order."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import sqlalchemy
from sqlalchemy.pool import NullPool

from benchmarks import tables
from benchmarks.bench import APP_ID, Bench
from benchmarks.figures import Figure
from benchmarks.processes import environment, serve

TOKEN = "the-token-of-the-benchmark"

_PROCESSES = 2
_SENDERS = 32
_WARM_UP = 300
_SETTLED = "SELECT count(*) FROM recharge_orders WHERE settled_by = 'callback' AND state = 'succeeded'"


def run(bench: Bench, *, callbacks: int, rounds: int) -> list[Figure]:
    """Send callbacks about pending orders from 32 threads, each on a connection of its own, and count the seconds.

    Raises RuntimeError where a callback was not answered with 200, or has not settled its order.
    """
    wanted = _WARM_UP + rounds * callbacks
    with tables.database(bench.postgres.url, orders=wanted, pending_one_in=1) as database, _receiver(database) as url:
        ids = iter(tables.request_ids(database))
        send(url, [next(ids) for _ in range(_WARM_UP)])
        rates = [callbacks / send(url, [next(ids) for _ in range(callbacks)]) for _ in range(rounds)]
        engine = sqlalchemy.create_engine(database, poolclass=NullPool)
        with engine.connect() as connection:
            settled = connection.exec_driver_sql(_SETTLED).scalar_one()
    if settled != wanted:
        raise RuntimeError(f"{settled} of {wanted} orders were settled")
    figure = Figure(
        what=f"callbacks over HTTP, one serve with {_PROCESSES} processes, each settles an order",
        unit="per s",
        values=tuple(rates),
        target=300,
        more_is_better=True,
        bound_by="our own work on each request, here with the senders on the same processors; then commits",
    )
    return [figure]


@contextmanager
def _receiver(database: str) -> Iterator[str]:
    env = environment(database, "redis://127.0.0.1:9/0", callback_token=TOKEN, platform_url="http://127.0.0.1:9")
    with serve("--workers", str(_PROCESSES), "--only", "callbacks", env=env) as (_, url):
        yield url


def send(url: str, ids: Sequence[str]) -> float:
    """Send a callback for each id to a `serve` with our TOKEN; returns the seconds from the first request to the last
    answer."""
    parts, ready = urlsplit(url), threading.Barrier(_SENDERS + 1)
    address = (parts.hostname or "", parts.port or 0)

    def send_some(mine: Sequence[str]) -> None:
        ready.wait()
        for request_id in mine:
            _call_back(address, request_id)

    with ThreadPoolExecutor(_SENDERS) as pool:
        done = [pool.submit(send_some, ids[number::_SENDERS]) for number in range(_SENDERS)]
        ready.wait()
        began = time.perf_counter()
        for one in done:
            one.result()
        return time.perf_counter() - began


def _call_back(address: tuple[str, int], request_id: str) -> None:
    # By hand: the standard library's client would take more of the processors than the receiver.
    item = {"requestId": request_id, "appid": APP_ID, "trafficSts": "1", "remark": "成功", "oriAmount": "2.94"}
    body = json.dumps(item, ensure_ascii=False).encode()
    head = (
        f"POST /callbacks/default/{TOKEN} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json;charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while part := connection.recv(4096):
            answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"a callback was answered {answer[:60]!r}")
