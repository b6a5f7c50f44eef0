"""What comes in: orders, callbacks, cancellations, checks. One list is one transaction, and nothing refused is lost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from worker.database.engine import Database
from worker.domain.callbacks import Callback, read_callback
from worker.domain.identity import OrderKey
from worker.domain.rules import Rules
from worker.domain.submissions import Rejection, Submission, read_list, read_order, read_reference
from worker.operations.cancel_and_check import Handled, cancel, check
from worker.operations.enqueue import Taken, enqueue
from worker.operations.record_callbacks import match_kept, matching_after, record, waiting_for
from worker.stores.rejected_orders import keep

Read = TypeVar("Read", Submission, Callback, OrderKey)
Result = TypeVar("Result")
Answer = dict[str, object]

_MATCHED_AT_ONCE = 200
_PATIENCE_SECONDS = 20.0

log = structlog.stdlib.get_logger(__name__)


class Intake:
    """The operations behind the tasks. Answers are JSON; arguments are checked here, whatever they are."""

    def __init__(self, database: Database, rules: Rules, app_ids: Mapping[str, str]) -> None:
        """`app_ids` are the configured accounts, with the app id of each."""
        self._database = database
        self._rules = rules
        self._app_ids = app_ids
        self._match_from = 0

    def enqueue_orders(self, orders: object, *, source: str = "reconciler.enqueue_orders") -> Answer:
        """Take in a list of 1 to 1000 orders. Accepted means that the order's row is committed."""
        taken = self._enqueue(orders, source)
        return {
            "accepted": len(taken.accepted),
            "duplicates": len(taken.duplicates),
            "rejected": _told(taken.rejections),
        }

    def enqueue_singles(self, orders: Sequence[object], *, source: str = "reconciler.enqueue_order") -> list[Answer]:
        """Take in 1 to 1000 orders that came each by itself; returns the answer for each, as for a list of one."""
        taken = self._enqueue(list(orders), source)
        answers: list[Answer] = [{"accepted": 0, "duplicates": 0, "rejected": []} for _ in orders]
        for index in taken.accepted:
            answers[index]["accepted"] = 1
        for index in taken.duplicates:
            answers[index]["duplicates"] = 1
        for rejection in taken.rejections:
            if rejection.index is not None:
                answers[rejection.index]["rejected"] = _told([replace(rejection, index=0)])
        return answers

    def record_callbacks(self, callbacks: object, *, source: str = "reconciler.record_callbacks") -> Answer:
        """Take in a list of callback bodies, as the platform sent them."""

        def attempt() -> tuple[Answer, list[OrderKey]]:
            with self._database.write() as connection:
                now = self._database.now(connection)
                read, refused = _read_all(callbacks, "callbacks", read_callback)
                parsed = [(index, callback) for index, _, callback in read]
                recorded = record(connection, parsed, self._app_ids, now, self._rules)
                refused.extend(recorded.rejections)
                keep(connection, refused, source, now)
            answer: Answer = {
                "settled": recorded.settled,
                "unchanged": recorded.unchanged,
                "kept": recorded.kept,
                "rejected": _told(refused),
            }
            return answer, recorded.keys

        answer, keys = self._insist(attempt)
        self.match_callbacks(keys)
        log.info("callbacks recorded", action="callbacks_recorded", **_counts(answer))
        return answer

    def cancel_orders(self, orders: object, *, source: str = "reconciler.cancel_orders") -> Answer:
        """Stop asking about orders that the billing system has dealt with."""
        handled, refused = self._handle(orders, cancel, source)
        answer: Answer = {
            "cancelled": handled.changed,
            "unchanged": handled.unchanged,
            "rejected": _told(refused),
        }
        log.info("orders cancelled", action="orders_cancelled", **_counts(answer))
        return answer

    def check_orders(self, orders: object, *, source: str = "reconciler.check_orders") -> Answer:
        """Ask about pending orders next, within the same budget."""
        handled, refused = self._handle(orders, check, source)
        answer: Answer = {"queued": handled.changed, "rejected": _told(refused)}
        log.info("checks queued", action="checks_queued", **_counts(answer))
        return answer

    def match_callbacks(self, keys: Sequence[OrderKey]) -> None:
        """Settle orders from callbacks that came before them.

        To be called after the commit that made the orders, or their ids, known: an order and its callback may commit at
        the same moment, each blind to the other.
        """
        while keys:
            with self._database.read() as connection:
                waiting = waiting_for(connection, keys)
            # An order that learns an id by its callback may have another one waiting under that id.
            keys = self._match(waiting) if waiting else []

    def match_some_callbacks(self) -> None:
        """Look through a bounded part of the kept callbacks, and go on from there the next time: for ticks."""
        with self._database.read() as connection:
            matching, self._match_from = matching_after(connection, self._match_from, _MATCHED_AT_ONCE)
        if matching:
            self.match_callbacks(self._match(matching))

    def _enqueue(self, orders: object, source: str) -> Taken:
        def attempt() -> Taken:
            with self._database.write() as connection:
                now = self._database.now(connection)
                read, refused = _read_all(orders, "orders", lambda item: read_order(item, self._app_ids, now))
                taken = enqueue(connection, read, now, self._rules)
                taken.rejections.extend(refused)
                keep(connection, taken.rejections, source, now)
            return taken

        taken = self._insist(attempt)
        self.match_callbacks(taken.keys)
        # A list that was refused in part is somebody's mistake, which nobody sees among the others.
        report = log.warning if taken.rejections else log.info
        report(
            "orders enqueued",
            action="orders_enqueued",
            accepted=len(taken.accepted),
            duplicates=len(taken.duplicates),
            rejected=len(taken.rejections),
        )
        return taken

    def _insist(self, attempt: Callable[[], Result]) -> Result:
        """Repeat a transaction while the database is away, for a while.

        To wait here keeps the rest of the queue at the broker. What a task gives up at once is held in memory as a
        retry: in a long outage that would become the whole queue.
        """
        return self._database.insisting(attempt, seconds=_PATIENCE_SECONDS)

    def _match(self, unmatched_ids: Sequence[int]) -> list[OrderKey]:
        def attempt() -> list[OrderKey]:
            with self._database.write() as connection:
                now = self._database.now(connection)
                return match_kept(connection, unmatched_ids, self._app_ids, now, self._rules)

        log.info("kept callbacks matched", action="callbacks_matched", count=len(unmatched_ids))
        return self._insist(attempt)

    def _handle(
        self, orders: object, operation: Callable[..., Handled], source: str
    ) -> tuple[Handled, list[Rejection]]:
        def attempt() -> tuple[Handled, list[Rejection]]:
            with self._database.write() as connection:
                now = self._database.now(connection)
                read, refused = _read_all(orders, "orders", lambda item: read_reference(item, self._app_ids))
                handled = operation(connection, read, now)
                refused.extend(handled.rejections)
                keep(connection, refused, source, now)
            return handled, refused

        return self._insist(attempt)


def _read_all(
    items: object, what: str, read: Callable[[object], Read | tuple[str, ...]]
) -> tuple[list[tuple[int, object, Read]], list[Rejection]]:
    """Check each item of a list: (place, payload, what it means) of the good ones, and the refusals of the others."""
    listed, refusals = read_list(items, what)
    good: list[tuple[int, object, Read]] = []
    refused = list(refusals)
    for index, item in enumerate(listed):
        result = read(item)
        if isinstance(result, tuple):
            refused.append(Rejection(index=index, payload=item, errors=result))
        else:
            good.append((index, item, result))
    return good, refused


def _told(refused: Iterable[Rejection]) -> list[dict[str, object]]:
    ordered = sorted(refused, key=lambda r: -1 if r.index is None else r.index)
    for rejection in ordered:
        if rejection.index is None:
            # Its errors name the count of its items, and hold nothing of them.
            log.error("a list was refused as a whole", action="list_refused", errors=list(rejection.errors))
    return [rejection.as_answer() for rejection in ordered]


def _counts(answer: Answer) -> dict[str, object]:
    return {name: len(value) if isinstance(value, list) else value for name, value in answer.items()}
