"""A random mix of all faults, one after the other and overlapping, for the equivalent of a day."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from kombu.exceptions import OperationalError

from tests.faults.catalogue import SERVERS, fault
from tests.faults.points import Point, Strike
from tests.faults.storm import Storm
from tests.faults.strangers import locked
from tests.faults.testbed import VISIBILITY_SECONDS, Scale, Testbed
from tests.support.processes import Program
from tests.support.proxy import Mode, Proxy
from tests.support.waiting import eventually

_SCALE = Scale(window=0.5, deadline=0.5, tick=0.1)
_A_DAY_SECONDS = 24 * 60 * _SCALE.window
"""24 hours have 1,440 windows of a minute."""
_CI_SECONDS = 300.0
_BAD_ANSWERS = (
    *("http-301", "http-307", "http-401", "http-429", "http-500", "http-503"),
    *("garbage-gbk", "garbage-html", "garbage-empty", "garbage-doubled-keys", "garbage-wrong-types"),
    *("garbage-gzip-bomb", "garbage-deep", "garbage-cut", "refuse", "reset", "reset-midway", "silent"),
    *("drip-headers", "drip-body"),
)
# Not `wrong-amount`: a false amount that cannot be detected counts as the platform's truth.
_BAD_ITEMS = ("absent", "duplicate", "conflict", "foreign", "wrong-appid", "wrong-mobile", "unknown-status")


@dataclass
class Day:
    """The programs of the day, replaced as they die."""

    testbed: Testbed
    worker: Program
    beat: Program
    placed: list[str] = field(default_factory=list)

    def place(self, count: int, *, settle_after: float = 0.0) -> None:
        """Place orders; they count as sent only where the broker accepted them."""
        try:
            self.placed += self.testbed.place(count, wait=False, settle_after=settle_after)
        except OperationalError:
            self.testbed.renew_caller()

    def pending(self) -> list[str]:
        """The orders that are not done."""
        return sorted(name for name, state in self.testbed.states().items() if state == "pending")


Act = Callable[[Day], bool | None]
"""Returns False where it was not possible at that moment."""


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
    day = Day(testbed=testbed, worker=testbed.worker(), beat=testbed.beat())
    done: Counter[str] = Counter()
    ends = time.monotonic() + (_CI_SECONDS if testbed.is_brief else _A_DAY_SECONDS)
    while time.monotonic() < ends:
        act = testbed.rng.choice(_ACTS)
        day.place(testbed.rng.randint(1, 25), settle_after=testbed.rng.uniform(0, 6))
        if act(day) is not False:
            done[act.__name__] += 1
            testbed.injected()
        testbed.rest(1.0)
    testbed.trouble()
    testbed.points.disarm()
    testbed.observed(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(done.items())))
    # Groups of suspects are polled alone, in their share of the slots; a killed worker's messages are redelivered.
    queries = 40 + len(day.pending()) // 50
    testbed.heal(bound=testbed.bound(queries=queries, backoff_windows=15, extra=VISIBILITY_SECONDS + 30))


def kill_a_task_process(day: Day) -> bool:
    point = day.testbed.rng.choice(list(Point))
    day.testbed.points.arm(point, Strike.KILL)
    day.place(3)
    give_up = time.monotonic() + 5
    while not (struck := day.testbed.points.struck(point)) and time.monotonic() < give_up:
        time.sleep(0.05)
    day.testbed.points.disarm()
    return struck is not None


def lose_a_race(day: Day) -> bool:
    point = day.testbed.rng.choice((Point.GRANT_BEFORE_COMMIT, Point.WRITE_BACK_BEFORE_COMMIT))
    day.testbed.points.arm(point, Strike.LOSE_RACE)
    day.testbed.rest(3.0, least=2.0)
    struck = day.testbed.points.struck(point)
    day.testbed.points.disarm()
    return struck is not None


def kill_the_worker(day: Day) -> None:
    day.worker.send_signal(signal.SIGKILL)
    day.worker.wait()
    day.testbed.forget_what_the_broker_lost()
    day.worker = day.testbed.worker()


def replace_beat_by_two(day: Day) -> None:
    second = day.testbed.beat("beat-2")
    day.testbed.rest(2.0)
    day.beat.kill()
    day.beat = second


def forge_ticks(day: Day) -> None:
    for number in range(50):
        day.testbed.send("reconciler.reconcile", {"junk": number}, task_id="forged")


def restart_the_broker_empty(day: Day) -> None:
    with _everything_taken(day):
        if day.testbed.broker.valkey is not None:
            day.testbed.broker.valkey.kill()
            day.testbed.rest(2.0)
            day.testbed.broker.valkey.start()
        elif day.testbed.broker.rabbitmq is not None:
            day.testbed.broker.rabbitmq.kill()
            day.testbed.broker.rabbitmq.start()


def flush_the_broker(day: Day) -> bool:
    if day.testbed.broker.valkey is None:
        return False
    with _everything_taken(day):
        day.testbed.broker.valkey.flush()
    return True


def hold_the_broker(day: Day) -> None:
    _hold(day.testbed.broker.proxy, day.testbed)


def stop_the_broker(day: Day) -> bool:
    if day.testbed.broker.valkey is None:
        return False
    pid = day.testbed.broker.valkey.pid
    os.kill(pid, signal.SIGSTOP)
    day.testbed.rest(6.0, least=1.0)
    os.kill(pid, signal.SIGCONT)
    return True


def kill_the_database(day: Day) -> None:
    day.testbed.database.kill()
    day.testbed.rest(3.0)
    day.testbed.database.start()


def cut_the_database(day: Day) -> None:
    assert day.testbed.database.proxy is not None
    day.testbed.database.proxy.cut()


def lose_the_databases_answers(day: Day) -> None:
    proxy = day.testbed.database.proxy
    assert proxy is not None
    proxy.set(Mode.MUTE)
    day.testbed.rest(2.0)
    proxy.cut()
    proxy.set(Mode.PASS)


def lock_the_budget(day: Day) -> None:
    with locked(day.testbed, "query_budgets"):
        time.sleep(10 * _SCALE.window)


def let_a_storm_blow(day: Day) -> None:
    with Storm(day.testbed):
        day.testbed.rest(4.0, least=1.0)


def stop_a_task_process(day: Day) -> None:
    children = day.worker.children()
    if children:
        child = day.testbed.rng.choice(children)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGSTOP)
            day.testbed.rest(4.0)
            os.kill(child, signal.SIGCONT)


def delay_answers(day: Day) -> None:
    _trouble(day, latency=f"alternate:0,{0.9 * _SCALE.deadline:g}", queries=8)


def answer_badly(day: Day) -> None:
    _trouble(day, shares={day.testbed.rng.choice(_BAD_ANSWERS): 1.0}, queries=day.testbed.rng.randint(1, 3))


def answer_for_items_badly(day: Day) -> None:
    _trouble(day, shares={day.testbed.rng.choice(_BAD_ITEMS): 0.5}, queries=day.testbed.rng.randint(1, 3))


def refuse_batches_for_one_order(day: Day) -> bool:
    pending = day.pending()
    if pending:
        _trouble(day, poison_ids=[day.testbed.rng.choice(pending)], queries=4)
    return bool(pending)


def call_back_some(day: Day) -> bool:
    truth = day.testbed.truth()
    settled = [name for name in day.pending() if name in truth and truth[name]["settled"]]
    for name in settled[:5]:
        day.testbed.call_back(name, truth[name]["outcome"])
    return bool(settled)


def cancel_some(day: Day) -> bool:
    pending = day.pending()
    if pending:
        day.testbed.cancel(pending[:2])
    return bool(pending)


def step_the_clocks(day: Day) -> None:
    # Orders that are still queued would be refused, as submitted an hour ahead.
    with _everything_taken(day):
        clock = day.testbed.rng.choice(("host", "database"))
        day.testbed.step_clock(clock, day.testbed.rng.choice((-3600.0, 3600.0)))
        day.testbed.rest(3.0, least=1.0)
        day.testbed.step_clock(clock, 0.0)


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
    call_back_some,
    cancel_some,
    step_the_clocks,
)


@contextmanager
def _everything_taken(day: Day) -> Iterator[None]:
    """Wait until all that the broker could lose, or a stepped clock could have refused, is in the database."""
    testbed = day.testbed
    testbed.wait_for_rows([name for name in day.placed if name in testbed.sent.orders], seconds=90)
    called_back = {callback["requestId"] for callback in testbed.sent.callbacks}
    eventually(lambda: called_back <= testbed.callbacks_recorded(), "callbacks applied", every=0.2)
    eventually(lambda: not testbed.sent.cancelled & {*day.pending()}, "cancellations applied", every=0.2)
    yield
    day.testbed.renew_caller()


def _trouble(day: Day, **faults: object) -> None:
    """Set platform faults that end by themselves after some queries; other faults may overlap them."""
    day.testbed.trouble(**faults)
    day.testbed.rest(2.0)


def _hold(proxy: Proxy, testbed: Testbed) -> None:
    proxy.set(Mode.HOLD)
    testbed.rest(6.0, least=1.0)
    proxy.set(Mode.PASS)
