"""Rebuild messages from checked parts.

Anyone who can reach the broker can write anything into a message. So Celery does not receive the original message, but
a new one that is built from the checked parts of the original. A message that cannot be rebuilt is dropped and logged.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from kombu.exceptions import ContentDisallowed
from kombu.message import Message
from kombu.utils import json

from worker.adapters.safe_text import first_words
from worker.broker.sizes import MOST_KEPT, UNREAD, Oversized, check_body, is_name, shortened

log = structlog.stdlib.get_logger(__name__)

_DEEPEST_NESTING = 100
# The longest id or name of a task: the width of the id column in Celery's own result table.
_LONGEST_ID = 155
LONGEST_TEXT = 1024
"""The most characters that are kept of a text header. Also the most that are logged of each part of a message."""
# The largest number of retries in a message. Celery computes 2 to the power of this number, and only then limits the
# wait, so a forged large number would cost time and memory.
_MOST_RETRIES = 1000
# The start of our tasks' names. Celery's own tasks (chords, groups) do not have it, and are refused: their messages can
# make them send any task.
_OUR_TASKS = "reconciler."
_JSON = "application/json"
_TICK = "reconciler.reconcile"
# The longest wait before a message's task may run. Meanwhile Celery keeps the message in memory and fetches further
# messages from the broker. Only retries need to wait, and they wait at most a minute.
_LONGEST_WAIT = timedelta(minutes=2)
_LARGEST_HELD = 1024 * 1024
_TEXT_HEADERS = ("root_id", "parent_id", "argsrepr", "kwargsrepr", "origin")
_FOLLOW_UPS = ("callbacks", "errbacks", "chain", "chord")

brief = reprlib.Repr()
"""Shortens the parts of a message for the log."""
brief.maxlevel, brief.maxstring, brief.maxother = 3, LONGEST_TEXT, LONGEST_TEXT


class Unfit(Exception):
    """A message from which no task can be run; `str()` gives the reason and quotes nothing of the message."""


class _TooLarge(Unfit):
    """A message whose body is too large to be read."""


class CheckedMessage(Message):
    """A kombu message in Celery's protocol 2, rebuilt from the checked parts of an original message.

    To acknowledge it is to acknowledge the original. If the original is too large to be read, only its start is passed
    to the task, which refuses and keeps it. If the task does not keep refused input, such an original is dropped.
    """

    def __init__(self, message: Any) -> None:
        """Rebuild a message of kombu's. Raises Unfit."""
        if not isinstance(message.body, bytes | str | memoryview):
            raise Unfit("its body is no text")
        try:
            sent = _read(message)
        except _TooLarge as error:
            sent = _unread(message, error)
        self.parts: tuple[object, ...] = (sent.args, sent.kwargs, {})
        packed = json.dumps(self.parts).encode()
        plain_headers = _plain_headers(sent.fields, may_wait=len(packed) <= _LARGEST_HELD)
        if any(map((sent.embedded or {}).get, _FOLLOW_UPS)):
            # Ignore follow-up tasks: the worker would send them, so anyone who may send to this queue could send to
            # every queue.
            log.warning("a message asks for tasks to follow it; none will", action="follow_ups_ignored")
        super().__init__(
            packed,
            channel=message.channel,
            delivery_tag=message.delivery_tag,
            accept=message.accept,
            headers=plain_headers,
            content_type=_JSON,
            content_encoding="utf-8",
            properties=_only(message.properties, reply_to=str, correlation_id=str, priority=int),
            delivery_info=_only(
                message.delivery_info, exchange=str, routing_key=str, consumer_tag=str, redelivered=bool
            ),
        )
        # Free the memory of the original text.
        message.body = None

    def ack_log_error(self, logger: Any, errors: Any, multiple: bool = False) -> None:
        """Acknowledge the message. If the connection is lost, log this with an `action`, which Celery's line lacks."""
        try:
            self.ack(multiple=multiple)
        except errors as error:
            log.error(
                "a message could not be acknowledged: the broker delivers it again",
                action="task_result_unreported",
                error=f"{type(error).__name__}: {first_words(error)}",
            )
            # Celery connects again if this error is raised.
            if isinstance(error, BrokenPipeError):
                raise

    def decode(self) -> Any:
        """The checked arguments, named arguments and options. They are not read a second time."""
        return self.parts

    @property
    def payload(self) -> Any:
        """The same as `decode()`; Celery uses both `payload` and `decode()`."""
        return self.parts


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    fields: Mapping[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]
    embedded: dict[str, Any] | None


