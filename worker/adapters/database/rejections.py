"""What was refused is kept, with its errors."""

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert

from worker.adapters.database.models import RejectedOrder, table_of
from worker.domain.submissions import Rejection
from worker.domain.wire.strict_json import words_of
from worker.domain.wire.text import storable

REJECTED = table_of(RejectedOrder)

_LONGEST_PAYLOAD = 1_000_000
_LONGEST_ERRORS = 10_000


def keep(connection: Connection, rejections: Iterable[Rejection], source: str, now: datetime) -> None:
    """Store refused input; `source` is the task or command that brought it."""
    rows = [
        {
            "received_at": now,
            "source": source,
            "payload": storable(_json(rejection.payload), _LONGEST_PAYLOAD),
            "errors": storable("\n".join(rejection.errors), _LONGEST_ERRORS),
        }
        for rejection in rejections
    ]
    if rows:
        connection.execute(insert(REJECTED), rows)


def _json(payload: object) -> str:
    try:
        return json.dumps(payload, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        # Nested too deeply, or a number too long, to be written as it came: without this it would be retried for ever.
        return words_of(payload)
