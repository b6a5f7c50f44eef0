"""Which change of an order gives a notification, under which type, rank and version, and what the text holds.

What is sent once more: the latest notification of each order, or one of how it stands.
"""

import json
from dataclasses import fields, replace
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.builders import NOW, make_endpoint, make_order
from worker.domain.notifications.events import (
    body_of_test,
    choose_resends,
    event_of,
    event_of_order,
    notification_of_change,
    notification_of_order,
    notification_row,
    rank_of,
    visible_changes,
    wanted,
)
from worker.domain.records import csv_columns
from worker.domain.records.notifications import (
    EventType,
    Notification,
    NotificationState,
    Rank,
)
from worker.domain.records.order_changes import Change, EventKind, OrderEvent
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source, TrafficStatus, version_at

P, S, F, U, C = OrderState
ENDPOINT = make_endpoint()
ENDPOINTS = {"default": ENDPOINT}


def changed(order: Order | None = None, /, *events: OrderEvent, **fields: Any) -> Change:
    before = order or make_order()
    return Change(before=before, after=replace(before, **fields), events=events)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (P, S, EventType.SUCCEEDED),
        (U, S, EventType.SUCCEEDED),
        (P, F, EventType.FAILED),
        (P, U, EventType.UNRESOLVED),
        (U, C, EventType.CANCELLED),
        (S, P, EventType.REOPENED),
        (U, P, EventType.REOPENED),
    ],
)
def test_another_state_is_told_of_by_its_own_type(before: OrderState, after: OrderState, told: EventType) -> None:
    assert event_of(changed(make_order(state=before), state=after)) is told
    assert event_of(changed(make_order(state=before), state=after, attention=Attention.TOO_OLD)) is told


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, Attention.TOO_OLD), (Attention.TOO_OLD, Attention.LATE_CONFLICT), (Attention.TOO_OLD, None)],
)
def test_another_attention_or_none_any_more_is_told_of(before: Attention | None, after: Attention | None) -> None:
    assert event_of(changed(make_order(attention=before), attention=after)) is EventType.ATTENTION


def test_what_is_no_result_is_not_told_of() -> None:
    said = {"traffic_sts": TrafficStatus.RECHARGING, "remark": "处理中", "custom_parm": "C1"}
    unseen = changed(None, lane=Lane.ALONE, absences=3, **said)
    settles = changed(state=S)
    assert visible_changes([unseen, settles, changed()]) == [(settles, EventType.SUCCEEDED)]


def test_many_orders_at_once_do_not_go_before_results() -> None:
    assert [rank_of(number) for number in (1, 2, 1_000)] == [Rank.RESULT, Rank.BULK, Rank.BULK]


def test_only_an_endpoint_that_takes_the_type_is_told() -> None:
    assert not wanted(None, EventType.FAILED)
    assert wanted(ENDPOINT, EventType.FAILED)
    some = replace(ENDPOINT, events="order.succeeded,order.failed")
    assert [wanted(some, event) for event in EventType] == [True, True, False, False, False, False]


def test_the_text_of_a_result() -> None:
    before = make_order(7, custom_parm="C7", expected_amount=Decimal("2.9400"), version=41)
    settled = OrderEvent(order_id=7, at=NOW, kind=EventKind.SETTLED, source=Source.CALLBACK)
    change = changed(
        before,
        settled,
        state=S,
        traffic_sts=TrafficStatus.RECHARGED,
        remark="成功\n" + "😀" * 2_000,
        ori_amount=Decimal("1E+2"),
        settled_by=Source.CALLBACK,
        settled_at=NOW.astimezone(timezone(timedelta(hours=8))),
    )
    told = notification_of_change(change, EventType.SUCCEEDED, event_id="msg_1", now=NOW, rank=Rank.RESULT)
    assert (told.account, told.order_id, told.event_id, told.changed_at) == ("default", 7, "msg_1", NOW)
    assert "\n" not in told.body
    assert json.loads(told.body) == {
        "type": "order.succeeded",
        "timestamp": "2026-01-31T12:00:00+00:00",
        "data": {
            "account": "default",
            "request_id": "R7",
            "custom_parm": "C7",
            "mobile": "18812340804",
            "state": "succeeded",
            "traffic_sts": 1,
            "remark": "成功\n" + "😀" * 997,
            "ori_amount": "100.00",
            "amount_is_price": False,
            "expected_amount": "2.94",
            "attention": None,
            "settled_by": "callback",
            "settled_at": "2026-01-31T12:00:00+00:00",
            "source": "callback",
            "version": version_at(NOW),
        },
    }


def test_a_test_event_is_about_no_order_and_has_no_version() -> None:
    body = json.loads(body_of_test("default", NOW))
    assert (body["type"], body["data"]) == ("test", {"account": "default", "version": 0})


def test_the_version_is_the_clock_s_or_one_more_than_the_last() -> None:
    for version, expected in ((0, version_at(NOW)), (version_at(NOW), version_at(NOW) + 1), (2**50, 2**50 + 1)):
        change = changed(make_order(version=version), state=C)
        told = notification_of_change(change, EventType.CANCELLED, event_id="m", now=NOW, rank=Rank.BULK)
        data = json.loads(told.body)["data"]
        assert (told.version, data["version"], told.rank, data["source"]) == (expected, expected, Rank.BULK, "worker")


