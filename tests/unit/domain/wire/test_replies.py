import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.callbacks.bodies import read_body
from worker.domain.records.incoming import Answer, Malformed, Refused
from worker.domain.records.orders import IdKind
from worker.domain.wire.replies import BODY_LIMIT, excerpt_of, named_id, read_answer

SAMPLE = (
    '{"requestId":"2016010000000205","appid":"cbc6ceb21fd34664b6e452ca2aa40b3f","trafficSts":"1",'
    '"remark":"成功","mobile":"188****0804","oriAmount":"2.94"}'
)
REFUSAL = '{"statusCode":"-2","statusMsg":"缺少必要参数","requestId":""}'
POLLED = ("1", "2", "3")
ONE = {"requestId": "1", "trafficSts": "1"}
TWO = {"requestId": "2", "trafficSts": "0"}


def read(
    value: object, polled: Sequence[str] = POLLED, kind: IdKind = IdKind.REQUEST_ID, content_type: str | None = None
) -> Answer:
    body = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    return read_answer(body, content_type, kind, polled)


def said(answer: Answer) -> dict[str, list[str | None]]:
    return {identity: [report.traffic_sts for report in reports] for identity, reports in answer.said.items()}


def test_the_documented_answer_is_read() -> None:
    answer = read(SAMPLE, ["2016010000000205", "2016010000000206"])
    assert said(answer) == {"2016010000000205": ["1"]}
    assert answer.absent == ("2016010000000206",)
    assert (answer.added, answer.excerpt, answer.http_status, answer.item_count) == ((), SAMPLE, 200, 1)


def test_the_documented_error_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        read(REFUSAL)
    assert (caught.value.status_code, caught.value.status_msg) == ("-2", "缺少必要参数")
    assert (caught.value.http_status, caught.value.excerpt) == (200, REFUSAL)


@pytest.mark.parametrize(
    "value",
    [
        [ONE, TWO],
        {"data": [ONE, TWO]},
        {"anything at all": [ONE, TWO], "statusCode": "0", "total": 2, "flags": ["x"], "none": []},
        {"statusCode": 0, "list": [ONE, TWO]},
        {"STATUSCODE": "000000", "list": [ONE, TWO], "requestId": "a trace id"},
        {"1": {"trafficSts": "1"}, "2": {"trafficSts": "0"}},
        {"1": ONE, "2": TWO, "statusCode": "000000", "page": {"total": 2}},
        {"result": {"list": [ONE, TWO]}, "statusCode": "0"},
        [ONE, "junk", None, TWO, ["x"]],
    ],
)
def test_every_shape_of_several_items_is_understood(value: object) -> None:
    answer = read(value)
    assert said(answer) == {"1": ["1"], "2": ["0"]}
    assert (answer.absent, answer.added) == (("3",), ())


@pytest.mark.parametrize(
    "value",
    [
        ONE,
        [ONE],
        {"data": ONE},
        {"data": [ONE], "statusCode": "0"},
        {"1": {"trafficSts": "1"}},
        {**ONE, "statusCode": "0", "extra": [{"requestId": "2"}]},
        {"REQUESTID": 1, "TrafficSts": 1},
    ],
    ids=json.dumps,
)
def test_every_shape_of_one_item_is_understood(value: object) -> None:
    answer = read(value)
    assert said(answer) == {"1": ["1"]}
    assert (answer.absent, answer.added) == (("2", "3"), ())


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"data": []},
        {"page": {"rows": []}},
        {"statusCode": "0", "requestId": ""},
        {"statusCode": 0},
        {"statusCode": "000000", "data": {}},
        {"statusCode": "0", "data": None, "errors": ["x"]},
    ],
)
def test_an_answer_without_items_leaves_every_id_out(value: object) -> None:
    answer = read(value)
    assert (answer.said, answer.absent, answer.item_count) == ({}, POLLED, 0)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"statusMsg": "ok"},
        {"statusCode": None},
        {"statusCode": ""},
        {"statusCode": ["0"]},
        {"statusCode": True},
        {"statusCode": "0", "STATUSCODE": "-2"},
        {"requestId": "", "customParm": None},
        {"a": {"x": "1"}, "b": {"y": "2"}},
        {"a": [{"x": "1"}], "b": [{"y": "2"}]},
        {"a": [ONE], "b": [TWO]},
        {"data": ["1", "2"]},
        ["1"],
        [[ONE]],
        "成功",
        1,
        None,
        True,
    ],
)
def test_what_holds_neither_items_nor_a_good_status_code_is_malformed(value: object) -> None:
    with pytest.raises(Malformed) as caught:
        read(json.dumps(value))
    assert caught.value.excerpt == json.dumps(value)
    assert caught.value.http_status == 200


