"""A login of a database server that owns nothing: what it may do a test grants and revokes."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy.pool import NullPool

from worker.database.server import needed_rights

# A new MariaDB has nameless users for these hosts, which take precedence over one of any host.
_HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True, kw_only=True)
class PlainRole:
    """The login, on one database."""

    name: str
    url: str
    """Of the database, as this login."""
    owner: sqlalchemy.Engine
    """Sessions of the database's administrator; each statement commits by itself."""

    def execute(self, *statements: str) -> None:
        """Run statements as the administrator; `{role}` in them stands for this login."""
        with self.owner.connect() as connection:
            for statement in statements:
                for role in self._names():
                    connection.exec_driver_sql(statement.replace("{role}", role).replace("%", "%%"))

    def grant(self, rights: str, thing: str) -> None:
        """Let it do something with a table or a sequence."""
        self.execute(f"GRANT {rights} ON {thing} TO {{role}}")

    def revoke(self, rights: str, thing: str) -> None:
        """Take that back."""
        self.execute(f"REVOKE {rights} ON {thing} FROM {{role}}")

    def _names(self) -> Sequence[str]:
        if self.owner.dialect.name == "postgresql":
            return [self.name]
        return [f"{self.name}@'{host}'" for host in _HOSTS]


@contextmanager
def plain_role(url: str) -> Iterator[PlainRole]:
    """A login that may connect to this database of PostgreSQL or MariaDB, and nothing else."""
    owner = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    name = f"plain_{secrets.token_hex(4)}"
    theirs = owner.url.set(username=name, password=None).render_as_string(hide_password=False)
    role = PlainRole(name=name, url=theirs, owner=owner)
    is_postgresql = owner.dialect.name == "postgresql"
    role.execute("CREATE ROLE {role} LOGIN" if is_postgresql else "CREATE USER {role}")
    try:
        yield role
    finally:
        role.execute(*(("DROP OWNED BY {role}", "DROP ROLE {role}") if is_postgresql else ("DROP USER {role}",)))


@contextmanager
def least_role(url: str) -> Iterator[PlainRole]:
    """A login with just the rights that are needed."""
    with plain_role(url) as role:
        for table, rights in needed_rights().items():
            role.grant(", ".join(rights), table)
        if role.owner.dialect.name == "postgresql":
            role.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        yield role
