from tests.unit.domain.builders import after, answered, kinds, make_blind_order, make_order, make_report, make_state
from worker.domain.answer_items import find_contradictions
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.queries import Work

ECHOING = make_state(echoes_custom_parm=True)


def test_items_that_name_one_row_each_contradict_nothing() -> None:
    orders = [make_order(1, custom_parm="C1"), make_blind_order(2)]
    said = {1: (make_report(1, custom_parm="C1"),), 2: (make_report(2, custom_parm="C2"),)}
    assert find_contradictions(said, orders) == {}


def test_a_request_id_that_another_row_holds_is_never_filled_in_and_both_rows_are_shown() -> None:
    asked, holder = make_blind_order(1), make_order(2, request_id="R1")
    end = answered([asked], [make_report(1, custom_parm="C1")], state=ECHOING, others=[holder])
    assert after(end, 1).request_id is None
    for order_id in (1, 2):
        assert after(end, order_id).state is OrderState.PENDING
        assert after(end, order_id).attention is Attention.CONFLICTING_ANSWER
        assert kinds(end, order_id) == ["not_believed"]
    assert after(end, 2).query_count == 0


def test_the_rest_of_the_batch_goes_on() -> None:
    asked = [make_blind_order(1), make_blind_order(2)]
    reports = [make_report(9, custom_parm="C1"), make_report(2, custom_parm="C2")]
    end = answered(asked, reports, state=ECHOING, others=[make_order(9)])
    assert (after(end, 1).state, after(end, 2).state) == (OrderState.PENDING, OrderState.SUCCEEDED)


def test_one_request_id_for_two_orders_settles_neither() -> None:
    asked = [make_blind_order(1), make_blind_order(2)]
    reports = [make_report(9, custom_parm="C1"), make_report(9, custom_parm="C2")]
    end = answered(asked, reports, state=ECHOING)
    for order_id in (1, 2):
        assert after(end, order_id).request_id is None
        assert after(end, order_id).attention is Attention.CONFLICTING_ANSWER


def test_an_asked_row_that_only_another_rows_item_names_is_shown_and_absent() -> None:
    asked = [make_order(1, custom_parm="C1"), make_order(2, custom_parm="C2")]
    end = answered(asked, [make_report(1, custom_parm="C2")])
    for order_id in (1, 2):
        assert after(end, order_id).state is OrderState.PENDING
        assert after(end, order_id).attention is Attention.CONFLICTING_ANSWER
    assert (after(end, 1).absences, after(end, 2).absences) == (0, 1)


def test_a_row_with_an_item_of_its_own_is_told_which_item_took_its_id() -> None:
    asked = [make_order(1, custom_parm="C1"), make_order(2, custom_parm="C2")]
    end = answered(asked, [make_report(1, custom_parm="C2", words='{"thief":1}'), make_report(2, custom_parm="C2")])
    assert after(end, 2).state is OrderState.PENDING
    (event,) = next(change.events for change in end.changes if change.after.id == 2)
    assert '{"thief":1}' in (event.detail or "")
    assert make_report(2).words in (event.detail or "")


def test_a_final_row_whose_id_another_order_is_given_is_shown_and_stays() -> None:
    holder = make_order(9, state=OrderState.SUCCEEDED)
    end = answered([make_blind_order(1)], [make_report(9, custom_parm="C1")], state=ECHOING, others=[holder])
    assert (after(end, 9).state, after(end, 9).attention) == (OrderState.SUCCEEDED, Attention.CONFLICTING_ANSWER)


def test_an_asked_row_that_was_settled_meanwhile_is_shown_too() -> None:
    asked = [make_order(1, custom_parm="C1"), make_order(2, custom_parm="C2")]
    rows = [make_order(1, custom_parm="C1"), make_order(2, custom_parm="C2", state=OrderState.SUCCEEDED)]
    end = answered(asked, [make_report(1, custom_parm="C2")], rows=rows)
    assert after(end, 2).attention is Attention.CONFLICTING_ANSWER


def test_a_blind_single_does_not_learn_the_number_of_another_row() -> None:
    end = answered([make_blind_order(1)], [make_report(9)], work=Work.SINGLE, others=[make_order(9)])
    assert after(end, 1).request_id is None
    assert after(end, 1).attention is after(end, 9).attention is Attention.CONFLICTING_ANSWER
