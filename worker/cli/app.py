"""The commands, by name. What a command needs is imported when it runs: `reconciler --help` is quick."""

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer
from typer.core import TyperCommand

from worker.cli.account_acts import hold, pause, resume
from worker.cli.acts import acts
from worker.cli.compare import compare
from worker.cli.completion import completion
from worker.cli.enqueue import enqueue
from worker.cli.errors import OneLineGroup
from worker.cli.find_orders import orders
from worker.cli.health import health
from worker.cli.limit import limit
from worker.cli.maintenance import archive, doctor
from worker.cli.migrate import migrate
from worker.cli.notifications import notifications
from worker.cli.order import order
from worker.cli.order_acts import cancel, check, dismiss, reopen, resolve
from worker.cli.plan import plan
from worker.cli.purge import purge
from worker.cli.queries import queries, query
from worker.cli.rejected import rejected, unmatched
from worker.cli.report import report
from worker.cli.resend import resend
from worker.cli.run import run
from worker.cli.send_test_event import notify_test
from worker.cli.serve import callback_url, serve
from worker.cli.status import status
from worker.cli.todo import todo
from worker.cli.user import add, change_role, list_users, password, remove
from worker.simulator.command import EnvironmentCommand, platform

app = typer.Typer(
    name="reconciler",
    cls=OneLineGroup,
    # `reconciler completion` prints the scripts instead.
    add_completion=False,
    # No traceback, and no local variables in it: credentials are among them.
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
    """A docstring as help, its paragraphs joined to one line each: Typer would keep the line ends."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _listed(*examples: str) -> str:
    """Examples as the last lines of a help."""
    return "\n".join(["Examples:", *(f"  {example}" for example in examples)])


def demo(context: typer.Context) -> None:
    """Watch orders being reconciled: a simulated platform, a real worker and beat, and a summary to check."""
    # Here, since its modules are slow to load.
    from worker.demo.command import demo as command

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    alone.command(
        help=_flowing(command.__doc__), epilog=_listed("reconciler demo", "reconciler demo --orders 200 --json")
    )(command)
    # Not standalone: its usage errors are printed like those of every other command.
    status = typer.main.get_command(alone).main(context.args, prog_name="reconciler demo", standalone_mode=False)
    raise typer.Exit(status if isinstance(status, int) else 0)


def _add(
    command: Callable[..., None],
    *examples: str,
    cls: type[TyperCommand] | None = None,
    name: str | None = None,
    to: typer.Typer = app,
) -> None:
    to.command(name, help=_flowing(command.__doc__), epilog=_listed(*examples), cls=cls)(command)


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
_add(
    migrate,
    "reconciler migrate",
    "reconciler migrate --sql",
    "reconciler migrate --to 0007",
)
_add(serve, "reconciler serve", "reconciler serve --port 8080 --workers 2 --only callbacks")
_add(callback_url, "reconciler callback-url", "reconciler callback-url shop --new", name="callback-url")
user = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
_add(add, "reconciler user add ann --role act", "reconciler user add li --role read < password.txt", to=user)
_add(list_users, "reconciler user list", "reconciler user list --json", name="list", to=user)
_add(password, "reconciler user password ann", to=user)
_add(change_role, "reconciler user role li --role act", name="role", to=user)
_add(remove, "reconciler user remove li", to=user)
app.add_typer(
    user,
    name="user",
    help="Say who may sign in at the console: add, list, password, role, remove.",
    epilog=_listed("reconciler user add ann --role act", "reconciler user list"),
)
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
    "reconciler orders --summary --since 7d",
)
_add(todo, "reconciler todo", "reconciler todo --limit 1000 --csv > todo.csv")
_add(order, "reconciler order 2016010000000219", "reconciler order A-1001 --account shop", "reconciler order id:42")
_add(check, "reconciler check 2016010000000219 2016010000000220", "reconciler check id:42 --json")
_add(
    resolve,
    'reconciler resolve A-1001 --state succeeded --amount 2.94 --reason "statement of May"',
    'reconciler resolve id:42 --state failed --reason "ticket 77" --by ann',
)
_add(
    reopen,
    'reconciler reopen A-1001 --reason "ticket 77"',
    'reconciler reopen --unresolved --since 2d --reason "the platform was down" --dry-run',
)
_add(cancel, "reconciler cancel A-1001", 'reconciler cancel id:42 id:43 --reason "refunded by hand" --json')
_add(
    dismiss,
    "reconciler dismiss A-1001",
    'reconciler dismiss A-1001 --account shop --reason "ticket 77"',
    'reconciler dismiss --attention amount_mismatch --account shop --reason "statement of May" --dry-run',
)
_add(
    pause,
    'reconciler pause default --for 2h --reason "the platform is being moved"',
    'reconciler pause shop --reason "ticket 77" --by ann',
)
_add(resume, "reconciler resume default", "reconciler resume shop --json")
_add(hold, 'reconciler hold --reason "failover at 14:05"', "reconciler hold --dry-run")
_add(
    notifications,
    "reconciler notifications",
    "reconciler notifications --gave-up --account shop --json",
    'reconciler notifications --pause shop --reason "the billing system is being moved"',
    "reconciler notifications --resume shop",
)
_add(
    resend,
    "reconciler resend A-1001",
    "reconciler resend --gave-up --dry-run",
    'reconciler resend --since 2d --reason "the billing system was restored" --yes',
)
_add(notify_test, "reconciler notify-test", "reconciler notify-test shop --json", name="notify-test")
_add(acts, "reconciler acts", "reconciler acts --account shop --limit 500 --csv > acts.csv", "reconciler acts --json")
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
    "reconciler archive --settled-before 90d --dry-run",
    "reconciler archive --settled-before 90d",
    "reconciler archive --settled-before 2016-01-31 --limit 100000 --json",
)
_add(purge, "reconciler purge --older-than 400d --dry-run", "reconciler purge --older-than 400d")
_add(plan, "reconciler plan", "reconciler plan --account shop --limit 20", "reconciler plan --json")
_add(
    status,
    "reconciler status",
    "reconciler status --watch",
    "reconciler status --check",
    "reconciler status --json",
)
_add(health, "reconciler health")
_add(
    report,
    "reconciler report",
    "reconciler report --from 2016-01-01 --to 2016-01-31 --by day --csv",
    "reconciler report --from yesterday --by account --json",
)
_add(
    compare,
    "reconciler compare statement.csv --from 2016-01-01 --to 2016-01-31",
    "reconciler compare 对账单.csv --from yesterday --id-column 流水号 --state-column 状态 --amount-column 金额",
    "reconciler compare statement.csv --from 2016-01-31 --succeeded 充值完成 --failed 已退款 --csv",
)
_add(limit, "reconciler limit", "reconciler limit --window 60", "reconciler limit --account shop --json")
_add(
    completion,
    'eval "$(reconciler completion bash)"',
    'eval "$(reconciler completion zsh)"',
    "reconciler completion bash > /etc/bash_completion.d/reconciler",
)
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
