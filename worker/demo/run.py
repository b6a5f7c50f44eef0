"""The run of the demo: orders are placed and enqueued, and their progress is shown until all is done."""

import time
from collections.abc import Iterator

from rich.console import Console

from worker.database.transactions import Database
from worker.demo.plan import Plan, PlannedOrder
from worker.demo.readings import PlatformControl, read_orders, read_progress
from worker.demo.stage import ORDERS_QUEUE, Stage
from worker.demo.summary import Summary, summarise
from worker.demo.view import Moment, shown_on
from worker.domain.records.orders import OrderState

LIMIT_SECONDS = 83.0
"""From the demo's start. What follows (an orderly stop, the comparison) fits into the rest of 90 s."""

_READ_SECONDS = 0.4


class DemoRun:
    """Places and enqueues the orders, and watches them. `began` is the demo's start on the monotonic clock."""

    def __init__(self, *, plan: Plan, stage: Stage, platform: PlatformControl, began: float) -> None:
        self._plan = plan
        self._stage = stage
        self._platform = platform
        self._began = began
        self._database = Database(stage.settings.database_dsn, pool_size=1)
        self._placed = 0

    def watch(self, console: Console) -> bool:
        """Place, enqueue and watch. Returns whether all was done before the time was up."""
        lists = self._lists_in_time()
        with shown_on(console) as show:
            while True:
                for orders in next(lists, ()):
                    self._place_and_enqueue(orders)
                moment = self._read_moment()
                show(moment)
                if self._is_done(moment):
                    return True
                if moment.seconds > LIMIT_SECONDS:
                    return False
                self._stage.check()
                time.sleep(_READ_SECONDS)

    def compare(self, *, timed_out: bool) -> Summary:
        """Compare every order with the platform's truth."""
        return summarise(
            self._platform.truth(),
            read_orders(self._database, self._plan.account),
            self._platform.record(),
            window=self._stage.pace.window,
            seconds=time.monotonic() - self._began,
            timed_out=timed_out,
        )

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()

    def _lists_in_time(self) -> Iterator[list[tuple[PlannedOrder, ...]]]:
        """At each call, the lists that became due since the last call."""
        start, lists = time.monotonic(), list(self._plan.lists)
        enqueued = 0
        while enqueued < len(lists):
            due = min(len(lists), int((time.monotonic() - start) / self._stage.pace.between_lists) + 1)
            yield lists[enqueued:due]
            enqueued = due

    def _place_and_enqueue(self, orders: tuple[PlannedOrder, ...]) -> None:
        """By the task's name, as a billing system does: nothing of the worker is imported for that."""
        self._platform.place(orders)
        submissions = [order.submission(self._plan.account) for order in orders]
        self._stage.celery.send_task(
            "reconciler.enqueue_orders", args=[submissions], queue=ORDERS_QUEUE, ignore_result=True
        )
        self._placed += len(orders)

    def _read_moment(self) -> Moment:
        return Moment(
            seconds=time.monotonic() - self._began,
            orders=len(self._plan.orders),
            placed=self._placed,
            progress=read_progress(self._database, self._plan.account, self._stage.account_sid),
            callbacks=self._platform.callbacks(),
            window=self._stage.pace.window,
        )

    def _is_done(self, moment: Moment) -> bool:
        progress = moment.progress
        return (
            progress.orders == len(self._plan.orders)
            and progress.final == self._plan.settling
            and progress.states.get(OrderState.UNRESOLVED, 0) > 0
            and not moment.callbacks.get("waiting", 0)
        )
