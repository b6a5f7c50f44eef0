"""Celery's remote control, restricted to commands that leave no worker alive that does nothing.

Anybody who reaches the broker may send one. Run are those that read the worker's state, those for events, and
`shutdown`. The others could leave a worker alive that does nothing (`cancel_consumer`, `rate_limit`, `pool_shrink`),
make it consume other queues (`add_consumer`) or drop orders (`revoke`): they are refused with an answer.
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
"""Commands that read and change nothing."""
COMMANDS = INSPECTIONS | {"enable_events", "disable_events", "heartbeat", "shutdown"}
"""All that are run."""

_NO_USE = "this worker has no use for it"


class UnreadableCommand(Exception):
    """A command without a readable method, or with a foreign address for its answer; `str()` says what is wrong."""


class CheckedNode(Node):
    """A worker's end of remote control."""

    def handle_message(self, body: Any, message: Any = None) -> Any:
        """Run a command, if it is for this worker. It does not set Celery's clock, which nothing here needs."""
        try:
            command = self._read(body)
        except UnreadableCommand as error:
            _log_refused(str(error), body)
            return None
        return super().handle_message(command)

    def handle(self, method: Any, arguments: Any = None) -> Any:
        """Run a command and return its answer; refused ones are answered with an error."""
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
        # A regular expression could keep the worker busy for good.
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
        """Where the answer goes: a queue for answers, and no other, since an answer must not be read as a task."""
        expected = self.mailbox.reply_exchange.name
        if not (isinstance(where, dict) and where.get("exchange") == expected and is_name(where.get("routing_key"))):
            raise UnreadableCommand("its answer is to go to no queue for answers")
        return {"exchange": expected, "routing_key": where["routing_key"]}


class CheckedMailbox(Mailbox):
    """kombu's mailbox, whose nodes check the commands."""

    node_cls = CheckedNode


class CheckedControl(Control):
    """Celery's remote control with such a mailbox: `Celery(control=...)`."""

    Mailbox = CheckedMailbox


def _log_refused(why: str, command: object) -> None:
    log.warning(
        f"a command of remote control was refused: {why}", action="command_refused", command=reprlib.repr(command)
    )
