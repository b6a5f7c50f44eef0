"""An end to waiting for a database that keeps silent.

Where the far side acknowledges what it gets but never answers (a stopped server, a pooler without a server behind it),
neither keepalives nor `tcp_user_timeout` end the wait. PyMySQL has timeouts for reading and writing. libpq has none;
but psycopg drives every exchange by a generator, which it also wakes up ten times a second while nothing comes. Here
that generator looks at the time.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from sqlalchemy import Engine, event

RV = TypeVar("RV")


def bound_answers(engine: Engine, seconds: float) -> None:
    """End every statement of an engine during which its server says nothing for so many seconds.

    It ends with the driver's OperationalError, and its connection is closed. From the server's greeting on, on MariaDB;
    on PostgreSQL from the first statement on, and `connect_timeout` bounds what comes before.
    """

    def connect_psycopg(_dialect: object, _record: object, args: list[Any], arguments: dict[str, Any]) -> object:
        connection = _BoundedConnection.connect(*args, **arguments)
        connection.answer_seconds = seconds
        return connection

    def add_timeouts(_dialect: object, _record: object, _args: list[Any], arguments: dict[str, Any]) -> None:
        arguments |= {"read_timeout": seconds, "write_timeout": seconds}

    event.listen(engine, "do_connect", connect_psycopg if engine.dialect.name == "postgresql" else add_timeouts)


class _BoundedConnection(psycopg.Connection[TupleRow]):
    answer_seconds = 0.0

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        # Every statement, commit and rollback goes through it.
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[RV]) -> Generator[Any, Any, RV]:
        try:
            wanted = next(gen)
            give_up = time.monotonic() + self.answer_seconds
            while True:
                ready = yield wanted
                if ready:
                    give_up = time.monotonic() + self.answer_seconds
                elif time.monotonic() >= give_up:
                    # Whatever the server still says belongs to nobody any more.
                    self.close()
                    raise psycopg.OperationalError(f"no answer from the server for {self.answer_seconds:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result