def _read(message: Any) -> _Sent:
    """The parts of a message, in Celery's protocol 1 or 2."""
    headers, body = message.headers, _payload(message)
    if isinstance(body, dict):
        # A message of protocol 1 has everything in its body. Some libraries in other languages still use this protocol.
        fields = {**body, **headers}
        args, kwargs, embedded = body.get("args", []), body.get("kwargs", {}), body
    elif isinstance(body, list) and len(body) == 3:
        fields, (args, kwargs, embedded) = headers, body
    else:
        raise Unfit("its body is no list of arguments, named arguments and options, nor an object with these")
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embedded, dict | None):
        raise Unfit("its arguments are no list, or its named arguments or options no object")
    if "self" in kwargs:
        # Celery passes the task itself as `self`. So the call would fail before the task can keep the refused input.
        raise Unfit("one of its named arguments is called self")
    return _Sent(fields=fields, args=args, kwargs=kwargs, embedded=embedded)


def _unread(message: Any, error: _TooLarge) -> _Sent:
    """The replacement for a message that is too large to be read: its start, which the task refuses and keeps.

    Raises Unfit if the message's task does not keep refused input.
    """
    # A message of protocol 1 is dropped too: its task's name is in the body, which is not read.
    name, body = message.headers.get("task"), message.body
    if not is_name(name, _LONGEST_ID) or not name.startswith(_OUR_TASKS) or name == _TICK:
        raise error
    # The start needs this many bytes at most, because a character has at most four.
    start = body[: 4 * MOST_KEPT]
    text = (start if isinstance(start, str) else str(start, "utf-8", "replace"))[:MOST_KEPT]
    faults = [f"message: {error}; accepted: a list of 1 to 1000, send more in parts"]
    if len(text) == MOST_KEPT:
        # The size in this sentence is a lower bound, since a packed body is unpacked only up to the limit.
        faults.append(shortened(len(body)))
    log.error(
        "a message was refused unread: its start is kept with the refused orders",
        action="message_refused",
        task=name,
        id=brief.repr(message.headers.get("id")),
        error=str(error),
    )
    unread = {"text": text, "errors": faults, "bytes": len(body)}
    return _Sent(fields=message.headers, args=[], kwargs={UNREAD: unread}, embedded=None)


def _payload(message: Any) -> object:
    if message.content_type == _JSON:
        # Check the body before kombu decodes it: kombu's error would keep all decoded content in memory.
        try:
            check_body(message.body)
        except Oversized as error:
            raise _TooLarge(f"its body {error}") from None
    try:
        payload = message.decode()
    except ContentDisallowed:
        raise Unfit("its content is of a type that is refused; accepted: JSON") from None
    except MemoryError:
        raise
    except Exception as error:
        raise Unfit(f"its body cannot be read ({type(error).__name__}); accepted: JSON") from None
    if _is_nested_deeper(payload, _DEEPEST_NESTING):
        raise Unfit(f"its body is nested deeper than {_DEEPEST_NESTING} levels")
    return payload


def _is_nested_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested deeper than `levels`.

    Celery pickles the value for a pool process, and deeper nesting would exceed Python's recursion limit.
    """
    level = [value]
    for _ in range(levels):
        held = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, list | dict))
        level = [inner for inners in held for inner in inners if isinstance(inner, list | dict)]
        if not level:
            return False
    return True


def _plain_headers(fields: Mapping[str, Any], *, may_wait: bool) -> dict[str, object]:
    name, task_id, sent_retries = fields.get("task"), fields.get("id"), fields.get("retries")
    if not (is_name(name, _LONGEST_ID) and is_name(task_id, _LONGEST_ID)):
        raise Unfit(f"its task or its id is no text of 1 to {_LONGEST_ID} printable characters")
    if not name.startswith(_OUR_TASKS):
        raise Unfit(f"its task is none of ours: they begin with {_OUR_TASKS}")
    retries = max(0, min(sent_retries, _MOST_RETRIES)) if isinstance(sent_retries, int) else 0
    return {
        "lang": "py",
        "task": name,
        "id": task_id,
        # The message's time limits are left out: a time limit would kill the process, and the passes that run in it.
        "retries": retries,
        "eta": _soon(_time(fields.get("eta"))) if retries and may_wait else None,
        "expires": _iso(_time(fields.get("expires"))),
        **_only(fields, ignore_result=bool),
        **{key: text[:LONGEST_TEXT] for key, text in _only(fields, **dict.fromkeys(_TEXT_HEADERS, str)).items()},
    }


def _time(value: Any) -> datetime | None:
    """A message's time in UTC; None if the time is unreadable, before 1970 or after 9998.

    A message with such a time is not refused: its order matters more than its time.
    """
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return time if 1970 <= time.year < 9999 else None


def _soon(eta: datetime | None) -> str | None:
    """The time to run a retry, at most `_LONGEST_WAIT` from now; None if the retry may run at once."""
    now = datetime.now(UTC)
    return None if eta is None or eta <= now else _iso(min(eta, now + _LONGEST_WAIT))


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _only(fields: Mapping[str, Any], **kinds: type) -> dict[str, Any]:
    """The fields that `kinds` names, except those whose value does not have the type in `kinds`."""
    return {key: fields[key] for key, kind in kinds.items() if isinstance(fields.get(key), kind)}
