"""Database servers and a Redis of the machine's programs, set up by the files of deploy/, which speak TLS alone.

Those of the Python wheels know no TLS. All show one certificate, for 127.0.0.1, that is its own authority.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import redis
from sqlalchemy import URL, make_url

import worker
from tests.contract.platform.raw_server import CERTIFICATE
from tests.support.mariadb import OwnMariadb, is_installed
from tests.support.needed import cannot, needed
from tests.support.redis_users import edited
from tests.support.server_process import ServerProcess, free_port, listens
from tests.support.servers import EmbeddedPostgres
from tests.support.sql import execute
from worker.adapters.child_processes import Child

DEPLOY = Path(worker.__file__).parents[1] / "deploy"
OWNER, PROGRAMS = "reconciler", "reconciler_app"
"""Who migrates, and who does all else."""
READER = "billing"
"""Who reads results alone, once `add_reader` has made it."""
DATABASE = "reconciler"

_PASSWORDS = {OWNER: "choose-one", PROGRAMS: "choose-another", READER: "choose-a-third"}
_HBA = """
local all postgres trust
hostssl reconciler reconciler,reconciler_app,billing 127.0.0.1/32 scram-sha-256
"""
# As the comment in pgbouncer.ini has them.
_SECRETS = """
SELECT format('"%s" "%s"', rolname, rolpassword) FROM pg_authid WHERE rolname LIKE 'reconciler%'
"""


def _copied_certificate(folder: Path, user: str | None) -> Path:
    """A copy that this user alone may read: the servers refuse another one's key."""
    copy = Path(shutil.copy(CERTIFICATE, folder / "server.pem"))
    copy.chmod(0o600)
    if user is not None:
        shutil.chown(copy, user)
    return copy


def _url(driver: str, user: str, port: int, checks: dict[str, str]) -> str:
    """SQLAlchemy URL of the database, as a user, with what its driver checks the certificate by."""
    url = URL.create(
        driver,
        username=user,
        password=_PASSWORDS[user],
        host="127.0.0.1",
        port=port,
        database=DATABASE,
        query=checks,
    )
    return url.render_as_string(hide_password=False)


class PostgresOverTls(EmbeddedPostgres):
    """With deploy/postgres/roles.sql and grants.sql. From outside its socket it takes TLS alone."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
        self._programs = (found[-1] if found else Path(needed("postgres"))).parent
        super().__init__()
        self._port = free_port()

    def url_of(self, role: str, *, authority: str = str(CERTIFICATE)) -> str:
        """SQLAlchemy URL of the database, as a role, with the certificate checked by that file."""
        checks = {"sslmode": "verify-full", "sslrootcert": authority}
        return _url("postgresql+psycopg", role, self._port, checks)

    @property
    def administrators_url(self) -> str:
        """The same as the administrator, by the socket."""
        return make_url(self.url).set(database=DATABASE).render_as_string(hide_password=False)

    def psql(self, *arguments: str | Path) -> str:
        """Run psql as the administrator; returns what it prints. Raises AssertionError where a statement fails."""
        connection = ("-h", self._home, "-p", str(self._port), "-U", "postgres", "-X", "-v", "ON_ERROR_STOP=1")
        command = [self._programs / "psql", *connection, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it, with the roles."""
        super().start()
        self.psql("-f", DEPLOY / "postgres/roles.sql")
        self._set_passwords(OWNER, PROGRAMS)
        self.psql("-d", DATABASE, "-f", DEPLOY / "postgres/grants.sql")

    def add_reader(self) -> None:
        """Make the role of reader.sql; the tables have to be there."""
        self.psql("-d", DATABASE, "-f", DEPLOY / "postgres/reader.sql")
        self._set_passwords(READER)

    def _set_passwords(self, *roles: str) -> None:
        for role in roles:
            self.psql("-c", f"ALTER ROLE {role} PASSWORD '{_PASSWORDS[role]}'")

    def _leave_root(self) -> None:
        # Unlike those of the wheel these programs can be reached by everybody.
        self._user = "nobody"
        shutil.chown(self._home, self._user)

    def _program(self, name: str, *arguments: str) -> Child:
        return self._launch([self._programs / name, "-D", self.data, *arguments], env={"LC_ALL": "C"}, user=self._user)

    def _initialise(self) -> None:
        super()._initialise()
        (self.data / "pg_hba.conf").write_text(_HBA, "utf-8")
        certificate = str(_copied_certificate(self._home, self._user))
        tls = {"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": certificate}
        self._settings = {**self._settings, "listen_addresses": "127.0.0.1", **tls}