@pytest.mark.parametrize("code", ["-205", "1", "00", "200", -2, "0.0"])
def test_items_beside_another_status_code_are_not_believed(code: object) -> None:
    for value in ({"statusCode": code, "data": [ONE]}, {"statuscode": code, **ONE}, {"statusCode": code}):
        with pytest.raises(Refused) as caught:
            read(value)
        assert (caught.value.status_code, caught.value.status_msg) == (str(code), "")


@pytest.mark.parametrize("message", [["频繁"], {"a": 1}, True])
def test_a_refusal_whose_message_is_no_text_is_a_refusal(message: object) -> None:
    with pytest.raises(Refused) as caught:
        read({"statusCode": "-9", "statusMsg": message})
    assert caught.value.status_msg == ""


def test_a_lone_item_without_a_status_is_about_its_order_all_the_same() -> None:
    answer = read({"requestId": "1", "remark": "充值中"})
    assert said(answer) == {"1": [None]}
    assert (answer.absent, answer.added) == (("2", "3"), ())


def test_items_are_matched_by_id_and_never_by_position() -> None:
    assert said(read([TWO, ONE])) == {"1": ["1"], "2": ["0"]}


def test_items_that_name_no_polled_id_are_added() -> None:
    answer = read([{"requestId": "9", "trafficSts": "1"}, {"foo": "bar"}, {"customParm": "1", "trafficSts": "1"}])
    assert [(report.request_id, report.custom_parm) for report in answer.added] == [
        ("9", None),
        (None, None),
        (None, "1"),
    ]
    assert answer.absent == POLLED
    assert answer.item_count == 3


def test_a_lone_object_of_a_list_is_an_item_even_if_it_names_nothing() -> None:
    assert read([{"foo": "bar"}]).added[0].words == '{"foo":"bar"}'
    assert read({"rows": [{"foo": "bar"}]}).added[0].words == '{"foo":"bar"}'


def test_a_custom_parm_matches_where_the_query_polled_by_it() -> None:
    answer = read({"requestId": "77", "customParm": "1", "trafficSts": "1"}, ["1"], IdKind.CUSTOM_PARM)
    assert answer.said["1"][0].request_id == "77"


def test_an_item_of_an_answer_without_echo_is_added() -> None:
    answer = read({"requestId": "77", "trafficSts": "1"}, ["parm-1"], IdKind.CUSTOM_PARM)
    assert (answer.absent, [report.request_id for report in answer.added]) == (("parm-1",), ["77"])


def test_the_key_is_the_id_of_an_item_that_has_none() -> None:
    by_parm = {"a": {"requestId": "77", "trafficSts": "1"}, "x": {"trafficSts": "0"}}
    answer = read(by_parm, ["a", "b"], IdKind.CUSTOM_PARM)
    assert (answer.said["a"][0].request_id, answer.said["a"][0].custom_parm) == ("77", "a")
    assert [report.custom_parm for report in answer.added] == ["x"]


def test_an_item_under_an_id_that_it_contradicts_is_faulty_and_belongs_to_that_id() -> None:
    answer = read({"1": {"requestId": "2", "trafficSts": "1"}})
    assert answer.said["1"][0].fault == "it stands under 1 and calls itself 2"
    assert answer.absent == ("2", "3")


