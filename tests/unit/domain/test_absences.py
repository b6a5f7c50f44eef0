from dataclasses import replace

import pytest

from tests.unit.domain.builders import after, answered, kinds, make_order, make_report, make_state
from worker.domain.query_effects import QueryEffects
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import Attention, Lane, Order, OrderState
from worker.domain.records.queries import Work


def left_out(order: Order, state: AccountState | None = None) -> QueryEffects:
    """The order's query holds another id, which is answered."""
    return answered([order, make_order(2)], [make_report(2)], state=state)


def alone(order: Order, answers_with_items: int) -> QueryEffects:
    """The order's own query gets an empty answer; the account has seen so many answers with items."""
    return answered([order], [], state=make_state(answered_with_items=answers_with_items), work=Work.SINGLE)


def test_an_id_counts_as_absent_in_an_answer_that_holds_another_id_of_the_query() -> None:
    assert after(left_out(make_order(absences=1))).absences == 2


@pytest.mark.parametrize("reports", [[], [make_report(9)]], ids=["empty", "foreign"])
def test_an_answer_that_holds_no_id_of_the_query_makes_none_absent(reports: list[object]) -> None:
    end = answered([make_order(1, absences=2), make_order(2)], [make_report(9)] if reports else [])
    assert (after(end).absences, after(end).lane) == (2, Lane.BATCH)
    assert end.absent == 2


def test_after_three_absences_in_a_row_an_order_is_asked_alone() -> None:
    end = left_out(make_order(absences=2))
    assert (after(end).lane, after(end).state, after(end).absences) == (Lane.ALONE, OrderState.PENDING, 0)
    assert kinds(end) == ["asked_alone"]


def test_absence_never_settles_an_order() -> None:
    assert after(left_out(make_order())).traffic_sts is None
    assert after(left_out(make_order())).state is OrderState.PENDING


@pytest.mark.parametrize("lane", [Lane.BATCH, Lane.ALONE])
def test_an_item_ends_the_row_of_absences(lane: Lane) -> None:
    end = answered([make_order(absences=2, lane=lane, absence_mark=3)], [make_report(traffic_sts="0")])
    assert (after(end).absences, after(end).absence_mark, after(end).lane) == (0, 0, Lane.BATCH)


def test_three_empty_answers_alone_with_others_answered_in_between_are_unknown_to_the_platform() -> None:
    order = make_order(lane=Lane.ALONE)
    for answers_with_items in (10, 11):
        end = alone(order, answers_with_items)
        assert after(end).state is OrderState.PENDING
        order = replace(after(end))
    end = alone(order, 12)
    assert (after(end).state, after(end).attention) == (OrderState.UNRESOLVED, Attention.UNKNOWN_TO_PLATFORM)
    assert (after(end).lane, kinds(end)) == (Lane.BATCH, ["gave_up"])


def test_alone_an_empty_answer_counts_only_while_others_were_answered_since_the_last_one() -> None:
    order = make_order(lane=Lane.ALONE)
    for _ in range(9):
        order = after(alone(order, 10))
    assert (order.state, order.absences) == (OrderState.PENDING, 1)
    assert after(alone(order, 11)).absences == 2


def test_alone_an_answer_about_another_order_is_not_empty() -> None:
    order = make_order(lane=Lane.ALONE, absences=2)
    end = answered([order], [make_report(9)], state=make_state(answered_with_items=99), work=Work.SINGLE)
    assert (after(end).state, after(end).absences) == (OrderState.PENDING, 2)


def test_an_order_left_out_of_a_cleared_group_is_absent_like_any_other() -> None:
    end = left_out(make_order(lane=Lane.SUSPECT, suspect_group=4))
    assert (after(end).lane, after(end).suspect_group, after(end).absences) == (Lane.BATCH, None, 1)
