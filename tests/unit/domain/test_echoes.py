from dataclasses import replace
from typing import Any

import pytest

from tests.unit.domain.builders import (
    NOW,
    RULES,
    SENT_AT,
    WINDOW,
    after,
    answered,
    make_blind_order,
    make_order,
    make_report,
    make_state,
)
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import Lane, OrderState
from worker.domain.records.reports import Report

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
    end = answered([make_order(custom_parm="C1")], [make_report(custom_parm="C1")], state=make_state())
    assert (after(end).state, end.state.echoes_custom_parm) == (OrderState.SUCCEEDED, False)


@pytest.mark.parametrize("fields", [{"traffic_sts": "7"}, {"app_id": "another"}, {"mobile": "189****0805"}])
def test_an_echo_is_not_learned_from_an_item_that_was_not_believed(fields: dict[str, Any]) -> None:
    assert not alone([replace(ECHO[0], **fields)], make_state()).echoes_custom_parm


# ---- how it ends


def test_a_batch_with_items_of_which_none_carries_an_asked_custom_parm_ends_it() -> None:
    state = batch(SILENT)
    assert (state.echoes_custom_parm, state.echo_endings) == (False, 1)


def test_one_item_that_carries_an_asked_custom_parm_keeps_it_believed_or_not() -> None:
    assert batch([UNBELIEVED[0], *SILENT[1:]]).echoes_custom_parm


def test_three_batches_in_a_row_without_items_end_it() -> None:
    state, echoes = ECHOING, []
    for _ in range(3):
        state = batch([], state)
        echoes.append(state.echoes_custom_parm)
    assert echoes == [True, True, False]
    assert (state.echo_endings, state.empty_echo_batches) == (1, 0)


@pytest.mark.parametrize("between", [ECHO, UNBELIEVED])
def test_a_batch_with_items_breaks_the_row_of_empty_ones(between: list[Report]) -> None:
    state = batch(between, batch([], batch([])))
    assert batch([], batch([], state)).echoes_custom_parm


@pytest.mark.parametrize("items", [[], SILENT[:1]])
def test_a_lone_query_never_ends_it(items: list[Report]) -> None:
    state = ECHOING
    for _ in range(9):
        state = alone(items, state)
    assert state.echoes_custom_parm


def test_queries_by_request_id_never_end_it() -> None:
    state = ECHOING
    for _ in range(9):
        state = answered([make_order(1), make_order(2)], [], state=state).state
    assert state.echoes_custom_parm


# ---- its orders


@pytest.mark.parametrize("items", [[], SILENT], ids=["empty", "nameless"])
def test_the_orders_of_a_batch_that_names_none_stay_due_and_count_as_not_polled(items: list[Report]) -> None:
    end = answered(BATCH, items, state=ECHOING)
    assert [change.after for change in end.changes] == BATCH
    assert [change.events for change in end.changes] == [()] * 3


def test_the_orders_of_an_empty_batch_are_not_too_old_by_it() -> None:
    old = [make_blind_order(i, submitted_at=SENT_AT - 9999 * WINDOW) for i in (1, 2)]
    assert [change.after.state for change in answered(old, [], state=ECHOING).changes] == [OrderState.PENDING] * 2


def test_a_check_of_an_order_in_an_empty_batch_is_still_wanted() -> None:
    checked = replace(BATCH[0], check_requested_at=NOW - WINDOW)
    assert after(answered([checked, BATCH[1]], [], state=ECHOING)) == checked


def test_a_group_of_suspects_whose_answer_is_empty_is_cleared() -> None:
    group = [replace(order, lane=Lane.SUSPECT, suspect_group=4, batch_failures=2) for order in BATCH]
    end = answered(group, [], state=ECHOING)
    assert [change.after for change in end.changes] == BATCH


# ---- how it comes back


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


def test_a_tried_batch_that_shows_nothing_is_no_further_ending() -> None:
    state = make_state(echo_endings=2, echo_retry_at=NOW + WINDOW)
    for items in (SILENT, [], [], []):
        after_it = batch(items, state)
        assert (after_it.echoes_custom_parm, after_it.echo_endings) == (False, 2)
