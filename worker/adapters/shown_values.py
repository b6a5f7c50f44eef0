"""Values as people read them, by the command line and by the console."""

import json
from datetime import datetime, tzinfo
from decimal import Decimal

from worker.adapters.safe_text import escape_controls
from worker.domain.wire.fields import amount_text

_MOST_TIMES_LONGER, _SHORT = 10, 1_000


def time_text(time: datetime, zone: tzinfo) -> str:
    """A time to the second, with its offset: `2016-01-31 18:00:00+08`, or with Z in UTC."""
    local = time.astimezone(zone)
    offset = f"{local:%z}"
    short = "Z" if offset == "+0000" else offset.removesuffix("00")
    return f"{local:%Y-%m-%d %H:%M:%S}{short}"


def value_text(value: object, zone: tzinfo) -> str:
    """A value of a row as text; times are as `time_text` has them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return time_text(value, zone)
    return amount_text(value) if isinstance(value, Decimal) else escape_controls(str(value))


def indented_json(text: str) -> str:
    """JSON over several lines. As it is: a text that is no JSON, as it was kept in part only, and one that is nested so
    deep that it would become many times as long."""
    try:
        lines = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
    # Half of a surrogate pair, which JSON may hold as an escape, has no UTF-8.
    shown = lines.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _MOST_TIMES_LONGER * len(text) + _SHORT else text
