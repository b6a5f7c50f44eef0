"""The commands, by name. A command's module is loaded when it runs: `reconciler --help` is quick."""

from enum import StrEnum
from importlib import import_module
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.metadata import version
from pathlib import Path
from types import CodeType
from typing import Annotated, Any

import typer
from typer.completion import shell_complete
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from worker.cli.declare import add, help_and_examples, new_app, set_callback
from worker.cli.errors import OneLineGroup

_COMMANDS = {
    "migrate": "worker.cli.migrate:migrate",
    "serve": "worker.cli.serve:serve",
    "callback-url": "worker.cli.serve:callback_url",
    "run": "worker.cli.run:run",
    "enqueue": "worker.cli.enqueue:enqueue",
    "orders": "worker.cli.orders:orders",
    "todo": "worker.cli.todo:todo",
    "order": "worker.cli.order:order",
    "check": "worker.cli.order_acts:check",
    "resolve": "worker.cli.order_acts:resolve",
    "reopen": "worker.cli.order_acts:reopen",
    "cancel": "worker.cli.order_acts:cancel",
    "dismiss": "worker.cli.order_acts:dismiss",
    "pause": "worker.cli.accounts:pause",
    "resume": "worker.cli.accounts:resume",
    "hold": "worker.cli.accounts:hold",
    "notifications": "worker.cli.notifications:notifications:app",
    "resend": "worker.cli.order_acts:resend",
    "notify-test": "worker.cli.notify_test:notify_test",
    "acts": "worker.cli.acts:acts",
    "queries": "worker.cli.queries:queries",
    "query": "worker.cli.queries:query",
    "rejected": "worker.cli.inbox:rejected",
    "unmatched": "worker.cli.inbox:unmatched",
    "archive": "worker.cli.retention:archive",
    "purge": "worker.cli.retention:purge",
    "plan": "worker.cli.queries:plan",
    "status": "worker.cli.status:status",
    "health": "worker.cli.status:health",
    "report": "worker.cli.report:report",
    "compare": "worker.cli.compare:compare",
    "limit": "worker.cli.accounts:limit",
    "completion": "worker.cli.app:completion",
    "doctor": "worker.cli.doctor:doctor",
    "platform": "worker.simulator.command:platform",
    "demo": "worker.demo.command:demo",
    "user": "worker.cli.users:user:app",
}
"""The module and the function of each, and the group where it has commands of its own."""
_HIDDEN = {"completion"}
"""Those that go with the next release."""


class Commands(OneLineGroup):
    """All commands, each loaded when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": {name: TyperCommand(name) for name in _COMMANDS}})
        self._loaded: set[str] = set()

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, with its options."""
        if cmd_name in _COMMANDS and cmd_name not in self._loaded:
            self.commands[cmd_name] = _load(cmd_name)
            self._loaded.add(cmd_name)
        return self.commands.get(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help with a line for each command, none of which is loaded for it."""
        self._listing().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """How a line may go on that names no command yet."""
        listing = ctx.command = self._listing()
        return listing.shell_complete(ctx, incomplete)

    def _listing(self) -> TyperGroup:
        listed: dict[str, Any] = {
            name: TyperCommand(name, help=_summary(name), hidden=name in _HIDDEN) for name in _COMMANDS
        }
        same = {name: getattr(self, name) for name in ("name", "params", "help", "epilog", "rich_markup_mode")}
        return TyperGroup(commands=listed, **same)


def _load(name: str) -> Any:
    module, function, *group = _COMMANDS[name].split(":")
    loaded = import_module(module)
    if group:
        found = getattr(loaded, group[0])
    else:
        found = new_app()
        add(found, getattr(loaded, function), name)
    command = get_command(found)
    command.name = name
    return command


def _summary(name: str) -> str:
    """The first paragraph of a command's docstring, from its compiled module: to run that would load what it needs."""
    module, function, *_ = _COMMANDS[name].split(":")
    folder = Path(__file__).parents[2].joinpath(*module.split(".")[:-1])
    found = PathFinder.find_spec(module, [str(folder)])
    assert found is not None
    assert isinstance(found.loader, SourceFileLoader)
    code = found.loader.get_code(module)
    assert code is not None
    docstrings = (one.co_consts[0] for one in code.co_consts if isinstance(one, CodeType) and one.co_name == function)
    return help_and_examples(next(docstrings, None))[0].partition("\n\n")[0]


class Shell(StrEnum):
    """The shells that `completion` had a script for."""

    BASH = "bash"
    ZSH = "zsh"


def completion(
    ctx: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell that the script is for.")]
) -> None:
    """Print a script for the Tab key. This command goes with the next release.

    Examples:
      reconciler completion bash
    """
    typer.echo("Warning: completion goes with the next release: see `reconciler --install-completion`", err=True)
    shell_complete(ctx.find_root().command, {}, "reconciler", "_RECONCILER_COMPLETE", f"source_{shell}")


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

    Examples:
      reconciler migrate
      reconciler run
      reconciler enqueue orders.csv
      reconciler orders --state unresolved
      reconciler order 2016010000000219
    """


app = new_app(name="reconciler", cls=Commands, add_completion=True)
set_callback(app, reconciler, no_args_is_help=True)
