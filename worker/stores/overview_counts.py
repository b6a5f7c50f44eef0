"""The counts of `reconciler status`. Each is one range of an index, however many orders the table holds."""

from collections import Counter
from collections.abc import Collection
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, case, func, select, text

from worker.database.tables import BUDGETS, ORDERS, QUERIES, STATES
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.overview import PastQuery, PendingCount
from worker.stores.recharge_orders import PENDING

Counts = dict[str, Counter[Any]]
"""By account: how many, by source or reason."""

MOST_COUNTED = 100_000
"""Of the orders with a reason so many are counted: each one's row has to be read for its account."""
_PAST_QUERIES = 40
"""Of each account; among them are batches, and queries about single orders and suspects."""
_LONGEST_STATEMENT_SECONDS = 20


def bound_statements(connection: Connection, seconds: float = _LONGEST_STATEMENT_SECONDS) -> None:
    """End a statement of this transaction that takes longer, where the database can: nobody waits for it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = {round(seconds * 1000)}"))


def known_accounts(connection: Connection) -> list[str]:
    """Every account that a worker has known, by name."""
    return list(connection.scalars(select(STATES.c.account).order_by(STATES.c.account)))


def pending_counts(account: str, now: datetime) -> Select[Any]:
    """The statement that counts an account's pending orders by how they are polled: of the index of due orders alone.

    Its rows: lane, id kind, orders, those that are due, those that were never polled, since when one is due.
    """
    is_due = ORDERS.c.due_at <= now
    columns = (ORDERS.c.lane, ORDERS.c.id_kind)
    return (
        select(
            *columns,
            func.count(),
            func.count(case((is_due, 1))),
            func.count(case((ORDERS.c.age_bucket == 0, 1))),
            func.min(case((is_due, ORDERS.c.due_at))),
        )
        .where(ORDERS.c.account == account, ORDERS.c.state == PENDING)
        .group_by(*columns)
    )


def count_by_lane(connection: Connection, account: str, now: datetime) -> list[PendingCount]:
    """How many of an account's orders are pending, by how they are polled."""
    return [
        PendingCount(lane=row[0], id_kind=row[1], pending=row[2], due=row[3], never_polled=row[4], oldest_due_at=row[5])
        for row in connection.execute(pending_counts(account, now))
    ]


def settled_since(since: datetime, hour: datetime) -> Select[Any]:
    """The statement that counts the orders that were settled since a time: account, source, of the last hour, all."""
    of_hour = case((ORDERS.c.settled_at >= hour, 1))
    columns = (ORDERS.c.account, ORDERS.c.settled_by)
    return select(*columns, func.count(of_hour), func.count()).where(ORDERS.c.settled_at >= since).group_by(*columns)


def count_settled(connection: Connection, now: datetime) -> tuple[Counts, Counts]:
    """Orders that were settled in the last hour and in the last day, by account and source.

    None of them is archived: an order stays for a day at least.
    """
    hours: Counts = {}
    days: Counts = {}
    statement = settled_since(now - timedelta(days=1), now - timedelta(hours=1))
    for account, source, of_hour, of_day in connection.execute(statement):
        word = "unknown" if source is None else source.value
        days.setdefault(account, Counter())[word] += of_day
        if of_hour:
            hours.setdefault(account, Counter())[word] += of_hour
    return hours, days


def attention_counts() -> Select[Any]:
    """The statement that counts the orders that a person should see: account, reason, orders."""
    # Every reason by name: a range of the index on databases without partial indexes, too.
    some = (
        select(ORDERS.c.account, ORDERS.c.attention)
        .where(ORDERS.c.attention.is_not(None), ORDERS.c.attention.in_(list(Attention)))
        .limit(MOST_COUNTED)
        .subquery()
    )
    return select(some.c.account, some.c.attention, func.count()).group_by(some.c.account, some.c.attention)


def unresolved_counts() -> Select[Any]:
    """The same of unresolved orders."""
    some = (
        select(ORDERS.c.account, ORDERS.c.attention)
        .where(ORDERS.c.state == OrderState.UNRESOLVED)
        .limit(MOST_COUNTED)
        .subquery()
    )
    return select(some.c.account, some.c.attention, func.count()).group_by(some.c.account, some.c.attention)


def count_reasons(connection: Connection, statement: Select[Any]) -> Counts:
    """Orders by account and reason; a reason is None where there is none."""
    counts: Counts = {}
    for account, reason, orders in connection.execute(statement):
        counts.setdefault(account, Counter())[None if reason is None else reason.value] += orders
    return counts


def count_in_flight(connection: Connection, since: datetime) -> Counter[str]:
    """Orders in queries that are under way, by account; what was sent before a time has lost its worker."""
    statement = (
        select(QUERIES.c.account, QUERIES.c.order_count)
        .join(BUDGETS, BUDGETS.c.in_flight_query_id == QUERIES.c.id)
        .where(QUERIES.c.outcome == "in_flight", QUERIES.c.sent_at >= since)
    )
    counts: Counter[str] = Counter()
    for account, orders in connection.execute(statement):
        counts[account] += orders
    return counts


def past_queries(connection: Connection, account: str) -> list[PastQuery]:
    """The account's last queries, the newest first."""
    columns = [QUERIES.c[field.name] for field in fields(PastQuery)]
    latest = select(*columns).where(QUERIES.c.account == account).order_by(QUERIES.c.id.desc()).limit(_PAST_QUERIES)
    return [PastQuery(**row) for row in connection.execute(latest).mappings()]


def slot_times(connection: Connection, sids: Collection[str], slots_per_sid: int) -> dict[str, datetime]:
    """When each of these SIDs may send its next query, by the database's clock."""
    statement = select(BUDGETS.c.account_sid, func.min(BUDGETS.c.due_at)).where(BUDGETS.c.slot < slots_per_sid)
    rows = connection.execute(statement.group_by(BUDGETS.c.account_sid)).all()
    return {sid: due_at for sid, due_at in rows if sid in sids}
