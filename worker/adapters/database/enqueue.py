"""Taking in orders: one list is one transaction with a handful of statements, however long it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from worker.adapters.database.bulk import insert_rows
from worker.adapters.database.order_rows import ORDERS, lock_by_keys, save_changes, to_values
from worker.domain.choice import first_due
from worker.domain.identity import Directory, OrderKey
from worker.domain.orders import Change, EventKind, Order, OrderEvent, Source
from worker.domain.rules import Rules
from worker.domain.submissions import Rejection, Submission, differences, fill_in

_TWO_ORDERS = "request_id, custom_parm: belong to two different known orders; send a new order under ids of its own"


@dataclass(kw_only=True, slots=True)
class Taken:
    """What became of a list of submissions."""

    accepted: int = 0
    duplicates: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    keys: list[OrderKey] = field(default_factory=list)
    """Of the orders that are new or have learned an id: callbacks may wait for these."""


def enqueue(
    connection: Connection, submissions: Sequence[tuple[int, object, Submission]], now: datetime, rules: Rules
) -> Taken:
    """Insert what is new, fill in what was missing, refuse what differs.

    `submissions` are (place in the list, payload, submission). Raises IntegrityError where somebody else inserts one of
    them at the same moment: the transaction is to be repeated, and then finds it.
    """
    book = _Book(lock_by_keys(connection, [submission.key for _, _, submission in submissions]))
    taken = Taken()
    for index, payload, submission in submissions:
        error = book.enter(submission, now, rules, taken)
        if error:
            taken.rejections.append(Rejection(index=index, payload=payload, errors=error))
    if book.new:
        rows = [{**to_values(order, now), "created_at": now} for order in book.new.values()]
        insert_rows(connection, ORDERS, sorted(rows, key=_insertion_order))
    save_changes(connection, book.changes(now), now)
    return taken


class _Book:
    """The orders that a list can touch, by either id, as the list is worked through."""

    def __init__(self, known: Sequence[Order]) -> None:
        self._known = {order.id: order for order in known}
        self._now = dict(self._known)
        self._directory = Directory()
        self.new: dict[int, Order] = {}
        for order in known:
            self._directory.enter(order.key, order.id)

    def enter(self, submission: Submission, now: datetime, rules: Rules, taken: Taken) -> tuple[str, ...]:
        """Enter one submission; returns why it is refused, if it is."""
        key = submission.key
        named = self._directory.holders(key)
        if len(named) > 1:
            return (_TWO_ORDERS,)
        if not named:
            self._add(submission, now, rules)
            taken.accepted += 1
            taken.keys.append(key)
            return ()
        (order_id,) = named
        order = self.new.get(order_id) or self._now[order_id]
        errors = differences(order, submission)
        if errors:
            return errors
        filled = fill_in(order, submission)
        if filled != order:
            self._put(filled)
            taken.keys.append(filled.key)
        taken.duplicates += 1
        return ()

    def changes(self, now: datetime) -> list[Change]:
        """The known orders that were filled in."""
        return [
            Change(before=self._known[order.id], after=order).then(order, [_filled_in(order, now)])
            for order in self._now.values()
            if order != self._known[order.id]
        ]

    def _add(self, submission: Submission, now: datetime, rules: Rules) -> None:
        order = Order(
            id=-1 - len(self.new),
            account=submission.key.account,
            request_id=submission.key.request_id,
            custom_parm=submission.key.custom_parm,
            mobile=submission.mobile,
            expected_amount=submission.expected_amount,
            submitted_at=submission.submitted_at,
            due_at=first_due(submission.submitted_at, rules),
        )
        self._put(order)

    def _put(self, order: Order) -> None:
        (self._now if order.id in self._known else self.new)[order.id] = order
        self._directory.enter(order.key, order.id)


def _filled_in(order: Order, now: datetime) -> OrderEvent:
    return OrderEvent(
        order_id=order.id,
        at=now,
        kind=EventKind.FILLED_IN,
        source=Source.ENQUEUE,
        from_state=order.state,
        to_state=order.state,
        detail=f"request_id {order.request_id}, custom_parm {order.custom_parm}",
    )


def _insertion_order(row: Mapping[str, object]) -> tuple[str, str, str]:
    # Two lists that share orders lock them in the same order, and cannot deadlock over the unique indexes.
    return (str(row["account"]), str(row["request_id"] or ""), str(row["custom_parm"] or ""))
