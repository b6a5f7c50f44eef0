"""Whether a PostgreSQL connection keeps its session, or a pooler lends it one for each transaction."""

from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from worker.adapters.database.engine import Database

# Others may use the pooler, too, and take the very session that would have shown it.
_ROUNDS = 2
# A number alone may be given twice, by two servers behind one address.
_SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"


def keeps_session(database: Database) -> bool | None:
    """Whether each connection has a session of its own; None where it could not be seen.

    A pooler in transaction mode gives a session to the next connection as soon as a transaction has ended. So of two
    connections, both open, the second is given the session of the first, or the first does not get its own back while
    the second is in a transaction.
    """
    try:
        with database.engine.connect() as first, database.engine.connect() as second:
            return all(_kept(first, second) for _ in range(_ROUNDS))
    except (DBAPIError, NoConnectionFree):
        # No second session is to be had, or a role may not look.
        return None


def _kept(first: Connection, second: Connection) -> bool:
    own = _session(first)
    first.commit()
    if _session(second) == own:
        return False
    kept = _session(first) == own
    first.commit()
    second.commit()
    return kept


def _session(connection: Connection) -> tuple[int, datetime]:
    pid, since = connection.exec_driver_sql(_SESSION).one()
    return pid, since
