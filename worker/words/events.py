"""What events and acts say, and why an act is refused, in the words of a skin."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from worker.domain.records.attention import Attention
from worker.domain.records.coded_texts import CodedText, worded
from worker.domain.records.orders import OrderState, Source
from worker.words import Skin
from worker.words.catalogue import name_of

_NAMES: Mapping[str, type[StrEnum]] = MappingProxyType(
    {"state": OrderState, "attention": Attention, "raised": Attention, "shown": Attention, "by": Source}
)
"""By the name of a value, which of our names it holds."""

_TIMES = ("time", "until")


def detail_text(detail: str | None, skin: Skin) -> str:
    """A detail by its code; without one, such as the platform's own item, as it is."""
    detail = with_times(detail, skin)
    if not isinstance(detail, CodedText):
        return detail or ""
    values = {name: name_of(_NAMES[name], one, skin) if name in _NAMES else one for name, one in detail.values.items()}
    return worded(detail.code, values, skin.translate)


def with_times(detail: str | None, skin: Skin) -> str | None:
    """The same in English, with its times in the zone of the reader where it knows its values."""
    if not isinstance(detail, CodedText):
        return detail
    times = {name: skin.time(datetime.fromisoformat(detail.values[name])) for name in _TIMES if name in detail.values}
    return detail.having(**times) if times else detail
