"""The users of the console: what each may do, who has signed in, and who tries and fails."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Part(StrEnum):
    """A part of the web program, which `--only` may leave alone."""

    CALLBACKS = "callbacks"
    OPERATE = "operate"
    """Metrics, health and the console."""


class Role(StrEnum):
    """What a user of the console may do."""

    READ = "read"
    ACT = "act"
    """Read, and act."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """Who looks at the console."""

    name: str | None
    """None: one with the key that `serve` has printed, where there is no file of users."""
    role: Role = Role.READ

    @property
    def may_act(self) -> bool:
        """Whether they may change anything."""
        return self.name is not None and self.role is Role.ACT


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """Somebody who may sign in."""

    name: str
    """As it is recorded of what they do."""
    password_hash: str = field(repr=False)
    """With its method and salt, as werkzeug writes it."""
    role: Role


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """One sign-in that has not ended: a row of `console_sessions`. Times are by the database's clock."""

    user_name: str
    password_digest: str
    """Of the user's password hash at the sign-in."""
    created_at: datetime
    seen_at: datetime
    """When a page was last asked for, to the minute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failures:
    """Sign-ins in a row that have failed, of one name or from one address: a row of `console_failures`."""

    count: int
    last_at: datetime
    locked_until: datetime | None = None
