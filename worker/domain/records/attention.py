"""Why an order needs a person, the gravest reason first."""

from enum import StrEnum


class Attention(StrEnum):
    """Why a person should look at an order, the gravest first: a row holds one reason, its events hold all."""

    LATE_CONFLICT = "late_conflict"
    CONFLICTING_ANSWER = "conflicting_answer"
    AMOUNT_MISMATCH = "amount_mismatch"
    MOBILE_MISMATCH = "mobile_mismatch"
    UNKNOWN_STATUS = "unknown_status"
    UNKNOWN_TO_PLATFORM = "unknown_to_platform"
    REJECTED_BY_PLATFORM = "rejected_by_platform"
    TOO_OLD = "too_old"


_GRAVITY = {reason: position for position, reason in enumerate(Attention)}


def gravest(*reasons: Attention | None) -> Attention | None:
    """The reason that a row shows, out of several; None where there is none."""
    return min((reason for reason in reasons if reason is not None), key=_GRAVITY.__getitem__, default=None)
