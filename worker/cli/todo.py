"""`reconciler todo`: all that needs a person, with what to do about it."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from worker.cli.listing import Form, write_csv
from worker.cli.output import InUtc, console, print_json, print_table, wrapped
from worker.cli.session import session
from worker.domain.records import csv_columns
from worker.domain.watching.workers import tick_allowance
from worker.runtime import rules_of
from worker.views.todo import TodoGroup, every_todo, read_todo, todo_rows

_COLUMNS = ("ref", "id", "account", "since", "until", "note")

_ITEMS = 5
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        help=f"How many of each reason at most: those with the latest `since`. Default: {_ITEMS}, and with --csv all.",
    ),
]


def todo(limit: Limit = None, utc: InUtc = False, *, form: Form) -> None:
    """Show all that needs a person: accounts that wait, orders with an attention, unresolved orders, refused input and
    callbacks of unknown orders. Each reason comes with what to do about it.

    Nothing to do is exit status 0 as well; `reconciler status --check` is for monitoring.

    Examples:
      reconciler todo
      reconciler todo --limit 1000 --csv > todo.csv
    """
    with session(utc=utc, streams=form.as_csv) as opened:
        settings = opened.settings
        allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)
        asked = (opened.database, rules_of(settings), list(settings.accounts), allowance)
        if form.as_csv and limit is None:
            write_csv(csv_columns.TODO, every_todo(*asked))
            return
        groups, now = read_todo(*asked, limit or _ITEMS)
    if form.as_json:
        print_json({"now": now, "todo": [_to_response(group) for group in groups]})
    elif form.as_csv:
        write_csv(csv_columns.TODO, todo_rows(groups))
    elif not groups:
        typer.echo("Nothing needs a person.")
    else:
        _show(groups)
    if any(group.is_more or group.count > len(group.items) for group in groups):
        most = limit or _ITEMS
        typer.echo(f"Of each reason at most {most} are shown: a higher --limit shows more, --csv alone all.", err=True)


def _to_response(group: TodoGroup) -> dict[str, object]:
    return {
        "kind": group.kind,
        "reason": group.reason.value,
        "count": group.count,
        "is_more": group.is_more,
        "what_to_do": group.what_to_do,
        "items": group.items,
    }


def _show(groups: Sequence[TodoGroup]) -> None:
    out = console()
    for group in groups:
        count = f"more than {group.count:,}" if group.is_more else f"{group.count:,}"
        out.print(Text(f"{group.reason.value}: {count}", style="bold"))
        for line in wrapped(group.what_to_do, min(out.width, 120)):
            out.print(line, soft_wrap=True)
        rows = [{**item, "id": f"id:{item['id']}" if group.kind == "order" else item["id"]} for item in group.items]
        columns = [name for name in _COLUMNS if any(row[name] is not None for row in rows)]
        print_table(out, columns, rows, ids=("ref", "id", "account"), long_texts=("note",))
