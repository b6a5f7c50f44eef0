"""Take in orders, callbacks, cancellations and checks. Each list is one transaction. Refused items are kept."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import structlog

from worker.adapters.clock import seconds_since
from worker.database.transactions import Database, RowsHeld
from worker.domain.callbacks.bodies import Callback
from worker.domain.orders.check_fields import errors_of
from worker.domain.orders.operator_acts import Decided
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Rejection
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import OrderKey
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_rejected_and_unmatched import link_kept_callback, retry_rejected
from worker.operations.cancel_and_check import cancel, check
from worker.operations.enqueue import enqueue, insert_new
from worker.operations.record_callbacks import (
    find_callbacks_for,
    find_callbacks_of_known_orders,
    match_kept_callbacks,
    receive_callbacks,
    record_callbacks,
)

Answer = dict[str, object]

_MATCHED_AT_ONCE = 200

log = structlog.stdlib.get_logger(__name__)


class Intake:
    """The operations behind the tasks. They accept and check any argument, and answer in JSON."""

    def __init__(self, database: Database, rules: Rules, app_ids: Mapping[str, str], *, waits: bool = True) -> None:
        """`app_ids` has the app id of each configured account.

        If `waits` is False, an operation of a task does not wait for orders that another session holds locked: it
        raises RowsHeld. Kept callbacks of locked orders are then left to later ticks.
        """
        self._database = database
        self._rules = rules
        self._app_ids = app_ids
        self._waits = waits
        self._match_from = 0
        self._committed_at: float | None = None

    def seconds_since_commit(self) -> float | None:
        """Seconds since a list of orders, callbacks, cancellations or checks was last committed; None if never."""
        return seconds_since(self._committed_at)

    def enqueue_orders(self, orders: object, *, source: str = "reconciler.enqueue_orders") -> Answer:
        """Take in a list of 1 to 1000 orders. When this returns, the rows of all accepted orders are committed."""
        try:
            result = enqueue(self._database, self._rules, self._app_ids, orders, source, waits=self._waits)
        except RowsHeld:
            self._insert_new(orders)
            raise
        answer: Answer = {
            "accepted": len(result.accepted),
            "duplicates": len(result.duplicates),
            "rejected": _to_response(result.rejections),
        }
        # A refused order is a sender's mistake. Log a warning, because nobody would notice a line at level INFO.
        report = log.warning if result.rejections else log.info
        report("orders enqueued", action="orders_enqueued", **self._note_commit(answer))
        self.match_callbacks(result.keys)
        return answer

    def _insert_new(self, orders: object) -> None:
        # Insert the orders of the list that are new, although other orders of the list are locked and have to wait.
        result = insert_new(self._database, self._rules, self._app_ids, orders)
        if result.accepted:
            accepted = self._note_commit({"accepted": len(result.accepted)})
            log.info("orders enqueued", action="orders_enqueued", **accepted)
            self.match_callbacks(result.keys)

    def record_callbacks(self, callbacks: object, *, source: str = "reconciler.record_callbacks") -> Answer:
        """Take in a list of callback bodies, as the platform sent them."""
        result = record_callbacks(self._database, self._rules, self._app_ids, callbacks, source, waits=self._waits)
        answer: Answer = {
            "settled": result.settled,
            "unchanged": result.unchanged,
            "kept": len(result.unmatched),
            "rejected": _to_response(result.rejections),
        }
        log.info("callbacks recorded", action="callbacks_recorded", **self._note_commit(answer))
        self.match_callbacks(result.keys)
        return answer

    def receive_callbacks(self, received: Sequence[Callback | Rejection]) -> list[OrderKey]:
        """Take in callbacks that came together over HTTP. All of them are committed when this returns.

        Call `match_callbacks` afterwards with the returned keys.
        """
        result = receive_callbacks(self._database, self._rules, self._app_ids, received)
        log.info(
            "callbacks received",
            action="callbacks_received",
            settled=result.settled,
            unchanged=result.unchanged,
            checked=result.checked,
            kept=len(result.unmatched),
            rejected=len(result.rejections),
        )
        return result.keys

    def cancel_orders(self, orders: object, *, source: str = "reconciler.cancel_orders") -> Answer:
        """Stop polling orders that the billing system has dealt with."""
        result = cancel(self._database, self._app_ids, orders, source, waits=self._waits)
        answer: Answer = {
            "cancelled": result.changed,
            "unchanged": result.unchanged,
            "rejected": _to_response(result.rejections),
        }
        log.info("orders cancelled", action="orders_cancelled", **self._note_commit(answer))
        return answer

    def check_orders(self, orders: object, *, source: str = "reconciler.check_orders") -> Answer:
        """Poll these pending orders next, within the usual budget."""
        result = check(self._database, self._app_ids, orders, source, waits=self._waits)
        answer: Answer = {"queued": result.changed, "rejected": _to_response(result.rejections)}
        log.info("checks queued", action="checks_queued", **self._note_commit(answer))
        return answer

    def retry_rejected(self, rejected_id: int, *, actor: str) -> Answer:
        """Take in refused input once more, after someone has corrected the cause. If it is accepted, delete its row."""
        result = retry_rejected(self._database, self._rules, self._app_ids, rejected_id, actor=actor)
        self.match_callbacks(result.keys)
        errors = [result.fault] if result.fault is not None else errors_of(result.rejections)
        log.info(
            "refused input retried",
            action="rejected_retried",
            row=rejected_id,
            actor=actor,
            done=result.done,
            refused=len(errors),
        )
        return {"id": rejected_id, "done": result.done, "errors": errors}

    def link_callback(self, operator: Operator, kept_id: int, order_id: int) -> Decided:
        """Record a kept callback for the order that an operator chose. Return the change of the order, or why it did
        not change.
        """
        done = link_kept_callback(self._database, self._rules, self._app_ids, operator, kept_id, order_id)
        if isinstance(done, Change) and not operator.dry_run:
            operator.log(ActKind.LINK, row=kept_id, order=order_id)
            self.match_callbacks([done.after.key])
        return done

    def match_callbacks(self, keys: Sequence[OrderKey]) -> None:
        """Settle orders from callbacks that came before the orders.

        Call this after the commit that made the orders or their ids known. If the callbacks were read before this
        commit, an order and its callback could be committed at the same moment, and neither transaction would see the
        other's row.
        """
        with suppress(RowsHeld):
            while keys:
                waiting = find_callbacks_for(self._database, keys)
                # A callback may add an id to an order, and another callback may wait for an order with this id.
                keys = self._match(waiting) if waiting else []

    def match_some_callbacks(self) -> None:
        """Match a limited number of kept callbacks, so that a tick takes a limited time. The next call continues after
        these callbacks.
        """
        matching, self._match_from = find_callbacks_of_known_orders(self._database, self._match_from, _MATCHED_AT_ONCE)
        if not matching:
            return
        try:
            self.match_callbacks(self._match(matching))
        except RowsHeld:
            # Match one callback at a time, and stop after the first callback whose order is locked, because a tick must
            # not wait for many locks. The next tick continues after that callback.
            with suppress(RowsHeld):
                for kept_id in matching:
                    self._match_from = kept_id
                    self.match_callbacks(self._match([kept_id]))

    def _note_commit(self, answer: Answer) -> dict[str, object]:
        """Note the time of the commit of a list. Return the list's answer with counts instead of lists, for the log."""
        self._committed_at = time.monotonic()
        return {name: len(value) if isinstance(value, list) else value for name, value in answer.items()}

    def _match(self, kept_ids: Sequence[int]) -> list[OrderKey]:
        count, learned = match_kept_callbacks(self._database, self._rules, self._app_ids, kept_ids, waits=self._waits)
        if count:
            log.info("kept callbacks matched", action="callbacks_matched", count=count)
        return learned


def _to_response(refused: Iterable[Rejection]) -> list[dict[str, object]]:
    ordered = sorted(refused, key=lambda r: -1 if r.index is None else r.index)
    for rejection in ordered:
        if rejection.index is None:
            # The errors of a whole list may be logged: they give the number of its items, but nothing of their content.
            log.error("a list was refused as a whole", action="list_refused", errors=list(rejection.errors))
    return [rejection.as_answer() for rejection in ordered]
