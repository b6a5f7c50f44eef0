"""Read the words from `catalogue.toml`, and the compiled translations of all messages.

For each member of the types in `_KINDS`, the catalogue has a name, and for many also a meaning and a remedy.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

from worker.domain.finance.report import Grouping
from worker.domain.finance.statements import DifferenceKind, PeriodBy
from worker.domain.monitoring.next_step import Wait
from worker.domain.monitoring.todo import TodoKind
from worker.domain.notifications.endpoint_watch import Condition
from worker.domain.orders.verdicts import Effect
from worker.domain.queries.explain_reply import Assumption, Standing
from worker.domain.records.incoming import Charset, Shape, Trust
from worker.domain.records.monitoring import BackOffReason, FindingKind, Level
from worker.domain.records.notifications import DeliveryOutcome, EventType, NotificationState, TransportKind
from worker.domain.records.operators import ActKind, Role
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, IdKind, Lane, OrderState, Source, TrafficStatus
from worker.words import ENGLISH, Skin

LANGUAGE_OF_THE_CODE = "en"
"""English, which has no translations."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The messages for a value: its name, its meaning, and what to do about it."""

    name: str
    """The name of the value. For a `Wait` or a `FindingKind`, this is the whole message, and the only one."""
    means: str = ""
    do: str = ""


_HELD = tomllib.loads((files("worker.words") / "catalogue.toml").read_text("utf-8"))
_KINDS: tuple[type[Enum], ...] = (
    *(OrderState, Attention, TodoKind, ActKind, EventKind, Source, Lane, IdKind, TrafficStatus, NotificationState),
    *(EventType, TransportKind, DeliveryOutcome, Condition, BackOffReason, FindingKind, Wait, Trust, Level, Role),
    *(Shape, Charset, Effect, Assumption, Standing, DifferenceKind, Grouping, PeriodBy),
)


def _entries(table: Mapping[str, str | dict[str, str]]) -> dict[str, Entry]:
    return {key: Entry(held) if isinstance(held, str) else Entry(**held) for key, held in table.items()}


ENTRIES: Mapping[type[Enum], Mapping[Enum, Entry]] = {
    kind: {kind[member]: entry for member, entry in _entries(_HELD[kind.__name__]).items()} for kind in _KINDS
}
FINDINGS = _entries(_HELD["finding"])
"""The name and the consequence of each finding, by its stable name."""
QUERY_OUTCOMES: Mapping[str, str] = _HELD["query_outcome"]
"""The labels of the ways in which a query can end, by the value of `platform_queries.outcome`."""
COLUMNS: Mapping[str, str] = _HELD["column"]
"""The labels of columns and filters, by their names; `NAME_list` is the label of a list.

A label that is used in only one list has the list's name before its own.
"""
HEADERS: Mapping[str, str] = {**COLUMNS, **_HELD["header"]}
"""The labels of columns in the command line's tables: all `COLUMNS`, some with other labels, and further columns."""
COUNTED: Mapping[str, Sequence[str]] = _HELD["counted"]
"""Two messages for each counted thing, by the thing's name: one for the count 1, and one for 0 or several."""
TYPER_MESSAGES: Sequence[str] = _HELD["quoted"]["typer"]
"""Typer's messages about a command line."""
COMMANDS, PAGES = ({name: held[how] for name, held in _HELD["remedy"].items()} for how in ("command", "page"))
"""How people do what a message asks for, by the remedy's name: `COMMANDS` with a command, `PAGES` in the console."""

COMMAND_LINE = Skin(translate=ENGLISH.translate, remedies=COMMANDS)


@cache
def translations(code: str) -> NullTranslations:
    """The translations for a language code: into Chinese for `zh`, none for `en`.

    Raises FileNotFoundError if `make setup` has not compiled them in this checkout.
    """
    if code == LANGUAGE_OF_THE_CODE:
        return NullTranslations()
    name = f"{code}.mo"
    try:
        with (files("worker.words") / "locale" / name).open("rb") as compiled:
            return GNUTranslations(compiled)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}, the compiled catalogue of words, is missing: run `make setup`") from None


def name(value: Enum | None, skin: Skin) -> str:
    """The name of a value; empty for None."""
    return "" if value is None else skin.text(message(value))


def message(value: Enum) -> str:
    """The name of a value, not translated."""
    return ENTRIES[type(value)][value].name


def name_of(kind: type[StrEnum], stored: str | None, skin: Skin) -> str:
    """The label of a stored name. An unknown name, which a later release may have stored, is returned unchanged."""
    return name(kind(stored), skin) if stored in list(kind) else stored or ""


def means(value: Enum, skin: Skin) -> str:
    """The meaning of a value."""
    return skin.advice(ENTRIES[type(value)][value].means)


def remedy(value: Enum, skin: Skin) -> str:
    """What to do about a value."""
    return skin.advice(ENTRIES[type(value)][value].do)
