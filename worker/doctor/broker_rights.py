"""Which commands of Redis the worker needs, and which of them its user is refused.

Each is queued in a transaction that is discarded: Redis asks for the right when a command is queued, and runs none.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from worker.broker.answers import ASKED_KEY
from worker.celery_settings import ORDERS_QUEUE, QUEUES, TICKS_QUEUE

Words = tuple[str, ...]

_TAG = "reconciler-doctor"
_MAILBOX = f"{_TAG}.celery.pidbox"
_BINDING = "_kombu.binding.reconciler.orders"
# What Celery and kombu send in a worker, in beat and in `celery inspect`.
_COMMANDS: Sequence[Words] = (
    *(words for queue in QUEUES for words in (("LPUSH", queue, _TAG), ("BRPOP", queue, "1"))),
    *(("LLEN", ORDERS_QUEUE), ("LLEN", TICKS_QUEUE), ("RPUSH", ORDERS_QUEUE, _TAG)),
    *(("HSET", "unacked", _TAG, _TAG), ("HGET", "unacked", _TAG), ("HDEL", "unacked", _TAG)),
    *(("ZADD", "unacked_index", "0", _TAG), ("ZRANGE", "unacked_index", "0", "0"), ("ZREM", "unacked_index", _TAG)),
    *(("SET", "unacked_mutex", _TAG), ("GET", "unacked_mutex"), ("DEL", "unacked_mutex")),
    *(("SET", ASKED_KEY, _TAG), ("GET", ASKED_KEY)),
    *(("SADD", _BINDING, _TAG), ("SMEMBERS", _BINDING), ("SREM", _BINDING, _TAG)),
    ("SADD", "_kombu.binding_permanent.reconciler.orders", _TAG),
    *(("ZADD", "_kombu.binding_deadlines", "0", _TAG), ("ZRANGEBYSCORE", "_kombu.binding_deadlines", "0", "0")),
    *(("LPUSH", _MAILBOX, _TAG), ("BRPOP", _MAILBOX, "1"), ("LLEN", _MAILBOX), ("DEL", _MAILBOX)),
    *(("EVALSHA", _TAG, "1", "unacked_mutex"), ("SCRIPT", "LOAD", ""), ("SCRIPT", "EXISTS", _TAG), ("TIME",)),
)


class NotTried(Exception):
    """The server queues no commands, or did not queue one: what followed would be run."""


def refused_commands(client: Any, *, fanout_prefix: str) -> list[str]:
    """The commands that the user of a redis-py client may not run, each with the key or channel that was tried.

    `fanout_prefix` is kombu's, with the number of the database: `/3.`. Raises NotTried, and redis-py's errors where the
    server is away.
    """
    mailbox, events = f"{fanout_prefix}celery.pidbox", f"{fanout_prefix}celeryev/worker.online"
    channels = (
        *(("PSUBSCRIBE", mailbox), ("PUNSUBSCRIBE", mailbox)),
        *(("PUBLISH", mailbox, _TAG), ("PUBLISH", events, _TAG)),
    )
    connection = client.connection_pool.get_connection()
    try:
        return list(_refused(connection, [*_COMMANDS, *channels]))
    finally:
        # Not back into the pool: whatever happened, no other reading is to be queued into this transaction.
        connection.disconnect()
        client.connection_pool.release(connection)


def _refused(connection: Any, commands: Sequence[Words]) -> Iterator[str]:
    # None of these can be queued; the first transaction is empty.
    first: Sequence[Words] = (("WATCH", "unacked"), ("UNWATCH",), ("MULTI",), ("EXEC",))
    for words in first:
        if _is_refusal(_answer_to(connection, words)):
            yield " ".join(words)
    answer = _answer_to(connection, ("MULTI",))
    if _is_refusal(answer):
        # What follows would be run.
        return
    if answer != "OK":
        raise NotTried(f"MULTI was answered: {answer}")
    for words in commands:
        answer = _answer_to(connection, words)
        if _is_refusal(answer):
            yield " ".join(words[:2])
        # Within a transaction an error, as for a command that was renamed, runs nothing and ends nothing.
        elif answer != "QUEUED" and not isinstance(answer, Exception):
            raise NotTried(f"{words[0]} was not queued after MULTI")
    if _is_refusal(_answer_to(connection, ("DISCARD",))):
        yield "DISCARD"


def _is_refusal(answer: object) -> bool:
    # Where RabbitMQ is used, the package may be missing.
    from redis.exceptions import NoPermissionError

    # An EXEC that is refused says so in words. An error for any other reason: it may be run.
    return isinstance(answer, NoPermissionError) or (isinstance(answer, Exception) and "NOPERM" in str(answer))


def _answer_to(connection: Any, words: Words) -> object:
    """What the server answers; an error of its own is returned."""
    from redis.exceptions import ResponseError

    connection.send_command(*words)
    try:
        answer = connection.read_response()
    except ResponseError as error:
        return error
    return answer.decode() if isinstance(answer, bytes) else answer
