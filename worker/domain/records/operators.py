"""Operators: users of the console, their sign-ins, failed sign-ins, and acts by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.domain.records.coded_texts import CodedText


class Part(StrEnum):
    """A part of the web program. With `--only`, the program serves one part without the other."""

    CALLBACKS = "callbacks"
    OPERATE = "operate"
    """Metrics, health and the console together."""


class Role(StrEnum):
    """What a user of the console may do."""

    READ = "read"
    ACT = "act"
    """The user may read, and act on orders and accounts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """The person who uses the console."""

    name: str | None
    """The user's name; None if there is no file of users and the person has the key that `serve` printed."""
    role: Role = Role.READ

    @property
    def may_act(self) -> bool:
        """Whether the person may change anything."""
        return self.name is not None and self.role is Role.ACT


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A user who may sign in to the console."""

    name: str
    """The name under which the user's acts are recorded."""
    password_hash: str = field(repr=False)
    """The hash with its method and salt, in the format of werkzeug."""
    role: Role


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """One row of `console_sessions`: a sign-in that has not ended. Times are on the database's clock."""

    user_name: str
    password_digest: str
    """The digest of the user's password hash at the sign-in."""
    created_at: datetime
    seen_at: datetime
    """When the user last requested a page, accurate to the minute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failures:
    """One row of `console_failures`: the count of recent failed sign-ins, with one name or from one address."""

    count: int
    last_at: datetime
    locked_until: datetime | None = None


class ActKind(StrEnum):
    """The kinds of act, as `operator_acts` and the log name them."""

    RESOLVE = "resolve"
    REOPEN = "reopen"
    CANCEL = "cancel"
    DISMISS = "dismiss"
    CHECK = "check"
    NOTE = "note"
    """A note about an order was written."""
    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
    POLL = "poll"
    """Selected orders were polled by a query of their own."""
    RETRY = "retry"
    """Refused input was processed again."""
    DISMISS_REJECTED = "dismiss_rejected"
    """Refused input was marked as dealt with. The rows of the input stay."""
    LINK = "link"
    """An unmatched callback was applied to an order."""
    DISMISS_CALLBACK = "dismiss_callback"
    """An unmatched callback was deleted. The record of the act contains it."""
    RESEND = "resend"
    """Notifications were queued to be sent again."""
    PAUSE_NOTIFICATIONS = "pause_notifications"
    RESUME_NOTIFICATIONS = "resume_notifications"
    FORGET_NOTIFICATIONS = "forget_notifications"
    """An endpoint was removed, with all notifications that were not received."""
    ARCHIVE = "archive"
    """Orders were archived by an earlier release, which had an archive."""
    RESTORE = "restore"
    """Orders were restored from the archive by an earlier release."""
    PURGE = "purge"
    """Old rows were deleted permanently."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """An operator's act, with the facts that decisions need."""

    actor: str
    """The name of the operator, 1 to 64 characters."""
    reason: str | None
    now: datetime
    """The time of the act, on the database's clock."""
    key: str = ""
    """The key that all parts of this act share."""

    def detail(self, words: CodedText | None = None) -> str | None:
        """Return the detail for an event: these words, then the reason of the act. None if there is neither."""
        return words.having(said=self.reason) if words and self.reason else words or self.reason or None

    def entry(
        self, kind: ActKind, account: str | None, detail: str | None, order_ids: Sequence[int] = ()
    ) -> "ActEntry":
        """Return the record of the act: what was done, and to which orders."""
        said: dict[str, Any] = {"at": self.now, "actor": self.actor, "reason": self.reason, "detail": detail}
        return ActEntry(**said, act=kind, account=account, act_key=self.key or None, order_ids=tuple(order_ids))


@dataclass(frozen=True, kw_only=True, slots=True)
class ActEntry:
    """One row of `operator_acts`."""

    at: datetime
    actor: str
    act: ActKind
    account: str | None
    """The account of the act; None for all accounts."""
    reason: str | None
    detail: str | None
    act_key: str | None = None
    """The key that all rows of this act share."""
    order_ids: tuple[int, ...] = ()
    """The row ids of the act's orders."""
