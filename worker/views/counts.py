"""Count rows of each kind by account, from indexes alone unless a function says otherwise.

A count with the argument `most` ends at this many rows. This limits how long it takes if something waits for it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    Table,
    case,
    func,
    select,
    union_all,
)

from worker.database.bulk_statements import found_by, one_of
from worker.database.tables import (
    GAVE_UP,
    NOTIFICATIONS,
    ORDERS,
    PENDING_STATE,
    REJECTED,
    UNMATCHED,
    UNRESOLVED_STATE,
)
from worker.domain.notifications.endpoint_watch import unsent_since
from worker.domain.records.monitoring import NotificationCounts, PendingCount
from worker.domain.records.notifications import Rank
from worker.domain.records.orders import Attention, IdKind, Lane
from worker.stores.notifications import read_endpoints

_FIRST_DUE = 100
LONGEST_STATEMENT_SECONDS = 20.0
"""How long a statement that counts may take if nobody waits for it."""


def pending(connection: Connection, accounts: Collection[str], now: datetime) -> dict[str, list[PendingCount]]:
    """Count the pending orders of each of these accounts by lane and id kind, from the index of due orders alone."""
    by = ("account", "lane", "id_kind")
    columns = [ORDERS.c[name] for name in (*by, "age_bucket", "due_at")]
    some = _some(columns, one_of(connection, ORDERS.c.account, accounts), ORDERS.c.state == PENDING_STATE)
    is_due = some.c.due_at <= now
    counted = _counted(
        [some.c[name] for name in by],
        func.count(case((is_due, 1))),
        func.count(case((some.c.age_bucket == 0, 1))),
        # SQLite stores times as text: with this type, the minimum is read as a time again.
        func.min(case((is_due, some.c.due_at)), type_=ORDERS.c.due_at.type),
    )
    found: dict[str, list[PendingCount]] = {account: [] for account in accounts}
    for account, lane, id_kind, orders, due, never, since in connection.execute(counted):
        count = PendingCount(
            lane=lane, id_kind=id_kind, pending=orders, due=due, never_polled=never, oldest_due_at=since
        )
        found[account].append(count)
    return found


def polled_alone(
    connection: Connection, accounts: Collection[str], blind: Collection[str], most: int
) -> Mapping[str, int]:
    """Count the pending orders that wait for a query of their own, by account.

    An order waits for a query of its own if an answer has left it out. In `blind` accounts, whose answers do not echo
    customParm, each order that has only a customParm waits for one, too. Up to `most` of each of these two kinds are
    counted."""
    found = Counter[str]()
    left_out = one_of(connection, ORDERS.c.account, accounts) & (ORDERS.c.lane == Lane.ALONE)
    by_custom_parm = (ORDERS.c.lane == Lane.BATCH) & (ORDERS.c.id_kind == IdKind.CUSTOM_PARM)
    for wanted in (left_out, one_of(connection, ORDERS.c.account, blind) & by_custom_parm):
        some = _some([ORDERS.c.account], wanted, ORDERS.c.state == PENDING_STATE, most=most)
        found.update({row.account: row.rows for row in connection.execute(_counted([some.c.account]))})
    return found


def attention(connection: Connection, most: int | None) -> dict[tuple[str, str], int]:
    """Count the orders that a person should look at, by account and reason."""
    # The condition names all reasons. So databases without partial indexes, too, read only a range of the index.
    wanted = (ORDERS.c.attention.is_not(None), ORDERS.c.attention.in_(list(Attention)))
    some = _some([ORDERS.c.account, ORDERS.c.attention], *wanted, most=most)
    rows = connection.execute(_counted([some.c.account, some.c.attention]))
    return {(account, reason.value): orders for account, reason, orders in rows}


def unresolved(
    connection: Connection, most: int | None, *, with_reason: bool = False
) -> dict[tuple[str, str | None], int]:
    """Count the unresolved orders by account and reason. Without `with_reason`, the reason is None. With it, each
    order's row has to be read."""
    columns = [ORDERS.c.account, *([ORDERS.c.attention] if with_reason else [])]
    some = _some(columns, ORDERS.c.state == UNRESOLVED_STATE, most=most)
    found: dict[tuple[str, str | None], int] = {}
    for account, *reasons, orders in connection.execute(_counted(list(some.c))):
        found[account, reasons[0].value if reasons and reasons[0] else None] = orders
    return found


def unmatched(connection: Connection) -> dict[str, int]:
    """Count the callbacks whose order is unknown, by account."""
    return {row.account: row.rows for row in connection.execute(_counted([UNMATCHED.c.account]))}


def rejected_since(connection: Connection, since: datetime, most: int) -> int:
    """Count the open rows of refused input that came in since a time, up to `most`."""
    return _count_received(connection, REJECTED, REJECTED.c.is_open & (REJECTED.c.received_at >= since), most)


def unmatched_before(connection: Connection, before: datetime, most: int) -> int:
    """Count the unmatched callbacks that came in before a time, up to `most`."""
    return _count_received(connection, UNMATCHED, UNMATCHED.c.received_at < before, most)


