"""Data on standard output: cells of tables for people, JSON for programs.

Texts come from outside: a table draws them as they are, never as markup; both write control characters out.
"""

import json
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from worker.adapters.log_redaction import CONTROLS, escape_controls

NO_WORKER_YET = "No worker has run on this database yet: start one with `reconciler run`."
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]

# Without a terminal there is nothing to fit: lines are not cut.
_WIDTH_WITHOUT_TERMINAL = 250
_STYLES = {"succeeded": "green", "failed": "red", "unresolved": "yellow", "cancelled": "dim"}


def print_json(value: object) -> None:
    """Print JSON: amounts are strings, times ISO 8601 with an offset."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=not is_unicode, indent=2, default=_to_json)
    # Line ends can only be json's own here; everything else stands inside a string, where this escape means the same.
    typer.echo(CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text))


def amount_text(amount: Decimal) -> str:
    """An amount in yuan with at least two decimals, whatever the database made of it."""
    whole, _, fraction = format(amount, "f").partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def counted(count: int, noun: str) -> str:
    """How many there are, in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def seconds_left(seconds: float) -> float:
    """Seconds until something is due, to a tenth; 0 where it is."""
    return round(max(0.0, seconds), 1)


def due_in_words(seconds: float) -> str:
    """When something is due, from `seconds_left`."""
    return f"in {seconds:,} s" if seconds else "now"


def cell(value: object) -> Text:
    """A value as a table shows it."""
    return Text(text_of(value), style=_STYLES.get(str(value), ""))


def console() -> Console:
    """Standard output for tables."""
    out = Console(highlight=False, markup=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _WIDTH_WITHOUT_TERMINAL
    return out


def text_of(value: object) -> str:
    """A value as people read it; times are UTC, to the second."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return amount_text(value) if isinstance(value, Decimal) else escape_controls(str(value))


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return amount_text(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
