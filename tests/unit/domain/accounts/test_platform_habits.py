from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.domain.builders import (
    NOW,
    RULES,
    SENT_AT,
    WINDOW,
    after,
    answered,
    kinds,
    make_blind_order,
    make_order,
    make_report,
    make_state,
)
from worker.domain.records.accounts import AccountState
from worker.domain.records.incoming import Report
from worker.domain.records.orders import Lane, Order, OrderState
from worker.domain.records.queries import Work

FIVE = [make_order(order_id) for order_id in range(1, 6)]
MODE = make_state(one_item_mode=True, batch_retry_at=NOW)
SUSPECTING = make_state(one_item_streak=3, one_item_since=7)


def one_item_answers(count: int, state: AccountState) -> AccountState:
    """The account after so many batches of five that were answered with one item; the queries count from 7."""
    for number in range(count):
        state = answered(FIVE, [make_report(1)], state=state, id=7 + number).state
    return state


def probe(order_id: int) -> Order:
    """An order that is polled alone because one-item answers left it out."""
    return make_order(order_id, lane=Lane.ALONE, check_requested_at=NOW - timedelta(seconds=9))


def test_after_three_batches_in_a_row_with_one_item_an_id_left_out_is_polled_alone() -> None:
    two, three = (answered(FIVE, [make_report(1)], state=one_item_answers(n, make_state()), id=9) for n in (1, 2))
    assert {after(two, order_id).lane for order_id in range(1, 6)} == {Lane.BATCH}
    assert [order_id for order_id in range(1, 6) if after(three, order_id).lane is Lane.ALONE] == [2]
    assert (after(three, 2).due_at, after(three, 2).check_requested_at) == (NOW, NOW)
    assert kinds(three, 2)[-1] == "asked_alone"
    assert (three.state.one_item_since, three.state.one_item_mode) == (7, False)


def test_every_third_batch_selects_another_order_in_case_the_first_was_settled_meanwhile() -> None:
    selected = []
    for streak in (2, 3, 4, 5):
        state = make_state(one_item_streak=streak, one_item_since=7)
        changes = answered(FIVE, [make_report(1)], state=state).changes
        selected.append(sum(change.after.lane is Lane.ALONE for change in changes))
    assert selected == [1, 0, 0, 1]


@pytest.mark.parametrize("count", [0, 2])
def test_an_answer_with_no_item_or_with_two_resets_the_count(count: int) -> None:
    state = one_item_answers(2, make_state())
    state = answered(FIVE, [make_report(order_id) for order_id in range(1, 1 + count)], state=state).state
    assert (state.one_item_streak, state.one_item_since) == (0, None)


def test_a_batch_of_fewer_than_five_ids_does_not_count() -> None:
    state = one_item_answers(2, make_state())
    assert answered(FIVE[:4], [make_report(1)], state=state).state.one_item_streak == 2


def test_an_item_of_an_order_that_was_not_polled_is_an_item_and_leaves_all_out() -> None:
    effects = answered(FIVE, [make_report(99)], state=one_item_answers(2, make_state()))
    assert after(effects, 1).lane is Lane.ALONE


def test_if_that_answer_holds_it_the_platform_answers_one_order_a_query() -> None:
    effects = answered([probe(2)], [make_report(2)], state=SUSPECTING, work=Work.SINGLE)
    assert (effects.state.one_item_mode, effects.state.batch_retry_at) == (True, NOW + 60 * WINDOW)
    assert effects.state.one_item_streak == 0
    assert effects.reset_absences_since == 7


def test_if_that_answer_does_not_hold_it_the_suspicion_ends() -> None:
    effects = answered([probe(2)], [], state=SUSPECTING, work=Work.SINGLE)
    assert (effects.state.one_item_mode, effects.state.one_item_streak) == (False, 0)
    assert effects.reset_absences_since is None
    # Another order that is polled alone changes nothing.
    other = answered([make_order(3)], [make_report(3)], state=SUSPECTING, work=Work.SINGLE).state
    assert (other.one_item_mode, other.one_item_streak) == (False, 3)


def test_in_one_item_mode_an_order_that_an_empty_answer_leaves_out_was_absent_alone() -> None:
    effects = answered([make_order(1)], [], state=replace(MODE, answered_with_items=4), work=Work.SINGLE)
    assert (after(effects).absences, after(effects).absence_mark) == (1, 4)


