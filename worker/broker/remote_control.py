"""Restrict Celery's remote control to harmless commands.

Anyone who can reach the broker can send a command. The worker runs commands that read its state, commands for events,
and `shutdown`. It refuses all other commands, and answers with an error. Such a command could stop the worker's work
(`cancel_consumer`, `rate_limit`, `pool_shrink`), make it consume other queues (`add_consumer`) or drop orders
(`revoke`).
"""

import reprlib
from typing import Any

import structlog
from celery.app.control import Control
from kombu.pidbox import Mailbox, Node

from worker.broker.sizes import is_name

log = structlog.stdlib.get_logger(__name__)

INSPECTIONS = frozenset(
    (
        *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved"),
        *("revoked", "scheduled", "stats"),
    )
)
"""Commands that only read the worker's state."""
COMMANDS = INSPECTIONS | {"enable_events", "disable_events", "heartbeat", "shutdown"}
"""All commands that the worker runs."""

_NO_USE = "this worker has no use for it"


class UnreadableCommand(Exception):
    """A command that is malformed, or that wants its answer in a queue that is not for answers.

    `str()` gives the fault.
    """


class CheckedNode(Node):
    """The worker's side of remote control, which runs only checked commands."""

    def handle_message(self, body: Any, message: Any = None) -> Any:
        """Run a command if it is for this worker.

        `message` is not passed on: Celery would only set its logical clock from it, and nothing here needs that clock.
        """
        try:
            command = self._read(body)
        except UnreadableCommand as error:
            _log_refused(str(error), body)
            return None
        return super().handle_message(command)

    def handle(self, method: Any, arguments: Any = None) -> Any:
        """Run a command and return its answer. The answer to a refused command is an error."""
        if method not in COMMANDS:
            _log_refused(_NO_USE, method)
            return {"error": f"{method} is refused: {_NO_USE}; accepted: {', '.join(sorted(COMMANDS))}"}
        return super().handle(method, arguments)

    def _read(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise UnreadableCommand("it is no object")
        method, arguments, where = body.get("method"), body.get("arguments"), body.get("reply_to")
        destination, pattern, matcher = (body.get(name) for name in ("destination", "pattern", "matcher"))
        if not is_name(method):
            raise UnreadableCommand("it names no method")
        if not isinstance(arguments, dict | None):
            raise UnreadableCommand("its arguments are no object")
        if not (destination is None or (isinstance(destination, list) and all(map(is_name, destination)))):
            raise UnreadableCommand("its destination is no list of names")
        # A regular expression could keep the worker busy forever, so only glob patterns are accepted.
        if not (pattern is None and matcher is None) and not (is_name(pattern) and matcher == "glob"):
            raise UnreadableCommand("its pattern is none of the kind glob")
        return {
            "method": method,
            "arguments": arguments,
            "destination": destination,
            "pattern": pattern,
            "matcher": matcher,
            "reply_to": where and self._read_reply_to(where),
            "ticket": body.get("ticket") if is_name(body.get("ticket")) else None,
        }

    def _read_reply_to(self, where: Any) -> dict[str, str]:
        """The address to which the command's answer is sent. Only a queue for answers is accepted.

        In any other queue, a worker might read the answer as a task.
        """
        expected = self.mailbox.reply_exchange.name
        if not (isinstance(where, dict) and where.get("exchange") == expected and is_name(where.get("routing_key"))):
            raise UnreadableCommand("its answer is to go to no queue for answers")
        return {"exchange": expected, "routing_key": where["routing_key"]}


class CheckedMailbox(Mailbox):
    """kombu's mailbox, with `CheckedNode` as the class that receives commands."""

    node_cls = CheckedNode


class CheckedControl(Control):
    """Celery's remote control with a `CheckedMailbox`; use it as `Celery(control=...)`."""

    Mailbox = CheckedMailbox


def _log_refused(why: str, command: object) -> None:
    log.warning(
        f"a command of remote control was refused: {why}", action="command_refused", command=reprlib.repr(command)
    )
