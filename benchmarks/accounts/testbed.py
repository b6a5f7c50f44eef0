"""The accounts' file, and a database in which every account has its backlog."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy
from sqlalchemy.pool import NullPool

from benchmarks import tables
from benchmarks.accounts.plan import Plan
from worker.adapters.clock import HostClock
from worker.database.tables import ORDERS
from worker.database.transactions import Database
from worker.domain.records.accounts import Rules, SlotKey
from worker.operations.maintain_slots import SlotMaintenance
from worker.process.intake import Intake

_LIST = 1000
_AGE = timedelta(hours=2)
"""Past the grace, and far from the age limit."""
# As after a restart of everything: all slots are open in the same moment. The first reservation is left out.
_OPEN_ALL = "UPDATE query_budgets SET due_at = clock_timestamp(), boot_id = 'none', boot_due_us = 0, wait_us = 0"


def write_accounts(plan: Plan, path: Path) -> None:
    """The file that RECONCILER_ACCOUNTS_FILE names."""
    tables = (
        f'[{one.name}]\naccount_sid = "{one.sid}"\nauth_token = "{one.token}"\napp_id = "{one.app_id}"\n'
        for one in plan.all_accounts()
    )
    path.touch(0o600)
    path.write_text("\n".join(tables), encoding="utf-8")


@contextmanager
def filled_database(server_url: str, plan: Plan) -> Iterator[str]:
    """A database with the backlogs, and every slot open. Gives its URL."""
    with tables.database(server_url, orders=1, pending_one_in=1) as url:
        _run(url, "DELETE FROM recharge_orders", "DELETE FROM unmatched_callbacks")
        database = Database(url)
        try:
            _fill(database, plan)
        finally:
            database.close()
        # Before any worker runs: later, this might open a slot that was just used.
        _run(url, _OPEN_ALL, "VACUUM ANALYZE", "CHECKPOINT")
        yield url


def scalar(url: str, statement: str) -> int:
    """The number that one statement returns."""
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(statement).scalar_one())


def environment_of(accounts_file: Path, env: dict[str, str]) -> dict[str, str]:
    """The workers' environment: named accounts only."""
    single = ("RECONCILER_ACCOUNT_SID", "RECONCILER_AUTH_TOKEN", "RECONCILER_APP_ID")
    kept = {name: value for name, value in env.items() if name not in single}
    return {**kept, "RECONCILER_ACCOUNTS_FILE": os.fspath(accounts_file)}


def _fill(database: Database, plan: Plan) -> None:
    accounts = plan.all_accounts()
    rules = Rules(window_seconds=plan.window_seconds, deadline_seconds=plan.settings["request_deadline_seconds"])
    slots = [SlotKey(account_sid=one.sid, number=0, app_ids={one.name: one.app_id}) for one in accounts]
    SlotMaintenance(database, HostClock(), rules).prepare(slots)
    intake = Intake(database, rules, {one.name: one.app_id for one in accounts})
    submitted_at = (datetime.now(UTC) - _AGE).isoformat()
    # One order of each account is taken in as any other, and the rest of the backlog are copies of it.
    orders = [{"account": one.name, "request_id": one.name, "submitted_at": submitted_at} for one in accounts]
    for start in range(0, len(orders), _LIST):
        answer = intake.enqueue_orders(orders[start : start + _LIST])
        if answer["rejected"]:
            raise RuntimeError(f"orders were refused: {answer['rejected']}")
    with database.write() as connection:
        connection.exec_driver_sql(_copies(plan.backlog - 1))


def _copies(count: int) -> str:
    columns = [column.name for column in ORDERS.columns if column.name != "id"]
    changed = {
        "request_id": "request_id || '-' || n",
        # A millisecond apart, so that they have an order.
        **{name: f"{name} + n * interval '1 ms'" for name in ("submitted_at", "due_at")},
    }
    values = ", ".join(changed.get(name, name) for name in columns)
    series = f"generate_series(1, {count}) AS n"
    target = f"recharge_orders ({', '.join(columns)})"
    return f"INSERT INTO {target} SELECT {values} FROM recharge_orders, {series}"  # noqa: S608 - only our own names


def _run(url: str, *statements: str) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
