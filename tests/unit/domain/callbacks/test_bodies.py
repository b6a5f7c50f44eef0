"""The body of a callback over HTTP: JSON or a form, in whatever encoding it comes.

Callbacks over HTTP: whose they are, what one that is only a hint does, and what repeats.
"""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import APP_ID, MASKED, NOW, RULES, WINDOW, leased, make_order, make_report
from worker.domain.callbacks.bodies import BodyFault, Callback, read_body, receive, shown_body
from worker.domain.callbacks.hints import check_by_callback
from worker.domain.callbacks.match_to_orders import apply_callbacks, apply_kept_callbacks
from worker.domain.records.incoming import Rejection, Trust
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source

ITEM = {"requestId": "R1", "trafficSts": "-1", "remark": "号码错误"}
JSON = json.dumps(ITEM, ensure_ascii=False)
FORM = "application/x-www-form-urlencoded"
BODY = {"requestId": "R1", "appid": APP_ID, "trafficSts": "1", "oriAmount": "2.94", "mobile": MASKED}
TWO = {"default": APP_ID, "north": "app-north"}


BARE_FAILURE: dict[str, Any] = {"traffic_sts": "-1", "mobile": None, "ori_amount": None, "has_amount_field": False}


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
        # One byte of the remark is missing.
        (b'{"requestId":"R1","remark":"' + "订单不存在".encode()[:-1] + b'"}', "text in no encoding"),
        (urlencode({"requestId": "R1", "remark": "订单不存在"}).encode()[:-3], "text in no encoding"),
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


def received(account: str = "default", trust: Trust = Trust.SETTLE, **fields: object) -> Callback | Rejection:
    body = {name: value for name, value in {**BODY, **fields}.items() if value is not None}
    return receive(account, TWO[account], json.dumps(body).encode(), "application/json", trust)


def posted(account: str = "default", trust: Trust = Trust.SETTLE, **fields: object) -> Callback:
    found = received(account, trust, **fields)
    assert isinstance(found, Callback), found
    return found


def hinted(order: Order, at: datetime = NOW, **fields: Any) -> Change:
    """What a callback that is only a hint changes of the order."""
    return check_by_callback(order, make_report(1, **fields), at, RULES, app_id=APP_ID)


def test_the_address_decides_whose_callback_it_is() -> None:
    of_north = posted("north", appid=None)
    assert of_north.accounts(TWO) == ("north",)
    orders = [make_order(1), make_order(2, account="north", request_id="R1")]
    result = apply_callbacks([(0, of_north)], orders, TWO, NOW, RULES)
    assert [change.after.account for change in result.changes if change.settles] == ["north"]


@pytest.mark.parametrize("appid", ["app-north", "nobody's", 7])
def test_a_callback_with_another_appid_is_refused(appid: object) -> None:
    refused = received(appid=appid)
    assert isinstance(refused, Rejection)
    assert refused.errors == (f"appid: {appid} is not that of this account", "address: that of account default")


def test_what_cannot_be_read_is_refused_and_kept_as_it_came() -> None:
    refused = receive("default", APP_ID, b"hello \xff", None, Trust.SETTLE)
    assert isinstance(refused, Rejection)
    assert refused.payload == "hello \\xff"
    assert [error.partition(":")[0] for error in refused.errors] == ["callback", "address"]
    nameless = received(requestId=None)
    assert isinstance(nameless, Rejection)
    assert nameless.errors[0].startswith("requestId: is missing")
    assert isinstance(nameless.payload, dict)


@pytest.mark.parametrize("status", ["1", "-1"])
def test_a_hint_makes_its_order_due_and_settles_nothing(status: str) -> None:
    order = make_order(1, due_at=NOW + 10 * WINDOW)
    result = apply_callbacks([(0, posted(trust=Trust.CHECK, trafficSts=status))], [order], TWO, NOW, RULES)
    (change,) = result.changes
    assert (result.settled, result.unchanged, result.checked) == (0, 1, 1)
    assert change.after == replace(order, due_at=NOW, check_requested_at=NOW, callback_check_after=NOW + 10 * WINDOW)
    (event,) = change.events
    assert (event.kind, event.source, event.from_state) == (EventKind.CHECK_REQUESTED, Source.CALLBACK, "pending")


def test_a_hint_counts_once_until_the_order_would_be_due_and_for_two_windows_at_least() -> None:
    order = make_order(1, due_at=NOW - WINDOW)
    first = hinted(order).after
    assert first.callback_check_after == NOW + 2 * WINDOW
    polled = replace(first, due_at=NOW + 5 * WINDOW, check_requested_at=None)
    early = NOW + 2 * WINDOW - timedelta(microseconds=1)
    at_its_time = replace(polled, due_at=NOW + 2 * WINDOW, check_requested_at=NOW + 2 * WINDOW)
    assert hinted(polled, at=early).after == replace(at_its_time, callback_check_after=NOW + 5 * WINDOW)
    later = hinted(polled, at=NOW + 2 * WINDOW).after
    assert (later.due_at, later.callback_check_after) == (NOW + 2 * WINDOW, NOW + 5 * WINDOW)


def test_a_hint_about_an_order_that_a_query_polls_has_it_polled_again_afterwards() -> None:
    order = leased(make_order(1))
    after = hinted(order).after
    assert (after.due_at, after.check_requested_at, after.lease_token) == (order.due_at, NOW, order.lease_token)


