"""The words that people read, for command line and console alike.

English stands in the code, Chinese in `locale/`. Nothing here knows a language, a terminal or a page: whoever shows a
message says how, by a `Skin`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def N_(message: str) -> str:
    """Mark a message that is translated where it is shown."""
    return message


@dataclass(frozen=True, slots=True)
class Entry:
    """What something is called, what it means, and what to do about it: messages, in which %(resolve)s and other names
    of `worker.words.remedies` stand for what the reader does."""

    name: str
    means: str = ""
    do: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skin:
    """How command line or console says something."""

    translate: Callable[[str], str]
    """A message in the language of its reader."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """By its name, how a reader does what a message asks for."""

    def text(self, message: str, **values: object) -> str:
        """The message in the language of its reader, with the values in its places, such as %(count)s."""
        translated = self.translate(message)
        return translated % values if values else translated

    def advice(self, message: str) -> str:
        """The message of an entry, with what its reader does in the places of remedies."""
        return self.text(message, **{name: self.translate(said) for name, said in self.remedies.items()})


ENGLISH = Skin(translate=lambda message: message)
"""What the tables, JSON and logs hold."""
