from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.domain.builders import (
    NOW,
    SENT_AT,
    WINDOW,
    after,
    answered,
    kinds,
    leased,
    make_blind_order,
    make_order,
    make_report,
    make_state,
)
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import Attention, Order, OrderState
from worker.domain.records.reports import Report

DENIAL = {"traffic_sts": "-1", "remark": "订单不存在", "mobile": None, "ori_amount": "0"}
OTHER = make_order(2)
BELIEVED = make_report(2, traffic_sts="0")


def denied(order: Order, *others: Report, state: AccountState | None = None, sent_at: datetime = SENT_AT) -> Order:
    end = answered([order, OTHER], [make_report(**DENIAL), *others], state=state, sent_at=sent_at)
    return after(end)


def test_the_first_denial_counts_whoever_else_was_answered() -> None:
    order = denied(make_order())
    assert (order.state, order.denials, order.first_denied_at) == (OrderState.PENDING, 1, SENT_AT)
    assert order.attention is Attention.UNKNOWN_TO_PLATFORM


def test_a_platform_that_denies_everything_is_counted_once_however_long() -> None:
    order = make_order()
    for windows in range(300):
        order = denied(order, state=make_state(answered_with_belief=9), sent_at=SENT_AT + windows * WINDOW)
    assert (order.state, order.denials) == (OrderState.PENDING, 1)


def test_later_denials_count_where_the_same_answer_held_a_believed_item_of_another_order() -> None:
    assert denied(denied(make_order()), BELIEVED).denials == 2


def test_later_denials_count_where_an_answer_since_held_a_believed_item() -> None:
    once = denied(make_order(), state=make_state(answered_with_belief=5))
    assert denied(once, state=make_state(answered_with_belief=5)).denials == 1
    assert denied(once, state=make_state(answered_with_belief=6)).denials == 2


def test_the_answer_that_held_the_last_denial_does_not_count_for_the_next() -> None:
    end = answered([make_order(), OTHER], [make_report(**DENIAL), BELIEVED])
    assert end.state.answered_with_belief == 1
    assert denied(after(end), state=end.state).denials == 1


def test_an_item_of_an_order_that_a_callback_settled_meanwhile_counts_as_believed() -> None:
    asked = [make_order(denials=1, first_denied_at=SENT_AT), OTHER]
    rows = [leased(asked[0]), replace(OTHER, state=OrderState.SUCCEEDED, ori_amount=Decimal("2.94"))]
    end = answered(asked, [make_report(**DENIAL), make_report(2)], rows=rows)
    assert (after(end).denials, end.state.answered_with_belief) == (2, 1)


def test_an_item_that_was_not_believed_shows_nothing_of_the_platform() -> None:
    strange = make_report(2, traffic_sts="7")
    assert denied(denied(make_order()), strange).denials == 1


@pytest.mark.parametrize(("windows", "state"), [(119, OrderState.PENDING), (120, OrderState.UNRESOLVED)])
def test_three_denials_give_an_order_up_once_the_last_was_sent_120_windows_after_the_first(
    windows: int, state: OrderState
) -> None:
    first = SENT_AT - windows * WINDOW
    order = make_order(denials=2, first_denied_at=first, submitted_at=first - timedelta(hours=1))
    end = answered([order, OTHER], [make_report(**DENIAL), BELIEVED])
    assert (after(end).state, after(end).denials) == (state, 3)
    assert after(end).attention is Attention.UNKNOWN_TO_PLATFORM
    assert ("gave_up" in kinds(end)) is (state is OrderState.UNRESOLVED)


def test_two_denials_give_no_order_up_however_far_apart() -> None:
    order = make_order(denials=1, first_denied_at=SENT_AT - 500 * WINDOW)
    assert denied(order, BELIEVED).state is OrderState.PENDING


def test_an_order_that_was_given_up_so_is_still_settled_by_a_result() -> None:
    order = make_order(denials=2, first_denied_at=SENT_AT - 120 * WINDOW)
    given_up = denied(order, BELIEVED)
    end = answered([given_up], [make_report()], rows=[replace(given_up, lease_token="token")])
    assert (after(end).state, after(end).attention) == (OrderState.SUCCEEDED, None)


def test_an_accepted_item_resets_the_count() -> None:
    order = make_order(denials=2, first_denied_at=SENT_AT - 500 * WINDOW, denial_mark=4)
    heard = after(answered([order], [make_report(traffic_sts="0")]))
    assert (heard.denials, heard.first_denied_at, heard.denial_mark) == (0, None, 0)


def test_an_item_that_settles_nothing_else_leaves_the_count() -> None:
    order = make_order(denials=2, first_denied_at=SENT_AT - 500 * WINDOW)
    assert after(answered([order], [make_report(traffic_sts="7")])).denials == 2


def test_absences_and_denials_are_counted_apart() -> None:
    order = denied(make_order(absences=2))
    left_out = after(answered([order, OTHER], [BELIEVED]))
    assert (left_out.denials, left_out.absences) == (1, 1)


def test_a_lone_order_without_echo_is_denied_by_an_item_without_ids() -> None:
    end = answered([make_blind_order()], [make_report(**DENIAL, request_id=None)])
    assert (after(end).denials, after(end).attention) == (1, Attention.UNKNOWN_TO_PLATFORM)


def test_a_first_denial_that_lies_ahead_since_a_clock_was_set_back_begins_with_the_next_one() -> None:
    order = make_order(denials=2, first_denied_at=NOW + timedelta(hours=3))
    counted = denied(order, BELIEVED)
    assert (counted.state, counted.first_denied_at) == (OrderState.PENDING, SENT_AT)