@pytest.mark.parametrize("fields", [{"traffic_sts": "0"}, {"traffic_sts": "7"}, {"fault": "mobile: too long"}])
def test_a_hint_without_a_result_does_nothing(fields: dict[str, Any]) -> None:
    order = make_order(1)
    change = hinted(order, **fields)
    assert (change.after, change.events) == (order, ())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"traffic_sts": "0"},
        {"traffic_sts": "7"},
        {"traffic_sts": "-1", "mobile": "199****0000"},
        {"traffic_sts": "-1", "fault": "mobile: too long"},
    ],
)
def test_a_hint_that_contradicts_no_final_state_is_recorded_only(fields: dict[str, Any]) -> None:
    order = make_order(1, state=OrderState.SUCCEEDED, ori_amount=Decimal("2.94"), settled_at=NOW)
    change = hinted(order, **fields)
    assert change.after == order
    assert [event.kind for event in change.events] == [EventKind.IGNORED]
    failed = make_order(1, state=OrderState.FAILED, settled_at=NOW)
    assert hinted(failed, **BARE_FAILURE).after == failed


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        ({"state": OrderState.SUCCEEDED, "ori_amount": Decimal("2.94")}, {"traffic_sts": "-1"}),
        ({"state": OrderState.SUCCEEDED, "ori_amount": Decimal("2.94")}, {"ori_amount": "9.80"}),
        ({"state": OrderState.SUCCEEDED, "ori_amount": Decimal("2.94")}, BARE_FAILURE),
        ({"state": OrderState.CANCELLED}, BARE_FAILURE),
        ({"state": OrderState.FAILED}, {"ori_amount": None, "has_amount_field": False}),
        ({"state": OrderState.CANCELLED}, {}),
    ],
)
def test_a_hint_that_contradicts_a_final_state_raises_late_conflict_and_changes_nothing_else(
    order: dict[str, Any], fields: dict[str, Any]
) -> None:
    settled = make_order(1, settled_at=NOW, **order)
    change = hinted(settled, **fields)
    assert change.after == replace(settled, attention=Attention.LATE_CONFLICT)
    assert [event.kind for event in change.events] == [EventKind.CONTRADICTED]
    again = hinted(change.after, **fields)
    assert again.after == change.after


def test_a_hint_that_repeats_the_price_of_a_failed_order_contradicts_nothing() -> None:
    failed = make_order(1, state=OrderState.FAILED, settled_at=NOW)
    said = make_report(1, traffic_sts="-1", ori_amount="2.94")
    rules = replace(RULES, echoing_accounts=frozenset({failed.account}))
    assert check_by_callback(failed, said, NOW, rules, app_id=APP_ID).after == failed
    assert check_by_callback(failed, said, NOW, RULES, app_id=APP_ID).after.attention is Attention.LATE_CONFLICT


@pytest.mark.parametrize("attention", [Attention.TOO_OLD, Attention.UNKNOWN_TO_PLATFORM])
def test_a_hint_makes_an_unresolved_order_due_once_more_ten_windows_after_its_last_poll(attention: Attention) -> None:
    order = make_order(1, state=OrderState.UNRESOLVED, attention=attention, due_at=NOW + 300 * WINDOW)
    change = hinted(order, traffic_sts="-1")
    assert change.after == replace(order, due_at=NOW, check_requested_at=NOW)
    assert [event.kind for event in change.events] == [EventKind.CHECK_REQUESTED]
    assert hinted(change.after).events == ()
    polled = replace(order, queried_at=NOW)
    for at, due_at in ((NOW + WINDOW, NOW + 10 * WINDOW), (NOW + 11 * WINDOW, NOW + 11 * WINDOW)):
        assert hinted(polled, at=at).after == replace(polled, due_at=due_at, check_requested_at=due_at)


def test_a_hint_about_an_unresolved_order_that_a_query_polls_counts_from_this_poll() -> None:
    order = leased(make_order(1, state=OrderState.UNRESOLVED, queried_at=NOW - 90 * WINDOW, check_requested_at=NOW))
    after = hinted(order).after
    assert after == replace(order, check_requested_at=NOW + 10 * WINDOW)
    assert hinted(after, at=NOW + WINDOW / 60).after == after


def test_an_unresolved_order_whose_queries_failed_joins_no_batch_by_a_hint() -> None:
    order = make_order(1, state=OrderState.UNRESOLVED, failures_alone=3)
    assert hinted(order).after.lane is Lane.ALONE


def test_a_hint_whose_ids_belong_to_two_orders_does_nothing() -> None:
    orders = [make_order(1), make_order(2, custom_parm="C2")]
    result = apply_callbacks([(0, posted(trust=Trust.CHECK, customParm="C2"))], orders, TWO, NOW, RULES)
    assert [change.after for change in result.changes] == orders


def test_a_hint_that_was_kept_does_no_more_once_its_order_is_known() -> None:
    kept = [(5, "default", posted(trust=Trust.CHECK))]
    matched, result = apply_kept_callbacks(kept, [make_order(1)], TWO, NOW, RULES)
    assert matched == [5]
    changes = result.changes
    assert [(change.after.state, change.after.due_at <= NOW) for change in changes] == [("pending", True)]
