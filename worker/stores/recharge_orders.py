"""Read, lock and write orders and their events."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Row, Select, Update, case, func, select, update

from worker.database.bulk_statements import (
    RowUpdate,
    Value,
    found_by,
    ids_of,
    insert_new,
    insert_rows,
    is_one_of,
    one_of,
)
from worker.database.tables import EVENTS, ORDERS
from worker.database.transactions import RaceLost, bounded_waits
from worker.domain.records.coded_texts import to_columns
from worker.domain.records.incoming import Submission
from worker.domain.records.order_changes import Change, EventKind, OrderEvent, Saying
from worker.domain.records.orders import IdKind, Lane, Order, OrderKey, OrderState, Source, version_at

_FIELDS = tuple(field.name for field in fields(Order))
_EVENT_FIELDS = tuple(field.name for field in fields(OrderEvent))
_SAID = ("order_id", "kind", "source", "traffic_sts", "remark", "ori_amount", "detail")
_said_of = attrgetter(*_SAID)
ORDER_COLUMNS = [ORDERS.c[name] for name in _FIELDS]

# The columns that a decision may change. No decision changes the id or the time at which the order came in. The version
# is left out because the UPDATE itself raises it.
_SAVED = tuple(name for name in _FIELDS if name not in ("id", "created_at", "version"))
_saved_of = attrgetter(*_SAVED)
# To record a callback about a settled order, the order's events are read. Without a limit, each callback would take
# longer than the last if the platform always said something new about the order.
_MOST_EVENTS_READ = 200
# The most suspects that one transaction locks. If a very long outage left more, the rest stay suspects. Otherwise the
# transaction would also keep the slot's row locked for too long.
_MOST_SUSPECTS = 5000


# There is one statement for each set of columns, and decisions change only a few different sets.
@lru_cache(maxsize=64)
def _saving(columns: tuple[str, ...]) -> RowUpdate:
    """Return the statement that writes these columns of orders. It leaves out rows that have changed since they were
    read."""

    def build(value: Value) -> Update:
        as_read = (
            ORDERS.c.id == value("row_id"),
            ORDERS.c.state == value("row_state"),
            func.coalesce(ORDERS.c.lease_token, "") == value("row_token"),
        )
        # This is the rule of `Order.next_version`, in SQL. If the row is locked, the method and this statement give the
        # same version.
        is_ahead = ORDERS.c.version >= value("least_version")
        version = case((is_ahead, ORDERS.c.version + 1), else_=value("least_version"))
        return update(ORDERS).where(*as_read).values({**{name: value(name) for name in written}, "version": version})

    written = (*columns, "updated_at")
    guards = {"row_id": ORDERS.c.id.type, "row_state": ORDERS.c.state.type, "row_token": ORDERS.c.lease_token.type}
    types = {name: ORDERS.c[name].type for name in written}
    return RowUpdate(build, {**guards, **types, "least_version": ORDERS.c.version.type})


def to_order(row: Row[Any]) -> Order:
    """Return the order that a row of `ORDER_COLUMNS` contains."""
    # The columns are read by position: a lookup of each one by name would double the time to read a row.
    return Order(**dict(zip(_FIELDS, row, strict=True)))


def read_orders(connection: Connection, order_ids: Collection[int]) -> list[Order]:
    """Return the orders with these row ids, in the order of the ids. Lock nothing."""
    return [to_order(row) for row in connection.execute(_with_ids(connection, order_ids))]


def lock_free_orders(connection: Connection, order_ids: Collection[int]) -> list[Order]:
    """Lock these rows in the order of their ids, and read them. Leave out rows that another transaction has locked."""
    free = _with_ids(connection, order_ids).with_for_update(skip_locked=True)
    return [to_order(row) for row in connection.execute(free)]


def _with_ids(connection: Connection, order_ids: Collection[int]) -> Select[Any]:
    return select(*ORDER_COLUMNS).where(one_of(connection, ORDERS.c.id, order_ids)).order_by(ORDERS.c.id)


def to_values(order: Order, now: datetime) -> dict[str, Any]:
    """Return the values of an order's row, except the id."""
    values: dict[str, Any] = {name: getattr(order, name) for name in _FIELDS if name != "id"}
    return {**values, "age_bucket": _stored_bucket(order), "id_kind": order.id_kind, "updated_at": now}


