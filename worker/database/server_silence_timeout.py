"""A timeout for a database server that keeps silent.

Where the far side acknowledges what it gets but never answers (a stopped server, a pooler without a server behind it),
neither keepalives nor `tcp_user_timeout` end the wait. PyMySQL has timeouts for reading and writing. libpq has none;
but psycopg drives every exchange by a generator, which it also wakes up ten times a second while nothing comes: there
our connection tests the time.
"""

import time
from collections.abc import Callable, Generator
from functools import cache
from typing import Any, NoReturn

from sqlalchemy import Engine, event


def bound_answers(engine: Engine, seconds: float) -> None:
    """End every statement of an engine during which its server says nothing for `seconds`.

    It ends with the driver's OperationalError, and its connection is closed. From the server's greeting on, on MariaDB;
    on PostgreSQL from the first statement on, and `connect_timeout` bounds what comes before.
    """

    def connect_psycopg(_dialect: object, _record: object, args: list[Any], arguments: dict[str, Any]) -> object:
        connection = _bounded_psycopg().connect(*args, **arguments)
        connection.answer_seconds = seconds
        return connection

    def add_timeouts(_dialect: object, _record: object, _args: list[Any], arguments: dict[str, Any]) -> None:
        arguments |= {"read_timeout": seconds, "write_timeout": seconds}

    event.listen(engine, "do_connect", connect_psycopg if engine.dialect.name == "postgresql" else add_timeouts)


@cache
def _bounded_psycopg() -> Any:
    """The connection class of psycopg with a timeout for silence.

    Imported here: other databases need no psycopg, and where it is missing `reconciler doctor` has to say so.
    """
    from psycopg import Connection, OperationalError
    from psycopg.rows import TupleRow

    class BoundedConnection(Connection[TupleRow]):
        """Ends an exchange during which the server says nothing for `answer_seconds` with an OperationalError."""

        answer_seconds = 0.0

        def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
            # Every statement, commit and rollback goes through it.
            return super().wait(_bounded(gen, self.answer_seconds, self.give_up), *args, **kwargs)

        def give_up(self) -> NoReturn:
            # A late answer of the server must not reach the next statement.
            self.close()
            raise OperationalError(f"no answer from the server for {self.answer_seconds:g} s")

    return BoundedConnection


def _bounded(
    exchange: Generator[Any, Any, Any], seconds: float, give_up: Callable[[], NoReturn]
) -> Generator[Any, Any, Any]:
    try:
        wanted = next(exchange)
        ends = time.monotonic() + seconds
        while True:
            ready = yield wanted
            if ready:
                ends = time.monotonic() + seconds
            elif time.monotonic() >= ends:
                give_up()
            wanted = exchange.send(ready)
    except StopIteration as end:
        return end.value
