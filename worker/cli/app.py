"""The commands, by name. What a command needs is imported when it runs: `reconciler --help` is quick."""

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer
from typer.core import TyperCommand

from worker.cli.budget import limit, status
from worker.cli.enqueue import enqueue
from worker.cli.errors import OneLineGroup
from worker.cli.find_orders import orders
from worker.cli.maintenance import archive, doctor, migrate
from worker.cli.orders import check, order
from worker.cli.plan import plan
from worker.cli.purge import purge
from worker.cli.queries import queries, query
from worker.cli.rejected import rejected, unmatched
from worker.cli.run import run
from worker.cli.todo import todo
from worker.simulator.command import EnvironmentCommand, platform

app = typer.Typer(
    name="reconciler",
    cls=OneLineGroup,
    # Installing completion writes to a person's shell set-up; the two options would stand in every help.
    add_completion=False,
    # A traceback is never shown, least of all one with local variables: credentials are among them.
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reconciler {version('recharge-reconciler')}")
        raise typer.Exit()


def reconciler(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Find the final state of recharge orders whose callback never came, within the platform's query limit.

    Settings are environment variables, RECONCILER_..., also read from .env in the working directory. Data goes to
    standard output, everything else to standard error. Exit status: 0 done, 1 could not, 2 used wrongly.
    """


def _flowing(docstring: str | None) -> str:
    """A docstring as help: Typer would keep its line ends, which are not the terminal's."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _listed(*examples: str) -> str:
    """Examples as the end of a help."""
    return "\n".join(["Examples:", *(f"  {example}" for example in examples)])


def demo(context: typer.Context) -> None:
    """Watch orders being reconciled: a simulated platform, a real worker and beat, and a summary to check."""
    # Its parts are heavy, and loaded for this command only.
    from worker.demo.command import demo as play

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    alone.command(
        help=_flowing(play.__doc__), epilog=_listed("reconciler demo", "reconciler demo --orders 200 --json")
    )(play)
    # Not standalone: its usage errors are told like those of every other command.
    status = typer.main.get_command(alone).main(context.args, prog_name="reconciler demo", standalone_mode=False)
    raise typer.Exit(status if isinstance(status, int) else 0)


def _add(command: Callable[..., None], *examples: str, cls: type[TyperCommand] | None = None) -> None:
    app.command(help=_flowing(command.__doc__), epilog=_listed(*examples), cls=cls)(command)


app.callback(
    help=_flowing(reconciler.__doc__),
    epilog=_listed(
        "reconciler migrate",
        "reconciler run",
        "reconciler enqueue orders.csv",
        "reconciler orders --state unresolved",
        "reconciler order 2016010000000219",
    ),
)(reconciler)
_add(migrate, "reconciler migrate")
_add(run, "reconciler run", "reconciler run --concurrency 2")
_add(
    enqueue,
    "reconciler enqueue orders.csv",
    "reconciler enqueue --format jsonl --rejected refused.jsonl - < orders.txt",
)
_add(
    orders,
    "reconciler orders",
    "reconciler orders --state pending --account shop --limit 50",
    "reconciler orders --attention any --json",
    "reconciler orders --mobile 18812340804",
    "reconciler orders --prefix 20160131 --since 2016-01-31 --csv",
    "reconciler orders --summary",
)
_add(todo, "reconciler todo", "reconciler todo --limit 1000 --csv > todo.csv")
_add(order, "reconciler order 2016010000000219", "reconciler order A-1001 --account shop", "reconciler order id:42")
_add(check, "reconciler check 2016010000000219 2016010000000220", "reconciler check id:42 --json")
_add(
    queries,
    "reconciler queries",
    "reconciler queries --account shop --outcome refused --outcome timeout --since 1d",
)
_add(query, "reconciler query 1234", "reconciler query 1234 --json")
_add(
    rejected,
    "reconciler rejected",
    "reconciler rejected 12",
    "reconciler rejected --retry 12 13",
    "reconciler rejected --since 1d --csv",
)
_add(unmatched, "reconciler unmatched", "reconciler unmatched --before 1d --account shop")
_add(
    archive,
    "reconciler archive --settled-before 90d",
    "reconciler archive --settled-before 2016-01-31T00:00:00+08:00 --limit 100000 --json",
)
_add(purge, "reconciler purge --older-than 400d --dry-run", "reconciler purge --older-than 400d")
_add(plan, "reconciler plan", "reconciler plan --account shop --limit 20", "reconciler plan --json")
_add(status, "reconciler status", "reconciler status --json")
_add(limit, "reconciler limit", "reconciler limit --window 60", "reconciler limit --account shop --json")
_add(doctor, "reconciler doctor", "reconciler doctor --json")
_add(
    platform,
    "reconciler platform",
    "reconciler platform --window 2 --lost-callbacks 0.5 --json",
    cls=EnvironmentCommand,
)
app.command(
    # Its options are the demo's own, its help among them.
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)(demo)
