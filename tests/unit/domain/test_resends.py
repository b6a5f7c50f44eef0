"""What is sent once more: the latest notification of each order, or one of how it stands."""

import json
from dataclasses import replace
from typing import Any

from tests.unit.domain.builders import NOW, make_order
from worker.domain.records.notifications import (
    Endpoint,
    EventType,
    Notification,
    NotificationState,
    Rank,
    TransportKind,
)
from worker.domain.records.orders import Attention, OrderState
from worker.domain.resends import choose_resends

ENDPOINTS = {"default": Endpoint(account="default", transport=TransportKind.WEBHOOK, target_digest="", shown="")}


def row(
    order_id: int,
    number: int,
    version: int,
    state: NotificationState,
    account: str = "default",
    order_state: OrderState = OrderState.PENDING,
    attention: Attention | None = None,
) -> Notification:
    body = json.dumps({"data": {"state": order_state, "attention": attention}})
    text: dict[str, Any] = {"event_id": f"m{number}", "body": body, "rank": Rank.RESULT, "type": EventType.FAILED}
    return Notification(
        id=number, order_id=order_id, version=version, state=state, account=account, changed_at=NOW, due_at=NOW, **text
    )


def test_the_latest_notification_of_each_order_is_sent_once_more_and_given_up_ones_before_it_go() -> None:
    first = row(1, 1, 10, NotificationState.GAVE_UP)
    second = row(1, 2, 11, NotificationState.DELIVERED)
    older = row(2, 3, 5, NotificationState.DELIVERED)
    newest = row(2, 4, 6, NotificationState.GAVE_UP)
    chosen = choose_resends([1, 2], [make_order(1), make_order(2)], [newest, first, second, older], ENDPOINTS)
    assert set(chosen.again) == {second, newest}
    assert chosen.superseded == (first,)
    assert (chosen.made, chosen.refusals) == ((), {})


def test_an_order_without_a_notification_is_told_of_as_it_stands_or_refused_in_words() -> None:
    settled, waits, alien = (
        make_order(1, state=OrderState.SUCCEEDED),
        make_order(2),
        make_order(3, state=OrderState.SUCCEEDED, account="shop"),
    )
    gone = row(4, 9, 1, NotificationState.DELIVERED)
    given_up = row(3, 8, 1, NotificationState.GAVE_UP, "shop")
    chosen = choose_resends([1, 2, 3, 4, 5], [settled, waits, alien], [gone, given_up], ENDPOINTS)
    assert chosen.made == ((settled, EventType.SUCCEEDED),)
    assert (chosen.again, chosen.superseded) == ((gone,), ())
    assert list(chosen.refusals) == [2, 3, 5]
    assert "is pending" in chosen.refusals[2]
    assert "account shop has no endpoint" in chosen.refusals[3]
    assert chosen.refusals[5] == "there is no order id:5"


def test_an_order_that_has_changed_without_a_notification_gets_a_new_one_of_how_it_stands() -> None:
    delivered, given_up = NotificationState.DELIVERED, NotificationState.GAVE_UP
    failed = make_order(1, state=OrderState.FAILED)
    flagged = make_order(2, state=OrderState.FAILED, attention=Attention.LATE_CONFLICT)
    dismissed = make_order(3)
    rows = [
        row(1, 1, 5, given_up, order_state=OrderState.UNRESOLVED),
        row(2, 2, 5, delivered, order_state=OrderState.FAILED),
        row(3, 3, 5, delivered, attention=Attention.TOO_OLD),
    ]
    chosen = choose_resends([1, 2, 3], [failed, flagged, dismissed], rows, ENDPOINTS)
    assert chosen.made == (
        (failed, EventType.FAILED),
        (flagged, EventType.FAILED),
        (dismissed, EventType.ATTENTION),
    )
    assert (chosen.again, chosen.superseded, chosen.refusals) == ((), (rows[0],), {})


def test_no_notification_is_made_of_a_type_that_the_endpoint_does_not_take() -> None:
    some = {"default": replace(ENDPOINTS["default"], events="order.succeeded")}
    stale = row(2, 1, 5, NotificationState.GAVE_UP, order_state=OrderState.SUCCEEDED)
    orders = [make_order(number, state=OrderState.FAILED) for number in (1, 2)]
    chosen = choose_resends([1, 2], orders, [stale], some)
    assert (chosen.made, chosen.again, chosen.superseded) == ((), (), ())
    assert all("does not take order.failed" in chosen.refusals[number] for number in (1, 2))
