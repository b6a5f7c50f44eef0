"""Callbacks that are only hints, and the queries that are under way when they come."""

from datetime import timedelta

import pytest

from tests.unit.domain.builders import (
    APP_ID,
    NOW,
    RULES,
    SENT_AT,
    WINDOW,
    after,
    answered,
    leased,
    make_order,
    make_report,
)
from worker.domain.callbacks.hints import check_by_callback
from worker.domain.records.orders import OrderState


@pytest.mark.parametrize(
    ("age", "state"), [(timedelta(hours=1), OrderState.PENDING), (timedelta(days=30), OrderState.UNRESOLVED)]
)
def test_a_hint_during_a_query_is_kept_where_an_earlier_hint_is_still_to_come(
    age: timedelta, state: OrderState
) -> None:
    # The earlier hint came before its interval had passed. The query took the order earlier, as due by its schedule.
    order = make_order(submitted_at=SENT_AT - age, check_requested_at=SENT_AT + WINDOW, due_at=SENT_AT - WINDOW)
    hint = make_report(traffic_sts="1", ori_amount="2.94")
    row = check_by_callback(leased(order), hint, NOW, RULES, app_id=APP_ID).after
    # The platform wrote this before the hint.
    polled = after(answered([order], [make_report(traffic_sts="0")], rows=[row]))
    assert polled.state is state
    assert polled.check_requested_at is not None
