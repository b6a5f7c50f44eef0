"""One deployment of the real parts over SQLite in memory, in virtual time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import create_engine

from tests.histories.hosts import Kinds
from tests.histories.world import BootClock, VirtualDatabase, World
from tests.platforms.line import Line
from tests.platforms.platform import RandomPlatform
from tests.platforms.truth import app_id
from worker.database.migrations import upgrade
from worker.domain.records.accounts import Rules, SlotKey
from worker.domain.records.queries import Query
from worker.domain.wire.query_request import Credentials
from worker.operations.learn import Learning
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.upkeep import OverdueOrders
from worker.reconcile import Reconciler

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
        self._accounts = tuple(app_ids)
        self.slot = SlotKey(account_sid=SID, number=0, app_ids=app_ids)
        self.clock = BootClock(self.world, "boot-1", 1000.0)
        self.maintenance = SlotMaintenance(database, self.clock, self.rules)
        self.grants = kinds.grants(database, self.clock, self.rules, lambda: f"{random.getrandbits(128):032x}")
        self.intake = kinds.intake(database, self.rules, app_ids)
        self.reconciler = Reconciler(
            grants=self.grants,
            client=Line(platform, self.world, lambda: self.now, self.rules.deadline_seconds, random),
            write_back=kinds.write_back(database, self.clock, self.rules),
            clock=self.clock,
            credentials={
                account: Credentials(account_sid=SID, auth_token="token", app_id=own)
                for account, own in app_ids.items()
            },
            match_callbacks=self.intake.match_callbacks,
        )
        self._overdue = OverdueOrders(database, self.rules)
        self._began = self.world.database_now
        self._computed_at = -1.0
        self.maintenance.prepare([self.slot])

    @property
    def now(self) -> float:
        """Windows since the start."""
        return self.world.ms / 1000 / self.rules.window_seconds

    def time_at(self, at: float) -> datetime:
        """The database's time of so many windows since the start."""
        return self._began + timedelta(seconds=at * self.rules.window_seconds)

    def tick(self) -> None:
        """What each tick does apart from passes, as `worker.runtime` composes it."""
        self.intake.match_some_callbacks()
        # Not `flag_some`, and a `Learning` made each time: these wait for a window by a clock that is not virtual.
        self._overdue.flag()
        if self.now - self._computed_at >= _LEARNS_EVERY:
            self._computed_at = self.now
            Learning(self.database, self.rules).relearn(self._accounts)

    def reconcile(self) -> Query | None:
        """One pass over the slot."""
        return self.reconciler.reconcile(self.slot)

    def opens_at(self) -> float:
        """When the slot may carry the next query."""
        (opening,) = self.maintenance.openings([self.slot], within_seconds=float("inf"))
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
