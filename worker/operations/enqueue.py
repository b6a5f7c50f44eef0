"""Taking in orders: one list is one transaction with a handful of statements, however long it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from worker.database.bulk_statements import insert_new, insert_rows, inserts_what_is_new
from worker.domain.identity import Directory, OrderKey
from worker.domain.orders import Change, EventKind, Order, OrderEvent, Source
from worker.domain.pricing.due import first_due
from worker.domain.pricing.noting import note_arrivals
from worker.domain.reports import IdKind
from worker.domain.rules import Rules
from worker.domain.submissions import Rejection, Submission, differences, fill_in
from worker.stores.archived_orders import knows_any
from worker.stores.recharge_orders import ORDERS, by_account_and_column, lock_by_keys, save_changes, to_values
from worker.stores.settlement_observations import add_notes

_TWO_ORDERS = "request_id, custom_parm: belong to two different known orders; send a new order under ids of its own"


@dataclass(kw_only=True, slots=True)
class Taken:
    """What became of a list of submissions."""

    accepted: list[int] = field(default_factory=list)
    """Places in the list of what is new."""
    duplicates: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    keys: list[OrderKey] = field(default_factory=list)
    """Of the orders that are new or have learned an id: callbacks may wait for these."""


Listed = Sequence[tuple[int, object, Submission]]
"""Submissions as (place in the list, payload, submission)."""


def enqueue(connection: Connection, submissions: Listed, now: datetime, rules: Rules) -> Taken:
    """Insert what is new, fill in what was missing, refuse what differs.

    Raises IntegrityError where somebody else inserts one of them at the same moment: the transaction is to be repeated,
    and then finds it.
    """
    taken = Taken()
    _enter(connection, _insert_new(connection, submissions, now, rules, taken), now, rules, taken)
    return taken


def _insert_new(connection: Connection, submissions: Listed, now: datetime, rules: Rules, taken: Taken) -> Listed:
    """Insert what is new in one statement that looks for nothing first, where the database can; returns the rest.

    Only where no id is named twice: then what becomes of one submission does not depend on the others. Where the
    archive knows one of those that seemed new, nothing is inserted, and all are to be looked for.
    """
    if not submissions or not inserts_what_is_new(connection) or _is_an_id_named_twice(submissions):
        return submissions
    ordered = sorted([one for _, _, one in submissions], key=lambda one: _insertion_order(one.key))
    columns = _what_differs(ordered, rules)
    order = to_values(_new_order(ordered[0], now, rules, order_id=-1), now)
    alike = {name: value for name, value in order.items() if name not in columns}
    with connection.begin_nested() as insertion:
        inserted = set(insert_new(connection, ORDERS, columns, alike, ("account", "request_id", "custom_parm")))
        names = [OrderKey(account=name[0], request_id=name[1], custom_parm=name[2]) for name in inserted]
        if knows_any(connection, by_account_and_column(names)):
            insertion.rollback()
            return submissions
    arrivals: list[tuple[str, datetime]] = []
    rest: list[tuple[int, object, Submission]] = []
    for index, payload, submission in submissions:
        key = submission.key
        if (key.account, key.request_id, key.custom_parm) in inserted:
            taken.accepted.append(index)
            taken.keys.append(key)
            arrivals.append((key.account, submission.submitted_at))
        else:
            rest.append((index, payload, submission))
    _note(connection, arrivals, now, rules)
    return rest


def _is_an_id_named_twice(submissions: Listed) -> bool:
    keys = [submission.key for _, _, submission in submissions]
    ids = [(key.account, "r", key.request_id) for key in keys if key.request_id is not None]
    ids += [(key.account, "c", key.custom_parm) for key in keys if key.custom_parm is not None]
    return len(set(ids)) < len(ids)


def _what_differs(submissions: Sequence[Submission], rules: Rules) -> dict[str, list[str | None]]:
    """The columns in which new orders differ, as texts. To make an `Order` of each takes four times as long."""
    keys = [submission.key for submission in submissions]
    amounts = [submission.expected_amount for submission in submissions]
    return {
        "account": [key.account for key in keys],
        "request_id": [key.request_id for key in keys],
        "custom_parm": [key.custom_parm for key in keys],
        "mobile": [submission.mobile for submission in submissions],
        "expected_amount": [None if amount is None else str(amount) for amount in amounts],
        "submitted_at": [submission.submitted_at.isoformat() for submission in submissions],
        "due_at": [first_due(submission.submitted_at, rules).isoformat() for submission in submissions],
        "id_kind": [IdKind.CUSTOM_PARM if key.request_id is None else IdKind.REQUEST_ID for key in keys],
    }


def _enter(connection: Connection, submissions: Listed, now: datetime, rules: Rules, taken: Taken) -> None:
    """Look for the orders that the submissions name, and enter one submission after the other."""
    if not submissions:
        return
    book = _Book(lock_by_keys(connection, [submission.key for _, _, submission in submissions]))
    for index, payload, submission in submissions:
        error = book.enter(index, submission, now, rules, taken)
        if error:
            taken.rejections.append(Rejection(index=index, payload=payload, errors=error))
    new = sorted(book.new.values(), key=lambda order: _insertion_order(order.key))
    insert_rows(connection, ORDERS, [to_values(order, now) for order in new])
    _note(connection, [(order.account, order.submitted_at) for order in new], now, rules)
    save_changes(connection, book.changes(now), now)


def _note(connection: Connection, arrivals: Sequence[tuple[str, datetime]], now: datetime, rules: Rules) -> None:
    add_notes(connection, note_arrivals(arrivals, now, rules), now, rules)


class _Book:
    """The orders that a list can touch, by either id, as the list is worked through."""

    def __init__(self, known: Sequence[Order]) -> None:
        self._known = {order.id: order for order in known}
        self._now = dict(self._known)
        self._directory = Directory()
        self.new: dict[int, Order] = {}
        for order in known:
            self._directory.enter(order.key, order.id)

    def enter(self, index: int, submission: Submission, now: datetime, rules: Rules, taken: Taken) -> tuple[str, ...]:
        """Enter the submission at a place of the list; returns why it is refused, if it is."""
        key = submission.key
        named = self._directory.holders(key)
        if len(named) > 1:
            return (_TWO_ORDERS,)
        if not named:
            self._add(submission, now, rules)
            taken.accepted.append(index)
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
        taken.duplicates.append(index)
        return ()

    def changes(self, now: datetime) -> list[Change]:
        """The known orders that were filled in."""
        return [
            Change(before=self._known[order.id], after=order).then(order, [_filled_in(order, now)])
            for order in self._now.values()
            if order != self._known[order.id]
        ]

    def _add(self, submission: Submission, now: datetime, rules: Rules) -> None:
        self._put(_new_order(submission, now, rules, order_id=-1 - len(self.new)))

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


def _new_order(submission: Submission, now: datetime, rules: Rules, *, order_id: int) -> Order:
    return Order(
        id=order_id,
        account=submission.key.account,
        request_id=submission.key.request_id,
        custom_parm=submission.key.custom_parm,
        mobile=submission.mobile,
        expected_amount=submission.expected_amount,
        submitted_at=submission.submitted_at,
        due_at=first_due(submission.submitted_at, rules),
        created_at=now,
    )


def _insertion_order(key: OrderKey) -> tuple[str, str, str]:
    # Two lists that share orders lock them in the same order, and cannot deadlock over the unique indexes.
    return (key.account, key.request_id or "", key.custom_parm or "")