def test_a_requested_check_is_still_to_be_made_after_a_retried_batch_that_left_it_out() -> None:
    earlier = NOW - timedelta(seconds=9)
    polled = [replace(order, check_requested_at=earlier) for order in FIVE]
    effects = answered(polled, [make_report(1)], state=MODE)
    assert [after(effects, order_id).check_requested_at for order_id in (1, 2)] == [None, earlier]


@pytest.mark.parametrize("size", [2, 5])
def test_in_one_item_mode_what_a_batch_leaves_out_is_due_at_once_and_was_not_absent(size: int) -> None:
    polled = [replace(order, absences=2) for order in FIVE[:size]]
    effects = answered(polled, [make_report(1)], state=MODE)
    for order_id in range(2, size + 1):
        assert (after(effects, order_id).due_at, after(effects, order_id).absences) == (NOW, 2)
        assert after(effects, order_id).lane is Lane.BATCH
    assert effects.state.one_item_mode


def test_in_one_item_mode_an_order_polled_alone_is_not_due_at_once() -> None:
    effects = answered([make_order(1)], [make_report(9)], state=MODE, work=Work.SINGLE)
    assert after(effects).due_at >= NOW + 2 * RULES.windows(1)


def test_an_answer_with_two_items_ends_the_mode() -> None:
    state = answered(FIVE, [make_report(1), make_report(2)], state=MODE).state
    assert (state.one_item_mode, state.batch_retry_at) == (False, None)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("state", [MODE, make_state()])
def test_a_batch_with_one_item_makes_no_order_that_it_leaves_out_too_old(count: int, state: AccountState) -> None:
    ages = NOW - timedelta(seconds=RULES.unresolved_after_seconds + 60)
    old = [make_order(order_id, submitted_at=ages) for order_id in range(1, count + 1)]
    assert after(answered(old, [make_report(1)], state=state), 2).state is OrderState.PENDING


def test_an_old_order_that_is_left_out_alone_is_too_old() -> None:
    old = make_order(lane=Lane.ALONE, submitted_at=NOW - timedelta(seconds=RULES.unresolved_after_seconds + 60))
    assert after(answered([old], [make_report(9)], state=MODE)).state is OrderState.UNRESOLVED


BATCH = [make_blind_order(i) for i in (1, 2, 3)]
ECHO = [make_report(i, custom_parm=f"C{i}", traffic_sts="0") for i in (1, 2, 3)]
SILENT = [make_report(i, traffic_sts="0") for i in (1, 2, 3)]
UNBELIEVED = [make_report(i, custom_parm=f"C{i}", traffic_sts="7") for i in (1, 2, 3)]
ECHOING = make_state(echoes_custom_parm=True)


def batch(items: list[Report], state: AccountState = ECHOING) -> AccountState:
    return answered(BATCH, items, state=state).state


def alone(items: list[Report], state: AccountState) -> AccountState:
    return answered(BATCH[:1], items, state=state).state


# ---- how it is learned


def test_an_echo_is_learned_from_a_believed_item_of_a_query_by_custom_parm() -> None:
    assert alone(ECHO[:1], make_state()).echoes_custom_parm
    assert batch(ECHO, make_state()).echoes_custom_parm


def test_an_echo_is_not_learned_from_a_query_by_request_id() -> None:
    effects = answered([make_order(custom_parm="C1")], [make_report(custom_parm="C1")], state=make_state())
    assert (after(effects).state, effects.state.echoes_custom_parm) == (OrderState.SUCCEEDED, False)


@pytest.mark.parametrize("fields", [{"traffic_sts": "7"}, {"app_id": "another"}, {"mobile": "189****0805"}])
def test_an_echo_is_not_learned_from_an_item_that_was_not_believed(fields: dict[str, Any]) -> None:
    assert not alone([replace(ECHO[0], **fields)], make_state()).echoes_custom_parm


# ---- how it ends


def test_a_batch_with_items_of_which_none_carries_a_polled_custom_parm_ends_it() -> None:
    state = batch(SILENT)
    assert (state.echoes_custom_parm, state.echo_endings) == (False, 1)


