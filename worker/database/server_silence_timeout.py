"""An end to waiting for a database that keeps silent.

Where the far side acknowledges what it gets but never answers (a stopped server, a pooler without a server behind it),
neither keepalives nor `tcp_user_timeout` end the wait. PyMySQL has timeouts for reading and writing. libpq has none;
there the connection looks at the time itself (`bounded_psycopg`).
"""

from typing import Any

from sqlalchemy import Engine, event


def bound_answers(engine: Engine, seconds: float) -> None:
    """End every statement of an engine during which its server says nothing for so many seconds.

    It ends with the driver's OperationalError, and its connection is closed. From the server's greeting on, on MariaDB;
    on PostgreSQL from the first statement on, and `connect_timeout` bounds what comes before.
    """

    def connect_psycopg(_dialect: object, _record: object, args: list[Any], arguments: dict[str, Any]) -> object:
        # Not before: other databases need no psycopg, and where it is missing `reconciler doctor` has to say so.
        from worker.database.psycopg_silence_timeout import BoundedConnection

        connection = BoundedConnection.connect(*args, **arguments)
        connection.answer_seconds = seconds
        return connection

    def add_timeouts(_dialect: object, _record: object, _args: list[Any], arguments: dict[str, Any]) -> None:
        arguments |= {"read_timeout": seconds, "write_timeout": seconds}

    event.listen(engine, "do_connect", connect_psycopg if engine.dialect.name == "postgresql" else add_timeouts)
