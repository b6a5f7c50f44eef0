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
from tests.faults.house import VISIBILITY_SECONDS, House, Scale
from tests.faults.points import Point, Strike
from tests.faults.storm import Storm
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

    house: House
    worker: Program
    beat: Program
    placed: list[str] = field(default_factory=list)

    def place(self, count: int, *, settle_after: float = 0.0) -> None:
        """Place orders; a sender who is told that the broker did not take them has not sent them."""
        try:
            self.placed += self.house.place(count, wait=False, settle_after=settle_after)
        except OperationalError:
            self.house.renew_caller()

    def pending(self) -> list[str]:
        """The orders that are not done."""
        return sorted(name for name, state in self.house.states().items() if state == "pending")


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
def fault_23_everything_goes_wrong_for_a_day(house: House) -> None:
    cast = Cast(house=house, worker=house.worker(), beat=house.beat())
    done: Counter[str] = Counter()
    ends = time.monotonic() + (_CI_SECONDS if house.is_brief else _A_DAY_SECONDS)
    while time.monotonic() < ends:
        act = house.rng.choice(_ACTS)
        cast.place(house.rng.randint(1, 25), settle_after=house.rng.uniform(0, 6))
        if act(cast) is not False:
            done[act.__name__] += 1
            house.injected()
        house.rest(1.0)
    house.trouble()
    house.points.disarm()
    house.observed(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(done.items())))
    # Groups of suspects are asked alone, in their share of the slots; a message that a killed worker held comes again.
    queries = 40 + len(cast.pending()) // 50
    house.heal(bound=house.bound(queries=queries, backoff_windows=15, extra=VISIBILITY_SECONDS + 30))


def kill_a_task_process(cast: Cast) -> bool:
    point = cast.house.rng.choice(list(Point))
    cast.house.points.arm(point, Strike.KILL)
    cast.place(3)
    give_up = time.monotonic() + 5
    while not (struck := cast.house.points.struck(point)) and time.monotonic() < give_up:
        time.sleep(0.05)
    cast.house.points.disarm()
    return struck is not None


def lose_a_race(cast: Cast) -> bool:
    point = cast.house.rng.choice((Point.GRANT_BEFORE_COMMIT, Point.WRITE_BACK_BEFORE_COMMIT))
    cast.house.points.arm(point, Strike.LOSE_RACE)
    cast.house.rest(3.0, least=2.0)
    struck = cast.house.points.struck(point)
    cast.house.points.disarm()
    return struck is not None


def kill_the_worker(cast: Cast) -> None:
    cast.worker.signal(signal.SIGKILL)
    cast.worker.wait()
    cast.house.forget_what_the_broker_lost()
    cast.worker = cast.house.worker()


def replace_beat_by_two(cast: Cast) -> None:
    second = cast.house.beat("beat-2")
    cast.house.rest(2.0)
    cast.beat.kill()
    cast.beat = second


def forge_ticks(cast: Cast) -> None:
    for number in range(50):
        cast.house.send("reconciler.reconcile", {"junk": number}, task_id="forged")


def restart_the_broker_empty(cast: Cast) -> None:
    with _everything_taken(cast):
        if cast.house.broker.valkey is not None:
            cast.house.broker.valkey.kill()
            cast.house.rest(2.0)
            cast.house.broker.valkey.start()
        elif cast.house.broker.rabbitmq is not None:
            cast.house.broker.rabbitmq.kill()
            cast.house.broker.rabbitmq.start()


def flush_the_broker(cast: Cast) -> bool:
    if cast.house.broker.valkey is None:
        return False
    with _everything_taken(cast):
        cast.house.broker.valkey.flush()
    return True


def hold_the_broker(cast: Cast) -> None:
    _hold(cast.house.broker.proxy, cast.house)


