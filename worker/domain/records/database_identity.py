"""What tells a database from its own past: from the one that it was dumped or copied from, and from a lost one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """Facts that a restore or a failover changes, such as the number of a table; some may be unknown."""

    text: str = ""
    """As a row keeps it: `name=value`, joined by blanks; empty where nothing is known."""

    @staticmethod
    def of(parts: Mapping[str, object]) -> "DatabaseIdentity":
        """The identity of these facts, by name; no value holds a blank."""
        return DatabaseIdentity(" ".join(f"{name}={value}" for name, value in sorted(parts.items())))

    @property
    def parts(self) -> dict[str, str]:
        """Its facts, by name."""
        return {name: value for name, _, value in (part.partition("=") for part in self.text.split())}

    def differs_from(self, other: "DatabaseIdentity") -> bool:
        """Whether a fact that both know is another one: a role may not read all of them."""
        if self.text == other.text:
            return False
        known = other.parts
        return any(known.get(name, value) != value for name, value in self.parts.items())

    def with_facts_of(self, older: "DatabaseIdentity") -> "DatabaseIdentity":
        """The same with what it does not know itself, of an identity from which it does not differ."""
        return self if self.text == older.text else DatabaseIdentity.of(older.parts | self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """In which database a slot's row was written."""

    identity: DatabaseIdentity = DatabaseIdentity()
    """Unknown where a release before 0019 wrote the row."""
    changes: tuple[datetime, ...] = ()
    """When it was found in another one, by the database's clock: the last three times, the latest last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseChanges:
    """What the slots in use say of their database at `now`, by its clock."""

    now: datetime
    is_another: bool = False
    """It is not the one that a row was written in, and no worker has noted that yet."""
    changes: tuple[datetime, ...] = ()
    """Of the row with the latest change: see `Provenance`."""