def _stored_bucket(order: Order) -> int:
    # Lanes other than the batch lane have few orders, so two age buckets are enough for each of them (`choose_batch`).
    return order.age_bucket if order.lane is Lane.BATCH else min(1, order.age_bucket)


def insert_orders(connection: Connection, orders: Collection[Order], now: datetime, *, waits: bool = True) -> None:
    """Insert new orders in the sequence given. The database assigns their ids. Raise RowsHeld if `waits` is false and
    another transaction holds up the insertion."""
    if orders:
        with bounded_waits(connection, waits=waits):
            insert_rows(connection, ORDERS, [to_values(order, now) for order in orders])


def insert_unknown(
    connection: Connection,
    submissions: Sequence[Submission],
    due: Sequence[datetime],
    alike: Order,
    now: datetime,
    *,
    waits: bool = True,
) -> set[OrderKey]:
    """Insert those of these orders that are unknown, so that no row has either of their ids. Return the keys of the new
    rows.

    Known orders do not change. `due` has the `due_at` of each submission. `alike` is an order with the values that all
    new rows share: to make an `Order` from each submission would take four times as long. Raise RowsHeld if `waits` is
    false and another transaction holds up the insertion: PostgreSQL waits for a transaction that changes or deletes a
    known order.
    """
    keys = [submission.key for submission in submissions]
    amounts = [submission.expected_amount for submission in submissions]
    columns: dict[str, list[str | None]] = {
        "account": [key.account for key in keys],
        "request_id": [key.request_id for key in keys],
        "custom_parm": [key.custom_parm for key in keys],
        "mobile": [submission.mobile for submission in submissions],
        "expected_amount": [None if amount is None else str(amount) for amount in amounts],
        "submitted_at": [submission.submitted_at.isoformat() for submission in submissions],
        "due_at": [time.isoformat() for time in due],
        "id_kind": [IdKind.CUSTOM_PARM if key.request_id is None else IdKind.REQUEST_ID for key in keys],
    }
    shared = {name: value for name, value in to_values(alike, now).items() if name not in columns}
    with bounded_waits(connection, waits=waits):
        inserted = insert_new(connection, ORDERS, columns, shared, ("account", "request_id", "custom_parm"))
    return {OrderKey(account=row[0], request_id=row[1], custom_parm=row[2]) for row in inserted}


def lock_by_ids(connection: Connection, order_ids: Collection[int], *, waits: bool = True) -> list[Order]:
    """Lock these rows in the order of their ids, so that no two transactions wait for each other, and read them.

    Raise RowsHeld if `waits` is false and another transaction has locked one of the rows (`bounded_waits`).
    """
    if not order_ids:
        return []
    with bounded_waits(connection, waits=waits):
        rows = connection.execute(_locking(connection.dialect.name), {"ids": list(order_ids)}).all()
    return [to_order(row) for row in rows]


def read_event_counts(connection: Connection, order_ids: Collection[int]) -> dict[int, int]:
    """Return how many events each of these orders has."""
    counted = select(EVENTS.c.order_id, func.count()).where(one_of(connection, EVENTS.c.order_id, order_ids))
    found = connection.execute(counted.group_by(EVENTS.c.order_id)).all()
    return dict.fromkeys(order_ids, 0) | {row[0]: row[1] for row in found}


# The statement is cached, because making it takes longer than running it.
@lru_cache(maxsize=8)
def _locking(kind: str) -> Select[tuple[Any, ...]]:
    chosen = is_one_of(kind, ORDERS.c.id, "ids")
    return select(*ORDER_COLUMNS).where(chosen).order_by(ORDERS.c.id).with_for_update()


def find_ids(connection: Connection, keys: Iterable[OrderKey]) -> set[int]:
    """Return the row ids of the orders that have the request_id or the custom_parm of any of these keys. This takes a
    few statements, however many keys there are."""
    reads = [
        ids_of(connection, ORDERS, column, ids, account=account, most=1)
        for account, column, ids in by_account_and_column(keys)
    ]
    return found_by(connection, reads)


def find_ids_in(connection: Connection, accounts: Collection[str], keys: Iterable[OrderKey]) -> set[int]:
    """Return the row ids of orders in any of these accounts that have the request_id or the custom_parm of any of these
    keys. The account of a key is ignored. If several orders have the same id, only two of them are returned: they show
    that the id is ambiguous."""
    found = set[int]()
    for _, column, names in by_account_and_column(keys):
        ends = (
            select(func.min(ORDERS.c.id), func.max(ORDERS.c.id))
            # The account is concatenated with an empty text. Otherwise the index of the ids would be searched once for
            # each account.
            .where(
                one_of(connection, ORDERS.c[column], names), one_of(connection, ORDERS.c.account.concat(""), accounts)
            )
            .group_by(ORDERS.c[column])
        )
        found.update(order_id for pair in connection.execute(ends) for order_id in pair)
    return found


