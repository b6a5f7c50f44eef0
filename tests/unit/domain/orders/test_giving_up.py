from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.builders import (
    NOW,
    RULES,
    SENT_AT,
    WINDOW,
    after,
    answered,
    failed,
    kinds,
    leased,
    make_blind_order,
    make_order,
    make_report,
    make_state,
)
from worker.domain.orders.settlement import flag_overdue
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.accounts import AccountState
from worker.domain.records.incoming import DeadlineExceeded, HttpError, QueryError, Refused, Report
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source
from worker.domain.records.queries import Work

LIMIT = timedelta(seconds=RULES.unresolved_after_seconds)
OLD = make_order(submitted_at=SENT_AT - LIMIT)


def left_out(order: Order, state: AccountState | None = None) -> QueryEffects:
    """The order's query holds another id, and only that one is answered."""
    return answered([order, make_order(2)], [make_report(2)], state=state)


def alone(order: Order, answers_with_items: int) -> QueryEffects:
    """The order's own query gets an empty answer; the account has seen so many answers with items."""
    return answered([order], [], state=make_state(answered_with_items=answers_with_items), work=Work.SINGLE)


def test_an_id_counts_as_absent_in_an_answer_that_holds_another_id_of_the_query() -> None:
    assert after(left_out(make_order(absences=1))).absences == 2


@pytest.mark.parametrize("reports", [[], [make_report(9)]], ids=["empty", "foreign"])
def test_an_answer_that_holds_no_id_of_the_query_makes_none_absent(reports: list[object]) -> None:
    effects = answered([make_order(1, absences=2), make_order(2)], [make_report(9)] if reports else [])
    assert (after(effects).absences, after(effects).lane) == (2, Lane.BATCH)
    assert effects.absent == 2


def test_after_three_absences_in_a_row_an_order_is_polled_alone() -> None:
    effects = left_out(make_order(absences=2))
    assert (after(effects).lane, after(effects).state, after(effects).absences) == (Lane.ALONE, OrderState.PENDING, 0)
    assert kinds(effects) == ["asked_alone"]


@pytest.mark.parametrize("lane", [Lane.BATCH, Lane.ALONE])
def test_an_item_ends_the_row_of_absences(lane: Lane) -> None:
    effects = answered([make_order(absences=2, lane=lane, absence_mark=3)], [make_report(traffic_sts="0")])
    assert (after(effects).absences, after(effects).absence_mark, after(effects).lane) == (0, 0, Lane.BATCH)


def test_three_empty_answers_alone_with_others_answered_in_between_are_unknown_to_the_platform() -> None:
    order = make_order(lane=Lane.ALONE)
    for answers_with_items in (10, 11):
        effects = alone(order, answers_with_items)
        assert after(effects).state is OrderState.PENDING
        order = replace(after(effects))
    effects = alone(order, 12)
    assert (after(effects).state, after(effects).attention) == (OrderState.UNRESOLVED, Attention.UNKNOWN_TO_PLATFORM)
    assert (after(effects).lane, kinds(effects)) == (Lane.BATCH, ["gave_up"])


def test_alone_an_empty_answer_counts_only_while_others_were_answered_since_the_last_one() -> None:
    order = make_order(lane=Lane.ALONE)
    for _ in range(9):
        order = after(alone(order, 10))
    assert (order.state, order.absences) == (OrderState.PENDING, 1)
    assert after(alone(order, 11)).absences == 2


def test_alone_an_answer_about_another_order_is_not_empty() -> None:
    order = make_order(lane=Lane.ALONE, absences=2)
    effects = answered([order], [make_report(9)], state=make_state(answered_with_items=99), work=Work.SINGLE)
    assert (after(effects).state, after(effects).absences) == (OrderState.PENDING, 2)


def test_an_order_left_out_of_a_cleared_group_is_absent_like_any_other() -> None:
    effects = left_out(make_order(lane=Lane.SUSPECT, suspect_group=4))
    assert (after(effects).lane, after(effects).suspect_group, after(effects).absences) == (Lane.BATCH, None, 1)


DENIAL = {"traffic_sts": "-1", "remark": "订单不存在", "mobile": None, "ori_amount": "0"}
OTHER = make_order(2)
BELIEVED = make_report(2, traffic_sts="0")


def denied(order: Order, *others: Report, state: AccountState | None = None, sent_at: datetime = SENT_AT) -> Order:
    effects = answered([order, OTHER], [make_report(**DENIAL), *others], state=state, sent_at=sent_at)
    return after(effects)


def test_the_first_denial_counts_whichever_other_orders_were_answered() -> None:
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
    effects = answered([make_order(), OTHER], [make_report(**DENIAL), BELIEVED])
    assert effects.state.answered_with_belief == 1
    assert denied(after(effects), state=effects.state).denials == 1


def test_an_item_of_an_order_that_a_callback_settled_meanwhile_counts_as_believed() -> None:
    polled = [make_order(denials=1, first_denied_at=SENT_AT), OTHER]
    rows = [leased(polled[0]), replace(OTHER, state=OrderState.SUCCEEDED, ori_amount=Decimal("2.94"))]
    effects = answered(polled, [make_report(**DENIAL), make_report(2)], rows=rows)
    assert (after(effects).denials, effects.state.answered_with_belief) == (2, 1)


def test_an_item_that_was_not_believed_does_not_count_for_the_platform() -> None:
    strange = make_report(2, traffic_sts="7")
    assert denied(denied(make_order()), strange).denials == 1


