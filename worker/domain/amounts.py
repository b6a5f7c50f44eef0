"""Amounts in yuan: exact decimals, never floats."""

import re
from decimal import Decimal

AMOUNT_RULE = "a decimal of zero or more, at most four decimals and ten digits before the point"

_PLAIN = re.compile(r"[0-9]{1,10}(\.[0-9]{1,20})?", re.ASCII)
_SMALLEST = Decimal("0.0001")


def read_amount(text: str | None) -> Decimal | None:
    """The amount that a text holds, or None where it is not readable: zero or more, at most four decimals."""
    if text is None or not _PLAIN.fullmatch(text):
        return None
    amount = Decimal(text)
    return amount if amount == amount.quantize(_SMALLEST) else None
