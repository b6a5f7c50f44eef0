"""How long a platform takes to settle an order: drawn at random for made workloads, in minutes from the submission."""

import math
from collections.abc import Callable
from random import Random

Duration = Callable[[Random, float], float]
"""Draws a duration in minutes; the second argument is the minute of the day at which the order is submitted."""


def log_normal(median_minutes: float, sigma: float) -> Duration:
    """Most settle soon, some very late."""
    return lambda random, _: median_minutes * math.exp(random.gauss(0.0, sigma))


def weibull(scale_minutes: float, shape: float) -> Duration:
    """With a shape under 1, the longer it has taken the longer it will take."""
    return lambda random, _: random.weibullvariate(scale_minutes, shape)


def pareto(least_minutes: float, alpha: float) -> Duration:
    """A heavy tail: with an alpha under 1 it has no mean."""
    return lambda random, _: least_minutes * random.paretovariate(alpha)


def uniform(least_minutes: float, most_minutes: float) -> Duration:
    """As likely at any time between two."""
    return lambda random, _: random.uniform(least_minutes, most_minutes)


def either(share: float, one: Duration, other: Duration) -> Duration:
    """One for a share of the orders, the other for the rest."""
    return lambda random, minute: one(random, minute) if random.random() < share else other(random, minute)


def changing(at_minute: float, before: Duration, after: Duration) -> Duration:
    """One for the orders submitted before a minute of the day, the other from then on."""
    return lambda random, minute: before(random, minute) if minute < at_minute else after(random, minute)


QUICK = log_normal(0.5, 1.0)
SPREAD = log_normal(2.0, 1.6)
BIMODAL = either(0.1, uniform(60.0, 360.0), QUICK)
