"""`status --watch` on a terminal."""

import os
import pty
import signal
import subprocess
import threading

import pytest

from tests.support.command_line import ACCOUNT, PROGRAM, environment
from tests.support.waiting import eventually


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_the_status_is_drawn_again_until_ctrl_c(migrated_database_url: str) -> None:
    settings = {**ACCOUNT, "RECONCILER_DATABASE_URL": migrated_database_url}
    shown: list[bytes] = []
    ours, theirs = pty.openpty()

    def read() -> None:
        try:
            while piece := os.read(ours, 65_536):
                shown.append(piece)
        except OSError:
            # So a terminal says that its other end is closed.
            return

    env = environment({**settings, "COLUMNS": "100", "LINES": "40", "TERM": "xterm"})
    reader = threading.Thread(target=read, daemon=True)
    with subprocess.Popen([*PROGRAM, "status", "--watch"], env=env, stdin=theirs, stdout=theirs) as watching:
        os.close(theirs)
        reader.start()
        eventually(lambda: b"".join(shown).count(b"no worker runs on this database") >= 2, "two drawings")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=100) == 0
    reader.join(timeout=10)
    os.close(ours)
