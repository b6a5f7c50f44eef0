import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.records.incoming import Report
from worker.domain.wire.fields import read_report
from worker.domain.wire.strict_json import JsonNumber

SAMPLE = {
    "requestId": "2016010000000205",
    "appid": "cbc6ceb21fd34664b6e452ca2aa40b3f",
    "trafficSts": "1",
    "remark": "成功",
    "mobile": "188****0804",
    "oriAmount": "2.94",
}


def test_the_documented_item_is_read() -> None:
    report = read_report(SAMPLE)
    assert report == Report(
        request_id="2016010000000205",
        app_id="cbc6ceb21fd34664b6e452ca2aa40b3f",
        traffic_sts="1",
        remark="成功",
        mobile="188****0804",
        ori_amount="2.94",
        has_amount_field=True,
        words=report.words,
    )
    assert report.words.startswith('{"requestId":"2016010000000205",')


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_keys_are_read_whatever_their_case(spelling: type[str]) -> None:
    assert read_report({spelling(key): value for key, value in SAMPLE.items()}).ori_amount == "2.94"


def test_numbers_are_read_as_they_were_written() -> None:
    report = read_report({"trafficSts": JsonNumber("-1"), "oriAmount": JsonNumber("2.940")})
    assert (report.traffic_sts, report.ori_amount) == ("-1", "2.940")
    assert type(report.ori_amount) is str


def test_a_callbacks_python_numbers_are_read() -> None:
    report = read_report({"trafficSts": 0, "oriAmount": 2.94, "customParm": 17})
    assert (report.traffic_sts, report.ori_amount, report.custom_parm) == ("0", "2.94", "17")


@pytest.mark.parametrize("nothing", [None, ""], ids=repr)
def test_null_and_empty_text_count_as_absent(nothing: object) -> None:
    report = read_report({"requestId": nothing, "oriAmount": nothing, "remark": nothing, "statusCode": nothing})
    assert (report.request_id, report.ori_amount, report.remark, report.fault) == (None, None, None, None)
    assert report.has_amount_field


def test_an_item_without_the_amount_field_says_so() -> None:
    assert not read_report({"trafficSts": "1"}).has_amount_field


def test_unknown_keys_are_kept_in_the_words_only() -> None:
    report = read_report({"requestId": "1", "extra": {"requestId": "2"}})
    assert (report.request_id, report.fault) == ("1", None)
    assert report.words == '{"requestId":"1","extra":{"requestId":"2"}}'


@pytest.mark.parametrize(
    "value",
    [True, False, [], ["1"], {}, {"a": 1}, object()],
    ids=["true", "false", "empty", "list", "none", "map", "object"],
)
@pytest.mark.parametrize("key", ["trafficSts", "oriAmount", "requestId", "remark", "statusCode"])
def test_a_value_of_another_type_is_a_fault(key: str, value: object) -> None:
    assert "neither text nor a number" in (read_report({key: value}).fault or "")


@pytest.mark.parametrize("other", ["-1", None, "", 0], ids=repr)
def test_keys_that_collide_and_disagree_are_a_fault(other: object) -> None:
    assert "said twice" in (read_report({"trafficSts": "1", "TRAFFICSTS": other}).fault or "")


def test_keys_that_collide_and_agree_are_no_fault() -> None:
    report = read_report({"remark": "成功", "Remark": "成功", "trafficSts": "1", "trafficsts": JsonNumber("1")})
    assert (report.remark, report.traffic_sts, report.fault) == ("成功", "1", None)


def test_a_colliding_id_still_names_its_order() -> None:
    report = read_report({"requestId": "", "requestid": "7"})
    assert report.request_id == "7"
    assert report.fault is not None


@pytest.mark.parametrize("code", ["0", "000000", JsonNumber("0"), 0], ids=["text", "zeros", "number", "integer"])
def test_a_good_status_code_of_the_items_own_is_no_fault(code: object) -> None:
    assert read_report({"requestId": "1", "statusCode": code}).fault is None


@pytest.mark.parametrize("code", ["-2", "00", JsonNumber("-205"), 1], ids=["text", "zeros", "number", "integer"])
def test_another_status_code_of_the_items_own_is_a_fault(code: object) -> None:
    assert "the item is an error" in (read_report({"requestId": "1", "statusCode": code}).fault or "")


@pytest.mark.parametrize(
    "value", ["9" * 256, JsonNumber("9" * 5000), 1 << 600, 10**300], ids=["text", "number", "integer", "power"]
)
def test_a_value_too_long_is_a_fault_and_never_cut(value: object) -> None:
    report = read_report({"requestId": "1", "oriAmount": value})
    assert report.ori_amount is None
    assert "too long" in (report.fault or "")


@pytest.mark.parametrize("value", ["1\x00", "\ud800"], ids=["nul", "surrogate"])
def test_an_id_that_cannot_be_stored_is_a_fault(value: str) -> None:
    report = read_report({"requestId": value})
    assert report.request_id is None
    assert "stored" in (report.fault or "")


def test_a_remark_is_made_storable_and_cut() -> None:
    report = read_report({"remark": "\x00" + "好" * 600})
    assert report.remark == "\ufffd" + "好" * 499
    assert report.fault is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["requestId", "REQUESTID", "oriAmount", "trafficSts", "TrafficSts", "remark", "statusCode"])


@given(st.dictionaries(KEYS | st.text(st.characters(), max_size=9), ANYTHING, max_size=8))
def test_reading_an_item_never_raises_and_gives_storable_text(fields: dict[str, object]) -> None:
    report = read_report(fields)
    for text in (report.request_id, report.traffic_sts, report.ori_amount, report.remark, report.fault, report.words):
        if text is not None:
            assert "\x00" not in text
            text.encode()
            assert len(text) <= 2000
