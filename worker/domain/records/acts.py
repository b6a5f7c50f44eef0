"""What an operator does by hand: who, why and when; and the record of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.domain.records.coded_texts import CodedText


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
