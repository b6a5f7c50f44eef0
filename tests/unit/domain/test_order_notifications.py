"""Which change of an order gives a notification, under which type, rank and version, and what the text holds."""

import json
from dataclasses import fields, replace
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.builders import NOW, make_order
from worker.domain.order_notifications import (
    body_of_test,
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
    Endpoint,
    EventType,
    Notification,
    Rank,
    TransportKind,
)
from worker.domain.records.order_changes import Change, EventKind, OrderEvent
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source, version_at
from worker.domain.records.reports import TrafficStatus

P, S, F, U, C = OrderState
ENDPOINT = Endpoint(account="default", transport=TransportKind.WEBHOOK, target_digest="", shown="")


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
    unseen = changed(
        lane=Lane.ALONE, absences=3, traffic_sts=TrafficStatus.RECHARGING, remark="处理中", custom_parm="C1"
    )
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
            "ori_amount": "100",
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
    new = notification_of_order(
        make_order(request_id="r1"), EventType.SUCCEEDED, event_id="msg_1", changed_at=NOW, rank=Rank.RESULT
    )
    values = {field.name: getattr(new, field.name) for field in fields(new)}
    row = notification_row(Notification(id=7, due_at=NOW, **values))
    assert tuple(row) == csv_columns.NOTIFICATIONS
    assert (row["id"], row["request_id"], row["custom_parm"], row["type"]) == (7, "r1", None, EventType.SUCCEEDED)
