"""Reading the JSON objects of the control endpoint strictly: unknown fields and wrong types are refused, by name."""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

FieldReader = Callable[[object], Any]


class FieldError(ValueError):
    """A field of a control request that cannot be used; the message names it and what is accepted."""


def read_object(raw: object, readers: Mapping[str, FieldReader], *, what: str) -> dict[str, Any]:
    """Read the fields of one JSON object; absent fields and nulls are left out of the result.

    Raises FieldError where `raw` is no object, has a field that `readers` does not know, or one with a wrong value.
    """
    if not isinstance(raw, Mapping):
        raise FieldError(f"{what}: expected an object, got {type(raw).__name__}")
    unknown = sorted(str(name) for name in raw if name not in readers)
    if unknown:
        raise FieldError(f"{what}: unknown field {', '.join(unknown)}; known are {', '.join(sorted(readers))}")
    return {
        name: _read_one(value, readers[name], f"{what}: {name}") for name, value in raw.items() if value is not None
    }


def text(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise FieldError("expected a text that is not empty")
    return value


def boolean(value: object) -> bool:
    """True or false, and nothing that merely resembles it."""
    if not isinstance(value, bool):
        raise FieldError("expected true or false")
    return value


def seconds(value: object) -> float:
    """A finite number of seconds, zero or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise FieldError("expected a number of seconds, zero or more")
    return float(value)


def whole_number(value: object) -> int:
    """A whole number, zero or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FieldError("expected a whole number, zero or more")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple):
        raise FieldError("expected a list of texts")
    return tuple(text(element) for element in value)


def shares(value: object) -> dict[str, float]:
    """An object of numbers; whether they are shares is checked where they are used."""
    if not isinstance(value, Mapping):
        raise FieldError("expected an object of shares")
    return {text(name): seconds(share) for name, share in value.items()}


def choice(kinds: type[StrEnum]) -> FieldReader:
    """A reader of one of these words."""

    def read(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in list(kinds):
            raise FieldError(f"expected one of {', '.join(kinds)}")
        return kinds(value)

    return read


def _read_one(value: object, reader: FieldReader, where: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise FieldError(f"{where}: {error}") from error
