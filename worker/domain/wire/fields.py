"""Read an item of an answer, or a callback, into a report; and check ids, account names, numbers and amounts.

The platform's page spells some keys in two ways (`remark`, `Remark`), so the case of keys is ignored. A value that
cannot be read without guessing is a fault of its item. The item is kept, but settles nothing.
"""

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal

from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Report, storable
from worker.domain.records.sentences import N_, Sentence, _
from worker.domain.wire.strict_json import words_of

MAX_ID_LENGTH = 64
ID_RULE = _("1 to 64 characters, no comma, quote, bracket, white space or control character")
FEWEST_DIGITS_SHOWN = 4
"""The fewest visible digits with which a masked number counts as evidence."""
MOBILE_RULE = _("11 digits; blanks, dashes and a leading +86 or 86 are allowed")
AMOUNT_RULE = _("a decimal of zero or more, at most four decimals and ten digits before the point")

# Nearly every id matches this pattern, and then its characters are not checked one by one. That check took a quarter of
# the time to enqueue an order.
_PLAIN = re.compile(f"[A-Za-z0-9._:-]{{1,{MAX_ID_LENGTH}}}")

# A comma would split the id in two inside a batch. A quote or a bracket would change the meaning of the request.
_FORBIDDEN = frozenset(",'\"`[](){}<>")

# A long number as a spreadsheet rewrites it, such as 1.23E+15. This loses digits: two different ids may become equal.
_REWRITTEN = re.compile(r"[0-9](\.[0-9]+)?[eE]\+[0-9]+")

# How people name an order in commands by the id of its row: `id:42`.
_ROW_NAME = re.compile("id:[0-9]+")

# Control characters, Unicode line ends and lone surrogates, which must not reach a terminal, log or database.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_BARE = re.compile("1[0-9]{10}")
_COUNTRY_CODE = re.compile(r"^\+?86")

_DECIMAL = re.compile(r"[0-9]{1,10}(\.[0-9]{1,20})?", re.ASCII)
_SMALLEST = Decimal("0.0001")
_FULL_WIDTH = str.maketrans("０１２３４５６７８９．，￥", "0123456789.,¥")
_WITH_THOUSANDS = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", re.ASCII)


def id_fault(value: object) -> Sentence | None:
    """Return why a value cannot be an id or an account name, with the rule; None if it can."""
    fault = bare_id_fault(value)
    return None if fault is None else _("%(why)s; accepted: %(rule)s", fault, ID_RULE)


def bare_id_fault(value: object) -> Sentence | None:
    """Return why a value cannot be an id or an account name; None if it can. The sentence does not state the rule."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return None
    if not isinstance(value, str):
        return _("must be a string, not %(type)s", json_type(value))
    if not value:
        return _("is empty")
    if len(value) > MAX_ID_LENGTH:
        return _("has %(count)s characters", len(value))
    for character in value:
        if character in _FORBIDDEN or character.isspace() or unicodedata.category(character).startswith("C"):
            return _("contains %(value)s", ascii(character))
    return None


def order_id_fault(value: object) -> Sentence | None:
    """Return why a value cannot be the id of a submitted order; None if it can.

    This is stricter than `id_fault`, because an id that a spreadsheet rewrote is harmless in a callback or an answer:
    there it matches no order.
    """
    fault = id_fault(value)
    if fault is None and isinstance(value, str) and _REWRITTEN.fullmatch(value):
        return _(
            "%(value)s is a number that a spreadsheet has rewritten, and its last digits may be lost;"
            " accepted: the id as it was given: format the column as text, and fill it from the source again",
            value,
        )
    return fault


def names_a_row(identity: str) -> bool:
    """Whether commands read this id as the id of a row (`id:42`).

    No order gets such an id, because commands could not name the order by it.
    """
    return _ROW_NAME.fullmatch(identity) is not None


def is_fit(text: str, longest: int, shortest: int = 1) -> bool:
    """Whether a text from a person can be shown and stored: its length is in range, and it has one line."""
    return shortest <= len(text) <= longest and not _UNFIT.search(text)


def normalise_mobile(value: str) -> str | None:
    """Return the 11 digits of a Chinese mobile number; None if the text is no such number."""
    # Nearly every number is already without blanks, dashes and country code.
    digits = value if _BARE.fullmatch(value) else _bare(value)
    # A mobile number starts with 1, so one that starts with 86 is refused. Otherwise, reading the result a second time
    # would drop the 86 as a country code.
    is_number = len(digits) == 11 and digits.isascii() and digits.isdigit() and not digits.startswith("86")
    return digits if is_number else None


def typed_number(text: str) -> str:
    """Return a typed or pasted number with ordinary digits, and without blanks and invisible characters."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(one for one in folded if not one.isspace() and unicodedata.category(one) != "Cf")


def masked_mobile_may_be(masked: str, mobile: str) -> bool:
    """Whether a masked number (`188****0804`) can be `mobile`: the digits before and after the stars agree with it."""
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
    """Whether a masked number is evidence for an order: it shows four digits, and none contradicts `mobile`.

    Fewer digits would fit too many orders: stars without digits fit every order. If `mobile` is None, any four digits
    are enough, because they show that the platform knows a number.
    """
    shows_enough = digits_shown(masked or "") >= FEWEST_DIGITS_SHOWN
    return shows_enough and (mobile is None or masked_mobile_may_be(masked or "", mobile))


def digits_shown(masked: str) -> int:
    """The number of visible digits in a masked number, without its country code."""
    return sum(character.isdigit() for character in _bare(masked))


