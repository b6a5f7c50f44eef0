from dataclasses import replace

import pytest

from tests.unit.domain.builders import NOW, leased, make_blind_order, make_order, make_query, make_state
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import OrderState, Source

WHY = CodedText(TextCode.GROUP_ANSWERED)


def test_a_query_carries_the_ids_of_its_orders() -> None:
    query = make_query([make_order(1), make_order(2)])
    assert (query.ids, query.is_alone) == (("R1", "R2"), False)
    assert (make_query([make_blind_order(3)]).ids, make_query([make_blind_order(3)]).is_alone) == (("C3",), True)


@pytest.mark.parametrize("state", OrderState)
def test_a_query_changes_only_orders_that_it_still_holds_and_that_may_settle(state: OrderState) -> None:
    query, order = make_query([make_order()]), leased(make_order(state=state))
    assert query.holds(order) is state.may_settle
    assert not query.holds(replace(order, lease_token="another"))
    assert not query.holds(replace(order, lease_token=None))
    assert not replace(query, token="").holds(replace(order, lease_token=None))


def test_an_event_names_the_query() -> None:
    order = make_order()
    (event,) = make_query([order]).record(Change.none(order), order, EventKind.CLEARED, NOW, WHY).events
    assert (event.order_id, event.query_id, event.source, event.at, event.detail) == (1, 7, Source.QUERY, NOW, WHY)


def test_query_effects_count_the_orders_that_became_final() -> None:
    pending, final = make_order(1), make_order(1, state=OrderState.FAILED)
    changes = (Change(before=pending, after=final), Change(before=final, after=final))
    assert QueryEffects(state=make_state(), changes=changes).settled == 1
