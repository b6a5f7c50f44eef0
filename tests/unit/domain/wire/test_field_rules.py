from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.records.orders import IdKind, OrderKey
from worker.domain.wire.fields import (
    amount_text,
    id_fault,
    json_type,
    masked_mobile_may_be,
    names_a_row,
    normalise_mobile,
    order_id_fault,
    read_amount,
    read_written_amount,
    typed_number,
)

mobiles = st.from_regex(r"1[0-9]{10}", fullmatch=True)


@pytest.mark.parametrize("identity", ["2016010000000219", "a", "a" * 64, "订单-1_x.y/z:#"], ids=ascii)
def test_an_id_is_1_to_64_characters(identity: str) -> None:
    assert id_fault(identity) is None


@pytest.mark.parametrize(
    ("identity", "fault"),
    [
        ("", "is empty"),
        ("a" * 65, "has 65 characters"),
        *((f"a{character}b", "contains") for character in ",'\"`[](){}<> \t\n\x00\x1b\x7f\xa0\u3000\u200b\ud800"),
        (2016, "must be a string, not a number"),
        (None, "must be a string, not null"),
    ],
    ids=ascii,
)
def test_an_id_holds_no_comma_quote_bracket_white_space_or_control_character(identity: object, fault: str) -> None:
    found = id_fault(identity)
    assert found is not None
    assert found.startswith(fault)
    assert "accepted: 1 to 64 characters" in found


@pytest.mark.parametrize(
    ("identity", "is_one"),
    [("id:1", True), ("id:" + "0" * 61, True), ("id:", False), ("id:1a", False), ("xid:1", False)],
)
def test_what_a_command_reads_as_a_row_is_told_from_other_ids(identity: str, is_one: bool) -> None:
    assert names_a_row(identity) is is_one
    assert id_fault(identity) is None


@given(st.text())
def test_what_is_wrong_with_an_id_can_be_stored_and_shown(identity: str) -> None:
    fault = id_fault(identity) or ""
    assert fault.isascii()
    assert fault.isprintable()


@pytest.mark.parametrize("identity", ["2.016010000000022E+15", "2.01601e+15", "2E+15", "9.9E+308"])
def test_an_id_that_a_spreadsheet_has_rewritten_is_refused_for_orders(identity: str) -> None:
    fault = order_id_fault(identity)
    assert fault is not None
    assert fault.startswith(f"{identity} is a number that a spreadsheet has rewritten")
    assert "format the column as text" in fault
    # A callback or an answer may hold any id: this one is only the id of no order.
    assert id_fault(identity) is None


@pytest.mark.parametrize(
    "identity",
    ["2016010000000219", "E+15", "22.0E+15", "2.E+15", "2.0E15", "2.0E-15", "a2E+15", "2E+15b", "\u0662E+15"],
)
def test_an_id_that_only_resembles_a_rewritten_one_is_an_id(identity: str) -> None:
    assert order_id_fault(identity) is None


@given(st.text())
def test_an_orders_id_has_every_fault_of_an_id(identity: str) -> None:
    fault = id_fault(identity)
    assert fault is None or order_id_fault(identity) == fault


def test_a_key_names_its_order_by_either_id() -> None:
    key = OrderKey(account="north", request_id="R1", custom_parm="C1")
    assert (key.id_of(IdKind.REQUEST_ID), key.id_of(IdKind.CUSTOM_PARM)) == ("R1", "C1")
    assert (str(key), str(OrderKey(account="north", custom_parm="C1"))) == ("north:R1", "north:C1")


@pytest.mark.parametrize(
    "text", ["18812340804", "188 1234 0804", "188-1234-0804", "+8618812340804", "8618812340804", "+86 188-1234 0804"]
)
def test_blanks_dashes_and_a_leading_86_are_taken_off_a_mobile(text: str) -> None:
    assert normalise_mobile(text) == "18812340804"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1881234080",
        "188123408040",
        "188****0804",
        "1881234080x",
        "１８８１２３４０８０４",
        "+18812340804",
        "86123456789",
    ],
)
def test_a_mobile_is_11_digits_then(text: str) -> None:
    assert normalise_mobile(text) is None


@given(st.text(alphabet="0123456789+- 86", max_size=20))
def test_normalising_a_mobile_twice_changes_nothing(text: str) -> None:
    mobile = normalise_mobile(text)
    assert mobile is None or normalise_mobile(mobile) == mobile


@given(mobiles, st.integers(0, 10), st.integers(1, 11), st.sampled_from(["", "86", "+86 "]))
def test_a_masked_number_of_a_mobile_always_matches_it(mobile: str, start: int, length: int, code: str) -> None:
    end = min(start + length, 11)
    assert masked_mobile_may_be(code + mobile[:start] + "*" * (end - start) + mobile[end:], mobile)
    assert masked_mobile_may_be(code + mobile[:start] + "*" + mobile[end:], mobile)
    assert masked_mobile_may_be(code + mobile, mobile)


@pytest.mark.parametrize(
    "masked",
    [
        "188****0805",
        "189****0804",
        "1881235*804",
        "18812340805",
        "1881234*0804",
        "188*9**0804",
        "188*12*04",
        "abc*",
        "188",
    ],
)
def test_a_masked_number_that_differs_in_any_digit_that_it_shows_cannot_be_the_orders(masked: str) -> None:
    assert not masked_mobile_may_be(masked, "18812340804")


def test_digits_between_stars_are_compared_too() -> None:
    assert masked_mobile_may_be("188*2**0804", "18812340804")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        ("", "a string"),
        (True, "a boolean"),
        (1, "a number"),
        (1.5, "a number"),
        ([], "a list"),
        ({}, "an object"),
        (b"", "bytes"),
    ],
    ids=repr,
)
def test_messages_call_types_by_their_json_names(value: object, name: str) -> None:
    assert json_type(value) == name


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


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        *(("98", "98"), ("98元", "98"), ("98.5 元", "98.5"), ("￥98", "98"), ("¥ 98.00元", "98"), ("９８．５", "98.5")),
        *(("1,960.00", "1960"), ("1,960", "1960"), ("￥１，９６０．００", "1960"), ("12,345,678.9", "12345678.9")),
    ],
)
def test_an_amount_is_read_as_people_and_spreadsheets_write_it(text: str, amount: str) -> None:
    assert read_written_amount(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["", "1,96", "1960,00", "1.960,00", "1,9600", "12,34,567", ",960", "九八", "98块", "9²", "-98", "￥", "9 8"]
)
def test_an_amount_that_can_be_read_in_two_ways_or_in_none_is_no_amount(text: str) -> None:
    assert read_written_amount(text) is None


@given(st.decimals(0, 9_999_999_999, places=4))
def test_amounts_are_exact(amount: Decimal) -> None:
    assert read_amount(format(amount, "f")) == amount


@pytest.mark.parametrize(
    ("amount", "text"), [("2.9400", "2.94"), ("100", "100.00"), ("0.1234", "0.1234"), ("1E+2", "100.00"), ("0", "0.00")]
)
def test_an_amount_is_written_the_same_whatever_database_it_came_from(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("１８８　１２３４\t0804", "18812340804"),
        ("\u202d188 1234 0804\u202c\u200b", "18812340804"),
        ("ｉｄ：7", "id:7"),
        ("2016-ä_X", "2016-ä_X"),
        ("a,\x00b", "a,\x00b"),
    ],
)
def test_a_number_is_read_as_it_was_meant_however_it_was_typed(typed: str, number: str) -> None:
    assert typed_number(typed) == number
