"""Replicas of the tests' own PostgreSQL and MariaDB, which follow a primary until they are detached and promoted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy

from tests.support.databases import DatabaseServer, Mariadb, Postgresql
from tests.support.mariadb import OwnMariadb
from tests.support.servers import EmbeddedPostgres
from tests.support.sql import column_of, execute
from tests.support.waiting import eventually
from worker.adapters.child_processes import Child


class PostgresqlStandby(EmbeddedPostgres):
    """A hot standby of a PostgreSQL that runs, made by `pg_basebackup`."""

    def __init__(self, primary: EmbeddedPostgres) -> None:
        super().__init__()
        self._primary = primary

    def _make_data(self) -> Child:
        source = sqlalchemy.make_url(self._primary.url)
        whole = f"host={source.query['host']} port={source.query['port']} user=postgres"
        options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync", f"--dbname={whole}")
        return self._program("pg_basebackup", *options)

    def catch_up(self) -> None:
        """Return once it has all that the primary has committed so far."""
        (there,) = column_of(self._primary.url, "SELECT pg_current_wal_lsn()::text")
        behind = f"SELECT pg_last_wal_replay_lsn() < '{there}'"
        eventually(lambda: column_of(self.url, behind) == [False], "a standby that has caught up")

    def detach(self) -> None:
        """Lose what the primary commits from now on."""
        execute(self.url, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        eventually(lambda: not column_of(self.url, "SELECT pid FROM pg_stat_wal_receiver"), "the end of replication")

    def promote(self) -> None:
        """Return once it is a primary."""
        execute(self.url, "SELECT pg_promote()")


class MariadbReplica(OwnMariadb):
    """A MariaDB that repeats every statement of a new MariaDB that runs, DDL included."""

    def __init__(self, primary: OwnMariadb) -> None:
        super().__init__("--server-id=2")
        self._primary = primary

    def start(self) -> None:
        """Start the server, and begin to follow the primary from its first transaction on."""
        super().start()
        execute(
            self.url,
            f"CHANGE MASTER TO master_host='127.0.0.1', master_port={self._primary.port}, master_user='root',"
            " master_ssl_verify_server_cert=0, master_use_gtid=slave_pos",
            "START SLAVE",
        )

    def catch_up(self) -> None:
        """Return once it has all that the primary has committed so far."""
        (there,) = column_of(self._primary.url, "SELECT @@gtid_binlog_pos")
        assert column_of(self.url, f"SELECT MASTER_GTID_WAIT('{there}', 60)") == [0], "the replica does not follow"

    def detach(self) -> None:
        """Lose what the primary commits from now on."""
        execute(self.url, "STOP SLAVE")

    def promote(self) -> None:
        """Forget the primary."""
        execute(self.url, "RESET SLAVE ALL")


@dataclass(frozen=True, kw_only=True)
class Replicated:
    """A database on a primary and on its replica."""

    primary: EmbeddedPostgres | OwnMariadb
    replica: PostgresqlStandby | MariadbReplica
    url: str
    replica_url: str

    def fail_over(self) -> None:
        """The primary is gone, and the replica is one from now on."""
        self.primary.kill()
        self.replica.promote()


@contextmanager
def replicated(kind: str) -> Iterator[Replicated]:
    """An empty database on two servers that were started for it. Needs MariaDB's programs if `kind` is `mariadb`."""
    primary: EmbeddedPostgres | OwnMariadb
    replica: PostgresqlStandby | MariadbReplica
    if kind == "postgresql":
        with EmbeddedPostgres() as primary, PostgresqlStandby(primary) as replica:
            yield _on_both(Postgresql(primary.url), primary, replica)
    else:
        options = ("--server-id=1", "--log-bin", "--binlog-format=ROW")
        with OwnMariadb(*options) as primary, MariadbReplica(primary) as replica:
            yield _on_both(Mariadb(primary.url), primary, replica)


def _on_both(
    maker: DatabaseServer, primary: EmbeddedPostgres | OwnMariadb, replica: PostgresqlStandby | MariadbReplica
) -> Replicated:
    url = maker.create()
    maker.close()
    name = sqlalchemy.make_url(url).database
    there = sqlalchemy.make_url(replica.url).set(database=name).render_as_string(hide_password=False)
    return Replicated(primary=primary, replica=replica, url=url, replica_url=there)