def _count_received(connection: Connection, table: Table, condition: ColumnElement[bool], most: int) -> int:
    some = select(table.c.id).where(condition).order_by(table.c.received_at).limit(most).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def notifications(connection: Connection) -> dict[str, NotificationCounts]:
    """Count the notifications that were not received, by account. Accounts without any are missing."""
    # An index has these columns, including the id. To read the other times of notifications, their rows would have to
    # be read.
    columns = [NOTIFICATIONS.c[name] for name in ("account", "rank", "id", "due_at")]
    some = _some(columns, NOTIFICATIONS.c.state == PENDING_STATE)
    first, due = func.min(some.c.id).label("first"), func.min(some.c.due_at, type_=NOTIFICATIONS.c.due_at.type)
    waiting: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(_counted([some.c.account, some.c.rank], first, due.label("due"))):
        waiting.setdefault(row.account, []).append(row)
    given_up = _some([NOTIFICATIONS.c.account], GAVE_UP)
    gave_up = {row.account: row.rows for row in connection.execute(_counted([given_up.c.account]))}
    firsts = _firsts(connection, [row.first for rows in waiting.values() for row in rows])
    return {
        name: replace(_pending_in(waiting.get(name, []), firsts), gave_up=gave_up.get(name, 0))
        for name in sorted(waiting.keys() | gave_up.keys())
    }


def watched_notifications(connection: Connection, now: datetime) -> dict[str, NotificationCounts]:
    """The counts of `notifications`. `waits_since` is None unless the account's notifications may be sent and no
    process sends them."""
    found, endpoints = notifications(connection), read_endpoints(connection)
    late = [name for name in endpoints.keys() & found.keys() if unsent_since(endpoints[name], found[name], now)]
    unsent = found_by(connection, [_unsent(name, now) for name in late])
    return {name: count if name in unsent else replace(count, waits_since=None) for name, count in found.items()}


def _pending_in(ranks: Sequence[Row[Any]], firsts: Mapping[int, Any]) -> NotificationCounts:
    # The first notification of a rank is missing from `firsts` if it was deleted meanwhile.
    found = [(row, firsts[row.first]) for row in ranks if row.first in firsts]
    return NotificationCounts(
        pending=sum(row.rows for row in ranks),
        oldest_changed_at=min(((row.first, first.changed_at) for row, first in found), default=(0, None))[1],
        queued_since=min((_queued_since(row, first) for row, first in found), default=None),
        waits_since=min((row.due for row in ranks), default=None),
    )


def _firsts(connection: Connection, ids: Sequence[int]) -> dict[int, Any]:
    columns = (NOTIFICATIONS.c.id, NOTIFICATIONS.c.changed_at, NOTIFICATIONS.c.refused_since)
    chosen = select(*columns).where(one_of(connection, NOTIFICATIONS.c.id, ids))
    return {row.id: row for row in connection.execute(chosen)} if ids else {}


def _queued_since(of_rank: Any, first: Any) -> datetime:
    times: Mapping[int, datetime] = {
        Rank.RESULT: first.changed_at,
        # A resent notification has this rank until it is refused. The change that it reports may be long ago, so the
        # due time is used instead.
        Rank.BULK: of_rank.due,
        Rank.RETRY: first.refused_since or first.changed_at,
    }
    return times[of_rank.rank]


def _unsent(account: str, now: datetime) -> Select[Any]:
    """The statement that finds the name of the account if notifications of this account are due and no process sends
    them; otherwise it finds nothing."""
    # A process that sends notifications leases the first due rows of a rank. So if none of the first 100 rows of each
    # rank is leased, nothing is being sent. One statement reads all ranks: between two statements, a delivery could end
    # and the lease could move to a row of a rank that was read already.
    first = union_all(*(select(_first_due(account, rank, now).subquery()) for rank in Rank)).subquery()
    is_sent = case((first.c.leased_until > now, 1))
    return select(first.c.account).group_by(first.c.account).having(func.count(is_sent) == 0)


def _first_due(account: str, rank: Rank, now: datetime) -> Select[tuple[str, datetime | None]]:
    return (
        select(NOTIFICATIONS.c.account, NOTIFICATIONS.c.leased_until)
        .where(
            NOTIFICATIONS.c.account == account,
            # The state is written into the statement, not passed as a parameter: `tables.PENDING_STATE` gives the
            # reason.
            NOTIFICATIONS.c.state == PENDING_STATE,
            NOTIFICATIONS.c.rank == int(rank),
            NOTIFICATIONS.c.due_at <= now,
        )
        .order_by(NOTIFICATIONS.c.due_at, NOTIFICATIONS.c.id)
        .limit(_FIRST_DUE)
    )


def _some(columns: Sequence[ColumnElement[Any]], *wanted: Any, most: int | None = None) -> Subquery:
    return select(*columns).where(*wanted).limit(most).subquery()


def _counted(by: Sequence[ColumnElement[Any]], *also: ColumnElement[Any]) -> Select[Any]:
    return select(*by, func.count().label("rows"), *also).group_by(*by)
