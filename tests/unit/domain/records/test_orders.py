from datetime import timedelta
from itertools import combinations

import pytest

from tests.unit.domain.builders import NOW, leased, make_blind_order, make_order
from worker.domain.records.orders import Attention, IdKind, gravest


def test_attention_holds_the_gravest_of_the_reasons() -> None:
    order = [
        "late_conflict",
        "conflicting_answer",
        "amount_mismatch",
        "mobile_mismatch",
        "unknown_status",
        "unknown_to_platform",
        "rejected_by_platform",
        "too_old",
    ]
    for graver, lesser in combinations(order, 2):
        assert gravest(None, Attention(lesser), Attention(graver)) == graver
    assert gravest(None, None) is None


def test_an_order_is_polled_by_the_platforms_number_where_that_is_known() -> None:
    both = make_order(request_id="R1", custom_parm="C1")
    assert (both.id_kind, both.polled_id) == (IdKind.REQUEST_ID, "R1")
    blind = make_blind_order()
    assert (blind.id_kind, blind.polled_id) == (IdKind.CUSTOM_PARM, "C1")


def test_an_order_without_any_id_cannot_be_polled() -> None:
    with pytest.raises(ValueError, match="order 1 has neither"):
        _ = make_order(request_id=None).polled_id


def test_an_order_is_leased_until_its_lease_runs_out() -> None:
    order = leased(make_order())
    assert order.is_leased(NOW)
    assert not order.is_leased(order.due_at)
    assert not make_order(due_at=NOW + timedelta(hours=1)).is_leased(NOW)


def test_a_request_id_is_filled_in_and_never_overwritten() -> None:
    assert make_blind_order().with_request_id("R9").request_id == "R9"
    assert make_order().with_request_id("R9").request_id == "R1"
    assert make_order().with_request_id(None) == make_order()


def test_failures_under_one_kind_of_id_do_not_count_under_the_other() -> None:
    order = make_blind_order(failures_alone=2, failure_mark=5).with_request_id("R9")
    assert (order.failures_alone, order.failure_mark) == (0, 0)
