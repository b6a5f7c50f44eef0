"""Read the HTTP body of a callback as one item, or refuse it.

A body is JSON or form fields. It is decoded as UTF-8; if that fails, in the encoding that its Content-Type names; and
if that fails, as GB18030.
"""

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import parse_qsl

from worker.domain.records.incoming import Rejection, Report, Trust, storable
from worker.domain.records.sentences import Refusal, Sentence, _
from worker.domain.wire.fields import id_fault, is_known_key, json_type, read_report
from worker.domain.wire.strict_json import JsonFault, is_damaged_utf_8, parse

LONGEST_BODY = 64 * 1024
"""The longest body that is accepted, in bytes; the documented callback has about 200."""
LONGEST_DRAINED = 1024 * 1024
"""If a body is too long, up to this many of its bytes are read and dropped, so that its sender gets to read the
answer."""

_MOST_FIELDS = 100
_BLANK = b" \t\r\n"
_CHARSET = re.compile(r'charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)
# Encodings of Python's own that are never used. They decode nearly any bytes, but to a text that the sender did not
# mean.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
LONGEST_PAYLOAD = 16_000
"""The most characters of a callback as JSON; the documented callback has about 200."""
_LONGEST_SHOWN = 64
_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


class BodyFault(Refusal):
    """A body from which no callback can be read; `str()` says why, without quoting the body."""


def read_body(body: bytes, content_type: str | None) -> Mapping[str, object]:
    """Return the callback in a body, as a mapping. Raise only BodyFault. `content_type` is the value of the
    Content-Type header.

    A body that begins with `{` is JSON, whatever its Content-Type says. Any other body is read as form fields. Either
    these are the fields of the callback, or one of them contains the callback as JSON.
    """
    whole = body.removeprefix(codecs.BOM_UTF8).strip(_BLANK)
    if not whole:
        raise BodyFault("the body is empty")
    if whole.startswith(b"{"):
        (text,) = _decoded([whole], content_type)
        return _object_in(text)
    return _item_in(_form_fields(whole, content_type))


def shown_body(body: bytes) -> str:
    """Return a body as text to store. Bytes that are not UTF-8 are written as escapes, such as `\\xff`."""
    return storable(body.decode("utf-8", "backslashreplace"), LONGEST_BODY)


def _object_in(text: str) -> Mapping[str, object]:
    """Return the JSON object in a text that begins with `{`. A JSON text with this beginning can only be an object."""
    try:
        return cast(Mapping[str, object], parse(text))
    except JsonFault as fault:
        raise BodyFault("%(why)s", fault.sentence) from None


def _form_fields(body: bytes, content_type: str | None) -> Mapping[str, str]:
    # Latin-1 makes one character of every byte. So the fields can be separated first, and decoded afterwards.
    try:
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise BodyFault("the body is no JSON, and has more than %(count)s form fields", _MOST_FIELDS) from None
    words = _decoded([word.encode("latin-1") for pair in pairs for word in pair], content_type)
    fields: dict[str, str] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        if fields.setdefault(name, value) != value:
            raise BodyFault("the form says one field twice, with different values")
    return fields


def _item_in(fields: Mapping[str, str]) -> Mapping[str, object]:
    if any(is_known_key(name) for name in fields):
        return fields
    in_json = [value for value in fields.values() if value.lstrip().startswith("{")]
    if len(in_json) != 1:
        raise BodyFault("the body is neither a JSON object nor a form that holds one or its fields")
    return _object_in(in_json[0])


def _decoded(words: Sequence[bytes], content_type: str | None) -> list[str]:
    """Decode all words with the first encoding that can decode all of them. Raise BodyFault if no encoding can."""
    # Damaged UTF-8 is tried as UTF-8 only. Other encodings would decode it, but to a text that the sender did not mean.
    is_damaged = is_damaged_utf_8(b" ".join(words))
    for encoding in ["utf-8"] if is_damaged else _encodings(content_type):
        try:
            return [word.decode(encoding) for word in words]
        except (ValueError, LookupError):
            # Try the next encoding: the bytes are not in this one, or Python does not know it, or its codec does not
            # decode to text.
            continue
    raise BodyFault("the body is text in no encoding: neither UTF-8, nor as it is labelled, nor GB18030")


def _encodings(content_type: str | None) -> Iterator[str]:
    yield "utf-8"
    charset = _CHARSET.search(content_type or "")
    if charset is not None and charset[1].casefold().replace("_", "-") not in _NO_CHARSETS:
        yield charset[1]
    yield "gb18030"


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """One callback body that names at least one order."""

    report: Report
    payload: object
    """The body as received."""
    payload_text: str
    """The `payload` as JSON."""
    account: str | None = None
    """The account to whose own address the callback came; the callback can be about no other account. None if the appid
    must decide."""
    trust: Trust = Trust.SETTLE
    repeats: int = 0
    """How often the same callback came again while its order was unknown."""

    def accounts(self, app_ids: Mapping[str, str]) -> tuple[str, ...]:
        """Return the accounts that the callback can be about: its `account`, or else the accounts with its appid. If no
        account has the appid, return all accounts."""
        if self.account is not None:
            return (self.account,)
        said = self.report.app_id
        named = () if said is None else tuple(account for account, app_id in app_ids.items() if app_id == said)
        return named or tuple(app_ids)


def receive(account: str, app_id: str, body: bytes, content_type: str | None, trust: Trust) -> Callback | Rejection:
    """Read a body that was posted to an account's address. Return the callback, or a rejection that tells people why.

    Only the address decides which account a callback is about. A callback that has the `appid` of another account is
    refused. So someone who has the token of one account cannot change orders of another account.
    """
    payload: object = shown_body(body)
    try:
        payload = read_body(body, content_type)
    except BodyFault as fault:
        return _refused(account, payload, (_("callback: %(why)s", fault.sentence),))
    callback = read_callback(payload)
    if isinstance(callback, tuple):
        return _refused(account, payload, callback)
    named = callback.report.app_id
    if named not in (None, app_id):
        shown = storable(str(named), _LONGEST_SHOWN)
        return _refused(account, payload, (_("appid: %(value)s is not that of this account", shown),))
    return replace(callback, account=account, trust=trust)


def read_callback(item: object) -> Callback | tuple[Sentence, ...]:
    """Read one callback body. Return the callback, or why the body cannot be used. Never raise."""
    if not isinstance(item, Mapping):
        return (_("callback: must be an object, not %(type)s", json_type(item)),)
    try:
        payload_text = storable(_JSON.encode(item), LONGEST_PAYLOAD + 1)
    except (TypeError, ValueError, RecursionError):
        # Some items that Python could read cannot be written as JSON: for instance, very long integers or very deep
        # nesting.
        return (_("callback: cannot be written as JSON; accepted: the platform's own body, parsed"),)
    if len(payload_text) > LONGEST_PAYLOAD:
        return (_("callback: is longer than %(count)s characters", LONGEST_PAYLOAD),)
    report = read_report(item)
    faults = [
        _("%(what)s: %(reason)s", field, fault)
        for field, value in (("requestId", report.request_id), ("customParm", report.custom_parm))
        if value is not None and (fault := id_fault(value))
    ]
    if report.request_id is None and report.custom_parm is None:
        faults.append(_("requestId: is missing; accepted: requestId, customParm, or both"))
    return tuple(faults) or Callback(report=report, payload=item, payload_text=payload_text)


def _refused(account: str, payload: object, errors: tuple[Sentence, ...]) -> Rejection:
    errors = (*errors, _("address: that of account %(account)s", account))
    return Rejection(index=None, payload=payload, errors=errors)
