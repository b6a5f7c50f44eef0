"""`reconciler archive`: settled orders out of the table that is worked on."""

import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import typer

from worker.cli.output import AsJson, counted, print_json, text_of

_AGE = re.compile(r"([0-9]{1,6})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_RULE = "an age such as 90d (h, d or w), or ISO 8601 with an offset, such as 2016-01-31T18:05:00+08:00"


def _read_before(value: str | None) -> str | None:
    if value is not None and not _AGE.fullmatch(value):
        try:
            named = datetime.fromisoformat(value)
        except ValueError:
            named = None
        if named is None or named.utcoffset() is None:
            raise typer.BadParameter(f"{value!r} is not {_RULE}")
    return value


SettledBefore = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help=f"Move final and cancelled orders that nothing has happened to since: {_RULE}. At least a day ago.",
        callback=_read_before,
        show_default=False,
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="How many orders to move at most; all, if not given.", show_default=False)
]
Restore = Annotated[bool, typer.Option("--restore", help="Empty the archive into recharge_orders again instead.")]


def archive(
    settled_before: SettledBefore = None, limit: Limit = None, restore: Restore = False, as_json: AsJson = False
) -> None:
    """Move settled orders out of recharge_orders, with their events, into archived_orders.

    They stay known: the same order again is a duplicate, `reconciler order` shows it, and a callback, a check or a
    cancellation that names it brings it back first. What is pending or unresolved stays, and what a person should look
    at. Orders are moved in batches of 200, each in a transaction of its own, so it may run beside the worker, twice at
    once, and be interrupted: the next run goes on.
    """
    from worker.cli.session import session
    from worker.operations.archive import move_settled, restore_all

    if (settled_before is None) != restore:
        raise typer.BadParameter("give either --settled-before or --restore")
    started = time.monotonic()
    with session() as opened:
        before = None
        if settled_before is None:
            moved = _count(restore_all(opened.database, limit), "restored")
        else:
            with opened.database.read() as connection:
                before = _time(settled_before, opened.database.now(connection))
            moved = _count(move_settled(opened.database, before, limit), "moved")
    seconds = time.monotonic() - started
    if as_json:
        counts = {"archived": 0, "restored": moved} if before is None else {"archived": moved, "restored": 0}
        print_json({**counts, "settled_before": before, "seconds": round(seconds, 3)})
        return
    what = "restored from" if before is None else f"settled before {text_of(before)} moved to"
    typer.echo(f"{counted(moved, 'order')} {what} the archive in {seconds:,.1f} s.")


def _time(value: str, now: datetime) -> datetime:
    """The time that an option names, in UTC. `now` is the database's clock, by which orders are settled."""
    from worker.operations.archive import LEAST_AGE

    age = _AGE.fullmatch(value)
    try:
        named = now - timedelta(**{_UNITS[age[2]]: int(age[1])}) if age else datetime.fromisoformat(value)
        before = named.astimezone(now.tzinfo)
    except OverflowError:
        raise typer.BadParameter(f"{value!r} is before the calendar begins; accepted: {_RULE}") from None
    if before > now - LEAST_AGE:
        raise typer.BadParameter(f"--settled-before {value} is less than a day ago; accepted: 1d or older")
    return before


def _count(batches: Iterator[int], what: str) -> int:
    from worker.cli.progress import spinner

    total = 0
    with spinner() as show:
        for count in batches:
            total += count
            show(f"{total:,} orders {what}")
    return total