class PgbouncerOverTls(ServerProcess):
    """With deploy/pgbouncer/pgbouncer.ini, before such a PostgreSQL."""

    def __init__(self, postgres: PostgresOverTls) -> None:
        self._program = needed("pgbouncer")
        super().__init__("pgbouncer")
        self._postgres = make_url(postgres.url_of(PROGRAMS))
        self._secrets = postgres.psql("-At", "-c", _SECRETS)
        # It refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._port = free_port()

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database as the programs' role, with the certificate checked."""
        return self._postgres.set(port=self._port).render_as_string(hide_password=False)

    def _initialise(self) -> None:
        secrets, certificate = self._home / "userlist.txt", _copied_certificate(self._home, self._user)
        secrets.write_text(self._secrets, "utf-8")
        places = {
            "host=db.example.internal port=5432": f"host=127.0.0.1 port={self._postgres.port}",
            "listen_addr = *": "listen_addr = 127.0.0.1",
            "6432": str(self._port),
            "/etc/pgbouncer/userlist.txt": str(secrets),
            **{f"/etc/pgbouncer/{name}": str(certificate) for name in ("server.pem", "server.key", "ca.pem")},
        }
        text = (DEPLOY / "pgbouncer/pgbouncer.ini").read_text("utf-8")
        for printed, own in places.items():
            assert printed in text
            text = text.replace(printed, own)
        (self._home / "pgbouncer.ini").write_text(text, "utf-8")
        if self._user:
            shutil.chown(self._home, self._user)

    def start(self) -> None:
        """Start it and wait until it listens. Raises ChildError, with the end of its log."""
        self._process = self._launch([self._program, self._home / "pgbouncer.ini"], user=self._user)
        self._wait_until_it_answers(lambda: listens(self._port), OSError)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGQUIT)


class MariadbOverTls(OwnMariadb):
    """With deploy/mariadb/grants.sql, and both users as its comment says for a network."""

    def __init__(self) -> None:
        if not is_installed():
            cannot("this machine has no MariaDB")
        super().__init__(f"--ssl-cert={CERTIFICATE}", f"--ssl-key={CERTIFICATE}")

    def url_of(self, user: str) -> str:
        """SQLAlchemy URL of the database, as a user, with the certificate checked."""
        return _url("mariadb+pymysql", user, self.port, {"ssl_ca": str(CERTIFICATE)})

    @property
    def administrators_url(self) -> str:
        """The same as the administrator."""
        return make_url(self.url).set(database=DATABASE).render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it, with the users."""
        super().start()
        self.run((DEPLOY / "mariadb/grants.sql").read_text("utf-8"))
        # A new server has nameless users for this machine, which take precedence over one of any host.
        execute(self.url, "DELETE FROM mysql.global_priv WHERE user = ''", "FLUSH PRIVILEGES")
        self._unlock(OWNER, PROGRAMS)

    def add_reader(self) -> None:
        """Make the user of reader.sql; the tables have to be there."""
        self.run((DEPLOY / "mariadb/reader.sql").read_text("utf-8"))
        self._unlock(READER)

    def _unlock(self, *users: str) -> None:
        for user in users:
            execute(self.url, f"ALTER USER {user} IDENTIFIED BY '{_PASSWORDS[user]}' REQUIRE SSL ACCOUNT UNLOCK")

    def run(self, script: str) -> None:
        """Have the client run a script as the administrator."""
        client = (needed("mariadb"), "--no-defaults", "--host=127.0.0.1", "--user=root", "--skip-ssl")
        subprocess.run([*client, f"--port={self.port}"], input=script, text=True, check=True, timeout=60)


class RedisOverTls(ServerProcess):
    """With deploy/redis/users.acl."""

    def __init__(self) -> None:
        self._program = needed("redis-server")
        super().__init__("redis")
        self._port = free_port()

    def url_of(self, user: str, password: str) -> str:
        """Broker URL of database 3, as a user."""
        return f"rediss://{user}:{password}@127.0.0.1:{self._port}/3"

    def client(self, user: str, password: str) -> redis.Redis:
        """A client, as a user; close it, or use it as a context."""
        return redis.Redis.from_url(self.url_of(user, password), ssl_ca_certs=str(CERTIFICATE), socket_timeout=5)

    def _initialise(self) -> None:
        settings = {
            "port": "0",
            "tls-port": str(self._port),
            "tls-cert-file": str(CERTIFICATE),
            "tls-key-file": str(CERTIFICATE),
            "tls-auth-clients": "no",
            "bind": "127.0.0.1",
            "save": '""',
            "dir": str(self._home),
            "include": str(self._home / "users.acl"),
        }
        (self._home / "users.acl").write_text(edited(), "utf-8")
        (self._home / "redis.conf").write_text(
            "".join(f"{name} {value}\n" for name, value in settings.items()), "utf-8"
        )

    def start(self) -> None:
        """Start it and wait until it answers. Raises ChildError, with the end of its log."""
        self._process = self._launch([self._program, self._home / "redis.conf"])

        def answers() -> None:
            with self.client("admin", "choose-a-third") as client:
                client.ping()

        self._wait_until_it_answers(answers, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)
