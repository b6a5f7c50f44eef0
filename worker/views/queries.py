"""Read the query log as a list. Read one query with the orders that it polled and the items that its answer added."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, ScalarSelect, func, literal, select

from worker.database.tables import BUDGETS, ORDERS, QUERIES, STATES
from worker.domain.records.accounts import Rules
from worker.domain.records.monitoring import PastQuery
from worker.views.page import PAGE_SECONDS, Bound, Listed, Page, apart, read_page, rows_by_id

Row = dict[str, Any]

_LISTS = ("polled_ids", "absent_ids", "added_items", "answer_excerpt")
_GONE = {"id": None, "state": None, "attention": None}
_COLUMN_OF = {"requestId": "request_id", "customParm": "custom_parm"}

QUERY_COLUMNS = [
    QUERIES.c[name]
    for name in (
        *("id", "account", "id_kind", "order_count", "sent_at", "answered_at", "outcome", "http_status"),
        *("status_code", "status_msg", "settled_count", "pending_count", "absent_count", "spare_count"),
    )
]
_PAST_QUERIES = 40
"""How many of the last queries of each account are read: enough to have batches among them, in addition to queries
about single orders and suspects."""
_PAST_QUERIES_OF_ALL = 50_000
"""How many queries of all accounts are read together. If there are more than 1,250 accounts, fewer queries of each
account are read."""
_LEAST_PAST_QUERIES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeQuery:
    """A query and its result."""

    query: Row
    """The query's columns except the lists of ids; `answer_excerpt` is the start of the answer."""
    orders: list[Row]
    """A row for each polled id: `polled_id`, `absent` (whether the answer left the order out), and the order's `id`,
    `state` and `attention`. The last three are None if the order is gone."""
    added: list[str]
    """The answer's items about orders that were not polled."""


def read_query(connection: Connection, query_id: int) -> WholeQuery | None:
    """The query with this id; None if there is none."""
    row = connection.execute(select(QUERIES).where(QUERIES.c.id == query_id)).mappings().first()
    if row is None:
        return None
    orders = _orders_of(connection, row)
    absent = set((row["absent_ids"] or "").split(","))
    polled = [
        {"polled_id": name, **{key: orders.get(name, _GONE)[key] for key in _GONE}, "absent": name in absent}
        for name in row["polled_ids"].split(",")
    ]
    shown = {name: value for name, value in row.items() if name not in _LISTS}
    return WholeQuery(
        query={**shown, "answer_excerpt": row["answer_excerpt"]}, orders=polled, added=_added(row["added_items"])
    )


def _added(items: str | None) -> list[str]:
    if items is None:
        return []
    try:
        return [str(item) for item in json.loads(items)]
    except ValueError:
        # Of a very long list, only the start is stored, which is no longer JSON.
        return [items]


def recent_queries(
    connection: Connection,
    *,
    account: str | None,
    outcomes: Sequence[str],
    since: datetime | None,
    after: int | None,
    most: int,
    seconds: Bound = PAGE_SECONDS,
) -> Page[Row]:
    """The queries that match, newest first, starting with the next older one than `after`."""
    within: list[ColumnElement[bool]] = []
    if account is not None:
        within.append(QUERIES.c.account == account)
    if since is not None:
        within.append(QUERIES.c.id >= first_query_since(connection, since, account))
    ended_so = [apart(connection, QUERIES).outcome.in_(outcomes)] if outcomes else []
    listed = Listed(key=[QUERIES.c.id], within=within, filters=ended_so)
    last = None if after is None else (after,)
    return read_page(connection, listed, QUERIES, QUERY_COLUMNS, after=last, most=most, seconds=seconds)


def _orders_of(connection: Connection, query: RowMapping) -> dict[str, Row]:
    """Row id, state and attention of a query's orders, by polled id. Orders that are gone are missing."""
    names, column = query["polled_ids"].split(","), _COLUMN_OF[query["id_kind"].value]
    shown = [ORDERS.c[name] for name in ("id", "state", "attention", column)]
    chosen = (ORDERS.c.account == query["account"]) & ORDERS.c[column].in_(names)
    return {row[column]: dict(row) for row in connection.execute(select(*shown).where(chosen)).mappings()}


