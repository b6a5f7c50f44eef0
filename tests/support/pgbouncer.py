"""A PgBouncer of the tests' own, from the machine's program, in front of a PostgreSQL."""

import os
import pwd
import signal

from sqlalchemy import make_url

from tests.support.needed import needed
from tests.support.server_process import ServerProcess, free_port, listens


class Pgbouncer(ServerProcess):
    """A pooler on a free loopback port, in a pool mode of PgBouncer's (`session`, `transaction`).

    It knows one database, that of the URL, whose user needs no password. Needs the program.
    """

    def __init__(self, database_url: str, pool_mode: str, **options: str) -> None:
        """`options` are PgBouncer's own."""
        self._program = needed("pgbouncer")
        super().__init__("pgbouncer")
        self._target = make_url(database_url)
        self._options = {"pool_mode": pool_mode, **options}
        self._port = free_port()

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database, through the pooler."""
        through = self._target.set(host="127.0.0.1", port=self._port, query={})
        return through.render_as_string(hide_password=False)

    def lead_to(self, database_url: str) -> None:
        """Take new sessions from another server, which has the same database; the clients' connections stay."""
        self._target = make_url(database_url)
        self._initialise()
        os.kill(self.pid, signal.SIGHUP)

    def _initialise(self) -> None:
        target = self._target
        host = target.host or target.query.get("host")
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "any",
            **self._options,
        }
        # With this method of authentication a connection is made as the user that is named here.
        databases = f"{target.database} = host={host} port={target.port or 5432} user={target.username or 'postgres'}"
        text = "\n".join(["[databases]", databases, "[pgbouncer]", *(f"{k} = {v}" for k, v in settings.items()), ""])
        (self._home / "pgbouncer.ini").write_text(text)

    def start(self) -> None:
        """Start the pooler and wait until it listens. Raises ChildError, with the end of its log."""
        # It refuses to run as root.
        user = None
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
            user = nobody.pw_name
        self._process = self._launch([self._program, self._home / "pgbouncer.ini"], user=user)
        self._wait_until_it_answers(lambda: listens(self._port), OSError)

    def kill(self) -> None:
        """End the pooler and its connections at once."""
        self._end(signal.SIGQUIT)
