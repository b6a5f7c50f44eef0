import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.records.answers import Charset, Malformed, Outline, Refused, Shape
from worker.domain.records.orders import IdKind
from worker.domain.wire.answers import read_answer
from worker.domain.wire.strict_json import KEYS_LIMIT, keys_of

ITEM = {"requestId": "1", "trafficSts": 1, "remark": None, "mobile": "188****0804"}
KEYS = "mobile string, remark null, requestId string, trafficSts number"


def outline(value: Any, *polled: str) -> Outline:
    found = read(json.dumps(value, ensure_ascii=False).encode(), *polled)
    assert found is not None
    return found


def read(body: bytes, *polled: str, content_type: str | None = None) -> Outline | None:
    try:
        return read_answer(body, content_type, IdKind.REQUEST_ID, polled or ("1",)).outline
    except (Malformed, Refused) as error:
        return error.outline


@pytest.mark.parametrize(
    ("value", "shape", "keys"),
    [
        (ITEM, Shape.ONE_OBJECT, KEYS),
        ([ITEM], Shape.LIST, ", ".join(f"[].{key}" for key in KEYS.split(", "))),
        ({"data": [{"requestId": "1"}]}, Shape.OBJECT_WITH_LIST, "data[].requestId string"),
        ({"data": {"requestId": "1"}}, Shape.WRAPPED_OBJECT, "data.requestId string"),
        ({"1": {"remark": "x"}}, Shape.KEYED_BY_ID, "*.remark string"),
        ([], Shape.LIST, "list"),
        ({"statusCode": "0"}, Shape.NO_ITEMS, "statusCode string"),
        ({"statusCode": "-2", "statusMsg": "x"}, Shape.ERROR_OBJECT, "statusCode string, statusMsg string"),
        ({"ok": True, "by": {}}, Shape.UNREADABLE, "by object, ok boolean"),
        ("none", Shape.UNREADABLE, "string"),
        (
            [ITEM, {"requestId": 2}],
            Shape.LIST,
            f"[].{KEYS.replace(', ', ', [].')}".replace("requestId string", "requestId number, [].requestId string"),
        ),
    ],
)
def test_keys_and_types_are_named_and_no_value_is(value: Any, shape: Shape, keys: str) -> None:
    assert (outline(value).shape, outline(value).keys) == (shape, keys)


def test_bytes_that_are_no_json_have_no_outline() -> None:
    assert read(b"<html>") is None


@pytest.mark.parametrize("key", ["2016010000000219", "18812340804", "A-1001", "id219", "张三", "", "a" * 33, "polled"])
def test_a_key_that_may_be_an_id_a_phone_or_a_name_is_not_shown(key: str) -> None:
    assert keys_of({key: {"remark": "x"}, "known2": "1"}, ["polled"]) == "*.remark string, known2 string"


def test_all_items_of_one_form_have_one_mark_and_another_form_has_another() -> None:
    one = outline([ITEM], "1")
    assert outline([{**ITEM, "requestId": "2"}] * 3, "2").mark == one.mark
    assert outline([{**ITEM, "price": "2"}]).mark != one.mark
    assert outline({"data": [ITEM]}).mark != one.mark
    assert one.mark.startswith("list:")


@given(st.recursive(st.none() | st.text(), lambda held: st.lists(held) | st.dictionaries(st.text(), held)))
def test_whatever_comes_its_outline_is_short_and_plain(value: object) -> None:
    keys = keys_of(value, ())
    assert len(keys) <= KEYS_LIMIT
    assert keys.isascii()
    assert keys.isprintable()


def test_a_large_reply_costs_little() -> None:
    deep: object = "x"
    for _ in range(15):
        deep = {"a": deep}
    assert keys_of(deep, ()) == "a.a.a.a.a.a object"
    assert keys_of([{}] * 1_000_000, ()) == "[] object"
    many = {f"{first}{second}_{'x' * 20}": "1" for first in "abcdefghij" for second in "abcdefghij"}
    assert len(keys_of(many, ())) == KEYS_LIMIT


@pytest.mark.parametrize(
    ("text", "encoding", "charset"),
    [("ok", "utf-8", None), ("成功", "utf-8", Charset.UTF_8), ("成功", "gbk", Charset.GB18030)],
)
def test_the_charset_is_that_of_more_than_ascii(text: str, encoding: str, charset: Charset | None) -> None:
    body = json.dumps({"requestId": "1", "remark": text}, ensure_ascii=False).encode(encoding)
    found = read(body, content_type=f"application/json;charset={encoding}")
    assert found is not None
    assert found.charset is charset
