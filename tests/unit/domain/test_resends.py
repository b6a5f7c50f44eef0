"""What is sent once more: the latest notification of each order, or one of how it stands."""

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
) -> Notification:
    text: dict[str, Any] = {"event_id": f"m{number}", "body": "{}", "rank": Rank.RESULT, "type": EventType.FAILED}
    return Notification(
        id=number, order_id=order_id, version=version, state=state, account=account, changed_at=NOW, due_at=NOW, **text
    )


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
    assert chosen.refusals[3] == "order 3: is no longer there, its version cannot be raised"


def test_no_notification_is_made_of_a_type_that_the_endpoint_does_not_take() -> None:
    some = {"default": replace(ENDPOINTS["default"], events="order.succeeded")}
    stale = row(2, 1, 5, NotificationState.GAVE_UP)
    orders = [make_order(number, state=OrderState.FAILED, version=6) for number in (1, 2)]
    chosen = choose_resends([1, 2], orders, [stale], some)
    assert (chosen.made, chosen.again, chosen.superseded) == ((), (), ())
    assert all("does not take order.failed" in chosen.refusals[number] for number in (1, 2))