def test_an_order_as_it_stands_is_told_of_under_its_own_version() -> None:
    order = make_order(state=F, settled_by=Source.QUERY, settled_at=NOW, version=9)
    assert event_of_order(order) is EventType.FAILED
    told = notification_of_order(order, EventType.FAILED, event_id="m", changed_at=NOW, rank=Rank.BULK)
    assert (told.type, told.version) == (EventType.FAILED, 9)
    assert json.loads(told.body)["data"]["source"] == "query"
    cancelled = make_order(state=C)
    by_hand = notification_of_order(cancelled, EventType.CANCELLED, event_id="m", changed_at=NOW, rank=Rank.BULK)
    assert json.loads(by_hand.body)["data"]["source"] == "operator"


def test_a_pending_order_has_something_to_tell_only_if_it_was_reopened_or_needs_a_person() -> None:
    assert event_of_order(make_order()) is None
    assert event_of_order(make_order(reopened_at=NOW)) is EventType.REOPENED
    assert event_of_order(make_order(attention=Attention.TOO_OLD)) is EventType.ATTENTION


def test_a_list_shows_the_ids_of_the_order_instead_of_the_text() -> None:
    order = make_order(request_id="r1")
    new = notification_of_order(order, EventType.SUCCEEDED, event_id="msg_1", changed_at=NOW, rank=Rank.RESULT)
    values = {field.name: getattr(new, field.name) for field in fields(new)}
    row = notification_row(Notification(id=7, due_at=NOW, **values))
    assert tuple(row) == csv_columns.NOTIFICATIONS
    assert (row["id"], row["request_id"], row["custom_parm"], row["type"]) == (7, "r1", None, EventType.SUCCEEDED)


def row(order_id: int, number: int, version: int, state: NotificationState, account: str = "default") -> Notification:
    text: dict[str, Any] = {"event_id": f"m{number}", "body": "{}", "rank": Rank.RESULT, "type": EventType.FAILED}
    which: dict[str, Any] = {"order_id": order_id, "version": version, "account": account}
    return Notification(id=number, state=state, changed_at=NOW, due_at=NOW, **which, **text)


def test_the_latest_notification_of_each_order_is_sent_once_more_and_given_up_ones_before_it_go() -> None:
    first = row(1, 1, 10, NotificationState.GAVE_UP)
    second = row(1, 2, 11, NotificationState.DELIVERED)
    older = row(2, 3, 5, NotificationState.DELIVERED)
    newest = row(2, 4, 6, NotificationState.GAVE_UP)
    orders = [make_order(1, version=11), make_order(2, version=6)]
    chosen = choose_resends([1, 2], orders, [newest, first, second, older], ENDPOINTS)
    assert set(chosen.again) == {second, newest}
    assert chosen.superseded == (first,)
    assert (chosen.made, chosen.refusals) == ((), {})


def test_an_order_without_a_notification_is_told_of_as_it_stands_or_refused_in_words() -> None:
    settled, waits = make_order(1, state=OrderState.SUCCEEDED), make_order(2)
    alien = replace(settled, id=3, account="shop")
    gone = row(4, 9, 1, NotificationState.DELIVERED)
    given_up = row(3, 8, 1, NotificationState.GAVE_UP, "shop")
    chosen = choose_resends([1, 2, 3, 4], [settled, waits, alien], [gone, given_up], ENDPOINTS)
    assert chosen.made == ((settled, EventType.SUCCEEDED),)
    assert (chosen.again, chosen.superseded) == ((), ())
    assert list(chosen.refusals) == [2, 3, 4]
    assert "is pending" in chosen.refusals[2]
    assert "account shop has no endpoint" in chosen.refusals[3]
    assert chosen.refusals[4] == "there is no order id:4"


def test_an_order_of_whose_version_no_notification_is_left_gets_a_new_one_of_how_it_stands() -> None:
    delivered, given_up = NotificationState.DELIVERED, NotificationState.GAVE_UP
    corrected = make_order(1, state=OrderState.SUCCEEDED, version=7)
    flagged = make_order(2, attention=Attention.TOO_OLD, version=7)
    dismissed = make_order(3, version=7)
    rows = [row(1, 1, 5, given_up), row(2, 2, 6, delivered), row(3, 3, 6, delivered)]
    chosen = choose_resends([1, 2, 3], [corrected, flagged, dismissed], rows, ENDPOINTS)
    assert chosen.made == (
        (corrected, EventType.SUCCEEDED),
        (flagged, EventType.ATTENTION),
        (dismissed, EventType.ATTENTION),
    )
    assert (chosen.again, chosen.superseded, chosen.refusals) == ((), (rows[0],), {})


def test_each_order_that_is_renewed_gets_a_new_notification_and_one_that_is_gone_is_refused() -> None:
    settled, waits = make_order(1, state=OrderState.FAILED, version=5), make_order(2)
    rows = [row(1, 1, 5, NotificationState.GAVE_UP), row(3, 3, 5, NotificationState.DELIVERED)]
    chosen = choose_resends([1, 2, 3], [settled, waits], rows, ENDPOINTS, renew=True)
    assert chosen.made == ((settled, EventType.FAILED),)
    assert (chosen.again, chosen.superseded) == ((), (rows[0],))
    assert "is pending" in chosen.refusals[2]
    assert chosen.refusals[3] == "there is no order id:3"


def test_no_notification_is_made_of_a_type_that_the_endpoint_does_not_take() -> None:
    some = {"default": replace(ENDPOINTS["default"], events="order.succeeded")}
    stale = row(2, 1, 5, NotificationState.GAVE_UP)
    orders = [make_order(number, state=OrderState.FAILED, version=6) for number in (1, 2)]
    chosen = choose_resends([1, 2], orders, [stale], some)
    assert (chosen.made, chosen.again, chosen.superseded) == ((), (), ())
    assert all("does not take order.failed" in chosen.refusals[number] for number in (1, 2))
