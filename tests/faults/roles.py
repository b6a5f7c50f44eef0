"""A login of the database that owns nothing and may do little: what programs use in production."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.faults.testbed import Testbed
from worker.database.rights import needed_rights

_HOSTS = ("localhost", "127.0.0.1")
"""A new MariaDB has nameless users for these hosts, which take precedence over one of any host."""


def use_plain_role(testbed: Testbed, settings: Mapping[str, str] | None = None) -> str:
    """Let the programs that start from now on use a login without special rights; returns its name.

    Only servers have logins. `settings` are the defaults of its sessions, on PostgreSQL.
    """
    role = f"plain_{secrets.token_hex(4)}"
    url = sqlalchemy.make_url(testbed.database.url)
    if testbed.database.kind == "postgresql":
        execute(
            testbed,
            f"CREATE ROLE {role} LOGIN",
            *(f"ALTER ROLE {role} SET {name} TO '{value}'" for name, value in (settings or {}).items()),
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        )
    else:
        for host in _HOSTS:
            execute(testbed, f"CREATE USER {role}@'{host}'", f"GRANT ALL ON {url.database}.* TO {role}@'{host}'")
    changed = url.set(username=role).render_as_string(hide_password=False)
    testbed.database = replace(testbed.database, url=changed)
    return role


def execute(testbed: Testbed, *statements: str) -> None:
    """Run statements as the database's administrator, each in a transaction of its own."""
    engine = sqlalchemy.create_engine(testbed.database.direct_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def engine_as(testbed: Testbed, role: str) -> sqlalchemy.Engine:
    """Sessions of another program with this login, past the proxy."""
    url = sqlalchemy.make_url(testbed.database.direct_url).set(username=role)
    return sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def use_least_role(testbed: Testbed) -> str:
    """As `use_plain_role`, with no more than the rights that are needed."""
    role = use_plain_role(testbed)
    if testbed.database.kind == "mariadb":
        for name in _logins(testbed, role):
            execute(testbed, f"REVOKE ALL ON {_prefix(testbed)}* FROM {name}")
    for table, rights in needed_rights().items():
        if testbed.database.kind == "postgresql":
            execute(testbed, f"REVOKE ALL ON {table} FROM {role}")
        _change(testbed, role, "GRANT {} ON {} TO {}", ", ".join(rights), table)
    return role


@contextmanager
def without_right(testbed: Testbed, role: str, rights: str, table: str) -> Iterator[None]:
    """A login that lacks these rights to a table for a while."""
    _change(testbed, role, "REVOKE {} ON {} FROM {}", rights, table)
    try:
        yield
    finally:
        _change(testbed, role, "GRANT {} ON {} TO {}", rights, table)


def _change(testbed: Testbed, role: str, statement: str, rights: str, table: str) -> None:
    for name in _logins(testbed, role):
        execute(testbed, statement.format(rights, f"{_prefix(testbed)}{table}", name))


def _logins(testbed: Testbed, role: str) -> list[str]:
    return [role] if testbed.database.kind == "postgresql" else [f"{role}@'{host}'" for host in _HOSTS]


def _prefix(testbed: Testbed) -> str:
    """What stands before a table's name where a login gets rights to it."""
    if testbed.database.kind == "postgresql":
        return ""
    return f"{sqlalchemy.make_url(testbed.database.url).database}."
