"""Operators: which users may sign in to the console, who tries and fails; and what an operator does by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

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
    NOTE = "note"
    """Something was written down about an order."""
    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
    POLL = "poll"
    """Named orders were polled by a query of their own."""
    RETRY = "retry"
    """Refused input was tried once more."""
    DISMISS_REJECTED = "dismiss_rejected"
    """Refused input was dealt with; its rows stay."""
    LINK = "link"
    """An unmatched callback was recorded for an order."""
    DISMISS_CALLBACK = "dismiss_callback"
    """An unmatched callback was deleted; the record holds it."""
    RESEND = "resend"
    """Notifications are to be sent once more."""
    PAUSE_NOTIFICATIONS = "pause_notifications"
    RESUME_NOTIFICATIONS = "resume_notifications"
    FORGET_NOTIFICATIONS = "forget_notifications"
    """An endpoint was removed, with all that was not received."""
    ARCHIVE = "archive"
    RESTORE = "restore"
    """Orders were archived, or restored, by a release that had an archive."""
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
    key: str = ""
    """Which act it is a part of."""

    def detail(self, words: CodedText | None = None) -> str | None:
        """What an event says of it: these words, then the reason. None where there is neither."""
        return words.having(said=self.reason) if words and self.reason else words or self.reason or None

    def entry(
        self, kind: ActKind, account: str | None, detail: str | None, order_ids: Sequence[int] = ()
    ) -> "ActEntry":
        """The record of it, with what was done, and to which orders."""
        said: dict[str, Any] = {"at": self.now, "actor": self.actor, "reason": self.reason, "detail": detail}
        return ActEntry(**said, act=kind, account=account, act_key=self.key or None, order_ids=tuple(order_ids))


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
    act_key: str | None = None
    """The same in all rows of one act."""
    order_ids: tuple[int, ...] = ()
    """The row ids of its orders."""
