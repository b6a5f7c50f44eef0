"""Files that commands read."""

from pathlib import Path

import typer

from worker.domain.records.sentences import Sentence

STDIN = Path("-")


def file_or_stdin(value: Path) -> Path:
    """For `callback`: a file that is there, or standard input. Raises BadParameter for any other."""
    if value != STDIN and (not value.exists() or value.is_dir()):
        raise typer.BadParameter(Sentence("there is no file %(path)s", value))
    return value
