"""Durations drawn from a named distribution: when orders settle, when callbacks follow, how long answers take."""

import math
from dataclasses import dataclass
from random import Random

_PARAMETERS = {
    "fixed": ("seconds",),
    "uniform": ("least", "most"),
    "exponential": ("mean",),
    "lognormal": ("median", "sigma"),
    "bimodal": ("fast", "slow", "slow_share"),
    "alternate": ("first", "second"),
}
_BIMODAL_SIGMA = 0.25
"""Spread of each of the two humps of `bimodal`: a quarter around its median, so that the humps stay apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """A distribution of durations, in seconds. Build it with `Delay.parse`."""

    kind: str
    numbers: tuple[float, ...]

    @staticmethod
    def parse(text: str) -> "Delay":
        """Read `KIND:NUMBER,...`, e.g. `lognormal:10,0.8`; a bare number is `fixed`.

        Kinds: fixed:seconds, uniform:least,most, exponential:mean, lognormal:median,sigma,
        bimodal:fast,slow,slow_share, alternate:first,second (by turns). Raises ValueError with what is accepted.
        """
        kind, colon, rest = text.strip().partition(":")
        if not colon:
            kind, rest = "fixed", kind
        try:
            numbers = tuple(float(number) for number in rest.split(","))
        except ValueError:
            numbers = ()
        names = _PARAMETERS.get(kind, ())
        if not names or len(names) != len(numbers) or not all(0 <= number < math.inf for number in numbers):
            accepted = "; ".join(f"{known}:{','.join(parts)}" for known, parts in _PARAMETERS.items())
            raise ValueError(f"{text!r} is not a duration; accepted: {accepted} (numbers zero or more, in seconds)")
        return Delay(kind=kind, numbers=numbers)

    def draw(self, rng: Random, *, turn: int = 0) -> float:
        """One duration in seconds. `turn` counts the draws from zero, for `alternate`; the others ignore it."""
        match self.kind, self.numbers:
            case "fixed", (constant,):
                return constant
            case "uniform", (least, most):
                return rng.uniform(least, most)
            case "exponential", (mean,):
                return rng.expovariate(1 / mean) if mean else 0.0
            case "lognormal", (median, sigma):
                return median * math.exp(rng.gauss(0, sigma))
            case "bimodal", (fast, slow, slow_share):
                median = slow if rng.random() < slow_share else fast
                return median * math.exp(rng.gauss(0, _BIMODAL_SIGMA))
            case _:
                return self.numbers[turn % len(self.numbers)]

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return f"{self.kind}:{','.join(f'{number:g}' for number in self.numbers)}"
