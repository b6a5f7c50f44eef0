"""What may be an id, an account name, a mobile number or an amount, and which masked numbers may be an order's."""

import re
import unicodedata
from decimal import Decimal

MAX_ID_LENGTH = 64
ID_RULE = "1 to 64 characters, no comma, quote, bracket, white space or control character"
FEWEST_DIGITS_SHOWN = 4
"""A masked number that shows fewer digits is no evidence."""
MOBILE_RULE = "11 digits; blanks, dashes and a leading +86 or 86 are allowed"
AMOUNT_RULE = "a decimal of zero or more, at most four decimals and ten digits before the point"

# Nearly every id matches this: a check of each character was a quarter of the time that enqueueing an order took.
_PLAIN = re.compile(f"[A-Za-z0-9._:-]{{1,{MAX_ID_LENGTH}}}")

# A comma would split the id in two inside a batch, a quote or a bracket would change the meaning of the request.
_FORBIDDEN = frozenset(",'\"`[](){}<>")

# How a spreadsheet writes a long number. Digits are lost, so two ids may have become the same.
_REWRITTEN = re.compile(r"[0-9](\.[0-9]+)?[eE]\+[0-9]+")

# How a person names an order by its row.
_ROW_NAME = re.compile("id:[0-9]+")

# Control characters, line ends of Unicode, lone surrogates: no terminal, log or database is to be given one.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_BARE = re.compile("1[0-9]{10}")
_COUNTRY_CODE = re.compile(r"^\+?86")

_DECIMAL = re.compile(r"[0-9]{1,10}(\.[0-9]{1,20})?", re.ASCII)
_SMALLEST = Decimal("0.0001")


def id_fault(value: object) -> str | None:
    """Why a value cannot be an id or an account name, or None where it can."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return None
    if not isinstance(value, str):
        return f"must be a string, not {json_type(value)}; accepted: {ID_RULE}"
    if not value:
        return f"is empty; accepted: {ID_RULE}"
    if len(value) > MAX_ID_LENGTH:
        return f"has {len(value)} characters; accepted: {ID_RULE}"
    for character in value:
        if character in _FORBIDDEN or character.isspace() or unicodedata.category(character).startswith("C"):
            return f"contains {character!a}; accepted: {ID_RULE}"
    return None


def order_id_fault(value: object) -> str | None:
    """Why a value cannot be the id of an order that is sent to us, or None where it can.

    Stricter than `id_fault`: in a callback or an answer such an id matches no order, which does no harm.
    """
    fault = id_fault(value)
    if fault is None and isinstance(value, str) and _REWRITTEN.fullmatch(value):
        return (
            f"{value} is a number that a spreadsheet has rewritten, and its last digits may be lost; accepted: the id"
            " as it was given: format the column as text, and fill it from the source again"
        )
    return fault


def names_a_row(identity: str) -> bool:
    """Whether commands read this id as the id of a row (`id:42`). No order gets such an id: it could not be named."""
    return _ROW_NAME.fullmatch(identity) is not None


def is_fit(text: str, longest: int, shortest: int = 1) -> bool:
    """Whether a text that a person gives can be shown and kept: so many characters, on one line."""
    return shortest <= len(text) <= longest and not _UNFIT.search(text)


def normalise_mobile(value: str) -> str | None:
    """The 11 digits of a Chinese mobile number, or None where the text holds no such number."""
    # Nearly every number has no blanks, dashes or country code.
    digits = value if _BARE.fullmatch(value) else _bare(value)
    # A mobile number starts with 1. One that started with 86 would lose that when it is read again.
    is_number = len(digits) == 11 and digits.isascii() and digits.isdigit() and not digits.startswith("86")
    return digits if is_number else None


def masked_mobile_may_be(masked: str, mobile: str) -> bool:
    """Whether a masked number (`188****0804`) can be the order's: what stands before and after its stars agrees."""
    shown = _bare(masked)
    if "*" not in shown:
        return shown == mobile
    before, after = shown[: shown.index("*")], shown[shown.rindex("*") + 1 :]
    hidden = shown[len(before) : len(shown) - len(after)]
    if len(before) + len(after) >= len(mobile):
        return False
    if len(shown) == len(mobile):
        return all(shown_digit in ("*", digit) for shown_digit, digit in zip(shown, mobile, strict=True))
    return set(hidden) == {"*"} and mobile.startswith(before) and mobile.endswith(after)


def shows_mobile(masked: str | None, mobile: str | None) -> bool:
    """Whether a masked number shows enough to vouch for an order: four digits, none of which contradicts `mobile`.

    Stars alone, or a single digit before them, fit every order. Where the order has no number, four digits are enough:
    they show that the platform knows one.
    """
    digits = sum(character.isdigit() for character in _bare(masked or ""))
    return digits >= FEWEST_DIGITS_SHOWN and (mobile is None or masked_mobile_may_be(masked or "", mobile))


def _bare(number: str) -> str:
    """A number without blanks, dashes and its country code."""
    return _COUNTRY_CODE.sub("", "".join(number.split()).replace("-", ""))


def read_amount(text: str | None) -> Decimal | None:
    """The amount in yuan that a text holds, or None where it is not readable: zero or more, at most four decimals.

    Exact, never a float.
    """
    if text is None or not _DECIMAL.fullmatch(text):
        return None
    amount = Decimal(text)
    return amount if amount == amount.quantize(_SMALLEST) else None


def amount_text(amount: Decimal) -> str:
    """An amount in yuan with at least two decimals, whatever the database made of it."""
    whole, _, fraction = format(amount, "f").partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def json_type(value: object) -> str:
    """The name that JSON gives to a value's type, for messages."""
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