def lock_by_keys(
    connection: Connection, keys: Iterable[OrderKey], *, besides: Collection[int] = (), waits: bool = True
) -> list[Order]:
    """Lock and read the orders that have the request_id or the custom_parm of any of these keys, and also the orders
    with the row ids `besides`.

    Raise RaceLost if an order is found by a key, but is deleted before it is locked. Raise RowsHeld if `waits` is false
    and another transaction has locked one of the orders.
    """
    found = find_ids(connection, keys)
    orders = lock_by_ids(connection, found.union(besides), waits=waits)
    if not found.issubset(order.id for order in orders):
        raise RaceLost("an order that was found is gone")
    return orders


def lock_suspects(
    connection: Connection, account: str, first: int, last: int, *, before: int, now: datetime
) -> list[Order]:
    """Lock and read the account's suspects in the groups `first` to `last` that failed alone fewer than `before` times,
    5,000 at most. Skip suspects that another transaction has locked, or that a query leases."""
    chosen = (
        ORDERS.c.suspect_group.between(first, last)
        & (ORDERS.c.account == account)
        & (ORDERS.c.state == OrderState.PENDING)
        & (ORDERS.c.failures_alone < before)
        & (ORDERS.c.lease_token.is_(None) | (ORDERS.c.due_at <= now))
    )
    statement = select(*ORDER_COLUMNS).where(chosen).order_by(ORDERS.c.id).limit(_MOST_SUSPECTS)
    statement = statement.with_for_update(skip_locked=True)
    return [to_order(row) for row in connection.execute(statement)]


def reset_absences(connection: Connection, account: str, kind: IdKind, names: Collection[str], now: datetime) -> None:
    """Reset the absences of pending orders with these ids to 0, and make the orders due at once in the batch lane.
    Suspects and leased orders do not change."""
    column = ORDERS.c.request_id if kind is IdKind.REQUEST_ID else ORDERS.c.custom_parm
    named = (ORDERS.c.account == account) & column.in_(names) & ORDERS.c.lease_token.is_(None)
    connection.execute(
        update(ORDERS)
        .where(named, ORDERS.c.state == OrderState.PENDING, ORDERS.c.suspect_group.is_(None))
        .values(absences=0, absence_mark=0, lane=Lane.BATCH, due_at=now, updated_at=now)
    )


def save_changes(connection: Connection, changes: Iterable[Change], now: datetime) -> None:
    """Write changed orders and append their events. The rows must be locked.

    Only `worker.operations.save_orders` may call this function, because that module also writes the notifications of
    the changes.

    Raise RaceLost if a row has changed since it was read.
    """
    listed = list(changes)
    changed = [change for change in listed if change.after != change.before]
    if changed:
        columns = _columns_to_save(changed)
        rows = [_saved_row(change, columns, now) for change in changed]
        written = _saving(columns).execute(connection, rows)
        if written not in (-1, len(rows)):
            raise RaceLost(f"{len(rows) - written} of {len(rows)} orders were changed meanwhile")
    add_events(connection, _without_repeated(connection, listed))


def _without_repeated(connection: Connection, changes: Sequence[Change]) -> list[OrderEvent]:
    """Return the events of these changes that must be added. While an order has an attention, each poll may repeat the
    order's last `NOT_BELIEVED` event. A repetition is not added: the stored event counts it."""
    events = [event for change in changes for event in change.events]
    shown = {change.before.id for change in changes if change.before.attention}
    doubted = {event.order_id for event in events if event.kind is EventKind.NOT_BELIEVED} & shown
    if not doubted:
        return events
    doubts = (one_of(connection, EVENTS.c.order_id, doubted), EVENTS.c.kind == EventKind.NOT_BELIEVED)
    last = select(func.max(EVENTS.c.id).label("id")).where(*doubts).group_by(EVENTS.c.order_id).subquery()
    said = select(EVENTS.c.id, *(EVENTS.c[name] for name in _SAID)).join(last, last.c.id == EVENTS.c.id)
    known = {tuple(words): row_id for row_id, *words in connection.execute(said)}
    repeated = Counter[int]()
    for event in events:
        if (row_id := known.get(_said_of(event))) is not None:
            repeated[row_id] += 1 + (event.repeats or 0)
    count_repeats(connection, repeated)
    return [event for event in events if _said_of(event) not in known]


