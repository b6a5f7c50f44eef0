"""`reconciler doctor`: an examination of the set-up."""

from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.cells import set_cell_size
from rich.text import Text

from worker.adapters.log import configure_logging
from worker.cli.output import AsJson, console, counted, in_words, print_json, text, wrapped
from worker.doctor.examination import examine, examine_unreadable
from worker.doctor.finding import Check, Status
from worker.settings import SettingsError, load_settings
from worker.words import N_

_LABELS = {
    Status.OK: (N_("ok"), "green"),
    Status.WARNING: (N_("warning"), "yellow"),
    Status.FATAL: (N_("FATAL"), "bold red"),
    Status.SKIPPED: (N_("skipped"), "dim"),
}
_LABEL_WIDTH = 9
_NARROWEST = 20


def doctor(as_json: AsJson = False) -> None:
    """Check that the worker can run here and that its set-up is safe, and say what to do.

    The command checks the settings, the credentials, the database, the broker, and whether the platform's host name has
    an address. It sends nothing to the platform. If a check is fatal, the worker would not start, and the exit status
    is 1; with warnings only, it is 0.

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


def doctor_lines(checks: Sequence[Check], width: int | None) -> list[tuple[str, str]]:
    """The label and the text of each line. Lines are wrapped to `width` columns; if `width` is None, each check is one
    line."""
    name_width = max((len(check.name) for check in checks), default=0) + 2
    drawn: list[tuple[str, str]] = []
    for check in checks:
        label = set_cell_size(text(_LABELS[check.status][0]), _LABEL_WIDTH)
        said = in_words(check.sentence)
        text_width = None if width is None else max(_NARROWEST, width - _LABEL_WIDTH - name_width)
        first, *more = [said] if text_width is None else wrapped(said, text_width, breaks_words=False)
        drawn.append((label, f"{check.name:<{name_width}}{first}"))
        drawn.extend((" " * _LABEL_WIDTH, " " * name_width + text) for text in more)
    return drawn


def doctor_summary(checks: Sequence[Check]) -> str:
    """The last line of the output: how many checks are fatal and how many are warnings."""
    fatal, warnings = (sum(check.status == status for check in checks) for status in ("fatal", "warning"))
    said = counted(warnings, "warning") if warnings else text("no warning")
    if fatal:
        return text("%(fatal)s fatal, %(warnings)s: the worker does not start.", fatal, said)
    return text("Nothing is fatal; %(warnings)s.", said) if warnings else text("All is well.")


def _examined() -> list[Check]:
    try:
        settings = load_settings()
    except SettingsError as error:
        return examine_unreadable(error)
    # The doctor itself reports unavailable servers. Libraries would log them too, between the lines of the doctor.
    configure_logging("CRITICAL", settings.log_format, zone=settings.zone, secrets=settings.secrets)
    return examine(settings)


def _print_checks(checks: Sequence[Check]) -> None:
    out = console()
    styles, style = {text(label): style for label, style in _LABELS.values()}, ""
    for label, rest in doctor_lines(checks, out.width if out.is_terminal else None):
        style = styles.get(label.strip(), style)
        out.print(Text.assemble((label, style), rest), soft_wrap=True)
    out.print(doctor_summary(checks))
