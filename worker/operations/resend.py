"""Resend notifications. Each reports the current state of an order. If this state was sent before, the notification has
the same id as then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.notifications.events import Resend, choose_resends, notification_of_order
from worker.domain.records.coded_texts import CodedText
from worker.domain.records.notifications import Rank
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order
from worker.operations.act_by_hand import MOST_AT_ONCE, Operator, entries_of
from worker.operations.save_orders import new_event_id, save_orders
from worker.stores.notifications import (
    add_notifications,
    delete_notifications,
    lock_notifications_of,
    read_endpoints,
    send_again,
)
from worker.stores.operators import add_acts
from worker.stores.recharge_orders import lock_by_ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Resent:
    """The results of a resend for the orders of one transaction."""

    again: int
    """The number of notifications that are sent again, under the same ids."""
    made: int
    """The number of new notifications, for orders that are renewed, or whose current version had no notification."""
    refusals: dict[int, CodedText]
    """Maps the id of each refused order to the reason."""


def resend(
    database: Database, operator: Operator, order_ids: Sequence[int], *, renew: bool = False
) -> Iterator[Resent]:
    """Send the current state of these orders again, 1,000 orders in a transaction. The notifications have the rank
    `BULK`: four of five claims take results first.

    With `renew`, the version of each of these orders is raised first, if the order is sent. Use this after a restore,
    when receivers may know newer versions than the table.

    Yield the results of each transaction once it is committed. If a transaction loses too many races, raise its error.
    """
    for start in range(0, len(order_ids), MOST_AT_ONCE):
        done = _resend_some(database, operator, order_ids[start : start + MOST_AT_ONCE], renew=renew)
        operator.log(ActKind.RESEND, orders=done.again + done.made, renewed=renew, refused=len(done.refusals))
        yield done


@retry_contention
def _resend_some(database: Database, operator: Operator, order_ids: Sequence[int], *, renew: bool) -> Resent:
    with database.write() as connection:
        # Orders are locked before their notifications, as in every transaction that changes or deletes an order.
        locked = lock_by_ids(connection, set(order_ids))
        left_alone = operator.left_alone(connection, locked)
        chosen = _choose(connection, [one for one in order_ids if one not in left_alone], locked, renew=renew)
        act = operator.act(database.now(connection))
        send_again(connection, [one.id for one in chosen.again], act.now)
        delete_notifications(connection, [one.id for one in chosen.superseded])
        orders = [order for order, _ in chosen.made]
        if renew:
            orders = _raise_versions(connection, orders, act.now)
        made = [
            notification_of_order(order, event, event_id=new_event_id(), changed_at=act.now, rank=Rank.BULK)
            for order, (_, event) in zip(orders, chosen.made, strict=True)
        ]
        add_notifications(connection, made, act.now)
        sent = {one.order_id for one in [*chosen.again, *made]}
        add_acts(connection, entries_of([order for order in locked if order.id in sent], act, ActKind.RESEND))
        if operator.dry_run:
            connection.rollback()
    refusals = {order_id: why for order_id, why in left_alone.items() if why} | dict(chosen.refusals)
    return Resent(again=len(chosen.again), made=len(made), refusals=refusals)


def _choose(connection: Connection, order_ids: Sequence[int], orders: Sequence[Order], *, renew: bool) -> Resend:
    left = lock_notifications_of(connection, order_ids)
    endpoints = read_endpoints(connection, {one.account for one in orders}) if orders else {}
    return choose_resends(order_ids, orders, left, endpoints, renew=renew)


def _raise_versions(connection: Connection, orders: Sequence[Order], now: datetime) -> list[Order]:
    """Give locked orders their next version, and save them with no other change. Return the orders with their new
    versions."""
    renewed = [replace(order, version=order.next_version(now)) for order in orders]
    save_orders(connection, [Change(before=old, after=new) for old, new in zip(orders, renewed, strict=True)], now)
    return renewed
