"""Which orders callbacks name and what they change; those that only repeat what is recorded; and those that an operator
links to an order."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given

from tests.unit.domain.builders import APP_ID, NOW, RULES, make_blind_order, make_order, make_report
from tests.unit.domain.callbacks.test_bodies import BODY as BY_REQUEST_ID
from tests.unit.domain.callbacks.test_bodies import TWO, posted
from tests.unit.domain.orders.test_check_fields import json_values, nested
from worker.domain.callbacks.bodies import LONGEST_PAYLOAD, Callback, read_callback
from worker.domain.callbacks.match_to_orders import (
    CallbackMatcher,
    CallbackResult,
    apply_callbacks,
    apply_kept_callbacks,
    key_in,
    link_callback,
    sayings_of,
    shown_sayings_of,
)
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Trust
from worker.domain.records.operators import Act
from worker.domain.records.order_changes import Change, EventKind, Saying
from worker.domain.records.orders import Attention, Order, OrderKey, OrderState, Source

ONE = {"default": APP_ID}
SETTLED = make_order(1, state=OrderState.SUCCEEDED, ori_amount=Decimal("9.80"), settled_at=NOW)
BODY = {**BY_REQUEST_ID, "customParm": "C1", "remark": "成功"}


def applied(
    order: Order, *callbacks: dict[str, Any], said: dict[Saying, int] | None = None, times: int = 1
) -> CallbackResult:
    listed = list(enumerate([posted(**fields) for fields in callbacks or ({},)] * times))
    return apply_callbacks(listed, [order], ONE, NOW, RULES, said or {})


def test_what_is_said_again_of_a_settled_order_is_counted_and_not_recorded_again() -> None:
    result = applied(make_order(1), times=3)
    # In one list: the second is recorded, the third counted beside it.
    (change,) = result.changes
    assert [(event.kind, event.repeats) for event in change.events] == [("settled", None), ("ignored", 1)]
    # Later: all of them are counted beside the stored event.
    (ignored,) = set(sayings_of(applied(change.after, times=3).changes))
    later = applied(change.after, said={ignored: 42}, times=3)
    assert ([change.events for change in later.changes], later.repeated) == ([()], {42: 3})


def test_a_dismissed_late_conflict_does_not_come_back_by_the_same_callback() -> None:
    first = applied(SETTLED)
    (change,) = first.changes
    assert change.after.attention is Attention.LATE_CONFLICT
    assert shown_sayings_of(first.changes) == sayings_of(first.changes) != []
    assert shown_sayings_of(applied(change.after).changes) == []
    dismissed = replace(change.after, attention=None)
    said = dict.fromkeys(sayings_of(first.changes), 42)
    again = applied(dismissed, said=said)
    assert ([change.after for change in again.changes], again.repeated) == ([dismissed], {42: 1})
    for trust in Trust:
        (change,) = applied(dismissed, {"oriAmount": "1.00", "trust": trust}, said=said).changes
        assert (change.after.attention, len(change.events)) == (Attention.LATE_CONFLICT, 1)


def test_a_new_word_beside_a_repeated_one_counts_for_itself_alone() -> None:
    said = dict.fromkeys(sayings_of(applied(SETTLED).changes), 42)
    result = applied(SETTLED, {}, {"mobile": "199****0000"}, said=said)
    (change,) = result.changes
    assert (change.after.attention, result.repeated) == (Attention.MOBILE_MISMATCH, {42: 1})
    assert [event.kind for event in change.events] == [EventKind.NOT_BELIEVED]


def test_what_is_said_again_of_a_pending_order_is_recorded_each_time() -> None:
    result = applied(make_order(1), {"trafficSts": "7"}, times=2)
    assert [[event.kind for event in change.events] for change in result.changes] == [["not_believed"] * 2]
    assert sayings_of(result.changes) == []


@pytest.mark.parametrize("fields", [{"oriAmount": None}, {"trafficSts": "-1", "remark": "订单不存在"}])
def test_a_late_result_that_proves_nothing_has_an_unresolved_order_polled_each_time(fields: dict[str, Any]) -> None:
    unresolved = make_order(1, state=OrderState.UNRESOLVED)
    first = applied(unresolved, fields)
    again = applied(unresolved, fields, said=dict.fromkeys(sayings_of(first.changes), 42))
    for (change,) in (first.changes, again.changes):
        after = change.after
        assert (after.state, after.due_at, after.check_requested_at) == (OrderState.UNRESOLVED, NOW, NOW)


def test_a_kept_callback_that_came_again_leaves_its_count_with_the_order() -> None:
    kept = replace(posted(), repeats=149)
    matched, result = apply_kept_callbacks([(5, "default", kept)], [make_order(1)], ONE, NOW, RULES)
    assert matched == [5]
    (change,) = result.changes
    assert [(event.kind, event.repeats) for event in change.events] == [("settled", 149)]
    two = [(6, "default", kept), (7, "default", posted())]
    matched, result = apply_kept_callbacks(two, [change.after], ONE, NOW, RULES)
    assert [[event.repeats for event in change.events] for change in result.changes] == [[150]]
    (ignored,) = set(sayings_of(result.changes))
    _, counted = apply_kept_callbacks(two, [change.after], ONE, NOW, RULES, {ignored: 42})
    assert counted.repeated == {42: 151}


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


def test_a_callback_is_read_by_the_platforms_own_keys_in_any_case() -> None:
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


def account_of(callback: Callback, app_ids: dict[str, str], *accounts_with_orders: str) -> str | None:
    orders = [make_order(1, account=account) for account in accounts_with_orders]
    return CallbackMatcher(orders, app_ids, RULES, {}).account_of(callback)


def test_the_account_of_a_callback_follows_from_its_appid_or_is_the_only_one_that_may_be_meant() -> None:
    assert account_of(callback(appid="app-north"), TWO, "default") == "north"
    assert account_of(callback(appid=None), ONE) == "default"
    for one_id in ({}, {"customParm": None}):
        assert account_of(callback(appid=None, **one_id), TWO, "north") == "north"
    for neither in ((), ("default", "north")):
        assert account_of(callback(appid=None), TWO, *neither) is None


def test_without_an_appid_it_is_the_account_of_the_only_order_that_has_both_ids() -> None:
    orders = [make_order(1, account="north", custom_parm="C1"), make_order(2, request_id="r2", custom_parm="C1")]
    both = callback(appid=None, requestId=orders[0].request_id, customParm="C1")
    result = apply_callbacks([(0, both)], orders, TWO, NOW, RULES)
    assert [(one.after.id, one.after.state) for one in result.changes if one.events] == [(1, OrderState.SUCCEEDED)]
    # Where no order has both, each of them may be meant.
    neither = callback(appid=None, requestId="r3", customParm="C1")
    assert apply_callbacks([(0, neither)], orders, TWO, NOW, RULES).rejections


def test_where_two_accounts_share_an_appid_the_row_decides() -> None:
    shared = {"default": APP_ID, "north": APP_ID}
    assert account_of(callback(), shared, "north") == "north"
    assert account_of(callback(), shared) is None


def test_a_callback_settles_the_order_that_it_names() -> None:
    result = apply_callbacks([(0, callback())], [make_order(1, custom_parm="C1")], ONE, NOW, RULES)
    assert (result.settled, result.unchanged, result.unmatched, result.keys) == (1, 0, [], [])
    assert [change.settles for change in result.changes] == [True]


def test_the_same_callback_twice_settles_once() -> None:
    result = apply_callbacks([(0, callback()), (1, callback())], [make_order(1, custom_parm="C1")], ONE, NOW, RULES)
    assert (result.settled, result.unchanged) == (1, 1)


def test_a_callback_of_an_unknown_order_is_to_be_kept_and_matched_again() -> None:
    result = apply_callbacks([(0, callback())], [], ONE, NOW, RULES)
    assert result.unmatched == [(key_in("default", callback()), callback())]
    assert result.keys == [key_in("default", callback())]


def test_a_later_callback_of_a_list_finds_an_order_by_the_id_that_an_earlier_one_filled_in() -> None:
    order = make_order(1, request_id=None, custom_parm="C1")
    first, second = callback(trafficSts="0"), callback(customParm=None)
    result = apply_callbacks([(0, first), (1, second)], [order], ONE, NOW, RULES)
    assert (result.settled, result.unchanged) == (1, 1)
    assert [key.request_id for key in result.keys] == ["R1"]


def test_a_callback_whose_ids_belong_to_two_orders_settles_neither_and_flags_both() -> None:
    orders = [make_order(1), make_order(2, request_id=None, custom_parm="C1")]
    result = apply_callbacks([(0, callback())], orders, ONE, NOW, RULES)
    assert (result.settled, result.unchanged) == (0, 1)
    assert [change.after.attention for change in result.changes] == [Attention.CONFLICTING_ANSWER] * 2


def test_a_callback_without_an_account_is_refused() -> None:
    result = apply_callbacks([(5, callback(appid="nobody's"))], [], TWO, NOW, RULES)
    assert [(one.index, one.errors[0].split(":")[0]) for one in result.rejections] == [(5, "appid")]


def test_kept_callbacks_are_matched_once_their_order_is_known() -> None:
    other = callback(requestId="R9", customParm=None)
    kept = [(11, "default", callback()), (12, "default", other), (13, "no longer configured", callback())]
    matched, result = apply_kept_callbacks(kept, [make_order(1, custom_parm="C1")], ONE, NOW, RULES)
    assert matched == [11]
    assert [change.settles for change in result.changes] == [True]


ACT = Act(actor="ann", reason="ticket 77", now=NOW)
BLIND = make_blind_order()
APP_IDS = {"default": APP_ID}


def linked(
    order: Order, *named: int, account: str = "default", trust: Trust = Trust.SETTLE, **said: Any
) -> Change | CodedText:
    """The order's change, or why it is refused; the callback names R9 unless `said` has something else."""
    callback = Callback(report=make_report(9, **said), payload={}, payload_text="{}", trust=trust)
    return link_callback(order, (account, callback), named, ACT, APP_IDS, RULES)


