"""What is wrong with input is said in Chinese on Chinese pages, but for names of fields and what was sent."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.unit.domain.builders import NOW, make_order
from worker.broker.sizes import TOO_LARGE, shortened
from worker.domain.callbacks.bodies import receive
from worker.domain.orders.billing_requests import check_all, differences
from worker.domain.orders.check_fields import gone, read_items, read_list, read_order, read_refused, refused_texts
from worker.domain.records.incoming import Rejection, Trust
from worker.domain.records.orders import OrderKey, OrderState
from worker.domain.records.sentences import Sentence, from_json, to_json
from worker.words import ENGLISH, Skin
from worker.words.catalogue import translations

CHINESE = Skin(translate=translations("zh").gettext)
NAMES = re.compile(
    "request_id|custom_parm|mobile|expected_amount|submitted_at|account|requestId|customParm|appid|JSON|ISO|GB18030|UTF-8|NaN|default|id:7"
)
AT = datetime(2026, 1, 31, tzinfo=UTC)
ORDERS: list[object] = [
    7,
    None,
    {"水": 1},
    {},
    {"request_id": "id:7", "mobile": "12", "expected_amount": "水", "submitted_at": "水"},
    {"request_id": 7, "custom_parm": ""},
    {"request_id": "1" * 65, "submitted_at": "2026-02-31"},
    {"request_id": "1,2", "submitted_at": "2030-01-01T00:00:00Z"},
    {"request_id": "2.02611E+17", "submitted_at": "1970-01-01T00:00:00Z"},
    {"custom_parm": "1", "account": "水"},
    {"custom_parm": "1", "account": ["水"]},
]
BODIES = [b"", b"&" * 200, b"requestId=1&requestId=2", b"\xe6\xb0\xb4=1", b"requestId=\xff\x80\x80\x80"]
BODIES += [b"{", b'{"\xe6\xb0\xb4', b'{"1": }', b'{"1" 1}', b'{"1": 1 2}', b"{} 1", b'{"1": "\n"}', b'{"1": NaN}']
BODIES += [b'{"1":' * 20 + b"1" + b"}" * 20, b'{"1": 1, "1": 1}', b'{"requestId": "1", "appid": "9"}']
BODIES += [b'{"requestId": "1", "1": "' + b"1" * 20_000 + b'"}', b'{"remark": "1"}', b'{"requestId": ""}']
REFUSED = [("水", "{}", ""), ("reconciler enqueue", "[", ""), ("reconciler enqueue", "[]", ""), ("", "", "message: 1")]


def faults() -> Iterator[Sentence]:
    for one in (read_list({}, "orders"), read_list([], "callbacks"), read_list([1] * 1001, "orders")):
        yield from one[1][0].errors
    _, refused = read_items(ORDERS, "orders", lambda item: read_order(item, {"default"}, AT))
    yield from (fault for one in refused for fault in one.errors)
    for body in BODIES:
        received = receive("default", "8", body, "charset=undefined", Trust.SETTLE)
        assert isinstance(received, Rejection), body
        yield from received.errors
    known = make_order(custom_parm="1", state=OrderState.SUCCEEDED)
    sent = read_order({"request_id": known.request_id, "custom_parm": "2"}, {"default"}, AT)
    assert not isinstance(sent, tuple)
    yield from differences(known, sent)
    references: list[tuple[int, object, OrderKey]] = [
        (0, {}, known.key),
        (1, {}, OrderKey(account="default", request_id="9")),
    ]
    yield from (fault for one in check_all(references, [known], NOW).rejections for fault in one.errors)
    (kept,) = refused_texts([Rejection(index=None, payload="1" * 1_000_001, errors=())])
    lines = from_json(kept.errors, kept.errors_said).parts
    for said in (*filter(None, lines), gone().fault, *(read_refused(*one) for one in REFUSED)):
        assert isinstance(said, Sentence)
        yield said
    yield from (*TOO_LARGE, shortened(99))


@pytest.mark.parametrize("fault", dict.fromkeys(faults()))
def test_a_fault_is_said_in_the_language_of_its_reader(fault: Sentence) -> None:
    assert ENGLISH.say(fault) == fault
    said = CHINESE.say(fault)
    words = re.sub(r"'.*?'|[A-Z0-9-]+T\S+|default:\S+", "", said)
    assert not re.search("[A-Za-z]{2}|[一-鿿][,:;()]", NAMES.sub("", words)), said


def refused_order() -> tuple[Sentence, ...]:
    refused = read_order({"custom_parm": "mobile: is empty", "mobile": "100%s (x)\0"}, {"default"}, AT)
    assert isinstance(refused, tuple)
    return refused


def test_a_fault_that_a_table_holds_is_said_again() -> None:
    (kept,) = refused_texts([Rejection(index=0, payload=1, errors=refused_order())])
    read = from_json(kept.errors, kept.errors_said)
    assert (read, CHINESE.say(read)) == (kept.errors, "\n".join(map(CHINESE.say, refused_order())))
    assert "不是手机号" in CHINESE.say(read)


@pytest.mark.parametrize("held", [None, "[]", to_json([Sentence("another line")])])
def test_a_line_whose_message_no_table_holds_stands_as_it_is(held: str | None) -> None:
    lines = "mobile: is empty; accepted: 100%(what)s\n\nan archived order that was not moved back"
    assert CHINESE.say(from_json(lines, held)) == lines


def test_a_line_that_was_cut_stands_as_it_is() -> None:
    many = [Sentence("is longer than %(count)s bytes", number) for number in range(1_000)]
    (kept,) = refused_texts([Rejection(index=0, payload=1, errors=tuple(many))])
    *whole, cut = CHINESE.say(from_json(kept.errors, kept.errors_said)).split("\n")
    assert len(kept.errors) == 10_000
    assert many[len(whole)].startswith(cut)
    assert whole == [CHINESE.say(one) for one in many[: len(whole)]]
