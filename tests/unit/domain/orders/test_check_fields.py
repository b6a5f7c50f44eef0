"""What refused input held, when it is tried once more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.domain.builders import MOBILE, NOW, make_blind_order, make_order
from worker.domain.orders.billing_requests import differences, fill_in
from worker.domain.orders.check_fields import (
    InputKind,
    RefusedInput,
    errors_of,
    gone,
    read_items,
    read_list,
    read_order,
    read_reference,
    read_refused,
    refused_texts,
)
from worker.domain.records.incoming import RefusedText, Rejection, Submission, Unread
from worker.domain.records.orders import Attention, OrderKey, OrderState
from worker.domain.records.sentences import Sentence

ACCOUNTS = ("default", "north")
FIELDS = ["request_id", "custom_parm", "mobile", "account", "submitted_at", "expected_amount"]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("reconciler.enqueue_order", InputKind.ORDERS),
        ("reconciler enqueue", InputKind.ORDERS),
        ("reconciler.record_callbacks", InputKind.CALLBACKS),
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
        ("reconciler.cancel_orders", "{}", "x", "not retried: have it sent again"),
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
        Rejection(index=0, payload=1, errors=(Sentence("a"), Sentence("b"))),
        Rejection(index=1, payload=2, errors=(Sentence("c"),)),
    ]
    assert errors_of(refused) == ["a", "b", "c"]
    assert "retried already" in str(gone().fault)


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Nd"]))
    | st.sampled_from(["default", "R1", MOBILE, "2.94", "2026-01-31T12:00:00Z"])
    | st.datetimes().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=6),
    max_leaves=12,
)


def read(**fields: Any) -> Submission:
    submission = read_order({"request_id": "R1", **fields}, ACCOUNTS, NOW)
    assert isinstance(submission, Submission), submission
    return submission


def faults(**fields: Any) -> tuple[str, ...]:
    refused = read_order({"request_id": "R1", **fields}, ACCOUNTS, NOW)
    assert isinstance(refused, tuple), refused
    return refused


@given(json_values)
@example({"request_id": "R1", "submitted_at": "9999-12-31T23:59:59-23:59"})
@example({"request_id": "R1", "submitted_at": "0001-01-01T00:00:00+23:59"})
@example({"request_id": "R1", "submitted_at": "\ud800"})
def test_reading_an_order_never_raises_and_names_every_fault_in_storable_text(item: object) -> None:
    found = read_order(item, ACCOUNTS, NOW)
    if isinstance(found, tuple):
        assert found
        assert all("\x00" not in fault and fault.encode() for fault in found)
    else:
        assert found.key.request_id or (found.key.custom_parm and found.mobile)
        assert found.submitted_at.astimezone(UTC) <= NOW + timedelta(minutes=5)
    assert isinstance(read_reference(item, ACCOUNTS), OrderKey | tuple)


@pytest.mark.parametrize("value", [10**5000, nested(100_000)], ids=["huge", "deep"])
@pytest.mark.parametrize("field", FIELDS)
def test_what_python_itself_cannot_write_is_a_fault_like_any_other(field: str, value: object) -> None:
    (fault,) = faults(**{field: value})
    assert fault.startswith(f"{field}: ")


def test_an_order_is_read() -> None:
    submission = read_order(
        {
            "account": "north",
            "request_id": "R1",
            "custom_parm": "C1",
            "mobile": "+86 188-1234-0804",
            "submitted_at": "2026-01-31T18:05:00+08:00",
            "expected_amount": "2.94",
        },
        ACCOUNTS,
        NOW,
    )
    assert submission == Submission(
        key=OrderKey(account="north", request_id="R1", custom_parm="C1"),
        mobile=MOBILE,
        expected_amount=Decimal("2.94"),
        submitted_at=datetime(2026, 1, 31, 18, 5, tzinfo=timezone(timedelta(hours=8))),
    )


def test_what_an_order_leaves_out_has_its_default() -> None:
    for nothing in ({}, dict.fromkeys(["custom_parm", "mobile", "account", "submitted_at", "expected_amount"])):
        submission = read(**nothing)
        assert submission.key == OrderKey(account="default", request_id="R1")
        assert (submission.mobile, submission.expected_amount, submission.submitted_at) == (None, None, NOW)


@pytest.mark.parametrize("item", [None, "R1", 5, ["R1"]], ids=repr)
def test_an_order_is_an_object(item: object) -> None:
    found = read_order(item, ACCOUNTS, NOW)
    assert isinstance(found, tuple)
    assert "must be an object, not" in found[0]


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("request_id", "1,2", "contains ','"),
        ("request_id", 17, "must be a string, not a number"),
        ("request_id", "2.016010000000022E+15", "2.016010000000022E+15 is a number that a spreadsheet has rewritten"),
        ("request_id", "id:1", "id:1 is how commands name a row; accepted: any other id"),
        ("custom_parm", "id:0123456789012345678901234", "is how commands name a row"),
        ("account", "south", "south is not configured; accepted: default, north"),
        ("account", 5, "must be a string, not a number"),
        ("mobile", "1881234", "'1881234' is no mobile number; accepted: 11 digits"),
        ("mobile", 18812340804, "a number is no mobile number"),
        ("expected_amount", "2,94", "'2,94' is no amount"),
        ("expected_amount", "2\u200b", "'2\\u200b' is no amount"),
        ("mobile", "一八八\ud800", "'一八八\\ud800' is no mobile number"),
        ("expected_amount", 2.94, "a number is no amount; accepted: a string"),
        ("submitted_at", "2026-01-31T12:00:00", "is no time with an offset"),
        ("submitted_at", "yesterday", "is no time with an offset"),
        ("submitted_at", 1769860800, "a number is no time with an offset"),
        ("submitted_at", "1999-12-31T12:00:00Z", "is too long ago"),
        ("note", "x", "is not a known field; accepted: request_id"),
    ],
)
def test_a_fault_names_the_field_what_is_wrong_and_what_is_accepted(field: str, value: object, fault: str) -> None:
    (found,) = faults(**{field: value})
    assert found.startswith((f"{field}: ", f"'{field}': "))
    assert fault in found
    assert "accepted: " in found


def test_every_fault_of_an_order_is_reported() -> None:
    wrong = {"request_id": "", "mobile": "1", "expected_amount": "x", "submitted_at": "y", "account": "south"}
    assert len(faults(**wrong, observe=1)) == 6


def test_where_no_account_is_configured_the_fault_says_so() -> None:
    assert read_reference({"request_id": "R1"}, ()) == ("account: default is not configured; accepted: none",)


def test_an_order_has_at_least_one_id() -> None:
    assert faults(request_id=None) == ("request_id: is missing; accepted: request_id, custom_parm, or both",)


def test_an_order_known_by_custom_parm_alone_must_give_its_mobile() -> None:
    (fault,) = faults(request_id=None, custom_parm="C1")
    assert fault.startswith("mobile: is missing")
    assert read(request_id=None, custom_parm="C1", mobile=MOBILE).key.custom_parm == "C1"
    assert read(custom_parm="C1").mobile is None


def test_a_time_more_than_5_minutes_ahead_is_refused() -> None:
    assert read(submitted_at="2026-01-31T12:05:00Z").submitted_at == NOW + timedelta(minutes=5)
    (fault,) = faults(submitted_at="2026-01-31T12:05:00.000001z")
    assert "more than 5 minutes ahead" in fault
    (fault,) = faults(submitted_at="2026-01-31T20:00:00+00:00")
    assert "more than 5 minutes ahead" in fault


# ---- lists


@pytest.mark.parametrize("count", [1, 1000])
def test_a_list_of_1_to_1000_is_accepted(count: int) -> None:
    assert read_list([{}] * count, "orders") == ([{}] * count, ())


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"request_id": "R1"}, "must be a list, not an object"),
        ([], "the list has 0 items; accepted: 1 to 1000, send more in parts"),
        (list(range(1001)), "the list has 1001 items; accepted: 1 to 1000, send more in parts"),
    ],
    ids=["no list", "empty", "too long"],
)
def test_any_other_input_is_one_refusal_that_holds_all_of_it(given: object, fault: str) -> None:
    refusal = Rejection(index=None, payload=given, errors=(Sentence(f"orders: {fault}"),))
    assert read_list(given, "orders") == ([], (refusal,))
    assert refusal.as_answer() == {"index": None, "errors": [f"orders: {fault}"]}


def test_the_good_items_of_a_list_are_taken_and_each_other_is_refused_by_its_index() -> None:
    good, bad = {"request_id": "R1"}, {"request_id": 7}
    taken, (rejection,) = read_items([bad, good], "orders", lambda item: read_reference(item, ACCOUNTS))
    assert taken == [(1, good, read_reference(good, ACCOUNTS))]
    assert (rejection.index, rejection.payload, rejection.errors) == (0, bad, read_reference(bad, ACCOUNTS))


def test_what_was_refused_unread_is_one_refusal_with_its_errors() -> None:
    unread = Unread(text="[[", errors=(Sentence("message: too large"),))
    assert read_list(unread, "orders") == ([], (Rejection(index=None, payload=unread, errors=unread.errors),))
    assert read_order(unread, ACCOUNTS, NOW) == unread.errors


# ---- references


def test_a_reference_names_an_order_by_account_and_id() -> None:
    assert read_reference({"custom_parm": "C1"}, ACCOUNTS) == OrderKey(account="default", custom_parm="C1")
    both = {"account": "north", "request_id": "R1", "custom_parm": "C1"}
    assert read_reference(both, ACCOUNTS) == OrderKey(account="north", request_id="R1", custom_parm="C1")


def test_a_bad_reference_is_refused_with_every_fault() -> None:
    assert read_reference("R1", ACCOUNTS) == ("reference: must be an object, not a string",)
    found = read_reference({"mobile": MOBILE, "account": "south"}, ACCOUNTS)
    assert isinstance(found, tuple)
    assert len(found) == 3
    found = read_reference({"request_id": "2.016010000000022E+15"}, ACCOUNTS)
    assert isinstance(found, tuple)
    (fault,) = found
    assert "that a spreadsheet has rewritten" in fault


def test_a_reference_may_name_an_order_that_an_earlier_release_took_in() -> None:
    assert read_reference({"request_id": "id:1"}, ACCOUNTS) == OrderKey(account="default", request_id="id:1")


# ---- duplicates


def test_an_order_that_agrees_in_every_field_given_is_a_duplicate() -> None:
    order = make_order(custom_parm="C1", expected_amount=Decimal("2.9400"))
    assert differences(order, read()) == ()
    assert differences(order, read(custom_parm="C1", mobile=MOBILE, expected_amount="2.94")) == ()
    assert fill_in(order, read()) == order


def test_submitted_at_is_never_compared() -> None:
    assert differences(make_order(), read(submitted_at="2026-01-01T00:00:00Z")) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [("request_id", "R2"), ("custom_parm", "C2"), ("mobile", "18812340805"), ("expected_amount", "2.95")],
)
def test_an_order_that_differs_in_a_field_that_the_row_has_is_refused(field: str, value: str) -> None:
    order = make_order(custom_parm="C1", expected_amount=Decimal("2.94"))
    (fault,) = differences(order, read(**{field: value}))
    assert fault.startswith(f"{field}: {value} differs")


def test_a_duplicate_fills_in_what_the_row_lacks_and_overwrites_nothing() -> None:
    bare = make_blind_order(mobile=None, expected_amount=None)
    full = read(custom_parm="C9", mobile=MOBILE, expected_amount="0")
    filled = fill_in(bare, full)
    assert filled == replace(bare, request_id="R1", mobile=MOBILE, expected_amount=Decimal(0))
    assert fill_in(filled, read(request_id="R2", mobile="18812340805", expected_amount="9")) == filled
    assert fill_in(make_order(), full).custom_parm == "C9"


@pytest.mark.parametrize(
    ("expected", "attention"), [("2.94", None), ("2.9400", None), ("3.00", Attention.AMOUNT_MISMATCH)]
)
def test_an_amount_that_is_expected_after_the_order_succeeded_is_compared_all_the_same(
    expected: str, attention: Attention | None
) -> None:
    order = make_order(state=OrderState.SUCCEEDED, ori_amount=Decimal("2.94"), settled_at=NOW)
    filled = fill_in(order, read(expected_amount=expected))
    assert filled.expected_amount == Decimal(expected)
    assert (filled.state, filled.attention) == (OrderState.SUCCEEDED, attention)


@pytest.mark.parametrize(
    ("expected", "is_price", "attention"),
    [("2.9400", True, None), (None, True, None), ("5.00", False, Attention.AMOUNT_MISMATCH)],
)
def test_the_price_of_a_failed_order_is_a_charge_once_another_amount_is_expected(
    expected: str | None, attention: Attention | None, *, is_price: bool
) -> None:
    order = make_order(state=OrderState.FAILED, ori_amount=Decimal("2.94"), amount_is_price=True, settled_at=NOW)
    filled = fill_in(order, read(expected_amount=expected))
    assert (filled.state, filled.amount_is_price, filled.attention) == (OrderState.FAILED, is_price, attention)


@pytest.mark.parametrize("charged", ["2.94", "0", None])
def test_what_a_failed_order_was_charged_is_not_compared_with_an_amount_that_is_expected_later(
    charged: str | None,
) -> None:
    order = make_order(state=OrderState.FAILED, ori_amount=charged and Decimal(charged), settled_at=NOW)
    assert fill_in(order, read(expected_amount="5.00")) == replace(order, expected_amount=Decimal("5.00"))


def kept(payload: object, *errors: str) -> RefusedText:
    sentences = tuple(map(Sentence, errors))
    (text,) = refused_texts([Rejection(index=0, payload=payload, errors=sentences)])
    return text


def test_refused_input_is_kept_as_json_with_an_error_a_line() -> None:
    assert kept({"request_id": "查"}, "request_id: odd", "account: unknown") == RefusedText(
        payload='{"request_id": "查"}',
        errors="request_id: odd\naccount: unknown",
        errors_said='[["request_id: odd"],["account: unknown"]]',
    )


def test_what_was_not_read_is_kept_by_its_start() -> None:
    assert kept(Unread(text="[[1, 2", errors=())).payload == "[[1, 2"


@pytest.mark.parametrize("more", [0, 1])
def test_of_an_endless_payload_a_million_characters_are_kept_and_the_errors_say_so(more: int) -> None:
    text = kept("x" * (999_998 + more), "too long")
    assert len(text.payload) == 1_000_000
    shortened = "payload: shortened; kept are the first 1000000 of 1000001 characters"
    assert text.errors.splitlines() == ["too long", *([shortened] if more else [])]


def test_endless_errors_leave_space_for_the_line_that_says_what_was_shortened() -> None:
    text = kept("x" * 1_000_001, "e" * 20_000)
    assert len(text.errors) == 10_000
    assert text.errors.endswith("characters")


def test_what_is_nested_too_deeply_for_json_is_described_in_words() -> None:
    assert 0 < len(kept(nested(100_000)).payload) <= 2_000


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ({"request_id": "r1", "mobile": "?"}, OrderKey(account="default", request_id="r1")),
        ({"account": "a", "custom_parm": "c1", "request_id": None}, OrderKey(account="a", custom_parm="c1")),
        ({"request_id": "not an id"}, None),
        ("no order", None),
    ],
)
def test_a_refused_order_is_kept_with_the_key_that_it_names(payload: object, key: OrderKey | None) -> None:
    (text,) = refused_texts(
        [Rejection(index=0, payload=payload, errors=(Sentence("mobile: is wrong"),))], are_orders=True
    )
    assert text.key == key
