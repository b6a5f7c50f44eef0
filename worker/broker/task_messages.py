"""A message rebuilt from checked parts: what Celery gets instead of the one that came.

Anybody who reaches the broker can write anything into a message. So Celery gets none as it came, but one that is
rebuilt from checked parts. What cannot be checked is dropped, with a line in the log.
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
# The width of the column in Celery's own table of results.
_LONGEST_ID = 155
LONGEST_TEXT = 1024
"""Characters of a text header that is kept, and of each part of a message that is logged."""
# Celery raises two to this power; the waits are bounded anyhow.
_MOST_RETRIES = 1000
# Not Celery's own tasks (chords, groups), which send tasks that their messages name.
_OUR_TASKS = "reconciler."
_JSON = "application/json"
_TICK = "reconciler.reconcile"
# Celery holds a message with a later time in memory, and fetches one more from the broker for it. Only retries need
# that, and they come within a minute.
_LONGEST_WAIT = timedelta(minutes=2)
_LARGEST_HELD = 1024 * 1024
_TEXT_HEADERS = ("root_id", "parent_id", "argsrepr", "kwargsrepr", "origin")
_FOLLOW_UPS = ("callbacks", "errbacks", "chain", "chord")

brief = reprlib.Repr()
"""Shortens a message's parts for the log."""
brief.maxlevel, brief.maxstring, brief.maxother = 3, LONGEST_TEXT, LONGEST_TEXT


class Unfit(Exception):
    """A message that no task can be run from; `str()` says why, and holds nothing of the message."""


class _TooLarge(Unfit):
    """A message whose body is too large to be read."""


class CheckedMessage(Message):
    """A kombu message rebuilt from the checked parts of another, in Celery's protocol 2; it acknowledges that one.

    One that is too large to be read is passed to its task unread, if the task keeps what it refuses.
    """

    def __init__(self, message: Any) -> None:
        """Raises Unfit."""
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
            # They would let a sender to this queue send to every other, with the worker's rights.
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
        # Not both in memory: its text, and what was read of it.
        message.body = None

    def ack_log_error(self, logger: Any, errors: Any, multiple: bool = False) -> None:
        """Acknowledge it; Celery would log a lost connection without an action."""
        try:
            self.ack(multiple=multiple)
        except errors as error:
            log.error(
                "a message could not be acknowledged: the broker delivers it again",
                action="task_result_unreported",
                error=f"{type(error).__name__}: {first_words(error)}",
            )
            # Celery connects again by this error.
            if isinstance(error, BrokenPipeError):
                raise

    def decode(self) -> Any:
        """The checked arguments, named arguments and options, which are not read a second time."""
        return self.parts

    @property
    def payload(self) -> Any:
        """The same; Celery uses either."""
        return self.parts


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    fields: Mapping[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]
    embedded: dict[str, Any] | None


def _read(message: Any) -> _Sent:
    """The parts of a message in either of Celery's protocols."""
    headers, body = message.headers, _payload(message)
    if isinstance(body, dict):
        # Protocol 1, which some libraries of other languages still use, has everything in the body.
        fields = {**body, **headers}
        args, kwargs, embedded = body.get("args", []), body.get("kwargs", {}), body
    elif isinstance(body, list) and len(body) == 3:
        fields, (args, kwargs, embedded) = headers, body
    else:
        raise Unfit("its body is no list of arguments, named arguments and options, nor an object with these")
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embedded, dict | None):
        raise Unfit("its arguments are no list, or its named arguments or options no object")
    if "self" in kwargs:
        # Celery passes the task itself under this name, and fails before the task can keep what was sent.
        raise Unfit("one of its named arguments is called self")
    return _Sent(fields=fields, args=args, kwargs=kwargs, embedded=embedded)


def _unread(message: Any, error: _TooLarge) -> _Sent:
    """What replaces a message that is too large to be read: its start, to be refused and kept.

    Raises Unfit where that task keeps nothing.
    """
    # In protocol 1 the task's name is in the body, which is not read.
    name, body = message.headers.get("task"), message.body
    if not is_name(name, _LONGEST_ID) or not name.startswith(_OUR_TASKS) or name == _TICK:
        raise error
    # A character has at most four bytes.
    start = body[: 4 * MOST_KEPT]
    text = (start if isinstance(start, str) else str(start, "utf-8", "replace"))[:MOST_KEPT]
    faults = [f"message: {error}; accepted: a list of 1 to 1000, send more in parts"]
    if len(text) == MOST_KEPT:
        # A packed body is unpacked up to the limit, and no further.
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
        # Not left to kombu, whose error would keep all that was decoded.
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
    """Whether lists and objects are nested deeper: pickling them for a process would exceed its recursion limit."""
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
        # No time limits: one would kill the process, and the passes that run in it.
        "retries": retries,
        "eta": _soon(_time(fields.get("eta"))) if retries and may_wait else None,
        "expires": _iso(_time(fields.get("expires"))),
        **_only(fields, ignore_result=bool),
        **{key: text[:LONGEST_TEXT] for key, text in _only(fields, **dict.fromkeys(_TEXT_HEADERS, str)).items()},
    }


def _time(value: Any) -> datetime | None:
    """A time in UTC; None where it cannot be read, or is so far off that a change of time zones may leave the calendar.

    The message is not refused for that: its order matters more than its time.
    """
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return time if 1970 <= time.year < 9999 else None


def _soon(eta: datetime | None) -> str | None:
    """When to run a retry: None (now) for a time in the past; not later than the longest wait."""
    now = datetime.now(UTC)
    return None if eta is None or eta <= now else _iso(min(eta, now + _LONGEST_WAIT))


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _only(fields: Mapping[str, Any], **kinds: type) -> dict[str, Any]:
    """The named fields, where they have the named type."""
    return {key: fields[key] for key, kind in kinds.items() if isinstance(fields.get(key), kind)}
