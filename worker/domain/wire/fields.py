"""One item of an answer, or one callback, read into a report.

The platform's page spells some keys in two ways (`remark`, `Remark`), so keys are read whatever their case. A value
that cannot be read without guessing is a fault of the item: the item is kept, and settles nothing.
"""

from collections.abc import Mapping

from worker.domain.records.incoming import storable
from worker.domain.records.reports import Report
from worker.domain.wire.strict_json import words_of

REMARK_LIMIT = 500
"""Characters of a remark that are kept."""
FIELD_LIMIT = 255
"""Characters of any other field; a longer one is a fault, since a cut id or amount would be another id or amount."""
GOOD_CODES = frozenset({"0", "000000"})
"""The values of `statusCode` that mean no error."""

_NAMES = {
    "requestId": "request_id",
    "customParm": "custom_parm",
    "appid": "app_id",
    "mobile": "mobile",
    "trafficSts": "traffic_sts",
    "remark": "remark",
    "oriAmount": "ori_amount",
    "statusCode": "status_code",
}
_NAMES_IN_ANY_CASE = {key.casefold(): name for key, name in _NAMES.items()}
_MAX_INTEGER_BITS = 512


class FieldFault(Exception):
    """A value that cannot be read without guessing; `str()` says why."""


def is_known_key(key: str) -> bool:
    """Whether an item's key, in any case, is one that is read."""
    return key.casefold() in _NAMES_IN_ANY_CASE


def read_report(fields: Mapping[str, object]) -> Report:
    """Read one item. Values are text or numbers; null and empty text count as absent; unknown keys are ignored.

    Never raises: a value of another type, keys that differ only in case and disagree, and a `statusCode` of the
    item's own other than `0` or `000000` become the report's `fault`.
    """
    said: dict[str, str | None] = {}
    faults: list[str] = []
    for key, value in fields.items():
        name = _NAMES.get(key) or _NAMES_IN_ANY_CASE.get(str(key).casefold())
        if name is None:
            continue
        try:
            text = field_text(value, limit=None if name == "remark" else FIELD_LIMIT)
        except FieldFault as fault:
            text = None
            faults.append(f"{storable(str(key), FIELD_LIMIT)}: {fault}")
        if name in said and said[name] != text:
            faults.append(f"{storable(str(key), FIELD_LIMIT)}: said twice, with different values")
        # The first value stays: it shows which order the faulty item is about.
        said[name] = said.get(name) or text
    code = said.pop("status_code", None)
    if code is not None and code not in GOOD_CODES:
        faults.append(f"statusCode: the item is an error, {code}")
    remark = said.pop("remark", None)
    return Report(
        **said,
        remark=None if remark is None else storable(remark, REMARK_LIMIT),
        has_amount_field="ori_amount" in said,
        fault=storable(faults[0], FIELD_LIMIT) if faults else None,
        words=words_of(fields),
    )


def field_text(value: object, *, limit: int | None = None) -> str | None:
    """A field's value as text: None for null and empty text, a number as it was written.

    Raises FieldFault for a truth value, a list or an object, and, where a limit is given, for text that is longer or
    cannot be stored.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldFault("neither text nor a number")
    elif isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise FieldFault("too long")
    else:
        text = repr(value)
    if limit is not None and len(text) > limit:
        raise FieldFault("too long")
    if limit is not None and storable(text, limit) != text:
        raise FieldFault("not text that can be stored")
    return text


def field_named(fields: Mapping[str, object], name: str) -> object:
    """The value of a key whatever its case, None where it is absent. Raises FieldFault where two such keys disagree."""
    values = [value for key, value in fields.items() if key.casefold() == name.casefold()]
    if any(value != values[0] for value in values):
        raise FieldFault(f"{name} is said twice, with different values")
    return values[0] if values else None
