"""Read times, durations and periods of whole days from a command's options."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated

import typer

from worker.cli.declare import WrongUse
from worker.domain.finance.report import Period
from worker.domain.records.sentences import Sentence, _

AGE_RULE = _("an age such as 90m, 12h or 7d")
TIME_RULE = _(
    "today or yesterday (from midnight on), an age such as 90m, 12h or 7d, or ISO 8601, such as 2016-01-31T18:05"
    " (in RECONCILER_TIMEZONE where it has no offset)"
)
TIME_AHEAD_RULE = _(
    "a time of day such as 23:00 (the next), or ISO 8601, such as 2016-01-31T23:00 (in"
    " RECONCILER_TIMEZONE where it has no offset)"
)

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")
_DAYS = {"today": timedelta(0), "yesterday": timedelta(days=1)}
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_duration(value: str) -> timedelta | None:
    """The duration that a text such as `2h` names; None if the text names no duration, or a duration of zero or of more
    than 100 years."""
    found = _AGE.fullmatch(value)
    lasts = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    return lasts if timedelta(0) < lasts <= timedelta(days=36_500) else None


def named_day(value: str, today: date) -> date | None:
    """The day that `today` or `yesterday` names; None for any other text."""
    ago = _DAYS.get(value)
    return None if ago is None else today - ago


def read_time(option: str, value: str, now: datetime, zone: tzinfo) -> datetime:
    """The time that an option names: the start of a day, an age before `now`, or a moment. Raises WrongUse for any
    other text."""
    if (age := read_duration(value)) is not None:
        return now - age
    if (day := named_day(value, now.astimezone(zone).date())) is not None:
        return datetime.combine(day, time.min, zone).astimezone(now.tzinfo)
    return _moment(option, value, now, zone, TIME_RULE)


def read_time_ahead(option: str, value: str, now: datetime, zone: tzinfo) -> datetime:
    """The time that an option names: a time of day, which means the next one after `now`, or a moment. Raises WrongUse
    for any other text."""
    if not _TIME_OF_DAY.fullmatch(value):
        return _moment(option, value, now, zone, TIME_AHEAD_RULE)
    today = datetime.combine(now.astimezone(zone).date(), time.fromisoformat(value), zone)
    return (today if today > now else today + timedelta(days=1)).astimezone(now.tzinfo)


def _moment(option: str, value: str, now: datetime, zone: tzinfo, rule: Sentence) -> datetime:
    try:
        named = datetime.fromisoformat(value)
        return (named if named.utcoffset() is not None else named.replace(tzinfo=zone)).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        raise WrongUse("%(option)s %(value)r is no time; accepted: %(rule)s", option, value, rule) from None


_LONGEST_DAYS = 3700
_RULE = "a date such as 2016-01-31, today or yesterday, or 7d for seven days ago"


def _read_date(value: str | None) -> str | None:
    if value is not None and _day(value, date.max) is None:
        raise WrongUse(
            "%(value)r is not a date such as 2016-01-31, today or yesterday, or 7d for seven days ago", value
        )
    return value


From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DATE",
        help=f"The first day, in RECONCILER_TIMEZONE: {_RULE}. Default: yesterday.",
        callback=_read_date,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="DATE",
        help="The last day, which belongs to the period. Default: the first.",
        callback=_read_date,
    ),
]


_THAT_DAY = f"Only what was received on that day, in RECONCILER_TIMEZONE: {_RULE}."
Day = Annotated[str | None, typer.Option(metavar="DATE", help=_THAT_DAY, callback=_read_date)]


@dataclass(frozen=True, kw_only=True)
class Days:
    """The options that name a period."""

    from_: From = None
    to: To = None

    def period(self, zone: tzinfo, now: datetime) -> Period:
        """The period that the options name. Raises WrongUse if it ends before it begins, or is too long."""
        today = now.astimezone(zone).date()
        begins = _day(self.from_ or "yesterday", today)
        ends = begins if self.to is None else _day(self.to, today)
        assert begins is not None
        assert ends is not None
        if not 0 <= (ends - begins).days < _LONGEST_DAYS:
            raise WrongUse("--to %(last)s is not within ten years after --from %(first)s", ends, begins)
        try:
            return Period(first=begins, last=ends, zone=zone)
        except OverflowError:
            raise WrongUse("--from %(first)s to %(last)s is outside of the calendar", begins, ends) from None


def _day(value: str, today: date) -> date | None:
    """The day that a text names; None if the text names no day."""
    age = read_duration(value) if value.endswith("d") else None
    return today - age if age is not None else named_day(value, today) or _date(value)


def _date(value: str) -> date | None:
    # Python also reads 20160131 and 2016-W05-1. Refuse these forms, because a person may mean something else by them.
    try:
        read = date.fromisoformat(value)
    except ValueError:
        return None
    return read if read.isoformat() == value else None
