"""Explain to people what happens to an order next, when, and why it has to wait."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.orders import Order, OrderState


class Wait(StrEnum):
    """Why an order is not polled now, or is not polled at all."""

    FINAL = "final"
    CANCELLED = "cancelled"
    UNRESOLVED = "unresolved"
    IN_FLIGHT = "in_flight"
    """A query about the order is under way."""
    GRACE = "grace"
    """The order waits for its callback."""
    NOT_DUE = "not_due"
    """The order was polled, and another poll would not help yet."""
    NOT_CONFIGURED = "not_configured"
    """The settings do not name the order's account."""
    NO_WORKER = "no_worker"
    """No worker runs."""
    NOT_SERVED = "not_served"
    """Workers run, but none of them has the order's account."""
    PAUSED = "paused"
    PAUSE_PLANNED = "pause_planned"
    """A pause of the account is planned. The planned pause that delays the order's poll is shown; if none does, the
    next one."""
    BACK_OFF = "back_off"
    BUDGET = "budget"
    """The window after the account SID's last query is not over."""
    APART = "apart"
    """The order is polled alone or with its suspect group."""
    NEXT_QUERY = "next_query"
    """The next query includes the order."""
    QUEUE = "queue"
    """Other due orders may be polled before this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One reason to wait."""

    wait: Wait
    until: datetime | None = None
    """When the wait ends; None if no time ends it, or if the time is not known."""
    count: int | None = None
    """For `QUEUE`: the largest number of orders that may be polled before this one."""
    per_query: int | None = None
    """For `QUEUE`: how many of the orders in the queue one query takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """The facts that an order's next poll depends on, in addition to the order."""

    state: AccountState
    is_configured: bool = True
    is_worker_alive: bool = True
    is_served: bool = True
    """Whether a running worker has the order's account."""
    slot_due_at: datetime | None = None
    """When the SID may send its next query; None if no worker has run yet."""
    is_in_next_query: bool = False
    others_due: int = 0
    """The number of other due orders that are polled in the same way."""
    orders_per_query: int = 100
    """How many orders one query takes if they are polled in the same way as this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NextStep:
    """All reasons why an order waits, and when it will be polled; the time is None if it is not known or no poll will
    come."""

    steps: tuple[Step, ...]
    polled_at: datetime | None = None
    is_at_the_earliest: bool = False
    """Whether `polled_at` is only the earliest time: orders that become due meanwhile may be polled first."""


_ENDLESS = frozenset({Wait.NOT_CONFIGURED, Wait.NO_WORKER, Wait.NOT_SERVED})
_OF_STATE = {
    OrderState.SUCCEEDED: Wait.FINAL,
    OrderState.FAILED: Wait.FINAL,
    OrderState.CANCELLED: Wait.CANCELLED,
    OrderState.UNRESOLVED: Wait.UNRESOLVED,
}


def next_step(order: Order, about: Circumstances, now: datetime, rules: Rules) -> NextStep:
    """Decide what an order waits for."""
    if order.state is not OrderState.PENDING:
        return NextStep(steps=(Step(wait=_OF_STATE[order.state]),))
    if order.is_leased(now):
        return NextStep(steps=(Step(wait=Wait.IN_FLIGHT, until=order.due_at),), polled_at=now)
    steps = [*_of_order(order, now), *_of_circumstances(about, now)]
    is_endless = any(step.wait in _ENDLESS or (step.wait is Wait.PAUSED and step.until is None) for step in steps)
    start = max([now, *(step.until for step in steps if step.until is not None)])
    if order.lane.is_apart:
        steps.append(Step(wait=Wait.APART))
    elif order.due_at <= now:
        steps.append(_place(about))
        start += _turn(about, rules)
    plans, is_put_off = about.state.planned_pauses(now), False
    named = next(iter(plans), None)
    for planned in plans:
        if planned.paused_at <= start < planned.ends_at:
            start, named, is_put_off = planned.ends_at, planned, True
    steps.extend([] if named is None else [Step(wait=Wait.PAUSE_PLANNED, until=named.paused_until)])
    is_told = not is_endless and not order.lane.is_apart
    return NextStep(
        steps=tuple(steps),
        polled_at=start if is_told else None,
        is_at_the_earliest=is_put_off or order.due_at > now or not about.is_in_next_query,
    )


def _of_order(order: Order, now: datetime) -> list[Step]:
    if order.due_at <= now:
        return []
    wait = Wait.GRACE if order.queried_at is None and not order.query_count else Wait.NOT_DUE
    return [Step(wait=wait, until=order.due_at)]


def _of_circumstances(about: Circumstances, now: datetime) -> list[Step]:
    state, steps = about.state, []
    # The settings of running workers decide whether the account is polled. Our settings count only if no worker runs.
    if about.is_worker_alive:
        steps.extend([] if about.is_served else [Step(wait=Wait.NOT_SERVED)])
    else:
        steps.extend([] if about.is_configured else [Step(wait=Wait.NOT_CONFIGURED)])
        steps.append(Step(wait=Wait.NO_WORKER))
    if pause := state.pause(now):
        steps.append(Step(wait=Wait.PAUSED, until=pause.paused_until))
    if state.is_backed_off(now):
        steps.append(Step(wait=Wait.BACK_OFF, until=state.backoff_until))
    if about.slot_due_at is not None and about.slot_due_at > now:
        steps.append(Step(wait=Wait.BUDGET, until=about.slot_due_at))
    return steps


def _place(about: Circumstances) -> Step:
    if about.is_in_next_query:
        return Step(wait=Wait.NEXT_QUERY)
    return Step(wait=Wait.QUEUE, count=about.others_due, per_query=about.orders_per_query)


def _turn(about: Circumstances, rules: Rules) -> timedelta:
    """The longest time from the next query until the query that polls the order, if no other order becomes due."""
    if about.is_in_next_query:
        return timedelta()
    before = about.others_due // max(1, about.orders_per_query)
    # The query that polls the order also polls the last of the other due orders.
    return timedelta(seconds=rules.drain_seconds(before + 1) - rules.spacing_seconds)
