"""Values as people read them."""

import json

import pytest

from worker.adapters.shown_values import indented_json


def test_json_is_shown_over_several_lines() -> None:
    assert indented_json('{"a": ["话费"]}') == '{\n  "a": [\n    "话费"\n  ]\n}'


def test_half_of_a_surrogate_pair_stays_an_escape() -> None:
    assert indented_json(r'"\ud800"') == r'"\ud800"'


@pytest.mark.parametrize("text", ["{cut off", "[" * 100_000])
def test_what_is_no_json_is_shown_as_it_is(text: str) -> None:
    assert indented_json(text) == text


def test_what_is_nested_deep_does_not_become_many_times_as_long() -> None:
    text = "[" * 500 + ",".join(["0"] * 20_000) + "]" * 500
    assert json.loads(text)
    assert indented_json(text) == text