def change_of(order: Order, *named: int, **said: Any) -> Change:
    change = linked(order, *named, **said)
    assert isinstance(change, Change)
    return change


def refusal_of(order: Order, *named: int, **said: Any) -> TextCode:
    refused = linked(order, *named, **said)
    assert isinstance(refused, CodedText)
    return refused.code


def test_a_callback_that_shows_the_phone_settles_the_order_and_names_who_linked_it() -> None:
    change = change_of(BLIND)
    assert (change.after.state, change.after.settled_by) == (OrderState.SUCCEEDED, Source.CALLBACK)
    assert (change.after.ori_amount, change.after.request_id) == (Decimal("2.94"), "R9")
    act, result = change.events
    assert (act.kind, act.source, act.actor, act.to_state) == (
        *(EventKind.LINKED, Source.OPERATOR, "ann", OrderState.PENDING),
    )
    assert act.detail == 'unmatched callback {"requestId":"R9"}: ticket 77'
    assert (result.kind, result.source, result.actor) == (EventKind.SETTLED, Source.CALLBACK, None)


def test_a_callback_that_is_only_a_hint_makes_the_order_due_and_settles_nothing() -> None:
    change = change_of(replace(BLIND, due_at=NOW + RULES.windows(9)), trust=Trust.CHECK)
    assert (change.after.state, change.after.due_at) == (OrderState.PENDING, NOW)
    assert [event.kind for event in change.events] == [EventKind.LINKED, EventKind.CHECK_REQUESTED]


