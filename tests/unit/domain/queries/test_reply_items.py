from dataclasses import replace

import pytest

from tests.unit.domain.builders import (
    after,
    answered,
    kinds,
    make_answer,
    make_blind_order,
    make_order,
    make_query,
    make_report,
    make_state,
)
from worker.domain.queries.reply_items import find_contradictions, names_besides
from worker.domain.records.orders import Attention, Order, OrderKey, OrderState
from worker.domain.records.queries import Work

ECHOING = make_state(echoes_custom_parm=True)
TWO = [make_order(1, custom_parm="C1"), make_order(2, custom_parm="C2")]
TWO_BLIND = [make_blind_order(1), make_blind_order(2)]


def test_items_that_name_one_row_each_contradict_nothing() -> None:
    orders = [make_order(1, custom_parm="C1"), make_blind_order(2)]
    said = {1: (make_report(1, custom_parm="C1"),), 2: (make_report(2, custom_parm="C2"),)}
    assert find_contradictions(said, orders) == {}


def test_a_request_id_that_another_row_holds_is_never_filled_in_and_both_rows_are_flagged() -> None:
    polled, holder = make_blind_order(1), make_order(2, request_id="R1")
    effects = answered([polled], [make_report(1, custom_parm="C1")], state=ECHOING, others=[holder])
    assert after(effects, 1).request_id is None
    for order_id in (1, 2):
        assert after(effects, order_id).state is OrderState.PENDING
        assert after(effects, order_id).attention is Attention.CONFLICTING_ANSWER
        assert kinds(effects, order_id) == ["not_believed"]
    assert after(effects, 2).query_count == 0


def test_the_rest_of_the_batch_is_settled() -> None:
    reports = [make_report(9, custom_parm="C1"), make_report(2, custom_parm="C2")]
    effects = answered(TWO_BLIND, reports, state=ECHOING, others=[make_order(9)])
    assert (after(effects, 1).state, after(effects, 2).state) == (OrderState.PENDING, OrderState.SUCCEEDED)


def test_one_request_id_for_two_orders_settles_neither() -> None:
    reports = [make_report(9, custom_parm="C1"), make_report(9, custom_parm="C2")]
    effects = answered(TWO_BLIND, reports, state=ECHOING)
    for order_id in (1, 2):
        assert after(effects, order_id).request_id is None
        assert after(effects, order_id).attention is Attention.CONFLICTING_ANSWER


def test_a_polled_row_that_only_another_rows_item_names_is_flagged_and_absent() -> None:
    effects = answered(TWO, [make_report(1, custom_parm="C2")])
    for order_id in (1, 2):
        assert after(effects, order_id).state is OrderState.PENDING
        assert after(effects, order_id).attention is Attention.CONFLICTING_ANSWER
    assert (after(effects, 1).absences, after(effects, 2).absences) == (0, 1)


def test_a_row_with_an_item_of_its_own_records_which_item_took_its_id() -> None:
    reports = [make_report(1, custom_parm="C2", words='{"thief":1}'), make_report(2, custom_parm="C2")]
    effects = answered(TWO, reports)
    assert after(effects, 2).state is OrderState.PENDING
    (event,) = next(change.events for change in effects.changes if change.after.id == 2)
    assert '{"thief":1}' in (event.detail or "")
    assert make_report(2).words in (event.detail or "")


def test_a_final_row_whose_id_another_order_is_given_is_flagged_and_stays() -> None:
    holder = make_order(9, state=OrderState.SUCCEEDED)
    effects = answered([make_blind_order(1)], [make_report(9, custom_parm="C1")], state=ECHOING, others=[holder])
    assert after(effects, 9) == replace(holder, attention=Attention.CONFLICTING_ANSWER)


def test_a_polled_row_that_was_settled_meanwhile_is_flagged_too() -> None:
    rows = [TWO[0], replace(TWO[1], state=OrderState.SUCCEEDED)]
    effects = answered(TWO, [make_report(1, custom_parm="C2")], rows=rows)
    assert after(effects, 2).attention is Attention.CONFLICTING_ANSWER


def test_a_blind_single_is_not_filled_in_with_the_request_id_of_another_row() -> None:
    effects = answered([make_blind_order(1)], [make_report(9)], work=Work.SINGLE, others=[make_order(9)])
    assert after(effects, 1).request_id is None
    assert after(effects, 1).attention is after(effects, 9).attention is Attention.CONFLICTING_ANSWER


@pytest.mark.parametrize(("orders", "added"), [([make_order(1)], {"R9"}), ([make_order(1), make_order(2)], set())])
def test_an_answer_names_others_by_its_items_and_where_it_is_of_one_order_by_those_beside(
    orders: list[Order], added: set[str]
) -> None:
    query = make_query(orders)
    named = names_besides(query, make_answer(query, [make_report(1, custom_parm="C1"), make_report(9)]))
    keys = [OrderKey(account="default", request_id=name) for name in added]
    assert {*named} == {OrderKey(account="default", custom_parm="C1"), *keys}
