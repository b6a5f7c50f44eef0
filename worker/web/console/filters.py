"""What a list is narrowed by, as its form sends it: read from the query string, with a sentence for each fault."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

from flask import abort, request

from worker.domain.field_rules import id_fault
from worker.domain.finance_report import Period
from worker.web.console.languages import N_, text

_LARGEST_ID = 2**63 - 1

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(kw_only=True, slots=True)
class Filters:
    """Reads the fields of the request; what cannot be read is left out and named in `faults`, in its language."""

    zone: ZoneInfo
    faults: list[str] = field(default_factory=list)

    def word(self, name: str) -> str:
        """The text of a field, without the blanks around it; empty where it is not filled in."""
        return request.args.get(name, "").strip()

    def choice(self, name: str, kind: type[Choice]) -> Choice | None:
        """One of the values of an enumeration."""
        value = self.word(name)
        if value and value not in list(kind):
            self._refuse(value)
        return kind(value) if value in list(kind) else None

    def one_of(self, name: str, values: Collection[str]) -> str | None:
        """One of these texts."""
        value = self.word(name)
        if value and value not in values:
            self._refuse(value)
        return value if value in values else None

    def account(self) -> str | None:
        """The account; one that the settings do not name any more may still have rows."""
        value = self.word("account")
        if value and id_fault(value):
            self._refuse(value)
            return None
        return value or None

    def since(self) -> datetime | None:
        """The first moment of the day `from`."""
        day = self._day("from")
        return None if day is None else day.start

    def until(self) -> datetime | None:
        """The first moment after the day `to`."""
        day = self._day("to")
        return None if day is None else day.end

    def after(self) -> int | None:
        """The id of the row that the page begins behind."""
        value = self.word("after")
        is_id = value.isascii() and value.isdigit() and len(value) < 20 and 0 < int(value) <= _LARGEST_ID
        if value and not is_id:
            self._refuse(value)
        return int(value) if is_id else None

    def _day(self, name: str) -> Period | None:
        value = self.word(name)
        try:
            day = date.fromisoformat(value) if value else None
            return None if day is None else Period(first=day, last=day, zone=self.zone)
        except (ValueError, OverflowError):
            self._refuse(value)
            return None

    def _refuse(self, value: str) -> None:
        self.faults.append(text(N_("“%(value)s” cannot be read here, and was left out."), value=value[:100]))


def storable(row_id: int) -> int:
    """The id of a row, as a path names it. Answers 404 for a number that no database takes."""
    if row_id > _LARGEST_ID:
        abort(404)
    return row_id


def known_accounts(configured: Sequence[str], chosen: str | None) -> list[str]:
    """What an account may be chosen from: those of the settings, and the one that is chosen already."""
    return sorted({*configured, *([chosen] if chosen else [])})
