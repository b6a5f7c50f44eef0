"""One account's queries in virtual time: orders and callbacks as they come, one query at each whole window."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.schedule.scenario import Order, Scenario


class Policy(Protocol):
    """Chooses which orders to poll. It is called only with what a worker can know, as it happens; times in seconds.

    An order is named by its index in the scenario. Between `choose` and `answered` nothing else is called.
    """

    def submitted(self, order: int, at: float) -> None:
        """An order was submitted, and is pending from now on."""

    def called_back(self, order: int, at: float) -> None:
        """A pending order was settled by its callback, and is pending no more."""

    def choose(self, now: float, limit: int) -> Sequence[int]:
        """The pending orders to poll in this window, at most `limit`, each once; none to send no query."""
        ...

    def answered(self, now: float, polled: Sequence[int], settled: Collection[int]) -> None:
        """The query was answered: `settled`, a part of `polled`, are pending no more."""


class PolicyError(Exception):
    """A policy polled what it may not: more than a batch, an order twice, or one that is not pending."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a scenario's orders."""

    learned_at: Sequence[float | None]
    """For each order, when its result was learned, by callback or answer, in seconds; None for never."""
    queries: int
    ids: int
    """Orders polled, summed over the queries."""


def simulate(scenario: Scenario, policy: Policy) -> Outcome:
    """Run a policy through a scenario, up to its horizon. Raises `PolicyError` at its first breach of the rules.

    What happens at the moment of a query counts as before it. An answer comes at once.
    """
    world = _World(scenario, policy)
    queries = ids = 0
    for window in range(math.ceil(scenario.horizon_seconds / scenario.window_seconds)):
        now = window * scenario.window_seconds
        world.notify_until(now)
        polled = policy.choose(now, scenario.batch_size)
        if polled:
            queries += 1
            ids += len(polled)
            policy.answered(now, polled, world.answer(polled, now))
    world.notify_until(scenario.horizon_seconds)
    return Outcome(learned_at=world.learned_at, queries=queries, ids=ids)


class _World:
    """The platform and the application: what has happened so far."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        orders = scenario.orders
        self.learned_at: list[float | None] = [None] * len(orders)
        self._orders: Sequence[Order] = orders
        self._batch_size = scenario.batch_size
        self._policy = policy
        # Each ends with a time that never comes, so that no end has to be checked.
        self._submissions = sorted((order.submitted, index) for index, order in enumerate(orders))
        self._submissions.append((math.inf, -1))
        self._callbacks = sorted((o.callback, index) for index, o in enumerate(orders) if o.callback is not None)
        self._callbacks.append((math.inf, -1))
        self._next_submission = self._next_callback = 0

    def notify_until(self, now: float) -> None:
        """Pass every order and callback up to `now` to the policy, in the order of their times."""
        submissions, callbacks, learned_at = self._submissions, self._callbacks, self.learned_at
        submitted, called_back = self._policy.submitted, self._policy.called_back
        at, order = submissions[self._next_submission]
        callback_at, settled = callbacks[self._next_callback]
        while at <= now or callback_at <= now:
            if at <= callback_at:
                submitted(order, at)
                self._next_submission += 1
                at, order = submissions[self._next_submission]
                continue
            if learned_at[settled] is None:
                learned_at[settled] = callback_at
                called_back(settled, callback_at)
            self._next_callback += 1
            callback_at, settled = callbacks[self._next_callback]

    def answer(self, polled: Sequence[int], now: float) -> list[int]:
        """Which of the orders polled have settled."""
        if len(polled) > self._batch_size:
            raise PolicyError(f"{len(polled)} orders polled at {now} s; a batch holds {self._batch_size}")
        if len(set(polled)) != len(polled):
            raise PolicyError(f"an order polled twice in the query at {now} s")
        found: list[int] = []
        for order in polled:
            submitted, settled, _ = self._orders[order]
            if submitted > now or self.learned_at[order] is not None:
                raise PolicyError(f"order {order} polled at {now} s, when it is not pending")
            if settled is not None and settled <= now:
                found.append(order)
        for order in found:
            self.learned_at[order] = now
        return found
