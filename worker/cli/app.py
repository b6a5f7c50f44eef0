"""The commands, by name, and the handling of their errors. An error is one line on standard error that says what to do.
No traceback is shown.
A command's module is loaded only when the command runs, so that `reconciler --help` is quick.
"""

import re
import sys
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from importlib import import_module
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.metadata import version
from pathlib import Path
from types import CodeType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from worker.adapters.safe_text import first_line, one_line
from worker.cli.declare import add, help_and_examples, new_app, set_callback
from worker.domain.records.sentences import Refusal, Sentence, _

EXIT_INTERRUPTED = 130
# Typer checks options with pydantic, whose messages may contain this prefix.
_PREFIX = re.compile(r"\b(?:Value error|Assertion failed), ")

_COMMANDS = {
    "migrate": "worker.cli.migrate:migrate",
    "serve": "worker.cli.serve:serve",
    "callback-url": "worker.cli.serve:callback_url",
    "run": "worker.cli.run:run",
    "enqueue": "worker.cli.enqueue:enqueue",
    "orders": "worker.cli.orders:orders",
    "todo": "worker.cli.status:todo",
    "order": "worker.cli.order:order",
    "check": "worker.cli.order_acts:check",
    "poll": "worker.cli.poll:poll",
    "resolve": "worker.cli.order_acts:resolve",
    "reopen": "worker.cli.order_acts:reopen",
    "cancel": "worker.cli.order_acts:cancel",
    "dismiss": "worker.cli.order_acts:dismiss",
    "pause": "worker.cli.accounts:pause",
    "resume": "worker.cli.accounts:resume",
    "hold": "worker.cli.accounts:hold",
    "notifications": "worker.cli.notifications:notifications:app",
    "resend": "worker.cli.order_acts:resend",
    "notify-test": "worker.cli.notifications:notify_test",
    "acts": "worker.cli.acts:acts",
    "queries": "worker.cli.queries:queries",
    "query": "worker.cli.queries:query",
    "rejected": "worker.cli.rejected_and_unmatched:rejected",
    "unmatched": "worker.cli.rejected_and_unmatched:unmatched",
    "archive": "worker.cli.purge:archive",
    "purge": "worker.cli.purge:purge",
    "explain": "worker.cli.explain:explain",
    "status": "worker.cli.status:status",
    "health": "worker.cli.status:health",
    "report": "worker.cli.finance:report",
    "compare": "worker.cli.finance:compare",
    "limit": "worker.cli.accounts:limit",
    "doctor": "worker.cli.doctor:doctor",
    "platform": "worker.simulator.command:platform",
    "demo": "worker.demo.command:demo",
    "user": "worker.cli.users:user:app",
}
"""Maps each command to `MODULE:FUNCTION`. A command with commands of its own has `MODULE:FUNCTION:GROUP`; GROUP is the
variable of its Typer group."""


class CommandError(Refusal):
    """A command could not do its work. The error's sentence says what to do."""

    def __init__(self, message: str, *values: object, status: int = 1) -> None:
        super().__init__(message, *values)
        self.status = status


class OneLineGroup(TyperGroup):
    """The group of commands. It turns any error of a command into one line and an exit status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its status."""
        # The first False turns standalone mode off. In that mode, Typer prints usage errors as a panel of several
        # lines; without it, Typer raises them.
        run = partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        # Run the command in a context of its own, so that its time zone and language do not reach the next command in
        # this process.
        status = Context().run(_status_of, run)
        sys.exit(status if isinstance(status, int) else 0)


