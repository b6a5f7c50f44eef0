"""How refused input is kept: as text that every database can hold, shortened where it is endless."""

import json
from collections.abc import Iterable

from worker.domain.records.incoming import RefusedText, Rejection, Unread
from worker.domain.records.storable_text import storable
from worker.domain.wire.strict_json import words_of

_LONGEST_PAYLOAD = 1_000_000
_LONGEST_ERRORS = 10_000


def refused_texts(rejections: Iterable[Rejection]) -> list[RefusedText]:
    """The texts that are kept of refused input.

    Of a payload its first 1,000,000 characters are kept; a line among the errors says so where it has more.
    """
    return [_texts_of(rejection) for rejection in rejections]


def _texts_of(rejection: Rejection) -> RefusedText:
    payload, errors = _json(rejection.payload), "\n".join(rejection.errors)
    if len(payload) > _LONGEST_PAYLOAD:
        shortened = f"payload: shortened; kept are the first {_LONGEST_PAYLOAD} of {len(payload)} characters"
        errors = f"{errors[: _LONGEST_ERRORS - len(shortened) - 1]}\n{shortened}"
    return RefusedText(payload=storable(payload, _LONGEST_PAYLOAD), errors=storable(errors, _LONGEST_ERRORS))


def _json(payload: object) -> str:
    if isinstance(payload, Unread):
        return payload.text
    try:
        return json.dumps(payload, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        # Nested too deeply, or a number too long, to be written as it came: without this it would be retried for ever.
        return words_of(payload)
