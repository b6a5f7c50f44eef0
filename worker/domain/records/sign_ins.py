"""Who may sign in at the console, who has, and who tries in vain."""

from dataclasses import dataclass, field
from datetime import datetime

from worker.domain.records.viewers import Role


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
