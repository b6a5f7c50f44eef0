"""Read the platform's answer from its bytes, and match its items to the polled ids.

The platform documents a single sample answer: one object, whose id is not even in the sample's request. So items are
matched by id, never by position, and every plausible shape is read:

- one object that is an item;
- a list of items;
- an object with one list of items, under any key;
- an object whose keys are ids, and whose values are items;
- an object with one item, under any key (`{"data": {...}}`).
"""

import codecs
import re
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass, replace

from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import EXCERPT_LIMIT, Answer, Charset, Malformed, Refused, Report, Shape, storable
from worker.domain.records.orders import IdKind
from worker.domain.wire.fields import GOOD_CODES, FieldFault, field_named, field_text, id_fault, read_report
from worker.domain.wire.strict_json import JsonFault, is_damaged_utf_8, parse

MOST_ITEMS = 10_000
"""The most items of an answer. A query has up to 100 ids, but a body can hold a million empty objects, which would take
a hundred times the body's size in memory."""

_ID_NAMES = ("requestId", "customParm")
_STATUS_NAME = "trafficSts"
BODY_LIMIT = 4 * 1024 * 1024
"""The most bytes of a decoded body. A hundred items need about 20,000."""

_CHARSET = re.compile(r'charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)
# If a body is not UTF-8, only these labels are believed. Latin-1, for example, is not, because it decodes any bytes.
_GB_CHARSETS = frozenset({"gb18030", "gbk", "gb2312"})


class ShapeFault(Exception):
    """An answer whose shape can be read in several ways, or in none. `str()` says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """The fields of one item, and its key if the answer is keyed by id."""

    fields: Mapping[str, object]
    key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The items of an answer, and the shape in which it holds them."""

    shape: Shape
    items: list[Item]


NO_ITEMS = Found(shape=Shape.NO_ITEMS, items=[])
"""What is found in an answer that has only an empty list or a success code."""


def items_in(value: object, polled: Collection[str]) -> Found | None:
    """Find the items of an answer. Return an empty `Found` for an empty list, and None for an object without items.

    `polled` are the ids of the query. Raises ShapeFault for an answer that cannot hold items, for several lists of
    items, and for more than MOST_ITEMS items.
    """
    if isinstance(value, Mapping):
        return _in_object(value, polled)
    if isinstance(value, list):
        if value and not _objects(value):
            raise ShapeFault("a list that holds no object")
        return _listed(Shape.LIST, value)
    raise ShapeFault("neither an object nor a list")


def _in_object(value: Mapping[str, object], polled: Collection[str]) -> Found | None:
    one = Found(shape=Shape.ONE_OBJECT, items=[Item(fields=value)])
    if _says(value, _STATUS_NAME):
        return one
    lists = [held for held in value.values() if isinstance(held, list)]
    with_items = [held for held in lists if any(_looks_like_item(entry) for entry in _objects(held))]
    if len(with_items) > 1:
        raise ShapeFault("more than one list of items")
    if with_items:
        return _listed(Shape.OBJECT_WITH_LIST, with_items[0])
    nested = _nested(value, polled)
    if nested is not None:
        return nested
    if _looks_like_item(value):
        return one
    with_objects = [held for held in lists if _objects(held)]
    if len(with_objects) == 1:
        return _listed(Shape.OBJECT_WITH_LIST, with_objects[0])
    return NO_ITEMS if any(not held for held in lists) else None


def _nested(value: Mapping[str, object], polled: Collection[str]) -> Found | None:
    objects = {key: held for key, held in value.items() if isinstance(held, Mapping)}
    items = {key: held for key, held in objects.items() if key in polled or _looks_like_item(held)}
    if len(items) == 1 and not any(key in polled for key in items):
        # This is a single object under a key that is no polled id. The key may be a name such as "data", or another id.
        return Found(shape=Shape.WRAPPED_OBJECT, items=[Item(fields=held) for held in items.values()])
    if items:
        _check_count(items)
        return Found(shape=Shape.KEYED_BY_ID, items=[Item(fields=held, key=key) for key, held in items.items()])
    # `parse` limits the depth of an answer, which also limits this recursion.
    return _in_object(next(iter(objects.values())), polled) if len(objects) == 1 else None


def _listed(shape: Shape, entries: Sequence[object]) -> Found:
    objects = _objects(entries)
    _check_count(objects)
    return Found(shape=shape, items=[Item(fields=entry) for entry in objects])


def _check_count(items: Sized) -> None:
    if len(items) > MOST_ITEMS:
        raise ShapeFault(f"more than {MOST_ITEMS} items")


def _objects(entries: Sequence[object]) -> list[Mapping[str, object]]:
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _looks_like_item(fields: Mapping[str, object]) -> bool:
    return any(_says(fields, name) for name in (*_ID_NAMES, _STATUS_NAME))


def _says(fields: Mapping[str, object], name: str) -> bool:
    try:
        return field_named(fields, name) not in (None, "")
    except FieldFault:
        # Two keys that differ only in case have different values. So the field is there; `read_report` notes the fault.
        return True


def read_answer(
    body: bytes, content_type: str | None, id_kind: IdKind, polled: Sequence[str], http_status: int = 200
) -> Answer:
    """Read the body of an HTTP 200 answer to a query of the ids `polled`, all of one kind.

    `content_type` is the header's value. Raises only Refused, for the platform's error object, and Malformed, for a
    body that cannot be read.
    """
    excerpt = excerpt_of(body, content_type)
    try:
        value = parsed(body, content_type)
        accepted = _accepted(value, http_status, excerpt) if isinstance(value, dict) else False
        found = items_in(value, frozenset(polled))
        if found is None and not accepted:
            raise ShapeFault("neither an item nor a list of items is there")
    except (JsonFault, FieldFault, ShapeFault) as fault:
        raise Malformed(f"unreadable answer: {fault}", excerpt=excerpt, http_status=http_status) from None
    reports = [read_item(item, id_kind, polled) for item in (found or NO_ITEMS).items]
    return _matched(reports, id_kind, polled, excerpt, http_status)


def parsed(body: bytes, content_type: str | None) -> object:
    """Parse the body as JSON. Raises JsonFault if it is not JSON, or too long."""
    if len(body) > BODY_LIMIT:
        raise JsonFault("longer than %(count)s bytes", BODY_LIMIT)
    return parse(_decoded(body, content_type))


def excerpt_of(body: bytes, content_type: str | None) -> str:
    """The start of a body as at most 2,000 storable characters. Bytes that cannot be decoded become U+FFFD."""
    # In UTF-8 and in GB18030, a character has at most four bytes.
    start = body[: 4 * EXCERPT_LIMIT]
    return storable(start.decode(charset_of(start, content_type).codec, "replace"), EXCERPT_LIMIT)


def charset_of(start: bytes, content_type: str | None) -> Charset:
    """Detect the encoding of a body from its start, which may end inside a character.

    Valid UTF-8 is read as UTF-8, whatever charset the Content-Type names. If a wrong "gbk" there were believed, the
    text would decode into other words, without an error. The encoding of damaged UTF-8 is unknown.

    Any other body is GB18030 if the Content-Type names a GB encoding. If it names no charset, the body is GB18030 if it
    can be decoded as GB18030; callbacks are read in the same way.
    """
    if _may_be("utf-8", start):
        return Charset.UTF_8
    if is_damaged_utf_8(start):
        return Charset.UNKNOWN
    charset = _CHARSET.search(content_type or "")
    is_gb = _may_be("gb18030", start) if charset is None else charset[1].casefold() in _GB_CHARSETS
    # The byte order mark of UTF-8 in a body takes precedence over the header.
    return Charset.GB18030 if is_gb and not start.startswith(codecs.BOM_UTF8) else Charset.UNKNOWN


def _may_be(encoding: str, start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(body: bytes, content_type: str | None) -> str:
    encoding = charset_of(body, content_type).codec
    try:
        return body.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise JsonFault("not %(encoding)s, at byte %(byte)s", encoding, error.start) from None


def _accepted(value: Mapping[str, object], http_status: int, excerpt: str) -> bool:
    """Return True if the object has a success code, False if it has none. Raises Refused for any other code."""
    code = field_text(field_named(value, "statusCode"))
    if code is None or code in GOOD_CODES:
        return code is not None
    try:
        message = field_text(field_named(value, "statusMsg"))
    except FieldFault:
        message = None
    raise Refused(code, message or "", http_status=http_status, excerpt=excerpt)


def read_item(item: Item, id_kind: IdKind, polled: Collection[str]) -> Report:
    """Read one item as a report. If the item has no id of the polled kind, its key in the answer is used as that id."""
    report = read_report(item.fields)
    own = named_id(report, id_kind)
    # A key that cannot be an id, for example because of a NUL or a lone surrogate, names no order.
    if item.key is None or own == item.key or id_fault(item.key):
        return report
    if own is None:
        return _with_id(report, id_kind, item.key)
    if item.key in polled:
        fault = report.fault or CodedText(TextCode.ITEM_UNDER_OTHER_ID, key=item.key, own=own)
        return replace(_with_id(report, id_kind, item.key), fault=fault)
    return report


def named_id(report: Report, id_kind: IdKind) -> str | None:
    """The report's id of one kind; None if it has none."""
    return report.request_id if id_kind is IdKind.REQUEST_ID else report.custom_parm


def _with_id(report: Report, id_kind: IdKind, identity: str) -> Report:
    if id_kind is IdKind.REQUEST_ID:
        return replace(report, request_id=identity)
    return replace(report, custom_parm=identity)


def _matched(
    reports: Sequence[Report], id_kind: IdKind, polled: Sequence[str], excerpt: str, http_status: int
) -> Answer:
    # Items with equal fields count once. `words` is not compared, because it depends on the order of the keys.
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
