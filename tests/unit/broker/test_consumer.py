"""What happens to a message whose handling fails in ways that no test can cause in a real worker."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from kombu.message import Message
from structlog.testing import capture_logs

from worker.broker.consumer import CheckedConsumer
from worker.broker.task_messages import CheckedMessage

TASK = "reconciler.enqueue_order"


class Channel:
    """Records how its messages were settled."""

    no_ack_consumers: None = None

    def __init__(self) -> None:
        self.said: list[str] = []

    def basic_reject(self, _tag: str, requeue: bool) -> None:
        self.said.append("requeued" if requeue else "rejected")

    def basic_ack(self, _tag: str, **_: object) -> None:
        self.said.append("acknowledged")


def sent(body: bytes = b"[[{}], {}, {}]", **headers: object) -> Any:
    fields = {"task": TASK, "id": "x", **headers}
    return Message(body, delivery_tag="t", content_type="application/json", headers=fields, channel=Channel())


def handler(strategy: Callable[..., None]) -> Callable[[Any], None]:
    """What a consumer calls with each message, where every task has this strategy."""
    consumer = CheckedConsumer.__new__(CheckedConsumer)
    parts = {
        "strategies": {TASK: strategy},
        "on_task_message": (),
        "connection_errors": (OSError,),
        "channel_errors": (),
    }
    consumer.__dict__.update(parts, _maximum_prefetch_restored=True, call_soon_ack=None)
    made: Callable[[Any], None] = consumer.create_task_handler()
    return made


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread"), ValueError("a mistake")])
def test_what_fails_on_this_host_costs_no_message(error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    message = sent()
    with capture_logs() as logs, pytest.raises(type(error)):
        handler(fail)(message)
    assert (message.channel.said, logs) == ([], [])


@pytest.mark.parametrize("error", [RuntimeError("no result backend"), OSError("no broker")])
def test_what_fails_after_a_message_is_settled_ends_nothing_but_a_broken_connection(error: Exception) -> None:
    def settle_and_fail(message: Any, *_: object) -> None:
        message.reject()
        raise error

    with nullcontext() if isinstance(error, RuntimeError) else pytest.raises(OSError, match="no broker"):
        handler(settle_and_fail)(sent())


def exhaust() -> object:
    raise MemoryError


def test_memory_that_runs_out_while_a_message_is_read_costs_no_message() -> None:
    message = sent()
    message.decode = exhaust
    with capture_logs() as logs, pytest.raises(MemoryError):
        handler(lambda *_: None)(message)
    assert (message.channel.said, logs) == ([], [])


def test_a_message_that_no_task_can_be_run_from_is_refused() -> None:
    message = sent(task="celery.group")
    with capture_logs() as logs:
        handler(lambda *_: None)(message)
    assert message.channel.said == ["rejected"]
    assert [line["action"] for line in logs] == ["message_dropped"]


def wait_of(message: Any) -> float | None:
    """The seconds for which Celery holds a message; None where it does not."""
    checked = CheckedMessage(message)
    eta = checked.headers["eta"]
    return None if eta is None else (datetime.fromisoformat(eta) - datetime.now(UTC)).total_seconds()


def after(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def test_a_retry_waits_and_two_minutes_at_most() -> None:
    with time_machine.travel(datetime.now(UTC), tick=False):
        assert wait_of(sent(retries=1, eta=after(seconds=50))) == 50
        assert wait_of(sent(retries=1, eta=after(days=9000))) == 120
        assert wait_of(sent(retries=1, eta=after(seconds=-1))) is None


def test_nothing_but_a_small_retry_waits() -> None:
    assert wait_of(sent(eta=after(seconds=50))) is None
    large = b'[["' + b"x" * 1024 * 1024 + b'"], {}, {}]'
    assert wait_of(sent(large, retries=1, eta=after(seconds=50))) is None