def stop_the_broker(cast: Cast) -> bool:
    if cast.house.broker.valkey is None:
        return False
    pid = cast.house.broker.valkey.pid
    os.kill(pid, signal.SIGSTOP)
    cast.house.rest(6.0, least=1.0)
    os.kill(pid, signal.SIGCONT)
    return True


def kill_the_database(cast: Cast) -> None:
    assert cast.house.database.server is not None
    cast.house.database.server.kill()
    cast.house.rest(3.0)
    cast.house.database.server.start()


def cut_the_database(cast: Cast) -> None:
    assert cast.house.database.proxy is not None
    cast.house.database.proxy.cut()


def lose_the_databases_answers(cast: Cast) -> None:
    proxy = cast.house.database.proxy
    assert proxy is not None
    proxy.set(Mode.MUTE)
    cast.house.rest(2.0)
    proxy.cut()
    proxy.set(Mode.PASS)


def lock_the_budget(cast: Cast) -> None:
    engine = sqlalchemy.create_engine(cast.house.database.direct_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT id FROM query_budgets FOR UPDATE").close()
        time.sleep(10 * _SCALE.window)


def let_a_storm_blow(cast: Cast) -> None:
    with Storm(cast.house):
        cast.house.rest(4.0, least=1.0)


def stop_a_task_process(cast: Cast) -> None:
    children = cast.worker.children()
    if children:
        child = cast.house.rng.choice(children)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGSTOP)
            cast.house.rest(4.0)
            os.kill(child, signal.SIGCONT)


def delay_answers(cast: Cast) -> None:
    _trouble(cast, latency=f"alternate:0,{0.9 * _SCALE.deadline:g}", queries=8)


def answer_badly(cast: Cast) -> None:
    _trouble(cast, shares={cast.house.rng.choice(_BAD_ANSWERS): 1.0}, queries=cast.house.rng.randint(1, 3))


def answer_for_items_badly(cast: Cast) -> None:
    _trouble(cast, shares={cast.house.rng.choice(_BAD_ITEMS): 0.5}, queries=cast.house.rng.randint(1, 3))


def refuse_batches_for_one_order(cast: Cast) -> bool:
    pending = cast.pending()
    if pending:
        _trouble(cast, poison_ids=[cast.house.rng.choice(pending)], queries=4)
    return bool(pending)


def call_back_in_the_midst(cast: Cast) -> bool:
    truth = cast.house.truth()
    told = [name for name in cast.pending() if name in truth and truth[name]["settled"]]
    for name in told[:5]:
        cast.house.call_back(name, truth[name]["outcome"])
    return bool(told)


def cancel_in_the_midst(cast: Cast) -> bool:
    pending = cast.pending()
    if pending:
        cast.house.cancel(pending[:2])
    return bool(pending)


def step_the_clocks(cast: Cast) -> None:
    # Orders that are still on their way would be refused, as submitted in an hour.
    with _everything_taken(cast):
        clock = cast.house.rng.choice(("host", "database"))
        cast.house.step_clock(clock, cast.house.rng.choice((-3600.0, 3600.0)))
        cast.house.rest(3.0, least=1.0)
        cast.house.step_clock(clock, 0.0)


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
    house = cast.house
    house.wait_for_rows([name for name in cast.placed if name in house.sent.orders], seconds=90)
    called_back = {callback["requestId"] for callback in house.sent.callbacks}
    eventually(lambda: called_back <= house.callbacks_noted(), "callbacks applied", seconds=60, every=0.2)
    eventually(lambda: not house.sent.cancelled & {*cast.pending()}, "cancellations applied", seconds=60, every=0.2)
    yield
    cast.house.renew_caller()


def _trouble(cast: Cast, **faults: object) -> None:
    """The platform's trouble ends by itself, after so many queries: what else happens meanwhile lies over it."""
    cast.house.trouble(**faults)
    cast.house.rest(2.0)


def _hold(proxy: Proxy, house: House) -> None:
    proxy.set(Mode.HOLD)
    house.rest(6.0, least=1.0)
    proxy.set(Mode.PASS)
