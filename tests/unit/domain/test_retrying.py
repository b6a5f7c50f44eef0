"""What refused input held, when it is tried once more."""

import pytest

from worker.domain.records.incoming import Rejection
from worker.domain.retrying import InputKind, RefusedInput, errors_of, gone, read_refused


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("reconciler.enqueue_order", InputKind.ORDERS),
        ("reconciler enqueue", InputKind.ORDERS),
        ("reconciler.record_callbacks", InputKind.CALLBACKS),
        ("reconciler.cancel_orders", InputKind.CANCELLATIONS),
        ("reconciler check", InputKind.CHECKS),
    ],
)
def test_the_source_says_what_it_was(source: str, kind: InputKind) -> None:
    assert read_refused(source, '{"request_id": "1"}', "request_id: wrong") == RefusedInput(
        kind=kind, parts=([{"request_id": "1"}],), is_list=False
    )


def test_a_list_that_was_too_long_is_retried_in_parts() -> None:
    held = read_refused("reconciler.enqueue_orders", str(list(range(2001))), "orders: too long")
    assert isinstance(held, RefusedInput)
    assert held.is_list
    assert [len(part) for part in held.parts] == [1000, 1000, 1]


@pytest.mark.parametrize(
    ("source", "payload", "errors", "fault"),
    [
        ("somebody else", "{}", "x", "not retried"),
        ("reconciler.enqueue_orders", '[{"request_id": "1"', "x", "kept in part"),
        ("reconciler.enqueue_orders", "[" * 100_000, "x", "kept in part"),
        ("reconciler.enqueue_orders", "[]", "x", "empty list"),
        ("reconciler.enqueue_orders", "[1, 2, 3]", "message: too large", "refused unread"),
    ],
)
def test_what_cannot_be_retried_says_why(source: str, payload: str, errors: str, fault: str) -> None:
    held = read_refused(source, payload, errors)
    assert isinstance(held, str)
    assert fault in held


def test_what_is_refused_once_more_names_its_faults() -> None:
    refused = [
        Rejection(index=0, payload=1, errors=("a", "b")),
        Rejection(index=1, payload=2, errors=("c",)),
    ]
    assert errors_of(refused) == ["a", "b", "c"]
    assert "retried already" in str(gone().fault)