def test_an_item_keeps_its_own_id_where_the_key_was_not_polled() -> None:
    answer = read({"first": ONE, "second": TWO})
    assert said(answer) == {"1": ["1"], "2": ["0"]}
    assert answer.said["1"][0].fault is None


def test_an_error_about_one_of_several_items_is_a_faulty_item() -> None:
    answer = read([ONE, {"requestId": "2", "statusCode": "-3", "trafficSts": "1"}])
    assert "-3" in (answer.said["2"][0].fault or "")
    assert answer.said["1"][0].fault is None


def test_keys_that_collide_make_one_item_faulty_and_no_other() -> None:
    answer = read('[{"requestId":"1","trafficSts":"1","TrafficSts":"-1"},{"requestId":"2","trafficSts":"0"}]')
    assert "said twice" in (answer.said["1"][0].fault or "")
    assert answer.said["2"][0].fault is None


def test_an_item_whose_keys_collide_is_found_in_every_shape() -> None:
    text = '{"trafficSts":"1","TrafficSts":"-1","requestId":"1"}'
    for shape in (text, f"[{text}]", f'{{"data":{text}}}', f'{{"data":[{text}]}}', f'{{"1":{text}}}'):
        assert read(shape).said["1"][0].fault


def test_identical_items_are_kept_once_and_differing_ones_both() -> None:
    again = {"TRAFFICSTS": 1, "requestid": 1, "note": "another order of the keys"}
    assert said(read([ONE, again, ONE])) == {"1": ["1"]}
    assert said(read([ONE, {**ONE, "trafficSts": "-1"}, again])) == {"1": ["1", "-1"]}


def test_a_byte_order_mark_is_no_part_of_the_answer() -> None:
    body = b"\xef\xbb\xbf" + SAMPLE.encode()
    for content_type in (None, "application/json;charset=gbk"):
        assert read(body, ["2016010000000205"], content_type=content_type).said["2016010000000205"][0].remark == "成功"


@pytest.mark.parametrize("charset", ["gb18030", "GBK", '"gb2312"', "GB18030; q=1"])
def test_gb18030_is_read_where_the_header_says_so(charset: str) -> None:
    answer = read(SAMPLE.encode("gb18030"), ["2016010000000205"], content_type=f"application/json; charset={charset}")
    assert answer.said["2016010000000205"][0].remark == "成功"
    assert "成功" in answer.excerpt


@pytest.mark.parametrize("charset", ["gbk", "gb2312", "gb18030", "latin-1"])
def test_a_body_in_utf_8_is_read_as_that_whatever_its_label(charset: str) -> None:
    body = SAMPLE.replace("成功", "订单不存在").encode()
    answer = read(body, ["2016010000000205"], content_type=f"application/json;charset={charset}")
    assert answer.said["2016010000000205"][0].remark == "订单不存在"
    assert "订单不存在" in answer.excerpt


@pytest.mark.parametrize("charset", ["utf-8", "big5", "latin-1", "iso-8859-1", "cp1252", "utf-16"])
def test_no_other_label_makes_text_of_what_is_no_utf_8(charset: str) -> None:
    with pytest.raises(Malformed, match="not utf-8"):
        read(SAMPLE.encode("gb18030"), content_type=f"application/json;charset={charset}")


@pytest.mark.parametrize("label", [None, "application/json", "application/json;charset=gbk"])
@pytest.mark.parametrize("remark", ["订单不存在", "没有找到该订单", "查无此订单", "订单号错误，没有该订单"])
def test_damaged_utf_8_is_malformed_and_no_other_words(label: str | None, remark: str) -> None:
    whole = remark.encode()
    for start in range(len(whole)):
        body = SAMPLE.encode().replace("成功".encode(), whole[:start] + whole[start + 1 :])
        with pytest.raises(Malformed, match="not utf-8"):
            read(body, content_type=label)


