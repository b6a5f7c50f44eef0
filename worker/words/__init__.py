"""The words that people read, for command line and console alike.

English stands in the code, Chinese in `locale/`. Nothing here knows a language or a skin: whoever shows a message says
how, by a `Skin`.
"""

from collections.abc import Callable
from dataclasses import dataclass


def N_(message: str) -> str:
    """Mark a message that is translated where it is shown."""
    return message


@dataclass(frozen=True, kw_only=True, slots=True)
class Skin:
    """How command line or console says something."""

    translate: Callable[[str], str]
    """A message in the language of its reader."""

    def text(self, message: str, **values: object) -> str:
        """The message in the language of its reader, with the values in its places, such as %(count)s."""
        translated = self.translate(message)
        return translated % values if values else translated


ENGLISH = Skin(translate=lambda message: message)
"""What the tables, JSON and logs hold."""
