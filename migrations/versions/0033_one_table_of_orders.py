"""One table of orders: what `archived_orders` holds moves back to `recharge_orders`, and the table goes.

Workers and `reconciler archive` have to be stopped: those of the release before read the table. An order keeps its id,
its columns and its events, and no notification is made. A column that is younger than its record gets its default, and
an order without a time of submission that of its row. Events that stayed in `order_events`, since a record holds the
first 1,000, are there already. An event whose id another one has by now gets a new id; if it is a settlement, the
totals of settlements count it once more.

What cannot be moved becomes a row of `rejected_orders`, with the whole record as its payload, and the reason: an order
whose row id, request_id or custom_parm another order has by now, one that the database refuses for another reason, and
a record that cannot be read.

Each batch is a transaction, on SQLite the whole revision is one: a run that was interrupted is repeated. The way down
makes the table, empty; orders stay where they are.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects.postgresql import REGCLASS

from worker.database.column_types import Amount, LongText, OrderId, RowId, UtcDateTime

revision = "0033"
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
"""The most orders of a transaction."""
_CHARACTERS_AT_ONCE = 2_000_000
"""The most characters of their records, unless the first one alone has more. In memory each takes about ten bytes."""
_ROWS_AT_ONCE = 1_000

_MARIADB_CHECK_FAILED = 4025

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
_ORDER_NUMBERS = (
    *("id", "traffic_sts", "query_count", "age_bucket", "suspect_group", "absences", "absence_mark"),
    *("batch_failures", "failures_alone", "failure_mark", "unavailable_failures", "failure_mark_any"),
    *("denials", "denial_mark", "version"),
)
_EVENT_NUMBERS = ("id", "order_id", "query_id", "repeats")
_PLAIN_AMOUNT = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,8})?")
_STATES = frozenset({"pending", "succeeded", "failed", "unresolved", "cancelled"})
_SOURCES = frozenset({"query", "callback", "enqueue", "billing", "operator", "worker"})
_WORDS: Mapping[str, Collection[str]] = {
    **dict.fromkeys(("state", "from_state", "to_state"), _STATES),
    **dict.fromkeys(("settled_by", "source"), _SOURCES),
    "attention": {
        *("late_conflict", "conflicting_answer", "amount_mismatch", "mobile_mismatch", "unknown_status"),
        *("unknown_to_platform", "rejected_by_platform", "too_old"),
    },
    "id_kind": {"requestId", "customParm"},
    "lane": {"batch", "alone", "suspect", "lone_suspect"},
    "kind": {
        *("settled", "reported", "not_believed", "contradicted", "ignored", "filled_in", "gave_up", "cancelled"),
        *("check_requested", "asked_alone", "suspected", "cleared", "overdue", "reopened", "dismissed", "linked"),
        "note",
    },
}
"""Column to the words that it may hold: a list fails at a row with another word."""

Row = dict[str, Any]
Record = tuple[Row, list[Row]]
"""The row of an order, and those of its events."""


def _columns(*names: str, amounts: Collection[str] = (), numbers: Collection[str] = ()) -> list[sa.ColumnClause[Any]]:
    """Columns that are neither times, amounts, numbers nor yes or no are text."""
    times = [name for name in names if name.endswith("_at") or name in _TIMES]
    kinds: dict[str, Any] = {
        **dict.fromkeys(times, UtcDateTime()),
        **dict.fromkeys(amounts, Amount()),
        **dict.fromkeys(numbers, sa.BigInteger()),
        "amount_is_price": sa.Boolean(),
    }
    return [sa.column(name, kinds.get(name)) for name in names]


_ORDERS = sa.table(
    "recharge_orders",
    *_columns("id", *_NEEDED, *_OPTIONAL, *_DEFAULTS, amounts=_AMOUNTS, numbers=_ORDER_NUMBERS),
)
_EVENTS = sa.table("order_events", *_columns(*_EVENT_NEEDED, *_EVENT_OPTIONAL, numbers=_EVENT_NUMBERS))
_ARCHIVED = sa.table(
    "archived_orders", *_columns("id", "account", "request_id", "custom_parm", "submitted_at", "record")
)
_REJECTED = sa.table(
    "rejected_orders", *_columns("received_at", "source", "payload", "errors", "account", "request_id", "custom_parm")
)


def upgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("archived_orders"):
        _refuse_views(op.get_bind())
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


def _refuse_views(connection: sa.Connection) -> None:
    """Find out by a try, which is rolled back, whether the table can be dropped in the end."""
    if connection.dialect.name != "postgresql":
        # Others drop a table that a view reads.
        return
    try:
        with connection.begin_nested() as attempt:
            op.drop_table("archived_orders")
            attempt.rollback()
    except sa.exc.InternalError as error:
        raise CommandError(
            "a view reads archived_orders, which goes: drop the view, migrate, make it again on recharge_orders"
        ) from error


def _move_all(connection: sa.Connection) -> None:
    last = 0
    while (end := _end_of_batch(connection, last)) is not None:
        batch = sa.select(_ARCHIVED).where(_ARCHIVED.c.id > last, _ARCHIVED.c.id <= end).order_by(_ARCHIVED.c.id)
        _move(connection, connection.execute(batch.with_for_update()).mappings().all())
        last = end
        if connection.dialect.name != "sqlite":
            # Ends the transaction and begins the next one. SQLite's is the lock of the migration.
            with op.get_context().autocommit_block():
                pass


def _end_of_batch(connection: sa.Connection, last: int) -> int | None:
    """The id of the last order of the batch that begins after an id; None if there is none."""
    size = sa.func.length(_ARCHIVED.c.record)
    sizes = sa.select(_ARCHIVED.c.id, size).where(_ARCHIVED.c.id > last).order_by(_ARCHIVED.c.id).limit(_AT_ONCE)
    end, total = None, 0
    for order_id, characters in connection.execute(sizes).all():
        total += characters
        if end is not None and total > _CHARACTERS_AT_ONCE:
            break
        end = order_id
    return end


def _move(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> None:
    records = [_read(row) for row in rows]
    moved = [record for record in records if record is not None]
    try:
        with connection.begin_nested():
            _insert(connection, _ORDERS, [order for order, _ in moved])
            _insert_events(connection, [event for _, events in moved for event in events])
    except sa.exc.StatementError as error:
        if not _is_of_the_row(error):
            raise
        if len(rows) > 1:
            for row in rows:
                _move(connection, [row])
            return
        # What else the database says holds values of the row.
        _refuse(connection, rows, f"the database refused it: {error.orig}".splitlines()[0])
    unreadable = [row for row, record in zip(rows, records, strict=True) if record is None]
    _refuse(connection, unreadable, "its record cannot be read")
    connection.execute(sa.delete(_ARCHIVED).where(_ARCHIVED.c.id.in_([row["id"] for row in rows])))


def _is_of_the_row(error: sa.exc.StatementError) -> bool:
    """Whether the row is at fault, and not the database, the table or another session."""
    if isinstance(error, sa.exc.OperationalError):
        return bool(error.orig and error.orig.args[0] == _MARIADB_CHECK_FAILED)
    return not isinstance(error, sa.exc.DBAPIError) or isinstance(error, (sa.exc.IntegrityError, sa.exc.DataError))


def _refuse(connection: sa.Connection, rows: Sequence[sa.RowMapping], why: str) -> None:
    for row in rows:
        refused = {
            "received_at": datetime.now(UTC),
            "source": f"revision {revision}",
            "payload": row["record"],
            "errors": f"an archived order that was not moved back: {why}{_left_events(connection, row['id'])}",
            **{name: row[name] for name in ("account", "request_id", "custom_parm")},
        }
        _insert(connection, _REJECTED, [refused])


def _left_events(connection: sa.Connection, order_id: int) -> str:
    """Say how many events of a refused order stay; nothing if another order, with the same id, may have them."""
    if connection.scalar(sa.select(_ORDERS.c.id).where(_ORDERS.c.id == order_id)) is not None:
        return ""
    count = connection.scalar(sa.select(sa.func.count()).select_from(_EVENTS).where(_EVENTS.c.order_id == order_id))
    return f"; its events that stay in order_events (order_id {order_id}): {count}" if count else ""


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
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None


def _values(table: sa.TableClause, recorded: Mapping[str, Any]) -> Row:
    return {column.name: _value(column, recorded[column.name]) for column in table.c}


def _value(column: sa.ColumnClause[Any], value: Any) -> Any:
    if value is None:
        if column.name in (*_NEEDED, *_EVENT_NEEDED):
            raise ValueError(f"{column.name} is null")
        return None
    if isinstance(column.type, UtcDateTime):
        time = datetime.fromisoformat(value)
        readable, value = time.utcoffset() is not None, time.astimezone(UTC)
    elif isinstance(column.type, Amount):
        readable, value = _PLAIN_AMOUNT.fullmatch(value) is not None, Decimal(value)
    elif isinstance(column.type, sa.BigInteger):
        readable = type(value) is int and -(2**63) <= value < 2**63
    elif isinstance(column.type, sa.Boolean):
        readable = isinstance(value, bool)
    else:
        # Raises ValueError for half of a surrogate pair: JSON can name it, no database takes it.
        value.encode()
        readable = value in _WORDS.get(column.name, (value,))
    if not readable:
        raise ValueError(f"{column.name} cannot be {value!r}")
    return value


def _insert_events(connection: sa.Connection, events: Sequence[Row]) -> None:
    taken = set[int]()
    for start in range(0, len(events), _ROWS_AT_ONCE):
        ids = [event["id"] for event in events[start : start + _ROWS_AT_ONCE]]
        taken.update(connection.scalars(sa.select(_EVENTS.c.id).where(_EVENTS.c.id.in_(ids))))
    _insert(connection, _EVENTS, [event for event in events if event["id"] not in taken])
    if connection.dialect.name == "postgresql":
        _raise_sequence(connection, _ORDERS)
        _raise_sequence(connection, _EVENTS)
    # The database gives these their ids.
    renumbered = [
        {name: value for name, value in event.items() if name != "id"} for event in events if event["id"] in taken
    ]
    _insert(connection, _EVENTS, renumbered)


def _raise_sequence(connection: sa.Connection, table: sa.TableClause) -> None:
    """Have PostgreSQL give new rows ids above those that were inserted, as the other databases do by themselves."""
    sequence = sa.func.pg_get_serial_sequence(table.name, "id").cast(REGCLASS)
    highest = sa.func.max(table.c.id)
    raised = sa.func.setval(sequence, sa.func.greatest(highest, sa.func.pg_sequence_last_value(sequence)))
    connection.execute(sa.select(raised).select_from(table).having(highest.is_not(None)))


def _insert(connection: sa.Connection, table: sa.TableClause, rows: Sequence[Row]) -> None:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        connection.execute(sa.insert(table), rows[start : start + _ROWS_AT_ONCE])


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
