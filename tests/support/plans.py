"""Rows of orders for tests of plans, and the plans that a database makes for what is read."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, text

from tests.support.sql import statements_of
from worker.database.tables import ORDERS
from worker.database.transactions import Database
from worker.domain.records.notifications import EventType, NotificationState
from worker.domain.records.orders import IdKind, Lane, OrderState

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

_WITHOUT_PLAN = ("SET ", "SELECT set_config", "SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")

Read = Callable[[Connection], Any]


def row(request_id: str, **changes: object) -> dict[str, object]:
    """A pending order, with these changes."""
    return {
        "account": "default",
        "request_id": request_id,
        "custom_parm": None,
        "settled_at": None,
        "state": OrderState.PENDING,
        **dict.fromkeys(("submitted_at", "due_at", "created_at", "updated_at"), NOON),
        "id_kind": IdKind.REQUEST_ID,
        "lane": Lane.BATCH,
        **dict.fromkeys(("query_count", "age_bucket", "absences", "absence_mark"), 0),
        **dict.fromkeys(("batch_failures", "failures_alone", "failure_mark"), 0),
        **changes,
    }


def query_row(**changes: object) -> dict[str, object]:
    """An answered query, with these changes."""
    return {
        **{"account": "default", "account_sid": "sid", "slot": 0, "work": "batch", "id_kind": IdKind.REQUEST_ID},
        **{"order_count": 1, "sent_at": NOON, "answered_at": NOON, "outcome": "answered", "polled_ids": "1"},
        **changes,
    }


def notification_row(
    number: int, state: NotificationState, at: datetime = NOON, **changes: object
) -> dict[str, object]:
    """A notification of a result, last changed at this time, with these changes."""
    return {
        **{"event_id": f"msg_{number}", "account": "default", "order_id": number, "type": EventType.SUCCEEDED},
        **{"version": 1, "rank": 0, "body": "{}", "changed_at": at, "state": state, "due_at": at, "tries": 1},
        "delivered_at": at if state is NotificationState.DELIVERED else None,
        **changes,
    }


def add(database: Database, *rows: dict[str, object]) -> None:
    """Insert orders."""
    with database.write() as connection:
        connection.execute(insert(ORDERS), rows)


def analyze(database: Database, *tables: str) -> None:
    """Let the planner know what these tables hold, as a server does by itself after a while."""
    named = ", ".join(tables or (str(ORDERS),))
    statements = {"sqlite": "ANALYZE", "postgresql": f"ANALYZE {named}", "mysql": f"ANALYZE TABLE {named}"}
    with database.write() as connection:
        connection.execute(text(statements[database.kind])).close()


def plan(database: Database, connection: Connection, statement: str, parameters: Any) -> str:
    """The database's plan for a statement, a step a line."""
    explain = "EXPLAIN QUERY PLAN" if database.kind == "sqlite" else "EXPLAIN"
    steps = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    return "\n".join(" ".join(str(value) for value in step) for step in steps)


def plans_of(database: Database, read: Read) -> list[str]:
    """The database's plan for each statement of a read."""
    with database.read() as connection:
        with statements_of(connection) as executed:
            read(connection)
        reads = [one for one in executed if not one[0].startswith(_WITHOUT_PLAN)]
        return [plan(database, connection, *one) for one in reads]


def steps_of(database: Database, read: Read) -> str:
    """The database's plan for the first statement of a read."""
    return plans_of(database, read)[0]


def whole_tables(table: object) -> list[str]:
    """What a plan says, with a line's end behind it, where it reads all rows of a table."""
    return [f"Seq Scan on {table}", f"SCAN {table}\n", f"{table} ALL "]
