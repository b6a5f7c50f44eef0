"""One table of orders: what `archived_orders` holds moves back to `recharge_orders`, and the table goes.

Workers and `reconciler archive` have to be stopped: those of the release before read the table. An order keeps its id,
its columns and its events, and no notification is made. A column that is younger than its record gets its default, and
an order without a time of submission that of its row. Events that stayed in `order_events`, since a record holds the
first 1,000, are there already. An event whose id another one has by now gets a new id.

What cannot be moved becomes a row of `rejected_orders`, with the whole record as its payload: an order whose row id,
request_id or custom_parm another order has by now, and a record that cannot be read.

Each batch is a transaction, on SQLite the whole revision is one: a run that was interrupted is repeated. The way down
makes the table, empty; orders stay where they are.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

from worker.database.column_types import Amount, LongText, OrderId, RowId, UtcDateTime

revision = "0035"
down_revision = "0032"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}
# No order is archived between the last look into the table and its end. SQLite has one writer.
_LOCKS: Mapping[str, tuple[str, str | None]] = {
    "postgresql": ("LOCK TABLE archived_orders IN ACCESS EXCLUSIVE MODE", None),
    **dict.fromkeys(("mysql", "mariadb"), ("LOCK TABLES archived_orders WRITE", "UNLOCK TABLES")),
}
_AT_ONCE = 200
"""Orders of a transaction."""
_IDS_AT_ONCE = 1_000

_OLD_NAMES = {"age_bucket": "look_group", "batch_failures": "bad_ends"}
"""Column to the name that it had before revision 0007: records keep the names that they were written with."""
_DEFAULTS = {
    **dict.fromkeys(("unavailable_failures", "failure_mark_any", "denials", "denial_mark", "version"), 0),
    "amount_is_price": False,
}
_OPTIONAL = (
    *("request_id", "custom_parm", "mobile", "expected_amount", "traffic_sts", "remark", "ori_amount", "settled_by"),
    *("attention", "queried_at", "settled_at", "suspect_group", "lease_token", "check_requested_at"),
    *("first_denied_at", "reopened_at", "dismissed_at", "callback_check_after"),
)
_NEEDED = (
    *("account", "state", "submitted_at", "due_at", "query_count", "created_at", "updated_at", "id_kind", "lane"),
    *("age_bucket", "absences", "absence_mark", "batch_failures", "failures_alone", "failure_mark"),
)
_EVENT_NEEDED = ("id", "order_id", "at", "kind", "source")
_EVENT_OPTIONAL = (
    *("query_id", "from_state", "to_state", "traffic_sts", "remark", "ori_amount", "detail", "actor", "repeats"),
    *("detail_code", "detail_values"),
)
_TIMES = ("callback_check_after", "at")
_AMOUNTS = ("expected_amount", "ori_amount")

Row = dict[str, Any]
Record = tuple[Row, list[Row]]
"""The row of an order, and those of its events."""


def _columns(*names: str, amounts: Collection[str] = ()) -> list[sa.ColumnClause[Any]]:
    times = [name for name in names if name.endswith("_at") or name in _TIMES]
    kinds: dict[str, Any] = {**dict.fromkeys(times, UtcDateTime()), **dict.fromkeys(amounts, Amount())}
    return [sa.column(name, kinds.get(name)) for name in names]


_ORDERS = sa.table("recharge_orders", *_columns("id", *_NEEDED, *_OPTIONAL, *_DEFAULTS, amounts=_AMOUNTS))
_EVENTS = sa.table("order_events", *_columns(*_EVENT_NEEDED, *_EVENT_OPTIONAL))
_ARCHIVED = sa.table(
    "archived_orders", *_columns("id", "account", "request_id", "custom_parm", "submitted_at", "record")
)
_REJECTED = sa.table(
    "rejected_orders", *_columns("received_at", "source", "payload", "errors", "account", "request_id", "custom_parm")
)


def upgrade() -> None:
    if op.get_context().as_sql:
        # Fails at the primary key if the table holds an order: statements alone cannot move it.
        op.execute("INSERT INTO archived_orders SELECT * FROM archived_orders")
        op.drop_table("archived_orders")
    elif sa.inspect(op.get_bind()).has_table("archived_orders"):
        _move_all(op.get_bind())
        _drop(op.get_bind())
    op.add_column("deployment", sa.Column("orders_deleted_before", UtcDateTime()), **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("deployment", "orders_deleted_before", **_goes_on("if_exists"))
    op.create_table(
        "archived_orders",
        sa.Column("id", RowId, nullable=False, autoincrement=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("request_id", OrderId),
        sa.Column("custom_parm", OrderId),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("settled_at", UtcDateTime()),
        sa.Column("archived_at", UtcDateTime(), nullable=False),
        sa.Column("record", LongText, nullable=False),
        sa.Column("mobile", sa.String(11)),
        sa.Column("submitted_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archived_orders")),
        sa.UniqueConstraint("request_id", "account", name=op.f("uq_archived_orders_request_id_account")),
        sa.UniqueConstraint("custom_parm", "account", name=op.f("uq_archived_orders_custom_parm_account")),
        **_goes_on("if_not_exists"),
        **_UTF8MB4_BIN,
    )
    for name, columns in (
        ("mobile", ["mobile"]),
        ("submitted", ["submitted_at", "id"]),
        ("settled", ["settled_at", "id"]),
    ):
        op.create_index(f"ix_archived_orders_{name}", "archived_orders", columns, **_goes_on("if_not_exists"))


def _move_all(connection: sa.Connection) -> None:
    last = 0
    while True:
        batch = sa.select(_ARCHIVED).where(_ARCHIVED.c.id > last).order_by(_ARCHIVED.c.id).limit(_AT_ONCE)
        rows = connection.execute(batch.with_for_update()).mappings().all()
        if not rows:
            return
        _move(connection, rows)
        last = rows[-1]["id"]
        if connection.dialect.name != "sqlite":
            # Ends the transaction and begins the next one. SQLite's is the lock of the migration.
            with op.get_context().autocommit_block():
                pass


def _move(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> None:
    records = [_read(row) for row in rows]
    moved = [record for record in records if record is not None]
    try:
        with connection.begin_nested():
            _insert(connection, _ORDERS, [order for order, _ in moved])
            _insert_events(connection, [event for _, events in moved for event in events])
    except (sa.exc.IntegrityError, sa.exc.DataError):
        if len(rows) > 1:
            for row in rows:
                _move(connection, [row])
            return
        _refuse(connection, rows, "an archived order that was not moved back: another order has its number by now")
    _refuse(
        connection,
        [row for row, record in zip(rows, records, strict=True) if record is None],
        "an archived order that was not moved back: its record cannot be read",
    )
    connection.execute(sa.delete(_ARCHIVED).where(_ARCHIVED.c.id.in_([row["id"] for row in rows])))


def _refuse(connection: sa.Connection, rows: Sequence[sa.RowMapping], why: str) -> None:
    common = {"received_at": datetime.now(UTC), "source": f"revision {revision}", "errors": why}
    named = ("account", "request_id", "custom_parm")
    _insert(
        connection,
        _REJECTED,
        [{**common, "payload": row["record"], **{name: row[name] for name in named}} for row in rows],
    )


def _read(row: sa.RowMapping) -> Record | None:
    """An order with its events; None if its record cannot be read."""
    try:
        record = json.loads(row["record"])
        order = record["order"]
        order = order | {new: order[old] for new, old in _OLD_NAMES.items() if old in order}
        order.setdefault("submitted_at", str(row["submitted_at"] or order["created_at"]))
        whole = (
            _DEFAULTS | dict.fromkeys(_OPTIONAL) | {name: order[name] for name in _NEEDED} | order | {"id": row["id"]}
        )
        events = [
            dict.fromkeys(_EVENT_OPTIONAL) | {name: one[name] for name in _EVENT_NEEDED} | one
            for one in record["events"]
        ]
        return _values(_ORDERS, whole), [_values(_EVENTS, event) for event in events]
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _values(table: sa.TableClause, recorded: Mapping[str, Any]) -> Row:
    return {column.name: _value(column, recorded[column.name]) for column in table.c}


def _value(column: sa.ColumnClause[Any], value: Any) -> Any:
    if value is None:
        if column.name in (*_NEEDED, *_EVENT_NEEDED):
            raise ValueError(f"{column.name} is null")
        return None
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat(value)
    return Decimal(value) if isinstance(column.type, Amount) else value


def _insert_events(connection: sa.Connection, events: Sequence[Row]) -> None:
    taken = set[int]()
    for start in range(0, len(events), _IDS_AT_ONCE):
        ids = [event["id"] for event in events[start : start + _IDS_AT_ONCE]]
        taken.update(connection.scalars(sa.select(_EVENTS.c.id).where(_EVENTS.c.id.in_(ids))))
    _insert(connection, _EVENTS, [event for event in events if event["id"] not in taken])
    # The database gives these their ids.
    renumbered = [
        {name: value for name, value in event.items() if name != "id"} for event in events if event["id"] in taken
    ]
    _insert(connection, _EVENTS, renumbered)


def _insert(connection: sa.Connection, table: sa.TableClause, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(sa.insert(table), rows)


def _drop(connection: sa.Connection) -> None:
    lock, unlock = _LOCKS.get(connection.dialect.name, (None, None))
    if lock:
        op.execute(lock)
    try:
        if connection.scalar(sa.text("SELECT id FROM archived_orders LIMIT 1")) is not None:
            raise CommandError(
                "orders were archived while they were moved back:"
                " stop the workers and `reconciler archive`, then migrate again"
            )
        op.drop_table("archived_orders")
    finally:
        if unlock:
            op.execute(unlock)


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
