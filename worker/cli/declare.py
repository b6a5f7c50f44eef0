"""Make functions into commands, with their help, their examples and options that several commands share."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, get_type_hints

import typer

from worker.domain.records.sentences import Sentence

STDIN = Path("-")
"""The file name that means standard input."""
_EXAMPLES = "Examples:"


class WrongUse(typer.BadParameter):
    """An option or an argument was used wrongly. The error's sentence says what is wrong."""

    def __init__(self, message: str, *values: object) -> None:
        super().__init__(Sentence(message, *values))


def help_and_examples(docstring: str | None) -> tuple[str, str | None]:
    """The help in a docstring, and its examples. Each paragraph of the help becomes one line, because Typer would keep
    the line ends. The examples are the docstring's last part and stay as they are."""
    text, head, examples = inspect.cleandoc(docstring or "").partition(f"\n\n{_EXAMPLES}\n")
    paragraphs = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return paragraphs, f"{_EXAMPLES}\n{examples}" if head else None


def new_app(**attributes: Any) -> typer.Typer:
    """A group without commands."""
    # Typer must not print tracebacks: they show local variables, which may include credentials.
    plain = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": "rich"}
    return typer.Typer(**{**plain, **attributes})


def add(app: typer.Typer, command: Callable[..., None], name: str, *, takes_anything: bool = False) -> None:
    """Make a function a command of this group. With `takes_anything`, unknown options become arguments of the
    command."""
    text, examples = help_and_examples(command.__doc__)
    context = {"ignore_unknown_options": takes_anything}
    app.command(name, help=text, epilog=examples, context_settings=context)(_flat(command))


def set_callback(app: typer.Typer, command: Callable[..., None], **attributes: Any) -> None:
    """Make the group itself run a function: before any of its commands, or without a command."""
    text, examples = help_and_examples(command.__doc__)
    app.callback(help=text, epilog=examples, **attributes)(_flat(command))


def new_group(
    itself: Callable[..., None], commands: Mapping[str, Callable[..., None]], **attributes: Any
) -> typer.Typer:
    """A group with these commands, by name. Before any of them, or without a command, the group runs `itself`."""
    app = new_app()
    set_callback(app, itself, **attributes)
    for name, command in commands.items():
        add(app, command, name)
    return app


def file_or_stdin(value: Path) -> Path:
    """Check a path; the `callback` of an argument. Raises WrongUse unless the path is `STDIN` or a file that exists."""
    if value != STDIN and (not value.exists() or value.is_dir()):
        raise WrongUse("there is no file %(path)s", value)
    return value


def _flat(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of the command that is a dataclass: each field of the dataclass becomes a parameter. These
    dataclasses hold options that several commands share."""
    hints = get_type_hints(command, include_extras=True)
    shared: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    if not shared:
        return command

    def run(**given: Any) -> None:
        for name, kind in shared.items():
            given[name] = kind(**{one.name: given.pop(one.name) for one in fields(kind)})
        command(**given)

    parameters: list[Parameter] = []
    for name, one in inspect.signature(command).parameters.items():
        if name in shared:
            parameters += _options_of(shared[name])
        else:
            parameters.append(one.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))
    # Typer reads both the signature and the annotations.
    vars(run)["__signature__"] = Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _options_of(shared: Any) -> list[Parameter]:
    hints = get_type_hints(shared, include_extras=True)
    return [
        Parameter(
            one.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(shared)
    ]