@pytest.mark.parametrize("label", [None, "", "application/json"])
def test_gbk_without_a_label_is_read_as_in_a_callback(label: str | None) -> None:
    body = SAMPLE.encode("gbk")
    answer = read(body, ["2016010000000205"], content_type=label)
    assert answer.said["2016010000000205"][0].remark == "成功"
    assert "成功" in answer.excerpt
    assert read_body(body, label)["remark"] == "成功"
    with pytest.raises(Malformed, match="not utf-8"):
        read(b'{"remark":"\xff"}', content_type=label)


def test_the_excerpt_of_a_long_body_in_utf_8_is_not_read_by_its_label_where_it_ends_inside_a_character() -> None:
    body = ("x" + "订" * 6000).encode()
    assert excerpt_of(body, "application/json;charset=gbk") == "x" + "订" * 1999


@pytest.mark.parametrize("key", ["a\x00b", "\ud800", "a,b", "x" * 65, "a b"])
def test_a_key_that_is_no_id_names_no_order(key: str) -> None:
    body = json.dumps({key: {"trafficSts": "0"}, "1": {"trafficSts": "0"}, "2": {"trafficSts": "0"}}).encode()
    for kind in IdKind:
        answer = read(body, ["1"], kind)
        assert set(answer.said) == {"1"}
        assert {named_id(report, kind) for report in answer.added} == {None, "2"}


def test_utf_8_is_malformed_where_the_header_says_gb18030_and_it_is_none() -> None:
    with pytest.raises(Malformed, match="not gb18030"):
        read(b'{"remark":"\xff"}', content_type="application/json;charset=gbk")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>503</html>",
        b'{"requestId":"1","requestId":"2"}',
        b'{"oriAmount":NaN}',
        b"[" * 100_000,
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_garbage_is_malformed_and_leaves_an_excerpt(body: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read(body)
    assert len(caught.value.excerpt) == min(len(body), 2000)


def test_a_body_beyond_the_limit_is_malformed() -> None:
    with pytest.raises(Malformed, match="longer than"):
        read(b" " * (BODY_LIMIT + 1))


@pytest.mark.parametrize("body", ["[" + "{}," * 10_000 + "{}]", json.dumps({str(n): ONE for n in range(10_001)})])
def test_more_items_than_any_answer_needs_are_malformed_before_each_is_read(body: str) -> None:
    with pytest.raises(Malformed, match="more than 10000 items"):
        read(body)


def test_an_excerpt_is_bounded_in_characters() -> None:
    excerpt = read(json.dumps([{"requestId": "1", "remark": "好" * 3000}], ensure_ascii=False)).excerpt
    assert len(excerpt) == 2000
    assert excerpt.endswith("好" * 1900)


def outcome(body: bytes, content_type: str | None = None) -> Answer | None:
    try:
        answer = read_answer(body, content_type, IdKind.REQUEST_ID, POLLED)
    except (Refused, Malformed) as error:
        for text in (str(error), error.excerpt, error.status_msg or "", error.status_code or ""):
            text.encode()
            assert "\x00" not in text
            assert len(text) <= 2000
        return None
    assert set(answer.said) | set(answer.absent) == set(POLLED)
    assert not set(answer.said) & set(answer.absent)
    assert all(report.request_id == identity for identity, reports in answer.said.items() for report in reports)
    return answer


@given(st.binary(max_size=200), st.sampled_from([None, "a;charset=gbk", "a;charset=utf-8"]))
def test_any_bytes_are_an_answer_or_one_of_two_errors(body: bytes, content_type: str | None) -> None:
    outcome(body, content_type)


KEYS = st.sampled_from(
    ["1", "2", "9", "requestId", "REQUESTID", "customParm", "trafficSts", "statusCode", "statusMsg", "data"]
)
VALUES = st.recursive(
    st.sampled_from(["1", "2", "0", "-1", "", "000000", 0, 1, -1, 2.94, True, None, "\ud800\x00"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_any_json_is_an_answer_or_one_of_two_errors(value: object) -> None:
    outcome(json.dumps(value).encode())
