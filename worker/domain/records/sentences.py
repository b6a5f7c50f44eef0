"""Sentences that people read: each knows its message and values, so that it can be said in another language."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

_PLACE = re.compile(r"%\((\w+)\)s")


def N_(message: str) -> str:
    """Mark a message that catalogues translate: `make messages` looks for this name."""
    return message


_ABOUT = N_("%(what)s: %(reason)s")
_NEXT = N_("%(what)s; %(do)s")


class Sentence(str):
    """A message in English, with a value in each place; `make messages` looks for this name.

    Places have names, such as %(count)s. A value may be a sentence, too.
    """

    __slots__ = ("message", "values")
    message: str
    values: Mapping[str, str]

    def __new__(cls, message: str, *values: object) -> Self:
        """The message is written here, or was marked with `N_`. Values are in the order of its places."""
        texts = [one if isinstance(one, str) else str(one) for one in values]
        named = dict(zip(dict.fromkeys(_PLACE.findall(message)), texts, strict=True))
        one = super().__new__(cls, message % named if named else message)
        one.message, one.values = message, MappingProxyType(named)
        return one

    def with_each(self, change: Callable[[str], str]) -> "Sentence":
        """The same with each of its values changed, such as masked."""
        changed = (one.with_each(change) if isinstance(one, Sentence) else change(one) for one in self.values.values())
        return Sentence(self.message, *changed)

    def __reduce__(self) -> tuple[Any, ...]:
        """For `copy` and `pickle`."""
        return type(self), (self.message, *self.values.values())


class Refusal(Exception):
    """What is refused, and why; `str()` has a sentence on each line."""

    def __init__(self, *sentences: Sentence) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences

    @property
    def sentence(self) -> Sentence:
        """The first sentence, or the only one."""
        return self.sentences[0]


class Fault(Refusal, ValueError):
    """What is wrong with a value: the rest of a sentence that begins with the value's name."""


def accepting(fault: Sentence, rule: str) -> Sentence:
    """A fault with what is accepted instead."""
    return Sentence("%(what)s; accepted: %(rule)s", fault, rule)


def then(what: Sentence, do: str) -> Sentence:
    """A sentence with what to do."""
    return Sentence(_NEXT, what, do)


def about(what: str, said: str) -> Sentence:
    """A sentence with what it is about."""
    return Sentence(_ABOUT, what, said)


def parted(said: Sentence) -> tuple[Sentence, Sentence] | None:
    """The two sentences that a sentence joins, such as what is wrong and what to do; None if it does not."""
    parts = tuple(one for one in said.values.values() if isinstance(one, Sentence))
    return parts if said.message in (_ABOUT, _NEXT) and len(parts) == 2 else None


def quoted(text: object) -> Sentence:
    """What others have written, or a value, as it is."""
    return Sentence("%(value)s", text)


def lines_of(sentences: Sequence[Sentence]) -> Sentence:
    """Sentences as one, each on a line; its values are the lines."""
    return Sentence("\n".join(f"%({number})s" for number in range(len(sentences))), *sentences)


def to_json(sentences: Iterable[Sentence]) -> str:
    """What a table holds beside the lines: of each sentence a list of its message and values."""
    return json.dumps([_to_list(one) for one in sentences], separators=(",", ":"))


def _to_list(held: str) -> object:
    return [held.message, *map(_to_list, held.values.values())] if isinstance(held, Sentence) else held


def from_json(lines: str, held: str | None) -> Sentence:
    """The lines that a table holds, as `lines_of` sentences.

    A line stands as it is if `held`, the JSON beside the lines, has no sentence that reads like it.
    """
    said = {str(one): one for one in map(_from_list, json.loads(held or "[]"))}
    return lines_of([said.get(line) or quoted(line) for line in lines.split("\n")])


def _from_list(held: Any) -> Any:
    return held if isinstance(held, str) else Sentence(held[0], *map(_from_list, held[1:]))
