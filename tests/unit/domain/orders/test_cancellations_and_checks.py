"""What may be cancelled and checked by reference."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.unit.domain.builders import NOW, make_order
from worker.domain.orders.billing_requests import Reference, ReferenceResult, cancel_all, check_all
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Order, OrderKey, OrderState, Source


def reference(index: int, request_id: str | None = None, custom_parm: str | None = None) -> Reference:
    return index, {"number": index}, OrderKey(account="default", request_id=request_id, custom_parm=custom_parm)


@pytest.mark.parametrize("state", OrderState)
def test_only_what_may_still_settle_is_cancelled(state: OrderState) -> None:
    order = make_order(1, state=state, settled_at=NOW if state.is_final else None)
    result = cancel_all([reference(0, "R1")], [order], NOW)
    may_settle = state in (OrderState.PENDING, OrderState.UNRESOLVED)
    assert (result.changed, result.unchanged) == ((1, 0) if may_settle else (0, 1))
    for change in result.changes.values():
        assert change.after.state is OrderState.CANCELLED
        assert [(event.kind, event.source) for event in change.events] == [(EventKind.CANCELLED, Source.BILLING)]


def test_an_order_that_a_list_names_twice_is_cancelled_once() -> None:
    order = make_order(1, custom_parm="C1")
    result = cancel_all([reference(0, "R1"), reference(1, None, "C1")], [order], NOW)
    assert (result.changed, result.unchanged, len(result.changes)) == (1, 1, 1)


@pytest.mark.parametrize("state", OrderState)
def test_only_pending_orders_are_checked(state: OrderState) -> None:
    order = make_order(1, state=state, due_at=NOW + timedelta(hours=1))
    result = check_all([reference(0, "R1")], [order], NOW)
    if state is OrderState.PENDING:
        after = result.changes[1].after
        assert (result.changed, after.due_at, after.check_requested_at) == (1, NOW, NOW)
        return
    assert (result.changed, result.changes) == (0, {})
    assert result.rejections[0].errors == (f"order default:R1: is {state.value}, not pending; reopen it first",)


def test_a_check_of_a_leased_order_leaves_its_lease() -> None:
    leased = make_order(1, lease_token="token", due_at=NOW + timedelta(minutes=1))
    after = check_all([reference(0, "R1")], [leased], NOW).changes[1].after
    assert (after.due_at, after.lease_token, after.check_requested_at) == (leased.due_at, "token", NOW)


@pytest.mark.parametrize("request_all", [cancel_all, check_all])
def test_a_reference_that_names_no_order_or_two_is_refused(request_all: Callable[..., ReferenceResult]) -> None:
    orders: list[Order] = [make_order(1, custom_parm="C1"), make_order(2, custom_parm="C2")]
    result = request_all([reference(0, "R9"), reference(1, "R1", "C2")], orders, NOW)
    assert [(one.index, one.errors[0]) for one in result.rejections] == [
        (0, "order default:R9: is not known; enqueue it first"),
        (1, "order default:R1: its ids belong to two different orders"),
    ]
    assert result.changes == {}
