"""Finding the messages of the catalogue, for `make messages`."""

import tomllib
from collections.abc import Iterator
from typing import Any, BinaryIO

_SAID_AS_IT_IS = "command"


def extract(source: BinaryIO, *_: object, **__: object) -> Iterator[tuple[int, None, str, list[str]]]:
    """Each message of the catalogue, as Babel takes it; a command is the same in every language."""
    return ((0, None, message, []) for message in _messages(tomllib.load(source)))


def _messages(table: dict[str, Any]) -> Iterator[str]:
    for key, held in table.items():
        if isinstance(held, dict):
            yield from _messages(held)
        elif key != _SAID_AS_IT_IS:
            yield held