def test_one_item_that_carries_a_polled_custom_parm_keeps_it_believed_or_not() -> None:
    assert batch([UNBELIEVED[0], *SILENT[1:]]).echoes_custom_parm


def test_three_batches_in_a_row_without_items_end_it() -> None:
    state, echoes = ECHOING, []
    for _ in range(3):
        state = batch([], state)
        echoes.append(state.echoes_custom_parm)
    assert echoes == [True, True, False]
    assert (state.echo_endings, state.empty_echo_batches) == (1, 0)


@pytest.mark.parametrize("between", [ECHO, UNBELIEVED])
def test_a_batch_with_items_resets_the_count_of_empty_ones(between: list[Report]) -> None:
    state = batch(between, batch([], batch([])))
    assert batch([], batch([], state)).echoes_custom_parm


@pytest.mark.parametrize(
    ("polled", "items"),
    [(BATCH[:1], []), (BATCH[:1], SILENT[:1]), (FIVE, [])],
    ids=["alone", "alone with an item", "by request id"],
)
def test_a_lone_query_or_one_by_request_id_never_ends_it(polled: list[Order], items: list[Report]) -> None:
    state = ECHOING
    for _ in range(9):
        state = answered(polled, items, state=state).state
    assert state.echoes_custom_parm


# ---- its orders


@pytest.mark.parametrize("items", [[], SILENT], ids=["empty", "nameless"])
def test_the_orders_of_a_batch_that_names_none_stay_due_and_count_as_not_polled(items: list[Report]) -> None:
    effects = answered(BATCH, items, state=ECHOING)
    assert [change.after for change in effects.changes] == BATCH
    assert [change.events for change in effects.changes] == [()] * 3


def test_an_empty_batch_makes_no_order_too_old() -> None:
    old = [make_blind_order(i, submitted_at=SENT_AT - 9999 * WINDOW) for i in (1, 2)]
    assert [change.after.state for change in answered(old, [], state=ECHOING).changes] == [OrderState.PENDING] * 2


def test_a_check_of_an_order_in_an_empty_batch_is_still_wanted() -> None:
    checked = replace(BATCH[0], check_requested_at=NOW - WINDOW)
    assert after(answered([checked, BATCH[1]], [], state=ECHOING)) == checked


def test_a_group_of_suspects_whose_answer_is_empty_is_cleared() -> None:
    group = [replace(order, lane=Lane.SUSPECT, suspect_group=4, batch_failures=2) for order in BATCH]
    effects = answered(group, [], state=ECHOING)
    assert [change.after for change in effects.changes] == BATCH


# ---- how it is restored


def test_after_the_first_ending_a_lone_echo_restores_it() -> None:
    assert alone(ECHO[:1], batch(SILENT)).echoes_custom_parm


def test_from_the_second_ending_on_a_lone_echo_restores_nothing() -> None:
    state = batch(SILENT, alone(ECHO[:1], batch(SILENT)))
    assert (state.echoes_custom_parm, state.echo_endings, state.echo_retry_at) == (False, 2, NOW + 60 * WINDOW)
    state = alone(ECHO[:1], state)
    assert not state.echoes_custom_parm
    assert not state.may_batch_custom_parm(NOW + 60 * WINDOW - WINDOW, RULES)
    assert state.may_batch_custom_parm(NOW + 60 * WINDOW, RULES)


def test_a_try_that_lies_ahead_since_a_clock_was_set_back_is_made_at_once() -> None:
    assert make_state(echo_endings=2, echo_retry_at=NOW + 61 * WINDOW).may_batch_custom_parm(NOW, RULES)


def test_a_believed_echo_in_a_batch_restores_it_and_forgets_the_endings() -> None:
    state = batch(ECHO, make_state(echo_endings=2, echo_retry_at=NOW))
    assert state.echoes_custom_parm
    assert (state.echo_endings, state.echo_retry_at) == (0, None)


def test_a_tried_batch_without_an_echo_counts_as_no_further_ending() -> None:
    state = make_state(echo_endings=2, echo_retry_at=NOW + WINDOW)
    for items in (SILENT, [], [], []):
        after_it = batch(items, state)
        assert (after_it.echoes_custom_parm, after_it.echo_endings) == (False, 2)
