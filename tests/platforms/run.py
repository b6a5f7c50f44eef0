"""One random platform, from the first order to 60 windows past the last age limit, and its outcome."""

import random as chance
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.histories.hosts import Kinds
from tests.platforms.checker import Checker, Violation
from tests.platforms.deployment import Deployment, database_like
from tests.platforms.platform import RandomPlatform
from tests.platforms.traits import draw_traits
from tests.platforms.truth import draw_orders, submission

SOUND = Kinds()
PAST_LIMIT = 60.0
"""Windows past the age limit after which a pending order must have an attention."""
SLACK = 10.0
"""Windows that ticks may take to find it: each flags a bounded number."""
_LONGEST_STEP = 5.0
Each = Callable[[Deployment], None]


@dataclass(kw_only=True)
class Outcome:
    """The outcome of one platform."""

    seed: int
    traits: str
    violations: list[Violation]
    orders: int
    queries: int
    settled: int
    set_aside: int
    excused: int
    """Set aside by the one exception: denied singly, among believed answers, for longer than 120 windows."""


def make_platform(seed: int) -> RandomPlatform:
    """The platform of a seed."""
    random = Random(f"platform {seed}")
    traits = draw_traits(random)
    return RandomPlatform(traits, draw_orders(random, traits), random)


def run(template: Any, seed: int, kinds: Kinds = SOUND, each_tick: Each = lambda _: None) -> Outcome:
    """Run the worker against the platform of a seed, and check it. `each_tick` is for broken variants."""
    platform = make_platform(seed)
    # The worker's own random numbers: it jitters its back-offs.
    chance.seed(seed)
    with database_like(template, f"platform-{seed}") as database:
        deployment = Deployment(database, platform, Random(f"wire {seed}"), kinds)
        checker = Checker(deployment)
        _Run(deployment, checker, each_tick).run()
        return Outcome(
            seed=seed,
            traits=str(platform.traits),
            violations=checker.violations,
            orders=len(platform.orders),
            queries=len(platform.record),
            settled=checker.settled,
            set_aside=checker.set_aside,
            excused=checker.excused,
        )


class _Run:
    def __init__(self, deployment: Deployment, checker: Checker, each_tick: Each) -> None:
        self._deployment, self._checker, self._each_tick = deployment, checker, each_tick
        orders = deployment.platform.orders
        self._coming = sorted((order.enqueued_at, index) for index, order in enumerate(orders))
        self._calls = sorted(
            (at, index, number) for index, order in enumerate(orders) for number, (at, _) in enumerate(order.callbacks)
        )
        limit = deployment.platform.traits.limit
        self._end = max(order.placed_at for order in orders) + limit + PAST_LIMIT + 2 * SLACK

    def run(self) -> None:
        deployment = self._deployment
        while deployment.now < self._end:
            self._deliver()
            deployment.tick()
            self._each_tick(deployment)
            has_queried = self._pass()
            overdue_since = deployment.now - deployment.platform.traits.limit - PAST_LIMIT - SLACK
            self._checker.check_marked(overdue_since)
            if not self._go_on(has_queried):
                break
        self._checker.check_end()

    def _deliver(self) -> None:
        deployment, now = self._deployment, self._deployment.now
        orders = deployment.platform.orders
        new = _taken(self._coming, now)
        if new:
            listed = [orders[index] for _, index in new]
            sent = [submission(order, deployment.time_at(order.placed_at).isoformat()) for order in listed]
            answer = deployment.host.intake.enqueue_orders(sent)
            assert answer["rejected"] == [], f"the test sent what is refused: {answer}"
        called = _taken(self._calls, now)
        if called:
            bodies = [orders[index].callbacks[number][1] for _, index, number in called]
            answer = deployment.host.intake.record_callbacks(bodies)
            assert answer["rejected"] == [], f"the test sent callbacks that are refused: {answer}"

    def _pass(self) -> bool:
        """One pass; returns whether a query was made. A pass that fails is recorded, not repeated, as in a worker."""
        try:
            return self._deployment.reconcile()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._checker.crashed(f"{type(error).__name__} in {where.name}: {error}"[:300])
            return True

    def _go_on(self, has_queried: bool) -> bool:
        """Move to the next moment at which anything can happen; returns whether there is one."""
        deployment = self._deployment
        coming = [queue[0][0] for queue in (self._coming, self._calls) if queue]
        due = deployment.due_at()
        if due is None and not coming:
            return False
        now = deployment.now
        moments = [*coming, now + _LONGEST_STEP]
        if due is not None:
            opens = deployment.opens_at()
            # An order that was due and was not polled waits for something else: a slot of its lane, a lease.
            moments.append(max(due, opens) if has_queried or max(due, opens) > now else now + 1.0)
        seconds = (max(min(moments), now) - now) * deployment.rules.window_seconds
        deployment.world.pass_time(seconds + 0.01)
        return True


def _taken(queue: list[Any], now: float) -> list[Any]:
    count = next((index for index, entry in enumerate(queue) if entry[0] > now), len(queue))
    taken, queue[:count] = queue[:count], []
    return taken
