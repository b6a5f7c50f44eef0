"""What was refused is kept, with its errors."""

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert

from worker.database.tables import RejectedOrder, table_of
from worker.domain.submissions import Rejection, Unread
from worker.domain.wire.strict_json import words_of
from worker.domain.wire.text import storable

REJECTED = table_of(RejectedOrder)

_LONGEST_PAYLOAD = 1_000_000
_LONGEST_ERRORS = 10_000


def keep(connection: Connection, rejections: Iterable[Rejection], source: str, now: datetime) -> None:
    """Store refused input; `source` is the task or command that brought it.

    Of a payload its first 1,000,000 characters are kept; a line among the errors says so where it has more.
    """
    rows = [_row(rejection, source, now) for rejection in rejections]
    if rows:
        connection.execute(insert(REJECTED), rows)


def _row(rejection: Rejection, source: str, now: datetime) -> dict[str, object]:
    payload, errors = _json(rejection.payload), "\n".join(rejection.errors)
    if len(payload) > _LONGEST_PAYLOAD:
        shortened = f"payload: shortened; kept are the first {_LONGEST_PAYLOAD} of {len(payload)} characters"
        errors = f"{errors[: _LONGEST_ERRORS - len(shortened) - 1]}\n{shortened}"
    return {
        "received_at": now,
        "source": source,
        "payload": storable(payload, _LONGEST_PAYLOAD),
        "errors": storable(errors, _LONGEST_ERRORS),
    }


def _json(payload: object) -> str:
    if isinstance(payload, Unread):
        return payload.text
    try:
        return json.dumps(payload, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        # Nested too deeply, or a number too long, to be written as it came: without this it would be retried for ever.
        return words_of(payload)
