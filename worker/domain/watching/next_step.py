"""What happens to an order next, why not yet, and when: for the person who asks about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.orders import Order, OrderState


class Wait(StrEnum):
    """Why an order is not polled at this moment, or not at all."""

    FINAL = "final"
    CANCELLED = "cancelled"
    UNRESOLVED = "unresolved"
    IN_FLIGHT = "in_flight"
    """A query about it is under way."""
    GRACE = "grace"
    """Its callback is waited for."""
    NOT_DUE = "not_due"
    """It was polled, and a poll would bring nothing yet."""
    NOT_CONFIGURED = "not_configured"
    """The settings do not name its account."""
    NO_WORKER = "no_worker"
    """No worker runs."""
    NOT_SERVED = "not_served"
    """Workers run, and none of them has its account."""
    PAUSED = "paused"
    PAUSE_PLANNED = "pause_planned"
    """A pause of its account begins later: the one that puts its poll off, or else the next one."""
    BACK_OFF = "back_off"
    BUDGET = "budget"
    """The window of the account SID's last query runs."""
    APART = "apart"
    """It is polled alone or with its suspect group."""
    NEXT_QUERY = "next_query"
    """The next query includes it."""
    QUEUE = "queue"
    """Other due orders may be polled before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One reason to wait."""

    wait: Wait
    until: datetime | None = None
    """None where no time ends it, or where it is not known."""
    count: int | None = None
    """Of `QUEUE`: how many orders may be polled before it, at most."""
    per_query: int | None = None
    """Of `QUEUE`: how many of them one query takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What an order's next poll depends on besides the order."""

    state: AccountState
    is_configured: bool = True
    is_worker_alive: bool = True
    is_served: bool = True
    """Whether a running worker has its account."""
    slot_due_at: datetime | None = None
    """When its SID may send the next query; None where no worker has run yet."""
    is_in_next_query: bool = False
    others_due: int = 0
    """Due orders that are polled as it is, without itself."""
    orders_per_query: int = 100
    """How many of them one query takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NextStep:
    """All reasons, and the time at which it will be polled; None where that cannot be told or does not come."""

    steps: tuple[Step, ...]
    polled_at: datetime | None = None
    is_at_the_earliest: bool = False
    """Whether orders that become due meanwhile may be polled before it."""


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
    # The workers' settings decide; ours are asked only where no worker runs that could say.
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
    """How long after the first query its own comes, at the latest, if nothing else becomes due."""
    if about.is_in_next_query:
        return timedelta()
    before = about.others_due // max(1, about.orders_per_query)
    # Its own query goes together with the last ones of so many.
    return timedelta(seconds=rules.drain_seconds(before + 1) - rules.spacing_seconds)
