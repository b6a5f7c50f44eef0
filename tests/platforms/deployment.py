"""One deployment of the real parts over SQLite in memory, in virtual time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import create_engine

from tests.histories.hosts import Host, Kinds
from tests.histories.world import BootClock, VirtualDatabase, World
from tests.platforms.platform import RandomPlatform
from tests.platforms.truth import app_id
from worker.database.migrations import upgrade
from worker.domain.records.accounts import Rules, SlotKey
from worker.domain.wire.query_request import Credentials
from worker.operations.learn import Learning
from worker.operations.upkeep import OverdueOrders

SID = "sid-1"
_LEARNS_EVERY = 60
"""Windows; a worker learns every ten. A newer schedule moves polls little, and takes half of a run's time."""
_TEMPLATE = "sqlite:///file:/platforms-template?vfs=memdb&uri=true"


@contextmanager
def migrated_template() -> Iterator[Any]:
    """An empty database of the newest schema, to be copied for each platform; it exists in this process alone."""
    engine = create_engine(_TEMPLATE)
    with engine.connect() as connection:
        upgrade(_TEMPLATE)
        yield connection.connection.dbapi_connection
    engine.dispose()


@contextmanager
def database_like(template: Any, name: str) -> Iterator[VirtualDatabase]:
    """A copy of the template with a world of its own."""
    database = VirtualDatabase(f"sqlite:///file:/{name}?vfs=memdb&uri=true")
    database.world = World()
    with database.engine.connect() as keeper:
        # Locks and journals cost time, and no other process reads this database.
        template.backup(keeper.connection.dbapi_connection)
        yield database
    database.close()


class Deployment:
    """One worker process with all its parts, and what a tick does."""

    def __init__(self, database: VirtualDatabase, platform: RandomPlatform, random: Random, kinds: Kinds) -> None:
        traits = platform.traits
        self.database, self.platform, self.world = database, platform, database.world
        self.rules = Rules(
            batch_size=traits.batch_size,
            grace_seconds=traits.grace * 60.0,
            unresolved_after_seconds=traits.limit * 60.0,
            echoing_accounts=frozenset("ab" if traits.echoes_price else ""),
        )
        app_ids = {account: app_id(account) for account in "ab"[: traits.accounts]}
        credentials = {
            account: Credentials(account_sid=SID, auth_token="token", app_id=own) for account, own in app_ids.items()
        }
        self._accounts = tuple(app_ids)
        self._random = random
        self.slot = SlotKey(account_sid=SID, number=0, app_ids=app_ids)
        clock = BootClock(self.world, "boot-1", 1000.0)
        self.host = Host(database, self.rules, kinds, clock, credentials, lambda: f"{random.getrandbits(128):032x}")
        self._overdue = OverdueOrders(database, self.rules)
        self._began = self.world.database_now
        self._computed_at = -1.0
        self.host.maintenance.prepare([self.slot])

    @property
    def now(self) -> float:
        """Windows since the start."""
        return self.world.ms / 1000 / self.rules.window_seconds

    def time_at(self, at: float) -> datetime:
        """The database's time of so many windows since the start."""
        return self._began + timedelta(seconds=at * self.rules.window_seconds)

    def tick(self) -> None:
        """What each tick does apart from passes, as `worker.process.runtime` composes it."""
        self.host.intake.match_some_callbacks()
        # Not `flag_some`, and a `Learning` made each time: these wait for a window by a clock that is not virtual.
        self._overdue.flag()
        if self.now - self._computed_at >= _LEARNS_EVERY:
            self._computed_at = self.now
            Learning(self.database, self.rules).relearn(self._accounts)

    def reconcile(self) -> bool:
        """One pass over the slot; returns whether a query was sent."""
        exchange = self.host.begin(self.slot)
        if exchange is None:
            return False
        exchange.outcome = reply = self.platform.receive(self.now, exchange.query)
        # As long as the deadline, or as an answer takes.
        deadline = self.rules.deadline_seconds
        self.world.pass_time(deadline if reply.broken == "timeout" else self._random.choice((0.1, 0.5, 2.0, 15.0)))
        exchange.finish()
        return True

    def opens_at(self) -> float:
        """When the slot may carry the next query."""
        (opening,) = self.host.maintenance.openings([self.slot], within_seconds=float("inf"))
        return self.now + max(0.0, opening.in_seconds) / self.rules.window_seconds

    def due_at(self) -> float | None:
        """When the first pending order of an account that may be queried is due; None where nothing is pending."""
        found = self.rows(
            "SELECT max(min(o.due_at), coalesce(s.backoff_until, '')) AS due FROM recharge_orders o"
            " LEFT JOIN account_states s ON s.account = o.account WHERE o.state = 'pending' GROUP BY o.account"
        )
        return min((self.windows_of(row["due"]) for row in found), default=None)

    def windows_of(self, stored: str) -> float:
        """A time of SQLite's text as windows since the start."""
        time = datetime.fromisoformat(stored).replace(tzinfo=UTC)
        return (time - self._began).total_seconds() / self.rules.window_seconds

    def rows(self, statement: str, *values: object) -> Sequence[dict[str, Any]]:
        """The rows that a plain statement reads."""
        with self.database.read() as connection:
            return [dict(row) for row in connection.exec_driver_sql(statement, values).mappings()]
