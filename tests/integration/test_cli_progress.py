"""The progress of a long command: shown on a terminal, and nowhere else."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, PROGRAM, environment


@pytest.mark.databases("sqlite")
def test_on_a_terminal_the_progress_is_shown_beside_the_data(migrated_database_url: str) -> None:
    Path("orders.csv").write_text("request_id\n" + "\n".join(map(str, range(600))), "utf-8")
    settings = {**ACCOUNT, "RECONCILER_DATABASE_URL": migrated_database_url, "TERM": "xterm"}
    master, terminal = pty.openpty()
    command = [*PROGRAM, "enqueue", "orders.csv", "--json"]
    with subprocess.Popen(
        command, env=environment(settings), stdout=subprocess.PIPE, stderr=terminal, text=True
    ) as process:
        os.close(terminal)
        shown = read_all(master)
        assert process.stdout is not None
        data = process.stdout.read()
    assert process.returncode == 0
    assert data.startswith("{\n")
    assert '"accepted": 600' in data
    assert "600 accepted" in shown


def read_all(master: int) -> str:
    """What a terminal receives until its last writer has closed it."""
    pieces = []
    with os.fdopen(master, "rb", buffering=0) as file:
        try:
            while piece := file.read(4096):
                pieces.append(piece)
        except OSError:
            # Linux raises this error where other systems report the end of the file.
            pass
    return b"".join(pieces).decode("utf-8", "replace")