class Commands(OneLineGroup):
    """All commands. The module of each is loaded when the command is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": {name: TyperCommand(name) for name in _COMMANDS}})
        self._loaded: set[str] = set()

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, in the order of `_COMMANDS`."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, with its options."""
        if cmd_name in _COMMANDS and cmd_name not in self._loaded:
            self.commands[cmd_name] = _load(cmd_name)
            self._loaded.add(cmd_name)
        return self.commands.get(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with a line for each command. This loads no command's module."""
        self._listing().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete a command line that does not name a command yet."""
        listing = ctx.command = self._listing()
        return listing.shell_complete(ctx, incomplete)

    def _listing(self) -> TyperGroup:
        listed: dict[str, Any] = {name: TyperCommand(name, help=_summary(name)) for name in _COMMANDS}
        same = {name: getattr(self, name) for name in ("name", "params", "help", "epilog", "rich_markup_mode")}
        return TyperGroup(commands=listed, **same)


def _status_of(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        return _report(error)


def _report(error: Exception) -> int:
    """Print an error and return the exit status."""
    from worker.database.revisions import MigrationError
    from worker.settings import SettingsError

    if isinstance(error, CommandError):
        return _print_error(error.sentence, error.status)
    if isinstance(error, SettingsError):
        for fault in error.faults:
            _print_error(fault, 1)
        return 1
    if isinstance(error, MigrationError):
        return _print_error(error.sentence, 1)
    # Usage errors are errors of click. Since 0.2x Typer has a copy of click; older releases use click itself. The
    # errors of both have no common class, but both have this method.
    if hasattr(error, "format_message"):
        return _print_usage_error(error)
    what = f"{type(error).__name__}: {first_line(error)}"
    return _print_error(_("this should not happen (%(what)s); please report it", what), 1)


def _print_usage_error(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        # The message of this error is the whole help.
        typer.echo(error.format_message(), err=True)
    else:
        command = getattr(getattr(error, "ctx", None), "command_path", "reconciler")
        _print_error(_("%(why)s; see: %(command)s --help", _usage_fault(error), command), error.exit_code)
    return int(error.exit_code)


def _usage_fault(error: Any) -> Sentence:
    """The fault in the arguments of a command line. A message that we do not know stays as it is."""
    text = _PREFIX.sub("", one_line(error.format_message())).rstrip(".")
    return _read_usage_fault(text, error.message)


def _read_usage_fault(text: str, own: object) -> Sentence:
    """Turn a message of Typer into a known sentence and its values, because Typer's errors hold only the finished text.
    `own` may be a sentence of ours, which the message then ends with."""
    # This is imported here, because it loads slowly.
    from worker.words.catalogue import TYPER_MESSAGES

    if isinstance(own, Sentence) and one_line(own) == text:
        return own
    for message in TYPER_MESSAGES:
        if found := re.fullmatch(re.sub(r"%\\\(\w+\\\)s", "(.+?)", re.escape(message)), text):
            return Sentence(message, *(_read_usage_fault(one, own) for one in found.groups()))
    return _("%(text)s", text)


def _print_error(message: Sentence, status: int) -> int:
    # This is imported here, because it loads slowly and `reconciler --help` does not need it.
    from worker.cli.output import in_words, text

    typer.echo(text("Error: %(what)s", one_line(in_words(message))), err=True)
    return status


def _load(name: str) -> Any:
    module, function, *group = _COMMANDS[name].split(":")
    loaded = import_module(module)
    if group:
        found = getattr(loaded, group[0])
    else:
        found = new_app()
        add(found, getattr(loaded, function), name, takes_anything=name == "archive")
    command = get_command(found)
    command.name = name
    return command


def _summary(name: str) -> str:
    """Read the first paragraph of a command's docstring from its module's compiled code. Importing the module would
    also load all modules that it needs."""
    module, function, *_ = _COMMANDS[name].split(":")
    folder = Path(__file__).parents[2].joinpath(*module.split(".")[:-1])
    found = PathFinder.find_spec(module, [str(folder)])
    assert found is not None
    assert isinstance(found.loader, SourceFileLoader)
    code = found.loader.get_code(module)
    assert code is not None
    docstrings = (one.co_consts[0] for one in code.co_consts if isinstance(one, CodeType) and one.co_name == function)
    return help_and_examples(next(docstrings, None))[0].partition("\n\n")[0]


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

    Settings are environment variables (RECONCILER_...), which are also read from .env in the working directory. Data
    goes to standard output, everything else to standard error. Exit status: 0 done, 1 could not, 2 used wrongly.

    Examples:
      reconciler migrate
      reconciler run
      reconciler enqueue orders.csv
      reconciler orders --state unresolved
      reconciler order 2016010000000219
    """


app = new_app(name="reconciler", cls=Commands, add_completion=True)
set_callback(app, reconciler, no_args_is_help=True)
