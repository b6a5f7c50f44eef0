"""The orders that need a person, as a list to work through, with what was last heard of each."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from sqlalchemy import Connection, func, or_, select

from worker.database.bulk_statements import one_of
from worker.database.tables import EVENTS, ORDERS
from worker.domain.records.orders import Source
from worker.views.order import Row
from worker.views.orders import ANY_REASON, OrderSearch, SummedOrders, find_orders
from worker.views.page import Page

_HEARD = [EVENTS.c[name] for name in ("order_id", "at", "traffic_sts", "remark", "ori_amount")]


def with_any_reason(wanted: OrderSearch) -> OrderSearch:
    """The same search, for orders that need a person: for any reason or none, where none is chosen."""
    return replace(wanted, attention=wanted.attention or ANY_REASON)


def orders_to_work_on(connection: Connection, wanted: OrderSearch, *, after: int | None, most: int) -> Page[Row]:
    """A page of the orders that need a person, as `find_orders` has it. Each has its amounts (`SummedOrders`), and
    `heard`: what the platform last said of it, as its event has it, or None."""
    page = find_orders(connection, with_any_reason(wanted), after=after, most=most)
    heard = last_heard(connection, [row["id"] for row in page.rows])
    return replace(page, rows=[{**row, "heard": heard.get(row["id"])} for row in SummedOrders(page.rows)])


def last_heard(connection: Connection, order_ids: Collection[int]) -> Mapping[int, Row]:
    """What the platform last said of each of these orders, by its row id; of which it said nothing is missing."""
    said = or_(EVENTS.c.traffic_sts.is_not(None), EVENTS.c.remark.is_not(None), EVENTS.c.ori_amount.is_not(None))
    by_platform = EVENTS.c.source.in_((Source.QUERY, Source.CALLBACK))
    last = (
        select(EVENTS.c.id)
        .where(EVENTS.c.order_id == ORDERS.c.id, by_platform, said)
        .order_by(EVENTS.c.order_id.desc(), EVENTS.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    found = connection.scalars(select(last).where(one_of(connection, ORDERS.c.id, list(order_ids)))).all()
    chosen = select(*_HEARD).where(one_of(connection, EVENTS.c.id, [one for one in found if one is not None]))
    return {row["order_id"]: dict(row) for row in connection.execute(chosen).mappings()}


def numbers_of(connection: Connection, order_ids: Collection[int]) -> Mapping[int, str]:
    """The number by which a person knows each of these orders, by its row id."""
    number = func.coalesce(ORDERS.c.request_id, ORDERS.c.custom_parm)
    chosen = select(ORDERS.c.id, number).where(one_of(connection, ORDERS.c.id, list(order_ids)))
    return {row[0]: row[1] for row in connection.execute(chosen)}
