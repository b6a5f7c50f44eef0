import pytest

from worker.domain.records.incoming import RefusedText, Rejection, Unread
from worker.domain.refused_texts import refused_texts


def kept(payload: object, *errors: str) -> RefusedText:
    (text,) = refused_texts([Rejection(index=0, payload=payload, errors=errors)])
    return text


def test_refused_input_is_kept_as_json_with_an_error_a_line() -> None:
    assert kept({"request_id": "查"}, "request_id: odd", "account: unknown") == RefusedText(
        payload='{"request_id": "查"}', errors="request_id: odd\naccount: unknown"
    )


def test_each_rejection_has_texts_of_its_own_in_their_order() -> None:
    rejections = [Rejection(index=number, payload=number, errors=(f"{number}",)) for number in range(3)]
    assert [text.payload for text in refused_texts(rejections)] == ["0", "1", "2"]


def test_what_was_not_read_is_kept_by_its_start() -> None:
    assert kept(Unread(text="[[1, 2", errors=())).payload == "[[1, 2"


@pytest.mark.parametrize("more", [0, 1])
def test_of_an_endless_payload_a_million_characters_are_kept_and_the_errors_say_so(more: int) -> None:
    text = kept("x" * (999_998 + more), "too long")
    assert len(text.payload) == 1_000_000
    shortened = "payload: shortened; kept are the first 1000000 of 1000001 characters"
    assert text.errors.splitlines() == ["too long", *([shortened] if more else [])]


def test_endless_errors_leave_room_for_the_line_that_says_what_was_shortened() -> None:
    text = kept("x" * 1_000_001, "e" * 20_000)
    assert len(text.errors) == 10_000
    assert text.errors.endswith("characters")


def test_what_is_nested_too_deeply_for_json_is_kept_in_words() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert 0 < len(kept(nested).payload) <= 2_000
