"""The synthetic tables of a database: made where they are missing, kept between runs, grown to the wanted size.

Only an empty database, or one that was filled here before, is ever written to: SystemExit otherwise.
"""

import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, Engine, func, insert, inspect, select, text

from benchmarks.bench import SID
from benchmarks.tick.rows import ACCOUNT, COLUMNS, NAME_PREFIX, orders
from worker.database.migrations import upgrade
from worker.database.tables import BUDGETS, METADATA, ORDERS, UNMATCHED
from worker.database.transactions import Database
from worker.domain.records.orders import OrderState

_CHUNK = 250_000
_KEPT_CALLBACKS = 1_000
_A_NAME = re.compile(r"bench\d*-")
"""Of a synthetic order, of this version or another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How many orders there are."""

    rows: int
    pending: int


def prepare(url: str, wanted: Size) -> None:
    """Grow the tables at a SQLAlchemy URL to the wanted size. Where they hold more, they are filled again."""
    _refuse_foreign(url)
    upgrade(url)
    database = Database(url)
    try:
        there = size_of(database)
        if there.rows and not _first_name(database).startswith(NAME_PREFIX):
            show_progress("the tables are from another version of this benchmark: they are filled again")
            _empty(database)
            there = Size(rows=0, pending=0)
        if there.rows > wanted.rows or there.pending > wanted.pending:
            show_progress(f"the tables hold more than the wanted size ({there.rows:,} orders): they are filled again")
            _empty(database)
            there = Size(rows=0, pending=0)
        if there != wanted:
            _grow(database, there, wanted)
    finally:
        database.close()


def size_of(database: Database) -> Size:
    """What the tables hold now."""
    pending: ColumnElement[str] = sqlalchemy.literal_column(f"'{OrderState.PENDING.value}'")
    with database.read() as connection:
        return Size(
            rows=connection.scalar(select(func.count()).select_from(ORDERS)) or 0,
            pending=connection.scalar(
                select(func.count()).where(ORDERS.c.account == ACCOUNT, ORDERS.c.state == pending)
            )
            or 0,
        )


def show_progress(line: str) -> None:
    """Print a line of progress on standard error."""
    print(line, file=sys.stderr, flush=True)


def _refuse_foreign(url: str) -> None:
    """A benchmark that was pointed at a deployment's database by mistake must not touch it."""
    database = Database(url, pool_size=1)
    try:
        if not inspect(database.engine).get_table_names():
            return
        name = _first_name(database)
        with database.read() as connection:
            sids = connection.execute(select(BUDGETS.c.account_sid)).scalars().all()
    except sqlalchemy.exc.DBAPIError as error:
        raise SystemExit("the database holds tables of something else: name an empty one") from error
    finally:
        database.close()
    if (name and not _A_NAME.match(name)) or any(sid != SID for sid in sids):
        raise SystemExit("the database holds orders that are not this benchmark's: name an empty one")


def _first_name(database: Database) -> str:
    """What the oldest order is called; empty where there is none."""
    with database.read() as connection:
        named = select(ORDERS.c.id, ORDERS.c.custom_parm).order_by(ORDERS.c.id).limit(1)
        return next((str(name) for _, name in connection.execute(named)), "")


def _empty(database: Database) -> None:
    with database.write() as connection:
        for table in METADATA.sorted_tables:
            if database.kind == "postgresql":
                connection.exec_driver_sql(f"TRUNCATE {table.name}")
            else:
                connection.execute(table.delete())


def _grow(database: Database, there: Size, wanted: Size) -> None:
    start, made = time.monotonic(), there
    while made.rows < wanted.rows:
        left = Size(rows=wanted.rows - made.rows, pending=wanted.pending - made.pending)
        rows = min(_CHUNK, left.rows)
        pending = left.pending * rows // left.rows
        with database.write() as connection:
            _settings_for_bulk(connection)
            new = orders(
                connection.dialect, first=made.rows + 1, count=rows, pending=pending, pending_before=made.pending
            )
            connection.execute(insert(ORDERS).from_select(COLUMNS, new))
        made = Size(rows=made.rows + rows, pending=made.pending + pending)
        show_progress(f"{made.rows:,} of {wanted.rows:,} orders are there, after {time.monotonic() - start:.0f} s")
    with database.write() as connection:
        if not connection.scalar(select(func.count()).select_from(UNMATCHED)):
            _keep_callbacks(connection)
    settle_down(database.engine)


def _settings_for_bulk(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # A crash would lose a part of the filling, no more.
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
    elif getattr(connection.dialect, "is_mariadb", False):
        connection.exec_driver_sql(f"SET SESSION max_recursive_iterations = {2 * _CHUNK}")
    elif connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql(f"SET SESSION cte_max_recursion_depth = {2 * _CHUNK}")


def _keep_callbacks(connection: Connection) -> None:
    """Callbacks of orders that were not enqueued: each tick reads some of them."""
    now: ColumnElement[Any] = sqlalchemy.literal_column("CURRENT_TIMESTAMP")
    names = [f"unknown-{number}" for number in range(_KEPT_CALLBACKS)]
    connection.execute(
        insert(UNMATCHED).values(account=ACCOUNT, received_at=now),
        [{"request_id": name, "payload": f'{{"requestId":"{name}","trafficSts":"1"}}'} for name in names],
    )


def settle_down(engine: Engine) -> None:
    """What the server would do soon by itself, in the middle of the measurement."""
    maintenance = engine.execution_options(isolation_level="AUTOCOMMIT")
    statements = {"postgresql": ("VACUUM (ANALYZE)", "CHECKPOINT"), "sqlite": ("PRAGMA wal_checkpoint(TRUNCATE)",)}
    for statement in statements.get(engine.dialect.name, ("ANALYZE TABLE recharge_orders",)):
        # A checkpoint needs a privilege.
        with suppress(sqlalchemy.exc.ProgrammingError), maintenance.connect() as connection:
            connection.execute(text(statement))
