"""How commands end: an error is one line on standard error that says what to do, and an exit status; no traceback."""

import re
import sys
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

import typer
from typer.core import TyperGroup

from worker.adapters.error_text import first_line, one_line

EXIT_INTERRUPTED = 130

# Typer checks options by pydantic, which begins a choice's message with this.
_PREFIX = re.compile(r"\b(?:Value error|Assertion failed), ")


class CommandError(Exception):
    """A command could not do its work; `str()` is one line that says what to do."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class OneLineGroup(TyperGroup):
    """The commands' group: turns whatever a command raises into a line and an exit status."""

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
        try:
            # Not standalone: usage errors come as exceptions, instead of as a panel of several lines.
            run = super().main
            # In a context of its own: what one command sets, its time zone, is not there for the next in this process.
            status = copy_context().run(run, args, prog_name, complete_var, False, windows_expand_args, **extra)
        except KeyboardInterrupt:
            status = EXIT_INTERRUPTED
        except Exception as error:
            status = _report(error)
        sys.exit(status if isinstance(status, int) else 0)


def _report(error: Exception) -> int:
    """Print what went wrong; returns the exit status."""
    from worker.database.revisions import MigrationError
    from worker.settings import SettingsError

    if isinstance(error, CommandError):
        return _print_error(str(error), error.status)
    if isinstance(error, SettingsError):
        for fault in error.faults:
            _print_error(fault, 1)
        return 1
    if isinstance(error, MigrationError):
        return _print_error(str(error), 1)
    # Typer has its own copy of click since 0.2x and the real one before: only this method is common to both.
    if hasattr(error, "format_message"):
        return _print_usage_error(error)
    return _print_error(f"this should not happen ({type(error).__name__}: {first_line(error)}); please report it", 1)


def _print_usage_error(error: Any) -> int:
    message, command = error.format_message(), getattr(getattr(error, "ctx", None), "command_path", "reconciler")
    if type(error).__name__ == "NoArgsIsHelpError":
        # The message is the whole help.
        typer.echo(message, err=True)
    else:
        _print_error(f"{_PREFIX.sub('', one_line(message)).rstrip('.')}; see: {command} --help", error.exit_code)
    return int(error.exit_code)


def _print_error(message: str, status: int) -> int:
    typer.echo(f"Error: {one_line(message)}", err=True)
    return status
