"""What an operator does by hand: who may, why and when; the record of it; and who signs in at the console."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.domain.records.coded_texts import CodedText


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


class ActKind(StrEnum):
    """What an operator may do, as `operator_acts` and the log name it."""

    RESOLVE = "resolve"
    REOPEN = "reopen"
    CANCEL = "cancel"
    DISMISS = "dismiss"
    CHECK = "check"
    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
    RETRY = "retry"
    """Refused input was tried once more."""
    RESEND = "resend"
    """Notifications are to be sent once more."""
    PAUSE_NOTIFICATIONS = "pause_notifications"
    RESUME_NOTIFICATIONS = "resume_notifications"
    FORGET_NOTIFICATIONS = "forget_notifications"
    """An endpoint was removed, with all that nobody has received."""
    ARCHIVE = "archive"
    RESTORE = "restore"
    """Archived orders were restored."""
    PURGE = "purge"
    """What is old was deleted for good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """One act, as a decision needs it."""

    actor: str
    """The name of the operator, 1 to 64 characters."""
    reason: str | None
    now: datetime
    """By the database's clock."""

    def detail(self, words: CodedText | None = None) -> str | None:
        """What an event says of it: these words, then the reason. None where there is neither."""
        return words.having(said=self.reason) if words and self.reason else words or self.reason or None


@dataclass(frozen=True, kw_only=True, slots=True)
class ActEntry:
    """One row of `operator_acts`."""

    at: datetime
    actor: str
    act: ActKind
    account: str | None
    """None: all accounts."""
    reason: str | None
    detail: str | None
