import json

import pytest
from hypothesis import example, given

from tests.unit.domain.builders import APP_ID, MASKED
from tests.unit.domain.test_submissions import json_values, nested
from worker.domain.callbacks import LONGEST_PAYLOAD, Callback, account_of, key_in, read_callback
from worker.domain.records.order_keys import OrderKey

BODY = {
    "requestId": "R1",
    "customParm": "C1",
    "appid": APP_ID,
    "trafficSts": "1",
    "remark": "成功",
    "oriAmount": "2.94",
    "mobile": MASKED,
}
ONE, TWO = {"default": APP_ID}, {"default": APP_ID, "north": "app-north"}


def callback(**fields: object) -> Callback:
    found = read_callback({**BODY, **fields})
    assert isinstance(found, Callback), found
    return found


@given(json_values)
@example({"requestId": "R1", "oriAmount": float("nan")})
@example({"requestId": "R1", "remark": "\ud800\x00"})
def test_reading_a_callback_never_raises_and_what_is_kept_can_be_read_again(item: object) -> None:
    found = read_callback(item)
    if isinstance(found, Callback):
        assert "\x00" not in found.payload_text
        assert found.payload_text.encode()
        again = read_callback(json.loads(found.payload_text))
        assert isinstance(again, Callback)
        assert key_in("default", again) == key_in("default", found)
    else:
        assert all(fault.encode() for fault in found)


def test_a_callback_is_read_in_the_platforms_own_words_and_any_key_case() -> None:
    found = read_callback({key.upper(): value for key, value in BODY.items()})
    assert isinstance(found, Callback)
    assert key_in("north", found) == OrderKey(account="north", request_id="R1", custom_parm="C1")
    report = found.report
    assert (report.traffic_sts, report.ori_amount, report.has_amount_field) == ("1", "2.94", True)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ("R1", "callback: must be an object, not a string"),
        ({"trafficSts": "1"}, "requestId: is missing; accepted: requestId, customParm, or both"),
        ({**BODY, "requestId": "1,2"}, "requestId: contains ','"),
        ({**BODY, "customParm": "a" * 65}, "customParm: has 65 characters"),
        ({**BODY, "remark": "x" * LONGEST_PAYLOAD}, f"callback: is longer than {LONGEST_PAYLOAD} characters"),
        ({**BODY, "remark": 10**5000}, "callback: cannot be written as JSON"),
        ({**BODY, "remark": nested(100_000)}, "callback: cannot be written as JSON"),
    ],
    ids=["text", "no-id", "comma", "long-id", "long", "huge", "deep"],
)
def test_a_callback_that_can_be_kept_for_no_order_is_refused_with_the_reason(item: object, fault: str) -> None:
    found = read_callback(item)
    assert isinstance(found, tuple)
    assert found[0].startswith(fault)


def test_an_unreadable_field_does_not_lose_the_callback() -> None:
    assert callback(oriAmount=["2.94"]).report.fault is not None


def test_the_account_of_a_callback_is_told_by_its_appid() -> None:
    assert account_of(callback(appid="app-north"), TWO, {"default"}) == "north"
    assert callback(appid="app-north").accounts(TWO) == ("north",)


def test_without_an_appid_it_is_the_only_account_there_is() -> None:
    assert account_of(callback(appid=None), ONE, ()) == "default"


def test_or_that_of_the_only_row_that_matches() -> None:
    assert account_of(callback(appid=None), TWO, {"north"}) == "north"
    assert callback(appid=None).accounts(TWO) == ("default", "north")


@pytest.mark.parametrize("matching", [(), ("default", "north")], ids=["none", "both"])
def test_else_it_has_no_account(matching: tuple[str, ...]) -> None:
    assert account_of(callback(appid=None), TWO, matching) is None


def test_an_appid_that_two_accounts_share_is_told_apart_by_the_row() -> None:
    shared = {"default": APP_ID, "north": APP_ID}
    assert account_of(callback(), shared, {"north"}) == "north"
    assert account_of(callback(), shared, ()) is None
