"""Celery's consumer and its remote control, which get to see only what was checked.

`CheckedConsumer` hands on messages that are rebuilt from checked parts. `CheckedControl` obeys some commands: whoever
reaches the broker may send one. Those that read the worker's state are obeyed, those for events, and `shutdown`. The
others could leave a worker alive that does nothing (`cancel_consumer`, `rate_limit`, `pool_shrink`), make it take in
other people's messages (`add_consumer`) or drop orders (`revoke`): they are refused, and answered so.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

import structlog
from celery.app.control import Control
from celery.worker.consumer import Consumer
from kombu.pidbox import Mailbox, Node

from worker.messages.checked_message import LONGEST_TEXT, CheckedMessage, Unfit, brief

log = structlog.stdlib.get_logger(__name__)

_OLDER_NAMES = ("dump_active", "dump_conf", "dump_reserved", "dump_revoked", "dump_schedule", "dump_tasks")
INSPECTIONS = frozenset(
    (
        *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved"),
        *("revoked", "scheduled", "stats", *_OLDER_NAMES),
    )
)
"""Commands that look and change nothing."""
COMMANDS = INSPECTIONS | {"enable_events", "disable_events", "heartbeat", "shutdown"}
"""All that are obeyed."""

_LONGEST_NAME = 255
_NO_USE = "this worker has no use for it"


class CheckedConsumer(Consumer):
    """Celery's consumer, which is handed checked messages only.

    Celery itself would end with many a forged one and put it back into its queue, where it would end the next worker
    as well.
    """

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        # Both read what other workers, or anybody else, say of themselves, and can end with it. This worker needs
        # neither: it settles nothing with others but by the database. Events are sent all the same.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """What is called with each message of the two queues."""
        handle = super().create_task_handler(*args, **kwargs)

        def check_and_handle(message: Any) -> None:
            try:
                checked = CheckedMessage(message)
            except MemoryError:
                # Not the message's fault. Here as in what follows: Celery ends, and the broker has the message still.
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
                # It was settled before that: the answer to an unknown task could not be stored.
                log.warning("no answer to a message", action="no_answer", error=type(error).__name__)

        return check_and_handle

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """A message, of the two queues or of remote control, that could not even be unpacked."""
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
    """A command that says not what is to be done, or asks for an answer elsewhere; `str()` says what is wrong."""


class CheckedNode(Node):
    """A worker's end of remote control."""

    def handle_message(self, body: Any, message: Any = None) -> Any:
        """Obey a command, if it is for this worker. Celery's clock is not set by it: nothing here needs that clock."""
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
        """Where the answer goes: a queue for answers, and no other. The worker's word must not stand among tasks."""
        expected = self.mailbox.reply_exchange.name
        if not (isinstance(where, dict) and where.get("exchange") == expected and _is_name(where.get("routing_key"))):
            raise UnreadableCommand("its answer is to go where no answers go")
        return {"exchange": expected, "routing_key": where["routing_key"]}


class CheckedMailbox(Mailbox):
    """kombu's mailbox, whose nodes check what they are told."""

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
