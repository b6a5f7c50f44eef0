"""The platform's answer, from bytes to what it says about each polled id.

The platform's page documents one sample, a single object, for an id that is not in its own request. So every plausible
shape is read (`worker.domain.wire.shapes`), and items are matched by id, never by position.
"""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from worker.domain.field_rules import id_fault
from worker.domain.records.incoming import storable
from worker.domain.records.query_errors import EXCERPT_LIMIT, Malformed, Refused
from worker.domain.records.reports import Answer, IdKind, Report
from worker.domain.wire.fields import GOOD_CODES, FieldFault, field_named, field_text, read_report
from worker.domain.wire.shapes import Item, ShapeFault, items_in
from worker.domain.wire.strict_json import JsonFault, parse

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a body, decoded; a hundred items need about 20,000."""

_CHARSET = re.compile(r'charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)
# The labels that count where a body is not UTF-8. No other label does: Latin-1, for example, decodes anything.
_GB_CHARSETS = frozenset({"gb18030", "gbk", "gb2312"})


def read_answer(
    body: bytes, content_type: str | None, id_kind: IdKind, polled: Sequence[str], http_status: int = 200
) -> Answer:
    """Read the body of an HTTP 200 answer to a query of the ids `polled`, all of one kind.

    `content_type` is the header's value. Raises Refused for the platform's error object and Malformed for what cannot
    be read, and nothing else.
    """
    excerpt = excerpt_of(body, content_type)
    try:
        if len(body) > BODY_LIMIT:
            raise JsonFault(f"longer than {BODY_LIMIT} bytes")
        value = parse(_decoded(body, content_type))
        accepted = _accepted(value, http_status, excerpt) if isinstance(value, dict) else False
        items = items_in(value, frozenset(polled))
        if items is None and not accepted:
            raise ShapeFault("neither an item nor a list of items is there")
    except (JsonFault, FieldFault, ShapeFault) as fault:
        raise Malformed(f"unreadable answer: {fault}", excerpt=excerpt, http_status=http_status) from None
    reports = [_read(item, id_kind, polled) for item in items or ()]
    return _matched(reports, id_kind, polled, excerpt, http_status)


def excerpt_of(body: bytes, content_type: str | None) -> str:
    """The start of a body as text that may be stored, at most 2,000 characters; what does not decode becomes U+FFFD."""
    # Four bytes are the longest character of either encoding.
    start = body[: 4 * EXCERPT_LIMIT]
    return storable(start.decode(_encoding(start, content_type), "replace"), EXCERPT_LIMIT)


def _encoding(start: bytes, content_type: str | None) -> str:
    """The encoding of a body, by its start, which may end inside a character.

    UTF-8 where it is UTF-8, whatever the label says: a body in UTF-8 that is labelled GBK decodes as GB18030 without an
    error, into other words. Only then does the label count, if it names a GB encoding.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        charset = _CHARSET.search(content_type or "")
        is_gb = charset is not None and charset[1].casefold() in _GB_CHARSETS
        # A byte order mark of the body outranks the header.
        return "gb18030" if is_gb and not start.startswith(codecs.BOM_UTF8) else "utf-8"
    return "utf-8"


def _decoded(body: bytes, content_type: str | None) -> str:
    encoding = _encoding(body, content_type)
    try:
        return body.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise JsonFault(f"not {encoding}, at byte {error.start}") from None


def _accepted(value: Mapping[str, object], http_status: int, excerpt: str) -> bool:
    """Whether the object holds a code of success (True) or no code (False). Raises Refused where it is an error."""
    code = field_text(field_named(value, "statusCode"))
    if code is None or code in GOOD_CODES:
        return code is not None
    try:
        message = field_text(field_named(value, "statusMsg"))
    except FieldFault:
        message = None
    raise Refused(code, message or "", http_status=http_status, excerpt=excerpt)


def _read(item: Item, id_kind: IdKind, polled: Sequence[str]) -> Report:
    report = read_report(item.fields)
    own = named_id(report, id_kind)
    # A key that cannot be an id (one with a NUL or a lone surrogate, for example) names no order.
    if item.key is None or own == item.key or id_fault(item.key):
        return report
    if own is None:
        return _with_id(report, id_kind, item.key)
    if item.key in polled:
        fault = report.fault or f"it stands under {item.key} and calls itself {own}"
        return replace(_with_id(report, id_kind, item.key), fault=fault)
    return report


def named_id(report: Report, id_kind: IdKind) -> str | None:
    """The report's id of one kind, None where it names none."""
    return report.request_id if id_kind is IdKind.REQUEST_ID else report.custom_parm


def _with_id(report: Report, id_kind: IdKind, identity: str) -> Report:
    if id_kind is IdKind.REQUEST_ID:
        return replace(report, request_id=identity)
    return replace(report, custom_parm=identity)


def _matched(
    reports: Sequence[Report], id_kind: IdKind, polled: Sequence[str], excerpt: str, http_status: int
) -> Answer:
    # Items with equal fields count once, whatever the order of their keys: so `words` is not compared.
    said: dict[str, dict[Report, Report]] = {identity: {} for identity in polled}
    added: list[Report] = []
    for report in reports:
        identity = named_id(report, id_kind)
        if identity in said:
            said[identity].setdefault(replace(report, words=""), report)
        else:
            added.append(report)
    return Answer(
        said={identity: tuple(items.values()) for identity, items in said.items() if items},
        absent=tuple(identity for identity, items in said.items() if not items),
        added=tuple(added),
        excerpt=excerpt,
        http_status=http_status,
    )
