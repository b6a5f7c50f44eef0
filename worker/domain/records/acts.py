"""What an operator does by hand: who, why and when; and the record of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.domain.records.coded_texts import CodedText


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