def test_what_changes_nothing_is_recorded_as_linked_all_the_same() -> None:
    pending = replace(BLIND, request_id="R1", traffic_sts=None)
    change = change_of(pending, request_id=None, custom_parm="C1", trust=Trust.CHECK, traffic_sts="0")
    assert change.before == change.after
    assert [event.kind for event in change.events] == [EventKind.LINKED]


def test_a_final_order_keeps_its_state_and_shows_a_contradiction() -> None:
    failed = replace(BLIND, state=OrderState.FAILED, settled_by=Source.QUERY, settled_at=NOW)
    change = change_of(failed)
    assert (change.after.state, change.after.attention) == (OrderState.FAILED, Attention.LATE_CONFLICT)


@pytest.mark.parametrize(
    ("order", "said", "code"),
    [
        (make_order(), {}, TextCode.OTHER_REQUEST_ID),
        (BLIND, {"custom_parm": "C9"}, TextCode.OTHER_CUSTOM_PARM),
        (BLIND, {"mobile": "188****0805"}, TextCode.OTHER_MOBILE),
        (BLIND, {"app_id": "app-2"}, TextCode.OTHER_APP_ID),
        (BLIND, {"ori_amount": "x"}, TextCode.AMOUNT_UNREADABLE),
        (BLIND, {"mobile": None}, TextCode.NO_WITNESS),
        (BLIND, {"mobile": "1**********"}, TextCode.NO_WITNESS),
        (make_order(mobile=None), {"request_id": None, "custom_parm": "C9"}, TextCode.NO_WITNESS),
        (replace(BLIND, account="north"), {}, TextCode.OTHER_ACCOUNT),
    ],
)
def test_a_callback_that_is_not_shown_to_be_about_the_order_is_refused(
    order: Order, said: dict[str, Any], code: TextCode
) -> None:
    for trust in Trust:
        assert refusal_of(order, trust=trust, **said) is code


def test_a_callback_that_names_another_known_order_is_refused() -> None:
    assert refusal_of(BLIND, 9) is TextCode.NAMES_OTHER
    assert refusal_of(BLIND, BLIND.id, 9, custom_parm="C1") is TextCode.NAMES_OTHER


def test_a_callback_that_names_the_order_by_now_needs_no_phone() -> None:
    order = make_order(9)
    assert change_of(order, order.id, mobile=None).settles


def test_an_order_whose_account_is_not_in_the_settings_is_refused() -> None:
    assert refusal_of(replace(BLIND, account="north"), account="north") is TextCode.NOT_CONFIGURED