def _bare(number: str) -> str:
    """Return a number without blanks, dashes and country code."""
    return _COUNTRY_CODE.sub("", "".join(number.split()).replace("-", ""))


def read_amount(text: str | None) -> Decimal | None:
    """Read an amount in yuan, exactly, without a float; None if the text is not an amount.

    An amount is zero or more, with at most four decimals.
    """
    if text is None or not _DECIMAL.fullmatch(text):
        return None
    amount = Decimal(text)
    return amount if amount == amount.quantize(_SMALLEST) else None


def read_written_amount(text: str) -> Decimal | None:
    """Read an amount that a person or a spreadsheet wrote: also `98元`, `￥98`, `1,960.00` and full-width digits.

    Return None also if the text is ambiguous: `1,96` may be 1.96 or 196.
    """
    digits = text.translate(_FULL_WIDTH).strip(" ¥").removesuffix("元").strip()
    is_clear = "," not in digits or _WITH_THOUSANDS.fullmatch(digits)
    return read_amount(digits.replace(",", "")) if is_clear else None


def amount_text(amount: Decimal) -> str:
    """Format an amount in yuan with at least two decimals, whatever its scale in the database."""
    whole, _, fraction = format(amount, "f").partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def json_type(value: object) -> Sentence:
    """The name of a value's type in JSON, for messages."""
    names = {str: N_("a string"), bool: N_("a boolean"), int: N_("a number"), float: N_("a number")}
    names |= {list: N_("a list"), dict: N_("an object"), type(None): N_("null")}
    return Sentence(names.get(type(value), type(value).__name__))


REMARK_LIMIT = 500
"""How many characters of a remark are stored."""
FIELD_LIMIT = 255
"""The most characters of a field that is no remark. A longer field is a fault, because a cut id would be another id."""
GOOD_CODES = frozenset({"0", "000000"})
"""The values of `statusCode` that mean success."""

_NAMES = {
    "requestId": "request_id",
    "customParm": "custom_parm",
    "appid": "app_id",
    "mobile": "mobile",
    "trafficSts": "traffic_sts",
    "remark": "remark",
    "oriAmount": "ori_amount",
    "statusCode": "status_code",
}
_NAMES_IN_ANY_CASE = {key.casefold(): name for key, name in _NAMES.items()}
_MAX_INTEGER_BITS = 512


class FieldFault(Exception):
    """A value that cannot be read without guessing. `str()` says why."""

    def __init__(self, why: CodedText) -> None:
        super().__init__(why)
        self.why = why


def is_known_key(key: str) -> bool:
    """Whether `read_report` reads this key of an item, in upper or lower case."""
    return key.casefold() in _NAMES_IN_ANY_CASE


def read_report(fields: Mapping[str, object]) -> Report:
    """Read one item. Values are text or numbers; null and empty text count as absent; unknown keys are ignored.

    This never raises. The report's `fault` says why the item must not be believed: a value has another type, two keys
    that differ only in case have different values, or the item's own `statusCode` is neither `0` nor `000000`.
    """
    said: dict[str, str | None] = {}
    faults: list[CodedText] = []
    for key, value in fields.items():
        name = _NAMES.get(key) or _NAMES_IN_ANY_CASE.get(str(key).casefold())
        if name is None:
            continue
        try:
            text = field_text(value, limit=None if name == "remark" else FIELD_LIMIT)
        except FieldFault as fault:
            text = None
            faults.append(fault.why.having(field=storable(str(key), FIELD_LIMIT)))
        if name in said and said[name] != text:
            faults.append(CodedText(TextCode.FIELD_SAID_TWICE, field=storable(str(key), FIELD_LIMIT)))
        # The first value stays, because it shows which order the faulty item is about.
        said[name] = said.get(name) or text
    code = said.pop("status_code", None)
    if code is not None and code not in GOOD_CODES:
        faults.append(CodedText(TextCode.ITEM_IS_ERROR, field="statusCode", status_code=code))
    remark = said.pop("remark", None)
    return Report(
        **said,
        remark=None if remark is None else storable(remark, REMARK_LIMIT),
        has_amount_field="ori_amount" in said,
        fault=faults[0] if faults else None,
        words=words_of(fields),
    )


def field_text(value: object, *, limit: int | None = None) -> str | None:
    """Return a field's value as text; None for null and empty text. A number is returned as it was written.

    Raises FieldFault for a boolean, a list, an object and a very long integer. With a limit, it also raises FieldFault
    for text that is longer or cannot be stored.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldFault(CodedText(TextCode.FIELD_NO_TEXT))
    elif isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise FieldFault(CodedText(TextCode.FIELD_TOO_LONG))
    else:
        text = repr(value)
    if limit is not None and len(text) > limit:
        raise FieldFault(CodedText(TextCode.FIELD_TOO_LONG))
    if limit is not None and storable(text, limit) != text:
        raise FieldFault(CodedText(TextCode.FIELD_NOT_STORABLE))
    return text


def field_named(fields: Mapping[str, object], name: str) -> object:
    """Return the value of the key `name`, in upper or lower case; None if it is absent.

    Raises FieldFault if keys that differ only in case have different values.
    """
    values = [value for key, value in fields.items() if key.casefold() == name.casefold()]
    if any(value != values[0] for value in values):
        raise FieldFault(CodedText(TextCode.FIELD_SAID_TWICE, field=name))
    return values[0] if values else None
