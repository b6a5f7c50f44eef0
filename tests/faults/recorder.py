"""The recorders of notifications as a scenario handles them: started, killed, and told how to answer."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from tests.faults.notification_recorder import ANSWERS, DELIVERIES, Answer, read_deliveries
from tests.support.processes import Program, environment
from tests.support.server_process import free_port
from tests.support.waiting import eventually

SECRET = "whsec_cmVjb3JkZXItb2YtdGhlLWZhdWx0LXN1aXRl"
"""What it verifies with, unless it is told others."""


class _Recording:
    """A program that writes what comes to it into a file of its folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._program: Program | None = None
        self.kills = 0

    @property
    def file(self) -> Path:
        """The file of its deliveries."""
        return self._folder / DELIVERIES

    def deliveries(self) -> list[dict[str, Any]]:
        """Every delivery so far, in the order of arrival."""
        return read_deliveries(self.file)

    def __exit__(self, *_: object) -> None:
        if self._program is not None:
            self._program.kill()


class Recorder(_Recording):
    """The recorder's program. A context kills it at the end. When it is killed, it keeps its port and its file."""

    def __init__(self, folder: Path, *, secrets: Sequence[str] = (SECRET,), clock: Path | None = None) -> None:
        """`clock`: a file of the testbed with the seconds by which its database's clock is stepped."""
        super().__init__(folder)
        self._options = [word for secret in secrets for word in ("--secret", secret)]
        self._options += ["--clock", str(clock)] if clock else []
        self._port = str(free_port())
        self.url = ""
        """Where it takes notifications, once it was started."""
        self.endpoint = ("POST", "/notifications")
        """Method and path of every delivery."""

    @property
    def settings(self) -> dict[str, object]:
        """The settings of a worker that sends to it."""
        return {"notify_url": self.url, "notify_secret": SECRET}

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = self._folder / "recorder.log"
        log.unlink(missing_ok=True)
        options = ("--folder", str(self._folder), "--port", self._port, *self._options)
        command = (sys.executable, "-m", "tests.faults.notification_recorder", *options)
        self._program = Program(*command, env=environment(), log=log)
        self._program.wait_for("}\n")
        self.url = json.loads(self._program.output)["url"]

    def kill(self) -> None:
        """Kill it (kill -9): connections break, and its port is closed."""
        assert self._program is not None, "the recorder is not running"
        self._program.kill()
        self._program = None
        self.kills += 1

    def answers(self, default: Answer | None = None, orders: Mapping[str, Answer] | None = None) -> None:
        """How it answers from now on: `orders` by their request ids, all others by `default`, which accepts."""
        told = {
            "default": asdict(default or Answer()),
            "orders": {name: asdict(answer) for name, answer in (orders or {}).items()},
        }
        draft = self._folder / "answers.draft"
        draft.write_text(json.dumps(told), "utf-8")
        draft.rename(self._folder / ANSWERS)

    def wait_for(self, count: int, *, accepted: bool = False, seconds: float = 60.0) -> None:
        """Return once there are so many deliveries, or so many that it accepted."""
        eventually(
            lambda: sum(one["accepts"] or not accepted for one in self.deliveries()) >= count,
            f"{count} deliveries at the receiver",
            seconds=seconds,
        )

    def __enter__(self) -> Self:
        self.start()
        return self


class NotificationConsumer(_Recording):
    """A consumer of the task that notifications are sent as: a program of its own. A context kills it at the end."""

    TASK, QUEUE = "billing.notified", "billing"

    def __init__(self, folder: Path, broker_url: str, notify_broker_url: str) -> None:
        """It consumes by `broker_url`; workers send by `notify_broker_url`."""
        super().__init__(folder)
        self._broker_url = broker_url
        self.settings: dict[str, object] = {
            "notify_task": self.TASK,
            "notify_queue": self.QUEUE,
            "notify_broker_url": notify_broker_url,
        }
        self.endpoint = ("task", self.TASK)

    def __enter__(self) -> Self:
        options = ("--broker", self._broker_url, "--queue", self.QUEUE, "--file", str(self.file))
        command = (sys.executable, "-m", "tests.faults.notification_consumer", *options)
        self._program = Program(*command, env=environment(), log=self._folder / "consumer.log")
        self._program.wait_for("consuming\n")
        return self