def _columns_to_save(changes: Sequence[Change]) -> tuple[str, ...]:
    """Return the columns to write: those in which any of these orders has changed. Writing all columns would take twice
    as long."""
    before = zip(*(_saved_of(change.before) for change in changes), strict=True)
    after = zip(*(_saved_of(change.after) for change in changes), strict=True)
    changed = [name for name, old, new in zip(_SAVED, before, after, strict=True) if old != new]
    # `id_kind` is written with `request_id`, and `age_bucket` with `lane`, because they are computed from these.
    derived = {"request_id": "id_kind", "lane": "age_bucket"}
    follow = [derived[name] for name in changed if name in derived and derived[name] not in changed]
    return (*changed, *follow)


def _saved_row(change: Change, columns: Sequence[str], now: datetime) -> dict[str, Any]:
    before, after = change.before, change.after
    as_read = {"row_id": before.id, "row_state": before.state, "row_token": before.lease_token or ""}
    written = {"updated_at": now, "least_version": version_at(now)}
    row = {**as_read, **{name: getattr(after, name) for name in columns}, **written}
    if "age_bucket" in row:
        row["age_bucket"] = _stored_bucket(after)
    return row


def add_events(connection: Connection, events: Iterable[OrderEvent]) -> None:
    """Append events."""
    rows = [{name: getattr(event, name) for name in _EVENT_FIELDS} for event in events]
    insert_rows(connection, EVENTS, [row | to_columns(row["detail"]) for row in rows])


def find_said(connection: Connection, sayings: Collection[Saying], shown: Collection[Saying]) -> dict[Saying, int]:
    """Return, for each of these sayings that a stored event already says, the id of that event. Only callback events
    since the order was last reopened count.

    Only the last 200 of these events of an order are read. The sayings in `shown` would show the order to a person, so
    for these all of the events are searched.
    """
    wanted, found = set(sayings), dict[Saying, int]()
    for order_id in sorted({saying.order_id for saying in wanted}):
        said = _said_since_reopened(order_id)
        for row in connection.execute(said.order_by(EVENTS.c.id.desc()).limit(_MOST_EVENTS_READ)):
            found[Saying(order_id, *row[1:])] = row[0]
    for saying in set(shown) - found.keys():
        same = (EVENTS.c.kind == saying.kind, EVENTS.c.detail == saying.detail)
        for row in connection.execute(_said_since_reopened(saying.order_id).where(*same)):
            found[Saying(saying.order_id, *row[1:])] = row[0]
    return {saying: event_id for saying, event_id in found.items() if saying in wanted}


def _said_since_reopened(order_id: int) -> Select[tuple[Any, ...]]:
    reopened = select(func.max(EVENTS.c.id)).where(EVENTS.c.order_id == order_id, EVENTS.c.kind == EventKind.REOPENED)
    columns = (EVENTS.c.id, EVENTS.c.kind, EVENTS.c.traffic_sts, EVENTS.c.ori_amount, EVENTS.c.detail)
    is_later = EVENTS.c.id > func.coalesce(reopened.scalar_subquery(), 0)
    return select(*columns).where(EVENTS.c.order_id == order_id, EVENTS.c.source == Source.CALLBACK, is_later)


def count_repeats(connection: Connection, repeated: Mapping[int, int]) -> None:
    """Add to the `repeats` of stored events. `repeated` maps the id of each event to the number to add."""
    for event_id, times in sorted(repeated.items()):
        repeats = func.coalesce(EVENTS.c.repeats, 0) + times
        connection.execute(update(EVENTS).where(EVENTS.c.id == event_id).values(repeats=repeats))


def by_account_and_column(keys: Iterable[OrderKey]) -> list[tuple[str, str, list[str]]]:
    """Group the ids of these keys by account and column. Each group is (account, column, ids)."""
    found: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        for column, value in (("request_id", key.request_id), ("custom_parm", key.custom_parm)):
            if value is not None:
                found.setdefault((key.account, column), []).append(value)
    return [(account, column, ids) for (account, column), ids in found.items()]
