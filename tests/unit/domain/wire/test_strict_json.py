import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.wire.strict_json import MAX_DEPTH, JsonFault, JsonNumber, parse, words_of


def test_numbers_stay_the_text_they_were_written_as() -> None:
    digits = "9" * 5000
    assert parse(f"[2.940, 1e400, -0, {digits}]") == ["2.940", "1e400", "-0", digits]
    assert isinstance(parse("1"), JsonNumber)


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '[{"a":1,"b":2,"a":3}]'])
def test_a_doubled_key_is_refused(text: str) -> None:
    with pytest.raises(JsonFault, match="one key twice"):
        parse(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}'])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(JsonFault, match="is not JSON"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", " ", "<html>", "{", '{"a":}', "[1,]", "'a'", '"\x01"', "1 2", '"\\', '"\\"', "]", "]["]
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(JsonFault, match="not JSON"):
        parse(text)


def test_nesting_is_bounded() -> None:
    parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(JsonFault, match="deeper"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    with pytest.raises(JsonFault, match="deeper"):
        parse('{"a":' * 1_000_000)


def test_brackets_inside_text_are_not_nesting() -> None:
    text = '"' + "[{" * 100 + '\\"[[[[[[[[[[[[[[[[[[['
    assert isinstance(parse(text + '"'), str)


def test_an_unterminated_text_of_escaped_quotes_takes_linear_time() -> None:
    started = time.perf_counter()
    with pytest.raises(JsonFault):
        parse('"' + '\\"' * 1_000_000)
    # A scan that starts again at each quote takes hours.
    assert time.perf_counter() - started < 20


def test_words_are_compact_json_with_numbers_as_they_were_read() -> None:
    text = '{"a":2.940,"b":["成功",true,null,1e400],"c":{"d":"\\u0000\\"x"}}'
    assert words_of(parse(text)) == text


def test_words_of_a_callback_keep_pythons_numbers() -> None:
    said = {"a": 2.94, "b": 1, "c": (False,), "d": 1 << 600}
    assert words_of(said) == f'{{"a":2.94,"b":1,"c":[false],"d":{1 << 600:#x}}}'


def test_words_are_bounded_in_depth_and_length() -> None:
    deep: object = "x"
    for _ in range(3000):
        deep = [deep]
    assert words_of(deep) == "[" * MAX_DEPTH + '"..."' + "]" * MAX_DEPTH
    assert len(words_of({"a": "x" * 5000})) == 2000


def test_words_can_be_stored() -> None:
    words_of({"\ud800": "\udfff"}).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_words_say_what_was_read(value: object) -> None:
    text = json.dumps(value)
    words = words_of(parse(text))
    if len(words) < 2000 and "\ufffd" not in words:
        assert json.loads(words) == value


@given(st.text(st.sampled_from('[]{}",:\\ \n01eE.-tfnulNaI\x00\ud800'), max_size=60))
def test_reading_raises_nothing_but_its_fault(text: str) -> None:
    with suppress(JsonFault):
        parse(text)
