"""Times and durations, as a person gives them to a command."""

import re
from datetime import date, datetime, time, timedelta, tzinfo

import typer

AGE_RULE = "an age such as 90m, 12h or 7d"
TIME_RULE = (
    f"today or yesterday (from midnight on), {AGE_RULE}, or ISO 8601, such as 2016-01-31T18:05"
    " (in RECONCILER_TIMEZONE where it has no offset)"
)

_AGE = re.compile(r"([0-9]{1,6})([mhdw])")
_DAYS = {"today": timedelta(0), "yesterday": timedelta(days=1)}
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_duration(value: str) -> timedelta | None:
    """The duration that a text such as `2h` names; None where it names none, or one that is too long to be meant."""
    found = _AGE.fullmatch(value)
    lasts = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    return lasts if timedelta(0) < lasts <= timedelta(days=36_500) else None


def named_day(value: str, today: date) -> date | None:
    """The day that `today` or `yesterday` names; None for any other text."""
    ago = _DAYS.get(value)
    return None if ago is None else today - ago


def read_time(option: str, value: str, now: datetime, zone: tzinfo) -> datetime:
    """The time that an option names: a day's begin, so long before `now`, or that moment. Raises BadParameter."""
    if (age := read_duration(value)) is not None:
        return now - age
    if (day := named_day(value, now.astimezone(zone).date())) is not None:
        return datetime.combine(day, time.min, zone).astimezone(now.tzinfo)
    try:
        named = datetime.fromisoformat(value)
        return (named if named.utcoffset() is not None else named.replace(tzinfo=zone)).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{option} {value!r} is no time; accepted: {TIME_RULE}") from None
