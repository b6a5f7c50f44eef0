"""Sentences that people read. Each keeps its message and values, so that it can be translated."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_PLACE = re.compile(r"%\((\w+)\)[sr]")


def N_(message: str) -> str:
    """Mark a message for translation, and return it unchanged."""
    return message


def in_places(message: str, values: Iterable[T]) -> dict[str, T]:
    """Map the names of a message's places, such as %(count)s, to values, in the order of the places."""
    return dict(zip(dict.fromkeys(_PLACE.findall(message)), values, strict=True))


class Sentence(str):
    """An English message with a value in each place. The message is a literal; a value may itself be a sentence."""

    __slots__ = ("message", "values")
    message: str
    values: Mapping[str, str]

    def __new__(cls, message: str, *values: object) -> Self:
        """Fill the places of a message with values, in the order of the places."""
        texts = in_places(message, (one if isinstance(one, str) else str(one) for one in values))
        one = super().__new__(cls, message % texts if texts else message)
        one.message, one.values = message, MappingProxyType(texts)
        return one

    def with_each(self, change: Callable[[str], str]) -> "Sentence":
        """Return the sentence with `change` applied to each value, for example to mask it."""
        changed = (one.with_each(change) if isinstance(one, Sentence) else change(one) for one in self.values.values())
        return Sentence(self.message, *changed)

    @property
    def parts(self) -> list["Sentence"]:
        """The values that are themselves sentences."""
        return [one for one in self.values.values() if isinstance(one, Sentence)]

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `copy` and `pickle`."""
        return type(self), (self.message, *self.values.values())


# `_` is the usual name of gettext's function. `make messages` finds messages by this and other names (see
# pyproject.toml).
_ = Sentence


class Refusal(Exception):
    """An error that says, as a sentence, what is refused and why."""

    def __init__(self, message: str, *values: object) -> None:
        super().__init__(message, *values)
        self.sentence = Sentence(message, *values)

    def __str__(self) -> str:
        return self.sentence


class Fault(Refusal, ValueError):
    """An invalid value. The sentence is worded to follow the value's name."""


class Faults(ValueError):
    """Several faults; `str()` has one on each line."""

    def __init__(self, faults: Iterable[Sentence]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def joined(sentences: Iterable[Sentence]) -> Sentence:
    """Join one or more sentences with "and"."""
    return reduce(lambda first, second: _("%(first)s and %(second)s", first, second), sentences)


def to_json(sentences: Iterable[Sentence]) -> str:
    """Return sentences as JSON: for each, a list of its message and values. Tables store it beside the plain text."""
    return json.dumps([_to_list(one) for one in sentences], separators=(",", ":"))


def _to_list(held: str) -> object:
    return [held.message, *map(_to_list, held.values.values())] if isinstance(held, Sentence) else held


def from_json(lines: str, held: str | None) -> Sentence:
    """Return the stored lines as one sentence, with a part for each line.

    `held` is the JSON that `to_json` made of the same sentences; None if none is stored. A line that equals no sentence
    in this JSON stays plain text.
    """
    said = {str(one): one for one in map(_from_list, json.loads(held or "[]"))}
    parts = [said.get(line) or _("%(line)s", line) for line in lines.split("\n")]
    return Sentence("\n".join(f"%({number})s" for number in range(len(parts))), *parts)


def _from_list(held: Any) -> Any:
    return held if isinstance(held, str) else Sentence(held[0], *map(_from_list, held[1:]))
