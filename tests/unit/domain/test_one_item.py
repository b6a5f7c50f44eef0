from dataclasses import replace

import pytest

from tests.unit.domain.builders import NOW, RULES, WINDOW, after, answered, make_order, make_report, make_state
from worker.domain.accounts import AccountState
from worker.domain.orders import Lane
from worker.domain.turns import Work

FIVE = [make_order(order_id) for order_id in range(1, 6)]
MODE = make_state(one_item_mode=True, batch_retry_at=NOW)
SUSPECTING = make_state(one_item_streak=3, one_item_since=7, one_item_probe=2)


def one_item_answers(count: int, state: AccountState) -> AccountState:
    """The account after so many batches of five that were answered with one item; the queries count from 7."""
    for number in range(count):
        state = answered(FIVE, [make_report(1)], state=state, id=7 + number).state
    return state


def test_after_three_batches_in_a_row_with_one_item_an_id_left_out_is_to_be_asked_alone() -> None:
    assert one_item_answers(2, make_state()).one_item_probe is None
    state = one_item_answers(3, make_state())
    assert (state.one_item_probe, state.one_item_since, state.one_item_mode) == (2, 7, False)


@pytest.mark.parametrize("count", [0, 2])
def test_an_answer_with_no_item_or_with_two_ends_the_row(count: int) -> None:
    state = one_item_answers(2, make_state())
    state = answered(FIVE, [make_report(order_id) for order_id in range(1, 1 + count)], state=state).state
    assert (state.one_item_streak, state.one_item_since) == (0, None)


def test_a_batch_of_fewer_than_five_ids_tells_nothing() -> None:
    state = one_item_answers(2, make_state())
    assert answered(FIVE[:4], [make_report(1)], state=state).state.one_item_streak == 2


def test_an_item_that_nobody_asked_for_is_an_item_and_leaves_all_out() -> None:
    state = answered(FIVE, [make_report(99)], state=one_item_answers(2, make_state())).state
    assert state.one_item_probe == 1


def test_while_the_probe_waits_a_later_batch_names_another() -> None:
    state = answered(FIVE, [make_report(2)], state=SUSPECTING).state
    assert (state.one_item_probe, state.one_item_since, state.one_item_streak) == (1, 7, 4)


def test_if_that_answer_holds_it_the_platform_answers_one_order_a_query() -> None:
    end = answered([make_order(2)], [make_report(2)], state=SUSPECTING, work=Work.SINGLE)
    assert (end.state.one_item_mode, end.state.batch_retry_at) == (True, NOW + 60 * WINDOW)
    assert (end.state.one_item_probe, end.state.one_item_streak) == (None, 0)
    assert end.forgive_since == 7


def test_if_that_answer_does_not_hold_it_the_suspicion_ends() -> None:
    end = answered([make_order(2)], [], state=SUSPECTING, work=Work.SINGLE)
    assert (end.state.one_item_mode, end.state.one_item_probe, end.forgive_since) == (False, None, None)


def test_another_order_asked_alone_tells_nothing() -> None:
    end = answered([make_order(3)], [make_report(3)], state=SUSPECTING, work=Work.SINGLE)
    assert (end.state.one_item_mode, end.state.one_item_probe) == (False, 2)


@pytest.mark.parametrize("size", [2, 5])
def test_in_one_item_mode_what_a_batch_leaves_out_is_due_at_once_and_was_not_absent(size: int) -> None:
    asked = [replace(order, absences=2) for order in FIVE[:size]]
    end = answered(asked, [make_report(1)], state=MODE)
    for order_id in range(2, size + 1):
        assert (after(end, order_id).due_at, after(end, order_id).absences) == (NOW, 2)
        assert after(end, order_id).lane is Lane.BATCH
    assert end.state.one_item_mode


def test_in_one_item_mode_an_order_asked_alone_is_not_due_at_once() -> None:
    end = answered([make_order(1)], [make_report(9)], state=MODE, work=Work.SINGLE)
    assert after(end).due_at >= NOW + 2 * RULES.windows(1)


def test_an_answer_with_two_items_ends_the_mode() -> None:
    state = answered(FIVE, [make_report(1), make_report(2)], state=MODE).state
    assert (state.one_item_mode, state.batch_retry_at) == (False, None)
