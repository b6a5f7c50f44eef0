"""Times and durations, as a person gives them to a command."""

import re
from datetime import datetime, timedelta, tzinfo

import typer

AGE_RULE = "an age such as 90m, 12h or 3d"
TIME_RULE = f"{AGE_RULE}, or ISO 8601, such as 2016-01-31T18:05 (in RECONCILER_TIMEZONE where it has no offset)"

_AGE = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_duration(value: str) -> timedelta | None:
    """The duration that a text such as `2h` names; None where it names none, or one that is too long to be meant."""
    found = _AGE.fullmatch(value)
    lasts = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    return lasts if timedelta(0) < lasts <= timedelta(days=36_500) else None


def read_time(option: str, value: str, now: datetime, zone: tzinfo) -> datetime:
    """The time that an option names: so long before `now`, or that moment. Raises BadParameter."""
    if (age := read_duration(value)) is not None:
        return now - age
    try:
        named = datetime.fromisoformat(value)
        time = (named if named.utcoffset() is not None else named.replace(tzinfo=zone)).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{option} {value!r} is no time; accepted: {TIME_RULE}") from None
    return time
