"""Made workloads: one day of one account, the same for the same name, load and seed."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from benchmarks.schedule.durations import BIMODAL, QUICK, SPREAD, Duration, changing, log_normal, pareto, weibull
from benchmarks.schedule.scenario import Order, Scenario

MINUTES = 24 * 60
GRACE_MINUTES = 10
BATCH_SIZE = 100
SMALL_LOADS = (5, 20, 50)
"""Of most accounts."""
STUDY_LOADS = (100, 400, 700)
HARD_LOADS = (*SMALL_LOADS, 100, 200, 400)
SILENT_LOADS = (5, 20, 40, 80)
"""Each order needs a first poll: more than 100 a minute would be more than the budget."""
TINY_LOADS = (1,)

Span = tuple[float, float]
"""From one minute of the day to another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """How one day's orders come, settle and are reported."""

    loads: tuple[float, ...]
    """Orders per minute, of the scenarios that belong to the table."""
    duration: Duration = SPREAD
    rate: Callable[[float], float] = lambda _: 1.0
    """The load at a minute of the day, over the load of the scenario."""
    stuck_share: float = 0.01
    """Never settle."""
    lost_share: Callable[[float], float] = lambda _: 0.05
    """Of the callbacks due at a minute of the day, the share that never comes."""
    callback_delay: Duration = lambda _random, _minute: 0.0
    outage: Span = (0.0, 0.0)
    outage_share: float = 0.0
    """Of the orders, those of the operator that settles nothing during the outage, and all that it owes at its end."""
    wave_minutes: float = 0.0
    """The platform settles only at multiples of this; 0 for at any time."""


def _down(start: float, end: float) -> Callable[[float], float]:
    return lambda minute: 1.0 if start <= minute < end else 0.05


def _between(start: float, end: float, rate: float) -> Callable[[float], float]:
    return lambda minute: rate if start <= minute < end else 1.0


def _silent(duration: Duration) -> Workload:
    return Workload(loads=SILENT_LOADS, duration=duration, lost_share=lambda _: 1.0)


STUDY: Mapping[str, Workload] = {
    "log-normal": Workload(loads=(*HARD_LOADS, 700)),
    "quick": Workload(loads=(*HARD_LOADS, 700), duration=QUICK),
    "bimodal": Workload(loads=(*HARD_LOADS, 700), duration=BIMODAL),
    # The study gives no parameters for this one: these times, share and spread come closest to its figures.
    "outage": Workload(
        loads=(*HARD_LOADS, 700),
        duration=log_normal(2.0, 1.2),
        outage=(360, 540),
        outage_share=0.5,
        lost_share=_down(570, 630),
    ),
}
"""The four workloads of the study."""
SILENT: Mapping[str, Workload] = {
    "silent-log-normal": _silent(SPREAD),
    "silent-bimodal": _silent(BIMODAL),
    "silent-quick": _silent(QUICK),
}
"""No callback ever comes."""
HARD: Mapping[str, Workload] = {
    "night": Workload(loads=HARD_LOADS, rate=_between(600, 1080, 0.0)),
    "flood": Workload(loads=HARD_LOADS, rate=_between(600, 610, 20.0)),
    "waves": Workload(loads=HARD_LOADS, wave_minutes=30),
    "noon": Workload(loads=HARD_LOADS, duration=changing(720, QUICK, log_normal(60.0, 1.0))),
    "noon-faster": Workload(loads=HARD_LOADS, duration=changing(720, log_normal(60.0, 1.0), QUICK)),
    "regime": Workload(loads=(*SMALL_LOADS, 200), duration=changing(720, QUICK, log_normal(25.0, 1.0))),
    "stuck": Workload(loads=HARD_LOADS, stuck_share=0.6),
    "tiny": Workload(loads=TINY_LOADS),
    "weibull": Workload(loads=HARD_LOADS, duration=weibull(10.0, 0.5)),
    "pareto": Workload(loads=HARD_LOADS, duration=pareto(0.5, 0.8)),
    "slow": Workload(loads=HARD_LOADS, duration=log_normal(120.0, 0.5)),
    "receiver-down": Workload(loads=HARD_LOADS, lost_share=_down(840, MINUTES)),
    "losses-rise": Workload(loads=HARD_LOADS, lost_share=lambda minute: 0.01 if minute < 720 else 0.3),
    "late-callbacks": Workload(loads=HARD_LOADS, callback_delay=log_normal(15.0, 1.0)),
    "standstill": Workload(loads=HARD_LOADS, duration=QUICK, outage=(480, 600), outage_share=1.0),
}
"""Workloads that try to hurt a policy."""
WORKLOADS: Mapping[str, Workload] = {**STUDY, **SILENT, **HARD}


def make_scenario(name: str, load: float, seed: int) -> Scenario:
    """A day of a workload at a load in orders per minute. Raises `KeyError` for a name that is not known."""
    random = Random(f"{name} {load:g} {seed}")
    workload = WORKLOADS[name]
    orders = [_order(workload, minute, random) for minute in _submissions(workload, load, random)]
    return Scenario(
        horizon_seconds=MINUTES * 60.0,
        grace_seconds=GRACE_MINUTES * 60.0,
        window_seconds=60.0,
        batch_size=BATCH_SIZE,
        orders=orders,
    )


def _submissions(workload: Workload, load: float, random: Random) -> Iterator[float]:
    """When orders are submitted, in minutes, ascending: each by itself, as a Poisson process."""
    for minute in range(MINUTES):
        rate = load * workload.rate(minute)
        submitted = minute + random.expovariate(rate) if rate else math.inf
        while submitted < minute + 1:
            yield submitted
            submitted += random.expovariate(rate)


def _order(workload: Workload, submitted: float, random: Random) -> Order:
    if random.random() < workload.stuck_share:
        return Order(_seconds(submitted), None, None)
    settled = submitted + workload.duration(random, submitted)
    start, end = workload.outage
    if random.random() < workload.outage_share and start <= settled < end:
        settled = end
    if workload.wave_minutes:
        settled = math.ceil(settled / workload.wave_minutes) * workload.wave_minutes
    if random.random() < workload.lost_share(settled):
        return Order(_seconds(submitted), _seconds(settled), None)
    called_back = settled + workload.callback_delay(random, submitted)
    return Order(_seconds(submitted), _seconds(settled), _seconds(called_back))


def _seconds(minutes: float) -> float:
    # Rounded as in the runs whose figures docs/choosing.md has: without it they would differ.
    return round(60.0 * minutes, 1)
