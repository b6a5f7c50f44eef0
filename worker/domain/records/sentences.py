"""Sentences that people read: each knows its message and values, so that it can be said in another language."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_PLACE = re.compile(r"%\((\w+)\)[sr]")


def N_(message: str) -> str:
    """Mark a message that is translated later."""
    return message


def in_places(message: str, values: Iterable[T]) -> dict[str, T]:
    """Values by the names of a message's places, such as %(count)s, whose order they have."""
    return dict(zip(dict.fromkeys(_PLACE.findall(message)), values, strict=True))


class Sentence(str):
    """A message in English, which is a literal, with a value in each place. A value may be a sentence, too."""

    __slots__ = ("message", "values")
    message: str
    values: Mapping[str, str]

    def __new__(cls, message: str, *values: object) -> Self:
        """Values are in the order of the message's places."""
        texts = in_places(message, (one if isinstance(one, str) else str(one) for one in values))
        one = super().__new__(cls, message % texts if texts else message)
        one.message, one.values = message, MappingProxyType(texts)
        return one

    def with_each(self, change: Callable[[str], str]) -> "Sentence":
        """The same with each of its values changed, such as masked."""
        changed = (one.with_each(change) if isinstance(one, Sentence) else change(one) for one in self.values.values())
        return Sentence(self.message, *changed)

    @property
    def parts(self) -> list["Sentence"]:
        """The values that are sentences."""
        return [one for one in self.values.values() if isinstance(one, Sentence)]

    def __reduce__(self) -> tuple[Any, ...]:
        """For `copy` and `pickle`."""
        return type(self), (self.message, *self.values.values())


# gettext's name: by it and others (pyproject.toml) `make messages` finds messages.
_ = Sentence


class Refusal(Exception):
    """What is refused, and why: a message with its values, as a sentence has them."""

    def __init__(self, message: str, *values: object) -> None:
        super().__init__(message, *values)
        self.sentence = Sentence(message, *values)

    def __str__(self) -> str:
        return self.sentence


class Fault(Refusal, ValueError):
    """What is wrong with a value: the rest of a sentence that begins with the value's name."""


class Faults(ValueError):
    """Several of them; `str()` has each on a line."""

    def __init__(self, faults: Iterable[Sentence]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def joined(sentences: Iterable[Sentence]) -> Sentence:
    """One sentence or more, with "and" between them."""
    return reduce(lambda first, second: _("%(first)s and %(second)s", first, second), sentences)


def to_json(sentences: Iterable[Sentence]) -> str:
    """What a table holds beside the lines: of each sentence a list of its message and values."""
    return json.dumps([_to_list(one) for one in sentences], separators=(",", ":"))


def _to_list(held: str) -> object:
    return [held.message, *map(_to_list, held.values.values())] if isinstance(held, Sentence) else held


def from_json(lines: str, held: str | None) -> Sentence:
    """The lines that a table holds, as one sentence whose parts they are.

    A line stands as it is if `held`, the JSON beside the lines, has no sentence that reads like it.
    """
    said = {str(one): one for one in map(_from_list, json.loads(held or "[]"))}
    parts = [said.get(line) or _("%(line)s", line) for line in lines.split("\n")]
    return Sentence("\n".join(f"%({number})s" for number in range(len(parts))), *parts)


def _from_list(held: Any) -> Any:
    return held if isinstance(held, str) else Sentence(held[0], *map(_from_list, held[1:]))
