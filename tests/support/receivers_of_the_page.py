"""The receivers of notifications that docs/integration.md prints, as files and as programs."""

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import worker
from tests.support.processes import Program, environment

INTEGRATION = (Path(worker.__file__).parents[1] / "docs/integration.md").read_text("utf-8")
PAGE = INTEGRATION.split("## Be notified of results")[1]
TABLE, FLASK, CELERY = "The billing table", "A receiver with Flask", "A receiver with Celery"
"""The headings above the programs."""
_BROKER = "redis://redis.example.internal:6379/0"


def example(title: str) -> str:
    """The program below a heading of the page."""
    found: list[str] = re.findall(r"^```python\n(.*?)^```$", PAGE.split(f"### {title}\n")[1], re.MULTILINE | re.DOTALL)
    return found[0]


def flask_receiver(folder: Path, *, secret: str, port: int) -> Program:
    """Start the receiver with Flask, whose billing table is in `billing.db` of the folder."""
    _write(folder, FLASK)
    command = (sys.executable, "-m", "flask", "--app", "receiver", "run", "--port", str(port))
    env = environment() | {"NOTIFY_SECRET": secret}
    program = Program(*command, env=env, log=folder / "receiver.log")
    program.wait_for("Running on")
    return program


def celery_receiver(folder: Path, *, broker_url: str) -> Program:
    """Start the receiver with Celery."""
    _write(folder, CELERY, broker_url)
    command = (sys.executable, "-m", "celery", "--app", "receiver", "worker", "--queues", "billing")
    program = Program(
        *command, "--concurrency", "2", "--loglevel", "info", env=environment(), log=folder / "receiver.log"
    )
    program.wait_for(" ready.")
    return program


def stored(folder: Path) -> list[tuple[Any, ...]]:
    """The rows of the billing table: id, state, amount, attention, version."""
    with closing(sqlite3.connect(folder / "billing.db")) as billing:
        if not billing.execute("SELECT 1 FROM sqlite_master WHERE name = 'recharges'").fetchone():
            return []
        return billing.execute("SELECT request_id, state, ori_amount, attention, version FROM recharges").fetchall()


def _write(folder: Path, title: str, broker_url: str = _BROKER) -> None:
    (folder / "billing.py").write_text(example(TABLE))
    (folder / "receiver.py").write_text(example(title).replace(_BROKER, broker_url))