@pytest.mark.parametrize(("windows", "state"), [(119, OrderState.PENDING), (120, OrderState.UNRESOLVED)])
def test_three_denials_give_an_order_up_once_the_last_was_sent_120_windows_after_the_first(
    windows: int, state: OrderState
) -> None:
    first = SENT_AT - windows * WINDOW
    order = make_order(denials=2, first_denied_at=first, submitted_at=first - timedelta(hours=1))
    effects = answered([order, OTHER], [make_report(**DENIAL), BELIEVED])
    assert (after(effects).state, after(effects).denials) == (state, 3)
    assert after(effects).attention is Attention.UNKNOWN_TO_PLATFORM
    assert ("gave_up" in kinds(effects)) is (state is OrderState.UNRESOLVED)


def test_two_denials_give_no_order_up_however_far_apart() -> None:
    order = make_order(denials=1, first_denied_at=SENT_AT - 500 * WINDOW)
    assert denied(order, BELIEVED).state is OrderState.PENDING


def test_an_accepted_item_resets_the_count() -> None:
    order = make_order(denials=2, first_denied_at=SENT_AT - 500 * WINDOW, denial_mark=4)
    open_order = after(answered([order], [make_report(traffic_sts="0")]))
    assert (open_order.denials, open_order.first_denied_at, open_order.denial_mark) == (0, None, 0)


def test_an_item_that_settles_nothing_else_leaves_the_count() -> None:
    order = make_order(denials=2, first_denied_at=SENT_AT - 500 * WINDOW)
    assert after(answered([order], [make_report(traffic_sts="7")])).denials == 2


def test_absences_and_denials_are_counted_apart() -> None:
    order = denied(make_order(absences=2))
    left_out = after(answered([order, OTHER], [BELIEVED]))
    assert (left_out.denials, left_out.absences) == (1, 1)


def test_a_lone_order_without_echo_is_denied_by_an_item_without_ids() -> None:
    effects = answered([make_blind_order()], [make_report(**DENIAL, request_id=None)])
    assert (after(effects).denials, after(effects).attention) == (1, Attention.UNKNOWN_TO_PLATFORM)


def test_a_first_denial_that_lies_ahead_since_a_clock_was_set_back_begins_with_the_next_one() -> None:
    order = make_order(denials=2, first_denied_at=NOW + timedelta(hours=3))
    counted = denied(order, BELIEVED)
    assert (counted.state, counted.first_denied_at) == (OrderState.PENDING, SENT_AT)


@pytest.mark.parametrize("fields", [{"traffic_sts": "0"}, {"traffic_sts": "5"}, None], ids=["0", "unknown", "absent"])
def test_past_the_age_limit_an_order_is_too_old_once_a_query_was_answered_without_settling_it(
    fields: dict[str, str] | None,
) -> None:
    others = [make_report(2), make_report(3)]
    end = answered([OLD, make_order(2), make_order(3)], [*others, *([make_report(**fields)] if fields else [])])
    assert after(end).state is OrderState.UNRESOLVED
    assert after(end).attention in (Attention.TOO_OLD, Attention.UNKNOWN_STATUS)
    assert kinds(end)[-1] == "gave_up"
    assert after(end).lease_token is None


def test_a_result_settles_an_order_of_any_age() -> None:
    assert after(answered([OLD], [make_report()])).state is OrderState.SUCCEEDED


def test_a_query_sent_before_that_age_does_not_count() -> None:
    younger = make_order(submitted_at=SENT_AT - LIMIT + timedelta(milliseconds=1))
    assert younger.submitted_at < NOW - LIMIT
    assert after(answered([younger], [make_report(traffic_sts="0")])).state is OrderState.PENDING


@pytest.mark.parametrize("error", [Refused("-7", "no"), HttpError(403), DeadlineExceeded("no answer")])
def test_past_the_age_limit_a_query_that_was_not_answered_gives_no_order_up(error: QueryError) -> None:
    assert after(failed([OLD], error)).state is OrderState.PENDING
    assert after(failed([OLD, make_order(2)], error)).state is OrderState.PENDING
    suspect = make_order(submitted_at=OLD.submitted_at, lane=Lane.SUSPECT, suspect_group=1)
    assert after(failed([suspect], error)).state is OrderState.PENDING


def test_an_order_is_given_up_once() -> None:
    order = make_order(submitted_at=OLD.submitted_at, lane=Lane.ALONE, absences=2, absence_mark=1)
    end = answered([order], [], state=make_state(answered_with_items=9))
    assert (after(end).attention, kinds(end)) == (Attention.UNKNOWN_TO_PLATFORM, ["gave_up"])


# ---- orders that stay pending past the age limit


OVERDUE = make_order(submitted_at=NOW - LIMIT - RULES.windows(60) - timedelta(seconds=1))


def test_60_windows_past_the_age_limit_a_pending_order_is_flagged_and_stays_pending() -> None:
    change = flag_overdue(OVERDUE, NOW, RULES)
    assert change.after == replace(OVERDUE, attention=Attention.TOO_OLD)
    (event,) = change.events
    assert (event.kind, event.source, event.to_state) == (EventKind.OVERDUE, Source.WORKER, OrderState.PENDING)


@pytest.mark.parametrize(
    "fields",
    [
        {"submitted_at": NOW - LIMIT - RULES.windows(60)},
        {"state": OrderState.UNRESOLVED},
        {"state": OrderState.CANCELLED},
        {"attention": Attention.UNKNOWN_STATUS},
        {"dismissed_at": NOW},
    ],
    ids=str,
)
def test_an_order_that_is_younger_settled_flagged_or_dismissed_is_not_overdue(fields: dict[str, Any]) -> None:
    order = replace(OVERDUE, **fields)
    change = flag_overdue(order, NOW, RULES)
    assert (change.after, change.events) == (order, ())
