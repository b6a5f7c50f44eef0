"""Rebuild messages from checked parts.

Anyone who can reach the broker can write anything into a message. So Celery does not receive the original message, but
one that is rebuilt from checked parts. A message that cannot be rebuilt is dropped, and this is logged.
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
# The width of the id column in Celery's own result table.
_LONGEST_ID = 155
LONGEST_TEXT = 1024
"""Characters that are kept of a text header, and that are logged of each part of a message."""
# Celery computes 2 to the power of this number before it limits the wait.
_MOST_RETRIES = 1000
# Excludes Celery's own tasks (chords, groups), whose messages can make them send any task.
_OUR_TASKS = "reconciler."
_JSON = "application/json"
_TICK = "reconciler.reconcile"
# If a message's time is later, Celery keeps it in memory and fetches another one from the broker. Only retries need
# this, and they wait at most a minute.
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
    """A kombu message in Celery's protocol 2, rebuilt from the checked parts of another; it acknowledges the other.

    If the other is too large to be read, its start is passed to the task, provided that the task keeps refused input.
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
            # Follow-up tasks would let a sender to this queue send to every queue, with the worker's rights.
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
        """Acknowledge the message. Log a lost connection with an action, unlike Celery."""
        try:
            self.ack(multiple=multiple)
        except errors as error:
            log.error(
                "a message could not be acknowledged: the broker delivers it again",
                action="task_result_unreported",
                error=f"{type(error).__name__}: {first_words(error)}",
            )
            # This error makes Celery connect again.
            if isinstance(error, BrokenPipeError):
                raise

    def decode(self) -> Any:
        """The checked arguments, named arguments and options. They are not read a second time."""
        return self.parts

    @property
    def payload(self) -> Any:
        """The same as `decode()`; Celery uses both."""
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
        # Protocol 1 has everything in the body. Some libraries of other languages still use it.
        fields = {**body, **headers}
        args, kwargs, embedded = body.get("args", []), body.get("kwargs", {}), body
    elif isinstance(body, list) and len(body) == 3:
        fields, (args, kwargs, embedded) = headers, body
    else:
        raise Unfit("its body is no list of arguments, named arguments and options, nor an object with these")
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embedded, dict | None):
        raise Unfit("its arguments are no list, or its named arguments or options no object")
    if "self" in kwargs:
        # Celery passes the task itself under this name, so it fails before the task can keep the input.
        raise Unfit("one of its named arguments is called self")
    return _Sent(fields=fields, args=args, kwargs=kwargs, embedded=embedded)


def _unread(message: Any, error: _TooLarge) -> _Sent:
    """The replacement for a message that is too large to be read: its start, for the task to refuse and keep.

    Raises Unfit if its task does not keep refused input.
    """
    # In protocol 1 the task's name is in the body, which is not read; such a message is dropped.
    name, body = message.headers.get("task"), message.body
    if not is_name(name, _LONGEST_ID) or not name.startswith(_OUR_TASKS) or name == _TICK:
        raise error
    # A character has at most four bytes.
    start = body[: 4 * MOST_KEPT]
    text = (start if isinstance(start, str) else str(start, "utf-8", "replace"))[:MOST_KEPT]
    faults = [f"message: {error}; accepted: a list of 1 to 1000, send more in parts"]
    if len(text) == MOST_KEPT:
        # This size is a lower bound, since a packed body is unpacked only up to the limit.
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
        # Checked before kombu decodes it: kombu's error would keep all decoded content.
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

    Pickling them for a pool process would then exceed the recursion limit.
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
        # Time limits are left out: one would kill the process, and the passes that run in it.
        "retries": retries,
        "eta": _soon(_time(fields.get("eta"))) if retries and may_wait else None,
        "expires": _iso(_time(fields.get("expires"))),
        **_only(fields, ignore_result=bool),
        **{key: text[:LONGEST_TEXT] for key, text in _only(fields, **dict.fromkeys(_TEXT_HEADERS, str)).items()},
    }


def _time(value: Any) -> datetime | None:
    """A time in UTC; None if it is unreadable, or so extreme that a change of its time zone may leave the calendar.

    Such a message is not refused: its order matters more than its time.
    """
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return time if 1970 <= time.year < 9999 else None


def _soon(eta: datetime | None) -> str | None:
    """The time to run a retry, at most `_LONGEST_WAIT` from now; None (now) if it is in the past."""
    now = datetime.now(UTC)
    return None if eta is None or eta <= now else _iso(min(eta, now + _LONGEST_WAIT))


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _only(fields: Mapping[str, Any], **kinds: type) -> dict[str, Any]:
    """The named fields that have the named type."""
    return {key: fields[key] for key, kind in kinds.items() if isinstance(fields.get(key), kind)}
