"""The one catalogue: by the type of a value, what each of its members is called, means and asks for."""

from collections.abc import Mapping
from enum import Enum, StrEnum

from worker.domain.notifications.endpoint_watch import Condition
from worker.domain.records.acts import ActKind
from worker.domain.records.findings import BackOffReason
from worker.domain.records.orders import Attention, OrderState
from worker.domain.watching.todo import TodoKind
from worker.words import Entry, Skin
from worker.words.acts import ACTS
from worker.words.findings import BACK_OFF_REASONS, CONDITIONS
from worker.words.names import NAMES
from worker.words.reasons import ATTENTION, STATES, TODO

ENTRIES: Mapping[type[Enum], Mapping[Enum, Entry]] = {
    **{kind: {one: Entry(name) for one, name in names.items()} for kind, names in NAMES.items()},
    OrderState: STATES,
    Attention: ATTENTION,
    TodoKind: TODO,
    ActKind: ACTS,
    Condition: CONDITIONS,
    BackOffReason: BACK_OFF_REASONS,
}


def entry_of(value: Enum) -> Entry:
    """What there is to say about a value."""
    return ENTRIES[type(value)][value]


def name(value: Enum | None, skin: Skin) -> str:
    """What a value is called; empty for None."""
    return "" if value is None else skin.text(entry_of(value).name)


def name_of(kind: type[StrEnum], stored: str | None, skin: Skin) -> str:
    """What a stored name is called; itself where a later release has written one that is not known here."""
    return name(kind(stored), skin) if stored in list(kind) else stored or ""


def means(value: Enum, skin: Skin) -> str:
    """What a value means."""
    return skin.advice(entry_of(value).means)


def remedy(value: Enum, skin: Skin) -> str:
    """What to do about it."""
    return skin.advice(entry_of(value).do)
