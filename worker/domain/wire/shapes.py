"""Where the items stand in an answer. The platform does not document it, so every plausible shape is read.

- one object that is an item;
- a list of objects;
- an object with one list of such objects under any key;
- an object whose keys are ids;
- an object with one such object under any key (`{"data": {...}}`).
"""

from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass

from worker.domain.wire.fields import FieldFault, field_named

MOST_ITEMS = 10_000
"""A query holds a hundred ids. A body can hold a million empty objects, at a hundred times their size in memory."""

_ID_NAMES = ("requestId", "customParm")
_STATUS_NAME = "trafficSts"


class ShapeFault(Exception):
    """A shape with more than one reading, or with none; `str()` says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One item's fields, and its key where the answer is keyed by id."""

    fields: Mapping[str, object]
    key: str | None = None


def items_in(value: object, polled: Collection[str]) -> list[Item] | None:
    """The items of an answer: empty where it holds an empty list of them, None where an object holds none at all.

    `polled` are the ids of the query. Raises ShapeFault for an answer that cannot hold items, and for two lists of
    items, or for more than MOST_ITEMS of them.
    """
    if isinstance(value, Mapping):
        return _in_object(value, polled)
    if isinstance(value, list):
        if value and not _objects(value):
            raise ShapeFault("a list that holds no object")
        return _listed(value)
    raise ShapeFault("neither an object nor a list")


def _in_object(value: Mapping[str, object], polled: Collection[str]) -> list[Item] | None:
    if _says(value, _STATUS_NAME):
        return [Item(fields=value)]
    lists = [held for held in value.values() if isinstance(held, list)]
    with_items = [held for held in lists if any(_looks_like_item(entry) for entry in _objects(held))]
    if len(with_items) > 1:
        raise ShapeFault("more than one list of items")
    if with_items:
        return _listed(with_items[0])
    nested = _nested(value, polled)
    if nested is not None:
        return nested
    if _looks_like_item(value):
        return [Item(fields=value)]
    with_objects = [held for held in lists if _objects(held)]
    if len(with_objects) == 1:
        return _listed(with_objects[0])
    return [] if any(not held for held in lists) else None


def _nested(value: Mapping[str, object], polled: Collection[str]) -> list[Item] | None:
    objects = {key: held for key, held in value.items() if isinstance(held, Mapping)}
    items = {key: held for key, held in objects.items() if key in polled or _looks_like_item(held)}
    if len(items) == 1 and not any(key in polled for key in items):
        # A lone object under a key that is no id of ours: the key is a wrapper's name ("data") as likely as an id.
        return [Item(fields=held) for held in items.values()]
    if items:
        _check_count(items)
        return [Item(fields=held, key=key) for key, held in items.items()]
    # The reader bounds the depth of an answer, and so this recursion.
    return _in_object(next(iter(objects.values())), polled) if len(objects) == 1 else None


def _listed(entries: Sequence[object]) -> list[Item]:
    objects = _objects(entries)
    _check_count(objects)
    return [Item(fields=entry) for entry in objects]


def _check_count(items: Sized) -> None:
    if len(items) > MOST_ITEMS:
        raise ShapeFault(f"more than {MOST_ITEMS} items")


def _objects(entries: Sequence[object]) -> list[Mapping[str, object]]:
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _looks_like_item(fields: Mapping[str, object]) -> bool:
    return any(_says(fields, name) for name in (*_ID_NAMES, _STATUS_NAME))


def _says(fields: Mapping[str, object], name: str) -> bool:
    try:
        return field_named(fields, name) not in (None, "")
    except FieldFault:
        # Two keys that disagree: the item is there, and `read_report` finds the fault.
        return True
