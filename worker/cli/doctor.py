"""`reconciler doctor`."""

from collections.abc import Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from worker.cli.output import AsJson, console, counted, print_json

if TYPE_CHECKING:
    from worker.doctor import Check

_STYLES = {"ok": "green", "warning": "yellow", "fatal": "bold red", "skipped": "dim"}
_LABEL_WIDTH = 9
_NARROWEST = 20


def doctor(as_json: AsJson = False) -> None:
    """Check that the worker can run here, and that nothing it relies on is set unsafely; says what to do.

    Looks at the settings, the credentials, the database, the broker, and whether the platform's host has an address.
    Nothing is sent to the platform. With something fatal the worker would not start, and the exit status is 1; warnings
    leave it 0.
    """
    from worker.doctor import Status

    checks = _examined()
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _print(checks)
    raise typer.Exit(1 if any(check.status is Status.FATAL for check in checks) else 0)


def lines(checks: Sequence["Check"], width: int | None) -> list[tuple[str, str]]:
    """Each line's label and the rest of it, wrapped to so many columns; None: one line a check."""
    name_width = max((len(check.name) for check in checks), default=0) + 2
    drawn: list[tuple[str, str]] = []
    for check in checks:
        label = check.status.upper() if check.status == "fatal" else check.status
        room = None if width is None else max(_NARROWEST, width - _LABEL_WIDTH - name_width)
        first, *more = (
            [str(check)] if room is None else wrap(str(check), room, break_on_hyphens=False, break_long_words=False)
        )
        drawn.append((f"{label:<{_LABEL_WIDTH}}", f"{check.name:<{name_width}}{first}"))
        drawn.extend((" " * _LABEL_WIDTH, " " * name_width + text) for text in more)
    return drawn


def summary(checks: Sequence["Check"]) -> str:
    """What it comes to."""
    fatal, warnings = (sum(check.status == status for check in checks) for status in ("fatal", "warning"))
    words = counted(warnings, "warning") if warnings else "no warning"
    if fatal:
        return f"{fatal} fatal, {words}: the worker does not start."
    return f"Nothing is fatal; {words}." if warnings else "All is well."


def _examined() -> "list[Check]":
    from worker.adapters.log import configure_logging
    from worker.doctor import examine, examine_unreadable
    from worker.settings import SettingsError, load_settings

    try:
        settings = load_settings()
    except SettingsError as error:
        return examine_unreadable(error)
    # What a library has to say of a server that is away, the doctor says itself.
    configure_logging("CRITICAL", settings.log_format, secrets=settings.secrets)
    return examine(settings)


def _print(checks: "Sequence[Check]") -> None:
    out = console()
    status = ""
    for label, rest in lines(checks, out.width if out.is_terminal else None):
        status = label.strip().lower() or status
        out.print(Text.assemble((label, _STYLES[status]), rest), soft_wrap=True)
    out.print(summary(checks))
