"""A storm of transactions from outside, which lock the product's rows in the opposite order, and lose races."""

import threading
import time
from collections import Counter
from random import Random
from typing import Self

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tests.faults.testbed import Testbed

_ORDERS = "SELECT id FROM recharge_orders WHERE state = 'pending' ORDER BY id DESC LIMIT 60 FOR UPDATE"
_ACCOUNT = "SELECT account FROM account_states FOR UPDATE"
_SLOT = "SELECT id FROM query_budgets FOR UPDATE"
_READ_SLOT = "SELECT updated_at FROM query_budgets"
# A column that nothing decides by. It makes the transaction the heavier one: MariaDB lets the lighter one lose.
_TOUCH_ORDERS = (
    "UPDATE recharge_orders SET updated_at = updated_at + INTERVAL '0.000001' SECOND WHERE state = 'pending'"
)
_TOUCH_SLOT = "UPDATE query_budgets SET updated_at = updated_at + INTERVAL '0.000001' SECOND"

_TRANSACTIONS = (
    # A write-back locks slot, account and orders; a grant locks slot and account, and waits for the account alone.
    (_ORDERS, _TOUCH_ORDERS, _SLOT),
    (_TOUCH_ORDERS, _ACCOUNT, _SLOT),
    (_ACCOUNT, _SLOT, _TOUCH_SLOT),
    # A plain read and then a locking one: what MariaDB answers with error 1020, and PostgreSQL with 40001.
    (_READ_SLOT, _SLOT, _TOUCH_SLOT),
)
_LONGEST_PAUSE = 0.15
_DEADLOCKS = {
    "postgresql": "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    "mariadb": "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'",
}
_DEADLOCK_CODES = ("40P01", 1213)
_RACE_CODES = ("40001", 1020)


class Storm:
    """Blows while its context lasts, in threads of its own. For servers: SQLite locks no rows."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        # REPEATABLE READ is MariaDB's default, and what its error 1020 needs.
        self._engine = sqlalchemy.create_engine(
            testbed.database.direct_url, poolclass=NullPool, isolation_level="REPEATABLE READ"
        )
        self._lost: Counter[str | int] = Counter()
        self._over = threading.Event()
        self._deadlocks_before = self._deadlocks()
        self._threads = [
            threading.Thread(target=self._blow, args=(statements, Random(testbed.rng.random())), daemon=True)
            for statements in _TRANSACTIONS
        ]

    @property
    def deadlocks(self) -> int:
        """How many the server has seen since the storm began."""
        return self._deadlocks() - self._deadlocks_before

    @property
    def deadlocks_of_others(self) -> int:
        """Those that were not the storm's own loss: the worker's."""
        return self.deadlocks - sum(self._lost[code] for code in _DEADLOCK_CODES)

    @property
    def races(self) -> int:
        """How often the storm read a row that another session had changed meanwhile (1020 on MariaDB)."""
        return sum(self._lost[code] for code in _RACE_CODES)

    def _deadlocks(self) -> int:
        return int(self._testbed.rows(_DEADLOCKS[self._testbed.database.kind])[0][0])

    def _blow(self, statements: tuple[str, ...], rng: Random) -> None:
        with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                # The session that detects a deadlock first loses it: the worker checks after a second.
                connection.exec_driver_sql("SET deadlock_timeout = '4s'")
                connection.commit()
            while not self._over.is_set():
                try:
                    self._run(connection, statements, rng)
                except DBAPIError as error:
                    connection.rollback()
                    self._lost[getattr(error.orig, "sqlstate", None) or _code_of(error)] += 1
                time.sleep(rng.uniform(0.02, 2 * _LONGEST_PAUSE))

    def _run(self, connection: Connection, statements: tuple[str, ...], rng: Random) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement).close()
            time.sleep(rng.uniform(0, _LONGEST_PAUSE))
        connection.commit()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._engine.dispose()


def _code_of(error: DBAPIError) -> int:
    return int(error.orig.args[0]) if error.orig is not None and error.orig.args else 0
