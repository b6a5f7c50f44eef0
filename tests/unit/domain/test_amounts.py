from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.amounts import read_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2.94", "2.94"), ("0", "0"), ("0.0001", "0.0001"), ("2.940000", "2.94"), ("9999999999", "9999999999")],
)
def test_an_amount_is_readable_when_it_is_zero_or_more_with_at_most_four_decimals(text: str, amount: str) -> None:
    assert read_amount(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "-2.94",
        "-0",
        "+1",
        "2.94001",
        "2.",
        ".5",
        "1e2",
        "NaN",
        "Infinity",
        " 1",
        "1\n",
        "1,5",
        "２",
        "10000000000",
    ],
    ids=repr,
)
def test_anything_else_is_no_amount(text: str | None) -> None:
    assert read_amount(text) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    amount = read_amount(text)
    assert amount is None or amount >= 0


@given(st.decimals(0, 9_999_999_999, places=4))
def test_amounts_are_exact(amount: Decimal) -> None:
    assert read_amount(format(amount, "f")) == amount
