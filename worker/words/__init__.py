"""The words that people read, for command line and console alike.

English stands in `catalogue.toml` and in the code, Chinese in `locale/`. Nothing here knows a language, a terminal or a
page: the caller that shows a message says how, by a `Skin`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.domain.records.sentences import N_ as N_
from worker.domain.records.sentences import Sentence, in_places

_UNITS = (
    (172_800.0, 86_400.0, N_("%(count)s days")),
    (3_570.0, 3_600.0, N_("%(count)s hours")),
    (120.0, 60.0, N_("%(count)s minutes")),
    (0.0, 1.0, N_("%(count)s seconds")),
)
"""From so many seconds on a duration is said in a unit of so many seconds."""
_ONE = {"%(count)s hours": N_("1 hour"), "%(count)s seconds": N_("1 second")}


def lasting(seconds: float) -> Sentence:
    """A duration to two digits or so, in the unit that a person would take."""
    seconds = max(0.0, seconds)
    _least, length, message = next(unit for unit in _UNITS if seconds >= unit[0])
    count = seconds / length
    shown = f"{count:.0f}" if count >= 9.95 else f"{count:.1f}".removesuffix(".0")
    return Sentence(_ONE[message]) if shown == "1" else Sentence(message, shown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Skin:
    """How command line or console says something."""

    translate: Callable[[str], str]
    """A message in the language of its reader."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """By its name, how a reader does what a message asks for."""
    time: Callable[[datetime], str] = str
    """A time, in the zone of its reader."""

    def text(self, message: str, *values: object) -> str:
        """The message in the language of its reader, with the values in its places, such as %(count)s."""
        return self._filled(message, in_places(message, values) if values else {})

    def say(self, sentence: Sentence) -> str:
        """A sentence in the language of its reader."""
        return self._filled(sentence.message, sentence.values)

    def _filled(self, message: str, values: Mapping[str, object]) -> str:
        translated = self.translate(message)
        return translated % {name: self._shown(value) for name, value in values.items()} if values else translated

    def _shown(self, value: object) -> object:
        if isinstance(value, Sentence):
            return self.say(value)
        if isinstance(value, timedelta):
            return self.duration(value.total_seconds())
        return f"{value:,}" if isinstance(value, int) else value

    def advice(self, message: str, **values: object) -> str:
        """The same, with what its reader does in the places of remedies."""
        return self._filled(message, {name: self.translate(said) for name, said in self.remedies.items()} | values)

    def duration(self, seconds: float) -> str:
        """A duration, as `lasting` has it."""
        return self.say(lasting(seconds))

    def moment(self, time: datetime, now: datetime) -> str:
        """A time and how far ahead it lies; `now` for one that has passed."""
        wait = (time - now).total_seconds()
        if wait <= 0:
            return self.text("now")
        return self.text("%(time)s (in %(duration)s)", self.time(time), self.duration(wait))


ENGLISH = Skin(translate=lambda message: message)
"""What the tables, JSON and logs hold."""
