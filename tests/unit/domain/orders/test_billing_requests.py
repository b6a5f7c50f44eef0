"""Which orders of a list are new, duplicates or refused; what may be cancelled and checked by reference."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.builders import MOBILE, NOW, RULES, make_order
from worker.domain.orders.billing_requests import (
    EnqueueResult,
    Listed,
    Reference,
    ReferenceResult,
    after_insertion,
    cancel_all,
    check_all,
    enqueue_submissions,
    insertion_order,
    names_an_id_twice,
)
from worker.domain.records.incoming import Submission
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, Order, OrderKey, OrderState, Source


def submission(request_id: str | None = None, custom_parm: str | None = None, **fields: Any) -> Submission:
    account = fields.pop("account", "default")
    given: dict[str, Any] = {"mobile": MOBILE, "expected_amount": None, "submitted_at": NOW, **fields}
    return Submission(key=OrderKey(account=account, request_id=request_id, custom_parm=custom_parm), **given)


def listed(*submissions: Submission) -> Listed:
    return [(index, {"number": index}, one) for index, one in enumerate(submissions)]


def enqueued(*submissions: Submission, known: tuple[Order, ...] = ()) -> EnqueueResult:
    result = EnqueueResult()
    enqueue_submissions(listed(*submissions), known, NOW, RULES, result)
    return result


def test_an_unknown_order_is_new_and_due_at_the_end_of_its_grace() -> None:
    result = enqueued(submission("R1"), submission("R2"))
    assert result.accepted == [0, 1]
    assert [(order.request_id, order.created_at) for order in result.new] == [("R1", NOW), ("R2", NOW)]
    assert {order.due_at for order in result.new} == {NOW + timedelta(seconds=RULES.grace_seconds)}
    assert len({order.id for order in result.new}) == 2
    assert all(order.id < 0 for order in result.new)


def test_the_same_order_twice_in_a_list_is_new_once() -> None:
    result = enqueued(submission("R1"), submission("R1"))
    assert (result.accepted, result.duplicates, len(result.new)) == ([0], [1], 1)


def test_a_duplicate_fills_in_what_its_row_lacks() -> None:
    known = make_order(7, request_id=None, custom_parm="C7")
    result = enqueued(submission("R7", "C7"), known=(known,))
    assert (result.accepted, result.duplicates, result.new) == ([], [0], [])
    (change,) = result.changes
    assert (change.before, change.after.request_id) == (known, "R7")
    assert [event.kind for event in change.events] == [EventKind.FILLED_IN]
    assert result.keys == [change.after.key]


def test_an_amount_that_a_succeeded_order_lacked_is_compared_with_its_charge_once() -> None:
    done = make_order(1, state=OrderState.SUCCEEDED, ori_amount=Decimal("2.94"))
    (change,) = enqueued(submission("R1", expected_amount=Decimal(3)), known=(done,)).changes
    assert change.after.attention is Attention.AMOUNT_MISMATCH
    # Somebody has dismissed it since.
    dismissed = replace(change.after, attention=None)
    (change,) = enqueued(submission("R1", "C1"), known=(dismissed,)).changes
    assert (change.after.custom_parm, change.after.attention) == ("C1", None)


def test_a_duplicate_that_adds_nothing_changes_nothing() -> None:
    result = enqueued(submission("R7"), known=(make_order(7),))
    assert (result.duplicates, result.changes, result.keys) == ([0], [], [])


def test_a_submission_that_differs_from_its_row_is_refused_and_the_rest_goes_through() -> None:
    result = enqueued(submission("R7", mobile="13900000000"), submission("R8"), known=(make_order(7),))
    assert [rejection.index for rejection in result.rejections] == [0]
    assert result.accepted == [1]


def test_ids_of_two_known_orders_are_refused() -> None:
    known = (make_order(1, custom_parm="C1"), make_order(2, custom_parm="C2"))
    result = enqueued(submission("R1", "C2"), known=known)
    assert "two different known orders" in result.rejections[0].errors[0]
    assert result.changes == []


def test_what_was_inserted_already_is_accepted_and_the_rest_is_left() -> None:
    new, old = submission("R1"), submission("R2")
    result, rest = after_insertion(listed(new, old), {new.key})
    assert (result.accepted, result.keys) == ([0], [new.key])
    assert rest == [(1, {"number": 1}, old)]


def test_an_id_is_named_twice_by_the_same_account_and_kind_only() -> None:
    assert names_an_id_twice(listed(submission("R1"), submission("R1", "C1")))
    assert names_an_id_twice(listed(submission("R1", "C1"), submission("R2", "C1")))
    assert not names_an_id_twice(listed(submission("X"), submission(None, "X")))
    assert not names_an_id_twice(listed(submission("R1"), submission("R1", account="other")))


def test_lists_that_share_orders_insert_them_in_the_same_order() -> None:
    one, other, third = (each.key for each in (submission("R2"), submission(None, "C1"), submission("R1", account="a")))
    assert sorted([one, other, third], key=insertion_order) == sorted([third, one, other], key=insertion_order)
    assert [order.request_id for order in enqueued(submission("R2"), submission("R1")).new] == ["R1", "R2"]


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
