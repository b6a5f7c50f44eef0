"""Texts of what comes in, as they are kept: bounded, and such that every database can hold them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.records.incoming import Refused, storable


@pytest.mark.parametrize(
    ("text", "kept"), [("成功", "成功"), ("a\x00b", "a\ufffdb"), ("a\ud800b\udfff", "a\ufffdb\ufffd"), ("😀", "😀")]
)
def test_nul_and_lone_surrogates_are_replaced(text: str, kept: str) -> None:
    assert storable(text, 10) == kept


@given(st.text(st.characters(), max_size=40), st.integers(0, 20))
def test_storable_text_is_bounded_and_can_be_encoded(text: str, limit: int) -> None:
    kept = storable(text, limit)
    assert len(kept) <= limit
    assert b"\x00" not in kept.encode()


def test_the_texts_of_an_error_are_bounded_and_storable() -> None:
    error = Refused("9" * 100, "\x00" + "好" * 600, excerpt="\ud800" * 3000)
    assert (error.status_code, error.status_msg) == ("9" * 64, "\ufffd" + "好" * 499)
    assert error.excerpt == "\ufffd" * 2000
    assert len(str(error)) == 500
    assert str(Refused("-2", "")) == "the platform refused the query: -2"
