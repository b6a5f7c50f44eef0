"""The query log: one row for each granted query, with the query's result."""

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update

from worker.database.tables import QUERIES
from worker.domain.records.accounts import SlotKey
from worker.domain.records.incoming import Answer, HttpError, QueryError
from worker.domain.records.orders import Order
from worker.domain.records.queries import Choice, Query

# These statements are made once, because making one takes as long as running it.
_ADD = insert(QUERIES)
# Only a row that is still in flight changes. If a later grant has marked the query as lost, the row stays as it is.
_END = update(QUERIES).where(QUERIES.c.id == bindparam("query_id"), QUERIES.c.outcome == literal_column("'in_flight'"))

# The most items that are stored of those that the query did not ask for, and the most characters of their text. A
# hostile answer can contain hundreds of thousands of such items.
_MOST_ADDED = 100
_LONGEST_ADDED = 20_000


def add_query(
    connection: Connection,
    slot: SlotKey,
    account: str,
    choice: Choice,
    orders: tuple[Order, ...],
    token: str,
    sent_at: datetime,
) -> Query:
    """Add the `in_flight` row of a query about locked orders, and return the query. The token is in the query, but not
    in its row."""
    spare_count = len(choice.spare_ids.intersection(order.id for order in orders))
    values = {
        "account": account,
        "account_sid": slot.account_sid,
        "slot": slot.number,
        "work": choice.work.value,
        "id_kind": choice.id_kind,
        "order_count": len(orders),
        "spare_count": spare_count,
        "sent_at": sent_at,
        "polled_ids": ",".join(order.polled_id for order in orders),
        "outcome": "in_flight",
    }
    key = connection.execute(_ADD, values).inserted_primary_key
    if key is None:  # pragma: no cover - every supported database returns the key of a single row
        raise RuntimeError("the database did not return the new query's id")
    return Query(
        id=int(key[0]),
        account=account,
        app_id=slot.app_ids[account],
        account_sid=slot.account_sid,
        slot=slot.number,
        sid_accounts=tuple(slot.app_ids),
        token=token,
        id_kind=choice.id_kind,
        work=choice.work,
        sent_at=sent_at,
        orders=orders,
        spare_count=spare_count,
    )


def mark_lost(connection: Connection, query_id: int | None) -> None:
    """Mark a query as lost if it is still in flight. The slot of the query is being granted again, so the worker that
    sent the query is gone."""
    if query_id is not None:
        _end(connection, query_id, {"outcome": "lost"})


def end_with_answer(
    connection: Connection, query: Query, answer: Answer, *, settled: int, pending: int, absent: int, now: datetime
) -> None:
    """Write the result of an answered query: how many orders were settled, pending and absent, and which ids were
    absent or not asked for."""
    added = json.dumps([report.words for report in answer.added[:_MOST_ADDED]], ensure_ascii=False)
    _end(
        connection,
        query.id,
        {
            "outcome": "answered",
            "answered_at": now,
            "http_status": answer.http_status,
            "settled_count": settled,
            "pending_count": pending,
            "absent_count": absent,
            "absent_ids": ",".join(answer.absent) or None,
            "added_items": added[:_LONGEST_ADDED] if answer.added else None,
            "answer_excerpt": answer.excerpt,
        },
    )


def end_with_error(connection: Connection, query: Query, error: QueryError, now: datetime) -> None:
    """Write how a query failed."""
    _end(
        connection,
        query.id,
        {
            "outcome": error.outcome,
            "answered_at": None if error.http_status is None else now,
            "http_status": error.http_status,
            "status_code": error.status_code,
            # If the platform sent no message, the text of `error` says why the query failed. An HTTP status needs no
            # message.
            "status_msg": error.status_msg if error.status_msg or isinstance(error, HttpError) else str(error),
            "answer_excerpt": error.excerpt,
        },
    )


def absent_ids_since(connection: Connection, query: Query, since: int, *, fewest_orders: int) -> set[str]:
    """Return the ids that answers have left out, from the query with the id `since` on. Only queries count that have
    the account and the id kind of `query`, and at least `fewest_orders` orders."""
    statement = select(QUERIES.c.absent_ids).where(
        QUERIES.c.account == query.account,
        QUERIES.c.id >= since,
        QUERIES.c.outcome == "answered",
        QUERIES.c.id_kind == query.id_kind,
        QUERIES.c.order_count >= fewest_orders,
        QUERIES.c.absent_ids.is_not(None),
    )
    return {name for ids in connection.scalars(statement) for name in ids.split(",")}


def _end(connection: Connection, query_id: int, values: Mapping[str, object]) -> None:
    connection.execute(_END, {"query_id": query_id, **values})
