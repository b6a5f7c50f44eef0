"""The words that people read, in the command line and the console.

English texts are in `catalogue.toml` and in the code, Chinese texts in `locale/`. Nothing here depends on a language, a
terminal or a page. The caller that shows a message passes a `Skin`.
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
"""The units of durations: the smallest duration in seconds, the unit's length in seconds, and its message."""
_ONE = {"%(count)s hours": N_("1 hour"), "%(count)s seconds": N_("1 second")}


def lasting(seconds: float) -> Sentence:
    """A duration with about two digits, in the unit that people would use."""
    seconds = max(0.0, seconds)
    _least, length, message = next(unit for unit in _UNITS if seconds >= unit[0])
    count = seconds / length
    shown = f"{count:.0f}" if count >= 9.95 else f"{count:.1f}".removesuffix(".0")
    return Sentence(_ONE[message]) if shown == "1" else Sentence(message, shown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Skin:
    """The way in which the command line or the console shows messages."""

    translate: Callable[[str], str]
    """Returns a message in the reader's language."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """The command or page for each remedy, by the remedy's name."""
    time: Callable[[datetime], str] = str
    """Returns a time in the reader's time zone."""

    def text(self, message: str, *values: object) -> str:
        """The message in the reader's language, with the values in its places, such as %(count)s."""
        return self._filled(message, in_places(message, values) if values else {})

    def say(self, sentence: Sentence) -> str:
        """A sentence in the reader's language."""
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
        """The message in the reader's language. Its places are filled, by name, with the values and the remedies."""
        return self._filled(message, {name: self.translate(said) for name, said in self.remedies.items()} | values)

    def duration(self, seconds: float) -> str:
        """Return a duration in words, as `lasting` does."""
        return self.say(lasting(seconds))

    def moment(self, time: datetime, now: datetime) -> str:
        """A time, and how long it is until that time; `now` if the time has passed."""
        wait = (time - now).total_seconds()
        if wait <= 0:
            return self.text("now")
        return self.text("%(time)s (in %(duration)s)", self.time(time), self.duration(wait))


ENGLISH = Skin(translate=lambda message: message)
"""The skin for tables, JSON and logs."""
