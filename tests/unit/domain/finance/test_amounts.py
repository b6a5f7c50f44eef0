"""What orders should cost and what they did cost."""

from decimal import Decimal

import pytest

from worker.domain.finance.report import Amounts, Sums, amounts_of
from worker.domain.records.orders import OrderState

EXPECTED, NAMED = Decimal("98.00"), Decimal("98.5001")


def known(state: OrderState, *, is_price: bool = False) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    found = amounts_of(state, EXPECTED, NAMED, is_price=is_price)
    return found.due, found.charged, found.difference


def test_a_succeeded_order_is_due_as_expected() -> None:
    assert known(OrderState.SUCCEEDED) == (EXPECTED, NAMED, Decimal("0.5001"))


def test_nothing_is_due_for_a_failed_order() -> None:
    assert known(OrderState.FAILED) == (Decimal(0), NAMED, NAMED)


def test_an_echoed_price_is_no_charge() -> None:
    assert known(OrderState.FAILED, is_price=True) == (Decimal(0), None, None)


@pytest.mark.parametrize("state", [state for state in OrderState if not state.is_final])
def test_an_amount_beside_an_order_that_is_not_final_is_no_charge(state: OrderState) -> None:
    assert known(state) == (EXPECTED, None, None)


def test_without_an_expected_amount_no_difference_is_known() -> None:
    found = amounts_of(OrderState.SUCCEEDED, None, NAMED, is_price=False)
    assert (found.due, found.charged, found.difference) == (None, NAMED, None)


def test_sums_are_exact_and_take_what_is_known() -> None:
    sums = Sums()
    for _ in range(9):
        sums.add(Amounts(Decimal("0.1"), Decimal("0.1001")))
    sums.add(Amounts(Decimal("0.1"), None))
    sums.add(Amounts(None, Decimal("2")))
    assert sums == Sums(count=11, due=Decimal("1.0"), charged=Decimal("2.9009"), difference=Decimal("0.0009"))
