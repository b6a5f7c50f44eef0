"""Files that commands read."""

from pathlib import Path

from worker.cli.app import WrongUse
from worker.domain.records.sentences import Sentence

STDIN = Path("-")


def file_or_stdin(value: Path) -> Path:
    """For `callback`: a file that is there, or standard input. Raises WrongUse for any other."""
    if value != STDIN and (not value.exists() or value.is_dir()):
        raise WrongUse(Sentence("there is no file %(path)s", value))
    return value
