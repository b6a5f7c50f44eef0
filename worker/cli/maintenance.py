"""`reconciler doctor` and `archive`: the set-up, and the size of the tables."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from textwrap import wrap
from typing import Annotated

import typer
from rich.text import Text

from worker.adapters import shown_values
from worker.adapters.log import configure_logging
from worker.cli.act_base import Act, Yes, acting_session, confirm, require_answer
from worker.cli.output import AsJson, InUtc, console, counted, print_json, progress, time_text
from worker.cli.session import Session
from worker.cli.times import TIME_RULE, read_time
from worker.doctor.checks import Check, Status
from worker.doctor.examination import examine, examine_unreadable
from worker.domain.orders.retention import ARCHIVED_FROM
from worker.domain.records.acts import ActKind
from worker.domain.records.coded_texts import TextCode
from worker.operations.act_by_hand import Operator
from worker.operations.archive import count_settled, move_settled, restore_all
from worker.operations.long_acts import LongAct
from worker.settings import SettingsError, load_settings

_CHECK_STYLES = {"ok": "green", "warning": "yellow", "fatal": "bold red", "skipped": "dim"}
_LABEL_WIDTH = 9
_NARROWEST = 20

SettledBefore = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help=f"Move final and cancelled orders that nothing has happened to since: {TIME_RULE}. At least a day ago.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="How many orders to move at most; all, if not given.")]
Restore = Annotated[bool, typer.Option("--restore", help="Empty the archive into recharge_orders again instead.")]


def doctor(as_json: AsJson = False) -> None:
    """Check that the worker can run here, and that nothing it relies on is set unsafely; says what to do.

    Checks the settings, the credentials, the database, the broker, and whether the platform's host has an address.
    Nothing is sent to the platform. Where a check is fatal the worker would not start, and the exit status is 1;
    warnings leave it 0.

    Examples:
      reconciler doctor
      reconciler doctor --json
    """
    checks = _examined()
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _print_checks(checks)
    raise typer.Exit(1 if any(check.status is Status.FATAL for check in checks) else 0)


def doctor_lines(checks: Sequence["Check"], width: int | None) -> list[tuple[str, str]]:
    """Each line's label and its text, wrapped to `width` columns; None: one line a check."""
    name_width = max((len(check.name) for check in checks), default=0) + 2
    drawn: list[tuple[str, str]] = []
    for check in checks:
        label = check.status.upper() if check.status == "fatal" else check.status
        text_width = None if width is None else max(_NARROWEST, width - _LABEL_WIDTH - name_width)
        first, *more = (
            [str(check)]
            if text_width is None
            else wrap(str(check), text_width, break_on_hyphens=False, break_long_words=False)
        )
        drawn.append((f"{label:<{_LABEL_WIDTH}}", f"{check.name:<{name_width}}{first}"))
        drawn.extend((" " * _LABEL_WIDTH, " " * name_width + text) for text in more)
    return drawn


def doctor_summary(checks: Sequence["Check"]) -> str:
    """The last line: how many findings are fatal or warnings."""
    fatal, warnings = (sum(check.status == status for check in checks) for status in ("fatal", "warning"))
    counted = "no warning" if not warnings else "1 warning" if warnings == 1 else f"{warnings} warnings"
    if fatal:
        return f"{fatal} fatal, {counted}: the worker does not start."
    return f"Nothing is fatal; {counted}." if warnings else "All is well."


def archive(
    settled_before: SettledBefore = None,
    limit: Limit = None,
    restore: Restore = False,
    yes: Yes = False,
    utc: InUtc = False,
    *,
    act: Act,
) -> None:
    """Move settled orders out of recharge_orders, with their events, into archived_orders.

    They stay known: the same order again is a duplicate, `reconciler order` shows it, and a callback, a check or a
    cancellation that names it restores it first. Orders that are pending, unresolved or for a person to look at stay.
    Orders are moved in batches of 200, each in a transaction of its own, so it may run beside the worker, twice at
    once, and be interrupted: the next run goes on. You are asked first; with --yes you are not.

    Examples:
      reconciler archive --settled-before 90d --dry-run
      reconciler archive --settled-before 90d
      reconciler archive --settled-before 2016-01-31 --limit 100000 --json
    """
    if (settled_before is None) != restore:
        raise typer.BadParameter("give either --settled-before or --restore")
    if restore and act.dry_run:
        raise typer.BadParameter("--dry-run is for --settled-before: --restore restores everything")
    who = act.operator()
    with acting_session(utc=utc) as opened:
        before = None if settled_before is None else _time(settled_before, opened)
        if not (act.dry_run or yes):
            _ask(opened, before, limit)
        started = time.monotonic()
        moved = _restore(opened, who, limit) if before is None else _move(opened, who, before, limit)
    seconds = time.monotonic() - started
    if act.as_json:
        counts = {"archived": 0, "restored": moved} if before is None else {"archived": moved, "restored": 0}
        print_json({**counts, "settled_before": before, "dry_run": act.dry_run, "seconds": round(seconds, 3)})
        return
    moved_to = "would be moved to" if act.dry_run else "moved to"
    what = "restored from" if before is None else f"settled before {time_text(before)} {moved_to}"
    typer.echo(f"{counted(moved, 'order')} {what} the archive in {seconds:,.1f} s.")


def _examined() -> list[Check]:
    try:
        settings = load_settings()
    except SettingsError as error:
        return examine_unreadable(error)
    # The doctor itself reports a server that is away; the libraries' lines would come between.
    configure_logging("CRITICAL", settings.log_format, zone=settings.zone, secrets=settings.secrets)
    return examine(settings)


def _print_checks(checks: Sequence[Check]) -> None:
    out = console()
    status = ""
    for label, rest in doctor_lines(checks, out.width if out.is_terminal else None):
        status = label.strip().lower() or status
        out.print(Text.assemble((label, _CHECK_STYLES[status]), rest), soft_wrap=True)
    out.print(doctor_summary(checks))


def _time(value: str, opened: Session) -> datetime:
    """The time that the option names, by the database's clock, by which orders are settled."""
    with opened.database.read() as connection:
        now = opened.database.now(connection)
    before = read_time("--settled-before", value, now, opened.settings.zone)
    if before > now - ARCHIVED_FROM:
        raise typer.BadParameter(f"--settled-before {value} is less than a day ago; accepted: 1d or older")
    return before


def _ask(opened: Session, before: datetime | None, limit: int | None) -> None:
    # Before the orders are counted, which may take minutes.
    require_answer(yes=False)
    if before is None:
        confirm("Archived orders would be in recharge_orders again.", "Restore them?", yes=False)
        return
    found = counted(_count(count_settled(opened.database, before, limit), "found"), "order")
    confirm(f"Settled before {time_text(before)}: {found}.", "Move to the archive?", yes=False)


def _move(opened: Session, who: Operator, before: datetime, limit: int | None) -> int:
    if who.dry_run:
        return _count(count_settled(opened.database, before, limit), "found")
    act = LongAct(who, ActKind.ARCHIVE, TextCode.DONE_SETTLED_BEFORE, time=shown_values.time_text(before, UTC))
    moved = _count(move_settled(opened.database, before, limit, act), "moved")
    act.log_end()
    return moved


def _restore(opened: Session, who: Operator, limit: int | None) -> int:
    act = LongAct(who, ActKind.RESTORE)
    restored = _count(restore_all(opened.database, limit, act), "restored")
    act.log_end()
    return restored


def _count(batches: Iterator[int], what: str) -> int:
    total = 0
    with progress("looking for orders") as show:
        for count in batches:
            total += count
            show(f"{total:,} orders {what}", 0)
    return total
