"""Celery's consumer and remote control, restricted to checked input.

`CheckedConsumer` passes on messages that are rebuilt from checked parts. `CheckedControl` runs some commands only,
since anybody who reaches the broker may send one: those that read the worker's state, those for events, and `shutdown`.
The others could leave a worker alive that does nothing (`cancel_consumer`, `rate_limit`, `pool_shrink`), make it
consume other queues (`add_consumer`) or drop orders (`revoke`): they are refused with an answer.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

import structlog
from celery.app.control import Control
from celery.worker.consumer import Consumer
from kombu.pidbox import Mailbox, Node

from worker.broker.task_messages import LONGEST_TEXT, CheckedMessage, Unfit, brief

log = structlog.stdlib.get_logger(__name__)

_OLDER_NAMES = ("dump_active", "dump_conf", "dump_reserved", "dump_revoked", "dump_schedule", "dump_tasks")
INSPECTIONS = frozenset(
    (
        *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved"),
        *("revoked", "scheduled", "stats", *_OLDER_NAMES),
    )
)
"""Commands that read and change nothing."""
COMMANDS = INSPECTIONS | {"enable_events", "disable_events", "heartbeat", "shutdown"}
"""All that are run."""

_LONGEST_NAME = 255
_NO_USE = "this worker has no use for it"


class CheckedConsumer(Consumer):
    """Celery's consumer, which gets checked messages only.

    Celery itself ends on many forged messages and puts them back into the queue, where they would end the next worker
    as well.
    """

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        # Both read messages of other workers, or of anybody else, and can end on them. This worker needs neither:
        # workers coordinate by the database only. Events are sent all the same.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what is called with each message of the two queues."""
        handle = super().create_task_handler(*args, **kwargs)

        def check_and_handle(message: Any) -> None:
            try:
                checked = CheckedMessage(message)
            except MemoryError:
                # Not the message's fault. Celery ends, here and below, and the broker still has the message.
                raise
            except Exception as error:
                _log_dropped(message, error)
                if not message.acknowledged:
                    # Where RabbitMQ has a dead-letter exchange for the queue, it is kept there.
                    message.reject_log_error(log, self.connection_errors)
                return
            try:
                handle(checked)
            except Exception as error:
                if not checked.acknowledged or isinstance(error, self.connection_errors + self.channel_errors):
                    raise
                # The message was acknowledged before: only the result of an unknown task could not be stored.
                log.warning("no answer to a message", action="no_answer", error=type(error).__name__)

        return check_and_handle

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message, of the two queues or of remote control, that could not be unpacked."""
        if isinstance(exc, MemoryError):
            raise exc
        _log_dropped(message, exc)
        message.ack_log_error(log, self.connection_errors)


def _log_dropped(message: Any, error: Exception) -> None:
    log.error(
        "a message was dropped: no task can be run from it",
        action="message_dropped",
        # Another error's text may hold all of the message.
        error=str(error) if isinstance(error, Unfit) else type(error).__name__,
        content_type=brief.repr(message.content_type),
        headers=brief.repr(message.headers),
        body=brief.repr(message.body[:LONGEST_TEXT] if isinstance(message.body, bytes | str) else message.body),
    )


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
        if not _is_name(method):
            raise UnreadableCommand("it names no method")
        if not isinstance(arguments, dict | None):
            raise UnreadableCommand("its arguments are no object")
        if not (destination is None or (isinstance(destination, list) and all(map(_is_name, destination)))):
            raise UnreadableCommand("its destination is no list of names")
        # A regular expression could keep the worker busy for good.
        if not (pattern is None and matcher is None) and not (_is_name(pattern) and matcher == "glob"):
            raise UnreadableCommand("its pattern is none of the kind glob")
        return {
            "method": method,
            "arguments": arguments,
            "destination": destination,
            "pattern": pattern,
            "matcher": matcher,
            "reply_to": where and self._read_reply_to(where),
            "ticket": body.get("ticket") if _is_name(body.get("ticket")) else None,
        }

    def _read_reply_to(self, where: Any) -> dict[str, str]:
        """Where the answer goes: a queue for answers, and no other, since an answer must not be read as a task."""
        expected = self.mailbox.reply_exchange.name
        if not (isinstance(where, dict) and where.get("exchange") == expected and _is_name(where.get("routing_key"))):
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


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()
