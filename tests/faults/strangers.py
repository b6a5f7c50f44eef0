"""What administrators and other programs do at a testbed's database: logins that may do little, and locks."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.faults.testbed import Testbed
from tests.support.plain_role import PlainRole, least_role, plain_role
from tests.support.sql import session


def use_plain_role(testbed: Testbed) -> PlainRole:
    """Let the programs that start from now on use a login without special rights; returns it.

    Only servers have logins.
    """
    role = _use(testbed, plain_role(testbed.database.direct_url))
    if testbed.database.kind == "postgresql":
        role.execute(
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        )
    else:
        role.grant("ALL", f"{role.owner.url.database}.*")
    return role


def use_least_role(testbed: Testbed) -> PlainRole:
    """The same with no more than the rights that are needed, and one to write the checker's history."""
    role = _use(testbed, least_role(testbed.database.direct_url))
    if testbed.database.kind == "postgresql":
        # There a trigger has the rights of the user who fires it.
        role.grant("INSERT", "order_history")
    return role


def _use(testbed: Testbed, made: AbstractContextManager[PlainRole]) -> PlainRole:
    role = testbed.enter(made)
    url = sqlalchemy.make_url(testbed.database.url).set(username=role.name)
    testbed.database = replace(testbed.database, url=url.render_as_string(hide_password=False))
    return role


@contextmanager
def without_right(role: PlainRole, rights: str, table: str) -> Iterator[None]:
    """A login that lacks these rights to a table for a while."""
    role.revoke(rights, table)
    try:
        yield
    finally:
        role.grant(rights, table)


def engine_as(role: PlainRole) -> sqlalchemy.Engine:
    """Sessions of another program with this login, past the proxy."""
    return sqlalchemy.create_engine(role.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")


@contextmanager
def locked(testbed: Testbed, table: str, *, whole: bool = False) -> Iterator[None]:
    """A table's rows, or all of it, locked by a session that stays idle in its transaction, without our timeouts."""
    kind, key = testbed.database.kind, "account" if table == "account_states" else "id"
    begin, lock, release = "BEGIN", f"SELECT {key} FROM {table} FOR UPDATE", "COMMIT"
    if kind == "sqlite":
        # A lock of one row locks all.
        begin, lock = "BEGIN IMMEDIATE", f"SELECT {key} FROM {table}"
    elif whole and kind == "mariadb":
        begin, lock, release = "ROLLBACK", f"LOCK TABLES {table} WRITE", "UNLOCK TABLES"
    elif whole:
        lock = f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
    with session(testbed.database.direct_url) as connection:
        for statement in (begin, lock):
            connection.exec_driver_sql(statement).close()
        try:
            yield
        finally:
            connection.exec_driver_sql(release)