def first_query_since(connection: Connection, since: datetime, account: str | None) -> int:
    """The id of the first query that was sent at a time or later. A binary search by id finds it: the times of queries
    have no index, but later queries have larger ids."""
    of_account = [] if account is None else [QUERIES.c.account == account]
    low, high = connection.execute(select(func.min(QUERIES.c.id), func.max(QUERIES.c.id)).where(*of_account)).one()
    low, high = low or 0, (high or 0) + 1
    while low < high:
        middle = (low + high) // 2
        following = select(QUERIES.c.id, QUERIES.c.sent_at).where(*of_account, QUERIES.c.id >= middle)
        found = connection.execute(following.order_by(QUERIES.c.id).limit(1)).one_or_none()
        if found is None or found.sent_at >= since:
            high = middle
        else:
            low = found.id + 1
    return int(low)


def read_slots(connection: Connection, *, slots_per_sid: int) -> list[Row]:
    """All slots of the budget that are in use. For each: when it may carry its next query, by the database's clock, and
    which query it has in flight."""
    columns = [BUDGETS.c[name] for name in ("account_sid", "slot", "due_at", "in_flight_query_id", "last_account")]
    in_use = select(*columns).where(BUDGETS.c.slot < slots_per_sid)
    rows = connection.execute(in_use.order_by(BUDGETS.c.account_sid, BUDGETS.c.slot)).mappings()
    return [dict(row) for row in rows]


def last_queries(connection: Connection) -> dict[str, Row]:
    """The latest query of each account that has queries, by account name."""
    latest = select(_latest_of(STATES.c.account)).select_from(STATES)
    ids = [row_id for row_id in connection.scalars(latest) if row_id is not None]
    return {row["account"]: row for row in rows_by_id(connection, QUERIES, ids, QUERY_COLUMNS)}


def past_queries(connection: Connection, accounts: int) -> dict[str, list[PastQuery]]:
    """The last queries of each account, newest first, by account name. `accounts` is the number of accounts."""
    most = max(_LEAST_PAST_QUERIES, min(_PAST_QUERIES, _PAST_QUERIES_OF_ALL // max(1, accounts)))
    # To grant a query, the row of the account's state is locked. So every account with a query has such a row.
    own = STATES.c.account
    past = select(own, _latest_of(own).label("id"), literal(1).label("number")).cte("past", recursive=True)
    before = _latest_of(past.c.account, QUERIES.c.id < past.c.id)
    earlier = select(past.c.account, before, past.c.number + 1).where(past.c.id.is_not(None), past.c.number < most)
    past = past.union_all(earlier)
    names = [field.name for field in fields(PastQuery)]
    columns = [QUERIES.c[name] for name in names]
    listed = select(past.c.account, *columns).join(QUERIES, QUERIES.c.id == past.c.id).order_by(past.c.number)
    found: dict[str, list[PastQuery]] = {}
    for account, *values in connection.execute(listed):
        found.setdefault(account, []).append(PastQuery(**dict(zip(names, values, strict=True))))
    return found


def _latest_of(account: ColumnElement[str], *wanted: ColumnElement[bool]) -> ScalarSelect[Any]:
    # With ORDER BY, the latest query is found at once in an index. With max(), MariaDB would read all queries of the
    # account.
    latest = select(QUERIES.c.id).where(QUERIES.c.account == account, *wanted).order_by(QUERIES.c.id.desc())
    return latest.limit(1).scalar_subquery()


def next_slot_at(connection: Connection, account_sid: str, rules: Rules) -> datetime | None:
    """When a SID may send the next query, by the database's clock; None if no worker has run yet."""
    # Slots that only another deployment uses are left out: their numbers are not below `rules.slots`.
    of_sid = (BUDGETS.c.account_sid == account_sid, BUDGETS.c.slot < rules.slots)
    due_at: datetime | None = connection.scalar(select(func.min(BUDGETS.c.due_at)).where(*of_sid))
    return due_at
