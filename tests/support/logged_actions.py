"""The actions that log lines have, as the code writes them."""

import re
from pathlib import Path

import worker
from worker.database.error_kinds import ErrorKind


def logged_actions() -> set[str]:
    """Every action that stands in the code, and those of the database's errors."""
    code = [path.read_text("utf-8") for path in Path(worker.__file__).parent.rglob("*.py")]
    written = {action for text in code for action in re.findall(r'\baction="(\w+)"', text)}
    return written | {kind.action for kind in ErrorKind}
