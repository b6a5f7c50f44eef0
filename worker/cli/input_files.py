"""Files that commands read."""

from pathlib import Path

import typer

STDIN = Path("-")


def file_or_stdin(value: Path) -> Path:
    """For `callback`: a file that is there, or standard input. Raises BadParameter for any other."""
    if value != STDIN and (not value.exists() or value.is_dir()):
        raise typer.BadParameter(f"there is no file {value}")
    return value
