"""The form of an answer. The page leaves it open, so every reading of the page can be chosen.

`docs/platform.md` lists the readings. An option changes the form of an answer and never the truth in it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from pydantic import with_config

from worker.simulator.orders import FIELDS_ONLY, PlacedOrder

Item = dict[str, object]
_REMARKS = {"1": "成功", "-1": "充值失败", "0": "充值中"}


class Shape(StrEnum):
    """The JSON around the items of an answer."""

    AUTO = "auto"
    """One object for one id, an array for several."""
    ARRAY = "array"
    OBJECT_LIST = "object-list"
    """An object with one list of items."""
    KEYED = "keyed"
    """An object keyed by the id polled; of two items for one id only the last can be in it."""
    SINGLE_ONLY = "single-only"
    """One object, however many ids were polled: a platform that answers one order a query."""


class KeyCase(StrEnum):
    """How keys are spelled."""

    SAMPLE = "sample"
    """As in the page's sample: `remark`, `mobile`."""
    TABLE = "table"
    """As in the page's table: `Remark`, `Mobile`."""
    LOWER = "lower"
    UPPER = "upper"


class UnknownAnswer(StrEnum):
    """The answer for an order that the platform does not know."""

    ABSENT = "absent"
    NOT_FOUND = "not-found"
    """An item with `-1` and the remark `订单不存在`, without mobile and amount."""


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerStyle:
    """The form of every answer."""

    shape: Shape = Shape.AUTO
    list_key: str = "list"
    """The key of the list in `object-list`."""
    ok_status: str | None = None
    """A `statusCode` (`0`, `000000`) beside the items, where the answer is an object."""
    echo_custom_parm: bool = True
    key_case: KeyCase = KeyCase.SAMPLE
    numbers: bool = False
    """`trafficSts` and `oriAmount` as JSON numbers instead of strings."""
    shuffle: bool = True
    """Items in random order, since they must be matched by id and never by position."""
    unknown: UnknownAnswer = UnknownAnswer.ABSENT


def item_of(order: PlacedOrder, now: float) -> Item:
    """The item of an order at this moment, `customParm` included."""
    status = order.status_at(now)
    item: Item = {"requestId": order.request_id, "customParm": order.custom_parm, "appid": order.app_id}
    item |= {"trafficSts": status, "remark": _REMARKS[status], "mobile": masked(order.mobile)}
    item["oriAmount"] = order.amount if status != "0" else "0.00"
    return {key: value for key, value in item.items() if value is not None}


def not_found_item(id_kind: str, one: str, app_id: str) -> Item:
    """The item of an order that the platform does not know (`UnknownAnswer.NOT_FOUND`)."""
    return {id_kind: one, "appid": app_id, "trafficSts": "-1", "remark": "订单不存在"}


def masked(mobile: str | None) -> str | None:
    """The number as the platform shows it: `188****0804`."""
    return f"{mobile[:3]}****{mobile[-4:]}" if mobile else None


def arranged(items: Sequence[tuple[str, Item]], style: AnswerStyle, rng: Random) -> list[tuple[str, Item]]:
    """The items that the answer can hold, each with the id that was polled, in the order of the answer."""
    ordered = rng.sample(items, len(items)) if style.shuffle else list(items)
    return ordered[:1] if style.shape is Shape.SINGLE_ONLY else ordered


def compose(items: Sequence[tuple[str, Item]], *, polled: int, style: AnswerStyle) -> bytes:
    """The body of an answer to `polled` ids, with these items, each with the id that was polled."""
    shown = [(one, _shown(item, style)) for one, item in items]
    shape = style.shape
    if shape is Shape.AUTO:
        shape = Shape.SINGLE_ONLY if polled == 1 and len(shown) == 1 else Shape.ARRAY
    status = {} if style.ok_status is None else {"statusCode": style.ok_status}
    answer: object
    match shape:
        case Shape.OBJECT_LIST:
            answer = status | {style.list_key: [item for _, item in shown]}
        case Shape.KEYED if shown:
            answer = status | dict(shown)
        case Shape.SINGLE_ONLY if shown:
            answer = status | shown[0][1]
        case Shape.ARRAY | Shape.AUTO:
            answer = [item for _, item in shown]
        case _:
            # An object without items is an answer only if its status is a success.
            answer = {"statusCode": style.ok_status or "000000"}
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def _shown(item: Item, style: AnswerStyle) -> Item:
    shown = {}
    for key, value in item.items():
        if key == "customParm" and not style.echo_custom_parm:
            continue
        shown[_SPELLED[style.key_case](key)] = _number(value) if style.numbers and key in _NUMBERS else value
    return shown


def _number(value: object) -> object:
    text = str(value)
    # A float prints as the shortest text that reads back as itself: an amount keeps its value, but not its last zero.
    return int(text) if text.lstrip("-").isdigit() else float(text)


_NUMBERS = ("trafficSts", "oriAmount")
_SPELLED: dict[KeyCase, Callable[[str], str]] = {
    KeyCase.SAMPLE: str,
    KeyCase.TABLE: lambda key: key.capitalize() if key in ("remark", "mobile") else key,
    KeyCase.LOWER: str.lower,
    KeyCase.UPPER: str.upper,
}
