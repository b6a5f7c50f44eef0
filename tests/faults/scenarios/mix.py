"""A random mix of all faults, one after the other and over each other's traces, for the equivalent of a day."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import sqlalchemy
from kombu.exceptions import OperationalError
from sqlalchemy.pool import NullPool

from tests.faults.catalogue import SERVERS, fault
from tests.faults.points import Point, Strike
from tests.faults.storm import Storm
from tests.faults.testbed import VISIBILITY_SECONDS, Scale, Testbed
from tests.support.processes import Program
from tests.support.proxy import Mode, Proxy
from tests.support.waiting import eventually

_SCALE = Scale(window=0.5, deadline=0.5, connect=0.2, tick=0.1)
_A_DAY_SECONDS = 24 * 60 * _SCALE.window
"""24 hours have 1,440 windows of a minute."""
_CI_SECONDS = 300.0
_BAD_ANSWERS = (
    *("http-301", "http-307", "http-401", "http-429", "http-500", "http-503"),
    *("garbage-gbk", "garbage-html", "garbage-empty", "garbage-doubled-keys", "garbage-nan", "garbage-huge-number"),
    *("garbage-gzip-bomb", "garbage-deep", "garbage-cut", "refuse", "reset", "reset-midway", "silent"),
    *("drip-headers", "drip-body"),
)
# Not `wrong-amount`: of what the platform itself says wrongly, in a form that nobody can see through, it is the truth.
_BAD_ITEMS = ("absent", "duplicate", "conflict", "foreign", "wrong-appid", "wrong-mobile", "unknown-status")


@dataclass
class Cast:
    """The programs of the day, replaced as they die."""

    testbed: Testbed
    worker: Program
    beat: Program
    placed: list[str] = field(default_factory=list)

    def place(self, count: int, *, settle_after: float = 0.0) -> None:
        """Place orders; a sender who is told that the broker did not take them has not sent them."""
        try:
            self.placed += self.testbed.place(count, wait=False, settle_after=settle_after)
        except OperationalError:
            self.testbed.renew_caller()

    def pending(self) -> list[str]:
        """The orders that are not done."""
        return sorted(name for name, state in self.testbed.states().items() if state == "pending")


Act = Callable[[Cast], bool | None]
"""Returns False where it could not be done at that moment."""


@fault(
    23,
    "a random mix of all of these, for the equivalent of 24 hours",
    times=1,
    times_in_ci=1,
    databases=SERVERS,
    scale=_SCALE,
    seconds=1000.0,
)
def fault_23_everything_goes_wrong_for_a_day(testbed: Testbed) -> None:
    cast = Cast(testbed=testbed, worker=testbed.worker(), beat=testbed.beat())
    done: Counter[str] = Counter()
    ends = time.monotonic() + (_CI_SECONDS if testbed.is_brief else _A_DAY_SECONDS)
    while time.monotonic() < ends:
        act = testbed.rng.choice(_ACTS)
        cast.place(testbed.rng.randint(1, 25), settle_after=testbed.rng.uniform(0, 6))
        if act(cast) is not False:
            done[act.__name__] += 1
            testbed.injected()
        testbed.rest(1.0)
    testbed.trouble()
    testbed.points.disarm()
    testbed.observed(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(done.items())))
    # Groups of suspects are asked alone, in their share of the slots; a message that a killed worker held comes again.
    queries = 40 + len(cast.pending()) // 50
    testbed.heal(bound=testbed.bound(queries=queries, backoff_windows=15, extra=VISIBILITY_SECONDS + 30))


def kill_a_task_process(cast: Cast) -> bool:
    point = cast.testbed.rng.choice(list(Point))
    cast.testbed.points.arm(point, Strike.KILL)
    cast.place(3)
    give_up = time.monotonic() + 5
    while not (struck := cast.testbed.points.struck(point)) and time.monotonic() < give_up:
        time.sleep(0.05)
    cast.testbed.points.disarm()
    return struck is not None


def lose_a_race(cast: Cast) -> bool:
    point = cast.testbed.rng.choice((Point.GRANT_BEFORE_COMMIT, Point.WRITE_BACK_BEFORE_COMMIT))
    cast.testbed.points.arm(point, Strike.LOSE_RACE)
    cast.testbed.rest(3.0, least=2.0)
    struck = cast.testbed.points.struck(point)
    cast.testbed.points.disarm()
    return struck is not None


def kill_the_worker(cast: Cast) -> None:
    cast.worker.send_signal(signal.SIGKILL)
    cast.worker.wait()
    cast.testbed.forget_what_the_broker_lost()
    cast.worker = cast.testbed.worker()


def replace_beat_by_two(cast: Cast) -> None:
    second = cast.testbed.beat("beat-2")
    cast.testbed.rest(2.0)
    cast.beat.kill()
    cast.beat = second


def forge_ticks(cast: Cast) -> None:
    for number in range(50):
        cast.testbed.send("reconciler.reconcile", {"junk": number}, task_id="forged")


def restart_the_broker_empty(cast: Cast) -> None:
    with _everything_taken(cast):
        if cast.testbed.broker.valkey is not None:
            cast.testbed.broker.valkey.kill()
            cast.testbed.rest(2.0)
            cast.testbed.broker.valkey.start()
        elif cast.testbed.broker.rabbitmq is not None:
            cast.testbed.broker.rabbitmq.kill()
            cast.testbed.broker.rabbitmq.start()


def flush_the_broker(cast: Cast) -> bool:
    if cast.testbed.broker.valkey is None:
        return False
    with _everything_taken(cast):
        cast.testbed.broker.valkey.flush()
    return True


def hold_the_broker(cast: Cast) -> None:
    _hold(cast.testbed.broker.proxy, cast.testbed)


def stop_the_broker(cast: Cast) -> bool:
    if cast.testbed.broker.valkey is None:
        return False
    pid = cast.testbed.broker.valkey.pid
    os.kill(pid, signal.SIGSTOP)
    cast.testbed.rest(6.0, least=1.0)
    os.kill(pid, signal.SIGCONT)
    return True


def kill_the_database(cast: Cast) -> None:
    assert cast.testbed.database.server is not None
    cast.testbed.database.server.kill()
    cast.testbed.rest(3.0)
    cast.testbed.database.server.start()


def cut_the_database(cast: Cast) -> None:
    assert cast.testbed.database.proxy is not None
    cast.testbed.database.proxy.cut()


def lose_the_databases_answers(cast: Cast) -> None:
    proxy = cast.testbed.database.proxy
    assert proxy is not None
    proxy.set(Mode.MUTE)
    cast.testbed.rest(2.0)
    proxy.cut()
    proxy.set(Mode.PASS)


def lock_the_budget(cast: Cast) -> None:
    engine = sqlalchemy.create_engine(cast.testbed.database.direct_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT id FROM query_budgets FOR UPDATE").close()
        time.sleep(10 * _SCALE.window)


def let_a_storm_blow(cast: Cast) -> None:
    with Storm(cast.testbed):
        cast.testbed.rest(4.0, least=1.0)


def stop_a_task_process(cast: Cast) -> None:
    children = cast.worker.children()
    if children:
        child = cast.testbed.rng.choice(children)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGSTOP)
            cast.testbed.rest(4.0)
            os.kill(child, signal.SIGCONT)


def delay_answers(cast: Cast) -> None:
    _trouble(cast, latency=f"alternate:0,{0.9 * _SCALE.deadline:g}", queries=8)


def answer_badly(cast: Cast) -> None:
    _trouble(cast, shares={cast.testbed.rng.choice(_BAD_ANSWERS): 1.0}, queries=cast.testbed.rng.randint(1, 3))


def answer_for_items_badly(cast: Cast) -> None:
    _trouble(cast, shares={cast.testbed.rng.choice(_BAD_ITEMS): 0.5}, queries=cast.testbed.rng.randint(1, 3))


def refuse_batches_for_one_order(cast: Cast) -> bool:
    pending = cast.pending()
    if pending:
        _trouble(cast, poison_ids=[cast.testbed.rng.choice(pending)], queries=4)
    return bool(pending)


def call_back_in_the_midst(cast: Cast) -> bool:
    truth = cast.testbed.truth()
    told = [name for name in cast.pending() if name in truth and truth[name]["settled"]]
    for name in told[:5]:
        cast.testbed.call_back(name, truth[name]["outcome"])
    return bool(told)


def cancel_in_the_midst(cast: Cast) -> bool:
    pending = cast.pending()
    if pending:
        cast.testbed.cancel(pending[:2])
    return bool(pending)


def step_the_clocks(cast: Cast) -> None:
    # Orders that are still on their way would be refused, as submitted in an hour.
    with _everything_taken(cast):
        clock = cast.testbed.rng.choice(("host", "database"))
        cast.testbed.step_clock(clock, cast.testbed.rng.choice((-3600.0, 3600.0)))
        cast.testbed.rest(3.0, least=1.0)
        cast.testbed.step_clock(clock, 0.0)


_ACTS: tuple[Act, ...] = (
    kill_a_task_process,
    lose_a_race,
    kill_the_worker,
    replace_beat_by_two,
    forge_ticks,
    restart_the_broker_empty,
    flush_the_broker,
    hold_the_broker,
    stop_the_broker,
    kill_the_database,
    cut_the_database,
    lose_the_databases_answers,
    lock_the_budget,
    let_a_storm_blow,
    stop_a_task_process,
    delay_answers,
    answer_badly,
    answer_for_items_badly,
    refuse_batches_for_one_order,
    call_back_in_the_midst,
    cancel_in_the_midst,
    step_the_clocks,
)


@contextmanager
def _everything_taken(cast: Cast) -> Iterator[None]:
    """What the broker would lose, or a stepped clock would have refused, is in the database first."""
    testbed = cast.testbed
    testbed.wait_for_rows([name for name in cast.placed if name in testbed.sent.orders], seconds=90)
    called_back = {callback["requestId"] for callback in testbed.sent.callbacks}
    eventually(lambda: called_back <= testbed.callbacks_noted(), "callbacks applied", seconds=60, every=0.2)
    eventually(lambda: not testbed.sent.cancelled & {*cast.pending()}, "cancellations applied", seconds=60, every=0.2)
    yield
    cast.testbed.renew_caller()


def _trouble(cast: Cast, **faults: object) -> None:
    """The platform's trouble ends by itself, after so many queries: what else happens meanwhile lies over it."""
    cast.testbed.trouble(**faults)
    cast.testbed.rest(2.0)


def _hold(proxy: Proxy, testbed: Testbed) -> None:
    proxy.set(Mode.HOLD)
    testbed.rest(6.0, least=1.0)
    proxy.set(Mode.PASS)
