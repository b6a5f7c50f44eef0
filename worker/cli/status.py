"""`reconciler status`, `health` and `todo`: show whether orders are reconciled, by which workers, and what prevents it;
and list everything that needs a person."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.text import Text

from worker.adapters.safe_text import one_line
from worker.cli.app import CommandError
from worker.cli.listing import Form, write_csv
from worker.cli.output import (
    SKIN,
    AsJson,
    console,
    for_programs,
    in_words,
    print_json,
    print_table,
    say,
    text,
    value_text,
    word_of,
    wrapped,
)
from worker.cli.session import Session, read_settings, session, words_of
from worker.cli.status_tables import finding_to_response, show, to_response
from worker.database.engine import missing_file
from worker.database.transactions import Database, DatabaseError
from worker.domain.monitoring.findings import check
from worker.domain.monitoring.worker_processes import tick_allowance
from worker.domain.records import csv_columns
from worker.domain.records.monitoring import Finding, Level
from worker.domain.records.notifications import DeliveryOutcome
from worker.domain.records.orders import OrderState
from worker.operations.write_heartbeat import host_name
from worker.settings import SettingsError
from worker.settings.rules import accounts_by_sid, rules_of, sids_of, thresholds_of
from worker.views.status import Status, read_liveness, read_status
from worker.views.todo import TodoGroup, read_todo, todo_rows
from worker.words.catalogue import means, remedy
from worker.words.sentences import finding_in_words

_ANSWER_SECONDS = 30.0
_CANNOT_TELL = 3
_HEALTH_SECONDS = 60.0
_HEALTH_ANSWER_SECONDS = 5.0
_MOST_SAID = 5

_TODO_COLUMNS = ("ref", "id", "account", "since", "until", "note")
_ITEMS, _ROWS = 5, 1_000
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        help=f"How many of each reason at most: the newest. Default: {_ITEMS}, with --csv {_ROWS:,}.",
    ),
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Print one line for monitoring; the exit status is 0, 1, 2 or 3, as said above.",
        callback=for_programs,
        is_eager=True,
    ),
]


def status(check: CheckOption = False, as_json: AsJson = False) -> None:
    """Show whether orders are being reconciled: workers, budget, and each account's due orders, queries and results.

    Times are by the database's clock. On the host that sent the last query, the worker uses that host's own clock.

    --check exits with 2 if no worker has ticked for RECONCILER_CHECK_TICK_SECONDS, or none ever has, if the broker
    answers no worker, if messages wait and none was taken in for 60 seconds, or if the database's disk is full.

    It exits with 1 for a back-off, a pause, an outage of the platform, another database than before (for an hour), a
    backlog (RECONCILER_CHECK_BACKLOG_WINDOWS), more orders that wait for a query of their own than a day can poll,
    orders that need a person (RECONCILER_CHECK_ATTENTION_ORDERS), a notification that was not delivered for
    RECONCILER_CHECK_NOTIFY_SECONDS, or a beat that sends no ticks.

    It exits with 0 if all is well, and with 3 if the database or the settings cannot be read.

    Examples:
      reconciler status
      reconciler status --check
      reconciler status --json
    """
    if check:
        raise typer.Exit(_check(as_json))

    with session(utc=as_json, answer_seconds=_ANSWER_SECONDS) as opened:
        response = _response(opened)
    if as_json:
        print_json(response)
    else:
        show(console(), response)


def _read(opened: Session, *, with_learned: bool = True) -> Status:
    sids, rules = sids_of(opened.settings), rules_of(opened.settings)
    return read_status(opened.database, sids, rules, with_learned=with_learned)


def _response(opened: Session) -> Mapping[str, Any]:
    read = _read(opened)
    settings = opened.settings
    return to_response(read, accounts_by_sid(settings), thresholds_of(settings), rules_of(settings))


def _check(as_json: bool) -> int:
    with _cannot_tell(as_json), session(answer_seconds=_ANSWER_SECONDS) as opened:
        read = _read(opened, with_learned=False)
        found = check(read.overview, thresholds_of(opened.settings), rules_of(opened.settings))
    level = max((finding.level for finding in found), default=Level.OK)
    accounts = read.overview.accounts
    pending, due = (sum(getattr(account, name) for account in accounts) for name in ("pending", "due"))
    words = _said(found) or f"a worker ticks; {pending:,} orders are pending, {due:,} of them due"
    _say_check(level.name, int(level), words, found, as_json)
    return int(level)


@contextmanager
def _cannot_tell(as_json: bool) -> Iterator[None]:
    try:
        yield
    except (CommandError, SettingsError) as error:
        _say_check("UNKNOWN", _CANNOT_TELL, " ".join(str(error).split()), [], as_json)
        raise typer.Exit(_CANNOT_TELL) from None


def _said(found: Sequence[Finding]) -> str:
    words = "; ".join(finding_in_words(finding, SKIN) for finding in found[:_MOST_SAID])
    return f"{words}; and {len(found) - _MOST_SAID:,} more" if len(found) > _MOST_SAID else words


def _say_check(level: str, number: int, words: str, found: Sequence[Finding], as_json: bool) -> None:
    if not as_json:
        typer.echo(f"{level}: {words}")
        return
    findings = [finding_to_response(one) for one in found]
    print_json({"level": level.lower(), "status": number, "in_words": words, "findings": findings})


def health(as_json: AsJson = False) -> None:
    """Check that a worker on this host ticks; for the health check of a worker's container.

    The exit status is 1 only if the database answers and shows one of these: no tick of this host for 60 seconds
    (longer if RECONCILER_TICK_SECONDS is over 5), a worker of this host that hangs, or messages that wait at the broker
    while no host has taken one in for 60 seconds. It is 0 if the database is unavailable or the settings cannot be
    read, because restarting workers would not help.

    Examples:
      reconciler health
    """
    host = host_name()
    try:
        settings = read_settings()
    except SettingsError as error:
        # Report no failure, and so exit with 0: a settings file that is being edited must not end a running worker.
        _say_health(host, None, one_line(str(error)), as_json)
        return
    seconds = tick_allowance(_HEALTH_SECONDS, settings.tick_seconds)
    if missing_file(settings.database_dsn):
        _say_health(host, None, "the database has not been made yet", as_json)
        return
    database = Database(settings.database_dsn, answer_seconds=_HEALTH_ANSWER_SECONDS, pool_size=1)
    try:
        found = read_liveness(database, seconds, host=host)
    except DatabaseError as error:
        _say_health(host, None, words_of(error, settings), as_json)
        return
    finally:
        database.close()
    fault = "what the workers do hangs" if found.hangs else f"no worker has ticked for {seconds:g} s"
    well = f"a worker has ticked within {seconds:g} s" if found.takes_in else "messages wait, and nothing is taken in"
    _say_health(host, found.ticks, well if found.ticks else fault, as_json)
    raise typer.Exit(0 if found.ticks and found.takes_in else 1)


def _say_health(host: str, ticks: bool | None, words: str, as_json: bool) -> None:
    if as_json:
        print_json({"host": host, "ticks": ticks, "in_words": words})
    elif ticks is None:
        typer.echo(f"{host}: it is not known whether a worker ticks: {words}.")
    else:
        typer.echo(f"{host}: {words}.")


def todo(limit: Limit = None, *, form: Form) -> None:
    """Show everything that needs a person: accounts that wait, orders with an attention, unresolved orders, refused
    input and callbacks of unknown orders. Each reason comes with its remedy.

    The exit status is 0 even if something needs a person; `reconciler status --check` is for monitoring.

    Examples:
      reconciler todo
      reconciler todo --limit 1000 --csv > todo.csv
    """
    with session(streams=form.as_csv) as opened:
        settings = opened.settings
        allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)
        asked = (opened.database, rules_of(settings), list(settings.accounts), allowance)
        most = limit or (_ROWS if form.as_csv else _ITEMS)
        groups, now = read_todo(*asked, most)
    if form.as_json:
        print_json({"now": now, "todo": [_todo_response(group) for group in groups]})
    elif form.as_csv:
        write_csv(csv_columns.TODO, todo_rows(groups))
    elif not groups:
        say("Nothing needs a person.")
    else:
        _show_todo(groups)
    if any(group.is_more or group.count > len(group.items) for group in groups):
        say("Of each reason at most %(most)s are shown: a higher --limit shows more.", most, err=True)


def _todo_response(group: TodoGroup) -> dict[str, object]:
    return {
        "kind": group.kind,
        "reason": group.reason.value,
        "count": group.count,
        "is_more": group.is_more,
        "what_to_do": group.what_to_do,
        "items": group.items,
    }


def _show_todo(groups: Sequence[TodoGroup]) -> None:
    out = console()
    for group in groups:
        count = text("more than %(count)s", group.count) if group.is_more else f"{group.count:,}"
        title = text("%(what)s: %(reason)s", value_text(group.reason), count)
        out.print(Text(title, style="bold"))
        to_do = text("%(means)s %(do)s", means(group.reason, SKIN), remedy(group.reason, SKIN))
        for line in wrapped(to_do, min(out.width, 120)):
            out.print(line, soft_wrap=True)
        rows = [{**item, **_shown_item(group.kind, item)} for item in group.items]
        columns = [name for name in _TODO_COLUMNS if any(row[name] is not None for row in rows)]
        print_table(out, columns, rows, ids=("ref", "id", "account"), long_texts=("note",))


def _shown_item(kind: str, item: Mapping[str, Any]) -> dict[str, object]:
    if kind == "order":
        return {"id": f"id:{item['id']}", "note": OrderState(item["note"])}
    if kind == "notification" and item["note"]:
        outcome, _, said = item["note"].partition(" ")
        return {"note": f"{word_of(DeliveryOutcome, outcome)} {said}"}
    return {"note": in_words(item["note"])} if kind == "rejected" else {}
