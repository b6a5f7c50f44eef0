"""The options that name a period of whole days, as finance counts them: in RECONCILER_TIMEZONE."""

from datetime import date, datetime, tzinfo
from typing import Annotated

import typer

from worker.cli.times import named_day, read_duration
from worker.domain.finance_report import Period

_LONGEST_DAYS = 3700
_RULE = "a date such as 2016-01-31, today or yesterday, or 7d for seven days ago"


def _read_date(value: str | None) -> str | None:
    if value is not None and _day(value, date.max) is None:
        raise typer.BadParameter(f"{value!r} is not {_RULE}")
    return value


From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DATE",
        help=f"The first day, in RECONCILER_TIMEZONE: {_RULE}. Default: yesterday.",
        callback=_read_date,
        show_default=False,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="DATE",
        help="The last day, which belongs to the period. Default: the first.",
        callback=_read_date,
        show_default=False,
    ),
]


def period_of(first: str | None, last: str | None, zone: tzinfo, now: datetime) -> Period:
    """The period that the two options name. Raises BadParameter where it ends before it begins."""
    today = now.astimezone(zone).date()
    begins = _day(first or "yesterday", today)
    ends = begins if last is None else _day(last, today)
    assert begins is not None
    assert ends is not None
    if not 0 <= (ends - begins).days < _LONGEST_DAYS:
        raise typer.BadParameter(f"--to {ends} is not within ten years after --from {begins}")
    try:
        return Period(first=begins, last=ends, zone=zone)
    except OverflowError:
        raise typer.BadParameter(f"--from {begins} to {ends} is outside of the calendar") from None


def _day(value: str, today: date) -> date | None:
    """The day that a text names; None where it names none."""
    age = read_duration(value) if value.endswith("d") else None
    return today - age if age is not None else named_day(value, today) or _date(value)


def _date(value: str) -> date | None:
    # Python also reads 20160131 and 2016-W05-1, which a person may have meant otherwise.
    try:
        read = date.fromisoformat(value)
    except ValueError:
        return None
    return read if read.isoformat() == value else None
