"""Files that hold customers' numbers: readable by their owner only, whatever the umask."""

import os
from contextlib import suppress
from pathlib import Path


def make_private(path: Path) -> None:
    """Make an empty file where there is none; one that is there keeps its mode.

    Where a file cannot be made, opening it fails later.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
