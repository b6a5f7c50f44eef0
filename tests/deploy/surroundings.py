"""What units, containers and pods run on in the tests: servers of deploy/ and a simulated platform."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.platform.raw_server import CERTIFICATE
from tests.deploy.servers_over_tls import PROGRAMS, PostgresOverTls, RedisOverTls
from tests.support.processes import ACCOUNT, environment, running_platform, send_tasks
from tests.support.raw_query import read_control, write_control
from tests.support.sql import column_of, execute
from tests.support.waiting import eventually

AUTHORITY = "/etc/reconciler/ca.pem"
"""Where the programs find the certificate of the servers."""

_LATENCY_SECONDS = 2.0
_SETTINGS = {
    "RECONCILER_ACCOUNT_SID": ACCOUNT["RECONCILER_ACCOUNT_SID"],
    "RECONCILER_APP_ID": ACCOUNT["RECONCILER_APP_ID"],
    "RECONCILER_QUERY_WINDOW_SECONDS": "1",
    "RECONCILER_QUERY_MARGIN_SECONDS": "0.05",
    "RECONCILER_REQUEST_DEADLINE_SECONDS": "6",
    "RECONCILER_CALLBACK_GRACE_SECONDS": "0.05",
    "RECONCILER_TICK_SECONDS": "0.2",
}


@dataclass(frozen=True)
class Surroundings:
    """The servers, the platform, and what the programs find in them."""

    database: PostgresOverTls
    broker: RedisOverTls
    platform: str

    @property
    def settings(self) -> dict[str, str]:
        """Those of the programs that are no secret."""
        return {**_SETTINGS, "RECONCILER_PLATFORM_URL": self.platform}

    @property
    def database_url(self) -> str:
        """The database as the programs reach it."""
        return self.database.url_of(PROGRAMS, authority=AUTHORITY)

    @property
    def broker_url(self) -> str:
        """The broker as the programs reach it."""
        return self.broker.url_of("reconciler", "choose-one")

    def enqueue(self) -> str:
        """Have the platform know an order as succeeded, and send it to the worker; returns its id."""
        request_id = secrets.token_hex(8)
        order = {"request_id": request_id, "mobile": "18812340804"}
        settled = {**order, "amount": "2.94", "outcome": "1", "settle_after": 0.0}
        assert write_control(self.platform, "orders", {"orders": [settled]}).status == 200
        send_tasks(self.broker.url_of("billing", "choose-another"), ("reconciler.enqueue_order", [order]))
        return request_id

    def state_of(self, request_id: str) -> list[object]:
        """The state of an order; empty where it is not there."""
        return self.column(f"SELECT state FROM recharge_orders WHERE request_id = '{request_id}'")

    @property
    def billing_url(self) -> str:
        """The database as a program of the billing system reaches it: it has its table there."""
        return self.database_url.replace("postgresql+psycopg:", "postgresql:")

    def prepare_night(self) -> None:
        """An open order of the billing system that was lost, and a row to delete."""
        execute(
            self.database.administrators_url,
            "CREATE TABLE billing_orders"
            " (request_id text, mobile text, amount numeric, submitted_at timestamptz, state text)",
            "INSERT INTO billing_orders VALUES ('lost', '18812340804', 2.94, now() - interval '1 day', 'open')",
            f"GRANT SELECT ON billing_orders TO {PROGRAMS}",
            "INSERT INTO rejected_orders (received_at, source, payload, errors)"
            " VALUES (now() - interval '500 days', 'a task', '{}', '')",
        )

    def check_night(self) -> None:
        """Raise AssertionError unless the order was taken in again, and the row deleted by the timer."""
        assert self.state_of("lost") == ["pending"]
        assert self.column("SELECT actor FROM operator_acts WHERE act = 'purge'") == ["timer"]
        assert self.column("SELECT count(*) FROM rejected_orders") == [0]

    def column(self, statement: str) -> list[object]:
        """What a statement finds in the database."""
        return column_of(self.database.administrators_url, statement)

    def time_of_a_query(self) -> object:
        """The database's time while the platform has a query with a new order, which a slow look may miss: then another
        order is sent."""
        order = self.enqueue()

        def look() -> list[object]:
            nonlocal order
            if self.state_of(order) == ["succeeded"]:
                order = self.enqueue()
            arrived = len(read_control(self.platform, "record")["arrivals"])
            has_all = f"{arrived} >= (SELECT count(*) FROM platform_queries)"
            return self.column(f"SELECT now() FROM platform_queries WHERE outcome = 'in_flight' AND {has_all}")

        return eventually(look, "a query at the platform")[0]


@contextmanager
def surroundings(folder: Path) -> Iterator[Surroundings]:
    """They run until the end; the platform, which answers slowly enough to be stopped in mid-query, in this folder."""
    options = ("--no-adopt", "--latency", f"fixed:{_LATENCY_SECONDS}")
    with (
        pytest.MonkeyPatch.context() as patch,
        PostgresOverTls() as database,
        RedisOverTls() as broker,
        running_platform(environment(query_window_seconds=1), folder, *options) as platform,
    ):
        # Of the caller of tasks.
        patch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        yield Surroundings(database, broker, platform)
