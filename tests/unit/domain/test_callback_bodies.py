"""The body of a callback over HTTP: JSON or a form, in whatever encoding it comes."""

import json
from contextlib import suppress
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.callback_bodies import BodyFault, read_body, shown_body

ITEM = {"requestId": "R1", "trafficSts": "-1", "remark": "号码错误"}
JSON = json.dumps(ITEM, ensure_ascii=False)
FORM = "application/x-www-form-urlencoded"


def fault_of(body: bytes, content_type: str | None = None) -> str:
    with pytest.raises(BodyFault) as raised:
        read_body(body, content_type)
    return str(raised.value)


@pytest.mark.parametrize("label", [None, "application/json", "text/plain", FORM, "multipart/form-data", "nonsense"])
def test_a_body_that_begins_with_a_brace_is_json_whatever_its_label(label: str | None) -> None:
    assert read_body(JSON.encode(), label) == ITEM
    assert read_body(b"\xef\xbb\xbf \r\n" + JSON.encode() + b"\n", label) == ITEM


def test_amounts_stay_the_text_they_were_written_as() -> None:
    assert read_body(b'{"requestId": "R1", "oriAmount": 2.940}', None) == {"requestId": "R1", "oriAmount": "2.940"}


@pytest.mark.parametrize(
    ("encoding", "label"),
    [
        ("utf-8", "application/json;charset=gbk"),
        ("gbk", "application/json; charset=GBK"),
        ("gb18030", 'application/json; charset="gb18030"'),
        ("gb18030", "application/json"),
        ("gb18030", None),
        ("gb18030", "application/json;charset=no-such-thing"),
        ("gb18030", "application/json;charset=hex"),
        ("gb18030", "application/json;charset=unicode_escape"),
        ("gb18030", "application/json;charset=ascii"),
        ("big5", "application/json;charset=big5"),
    ],
)
def test_the_encoding_is_strict_utf_8_then_the_declared_one_then_gb18030(encoding: str, label: str | None) -> None:
    item = {**ITEM, "remark": "成功"}
    assert read_body(json.dumps(item, ensure_ascii=False).encode(encoding), label) == item


def test_form_fields_of_the_items_own_names_are_an_item() -> None:
    assert read_body(urlencode(ITEM).encode(), FORM) == ITEM
    assert read_body(urlencode({"REQUESTID": "R1", "extra": ""}).encode(), None) == {"REQUESTID": "R1", "extra": ""}
    assert read_body(urlencode(ITEM, encoding="gbk").encode(), f"{FORM};charset=gbk") == ITEM
    assert read_body(urlencode(ITEM, encoding="gbk").encode(), FORM) == ITEM


@pytest.mark.parametrize("name", ["data", "", "json", "报文"])
def test_one_form_field_may_hold_the_json(name: str) -> None:
    assert read_body(f"{quote(name)}={quote(JSON)}&sign=1".encode(), FORM) == ITEM


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"{", "not JSON"),
        (b'{"a": 1, "a": 2}', "says one key twice"),
        (b'{"a":' * 20 + b"1" + b"}" * 20, "nested deeper"),
        (b"[1]", "neither a JSON object nor a form"),
        (b"hello", "neither a JSON object nor a form"),
        (b"a=%7B%7D&b=%7B%7D", "neither a JSON object nor a form"),
        (b"a=%7Boops", "not JSON"),
        (b"requestId=R1&requestId=R2", "one field twice"),
        (b"{\xff\xff}", "text in no encoding"),
        (b"requestId=%FF", "text in no encoding"),
        (b"&".join(b"f%d=1" % number for number in range(200)), "more than 100 form fields"),
    ],
)
def test_what_holds_no_item_is_refused_in_words_that_do_not_quote_it(body: bytes, words: str) -> None:
    assert words in fault_of(body)


def test_a_form_may_say_the_same_twice() -> None:
    assert read_body(b"requestId=R1&requestId=R1", FORM) == {"requestId": "R1"}


@given(st.binary(max_size=300), st.text(max_size=40))
def test_reading_a_body_raises_nothing_but_its_fault_and_it_can_be_shown(body: bytes, label: str) -> None:
    for content_type in (None, label, f"text/plain; charset={label}"):
        with suppress(BodyFault):
            read_body(body, content_type)
    assert shown_body(body).encode().decode() == shown_body(body)


def test_a_body_is_shown_with_escapes_for_what_is_no_utf_8() -> None:
    assert shown_body("号".encode() + b"\xff\x00") == "号\\xff\ufffd"
