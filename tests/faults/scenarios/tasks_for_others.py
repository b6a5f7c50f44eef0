"""Notifications as messages of a Celery task, while their broker is lost."""

import time
from collections.abc import Callable

from kombu.exceptions import OperationalError

from tests.faults.catalogue import fault
from tests.faults.endpoints import repeats, wait_until_told_after_waits
from tests.faults.recorder import NotificationConsumer
from tests.faults.testbed import Testbed
from tests.support.proxy import Mode, Proxy, through_proxy
from tests.support.waiting import eventually

_PORTS = {"redis": 6379, "rabbitmq": 5672}
_BYTES = (100, 1_500)
"""Less than a message and the login before it."""


@fault(41, "the billing system's broker lost in mid-publish, muted, away", times=6, times_in_ci=2, seconds=90.0)
def fault_41_the_broker_of_notifications_is_lost(testbed: Testbed) -> None:
    proxy, url = testbed.enter(through_proxy(testbed.broker.direct_url, _PORTS[testbed.broker.kind]))
    consumer = testbed.consume_notifications(url)
    testbed.start()
    losses: list[Callable[[], object]] = [
        *[lambda: _lose_in_mid_publish(testbed, proxy)] * 3,
        lambda: _lose_the_confirmations(testbed, proxy),
        lambda: _be_away(testbed, proxy),
    ]
    if testbed.broker.rabbitmq is not None:
        # A message that Redis has answered for is lost with Redis; RabbitMQ's are persistent.
        losses.append(lambda: _kill_rabbitmq(testbed, consumer))
    testbed.inject(losses, then=lambda: wait_until_told_after_waits(testbed))
    testbed.observed(f"{repeats(consumer)} messages repeated what had been sent")


def _lose_in_mid_publish(testbed: Testbed, proxy: Proxy) -> None:
    """The next connection comes to a certain byte: of the login, or of a message."""
    proxy.hold_after(testbed.rng.randrange(*_BYTES))
    proxy.cut()
    names = testbed.place(6)
    is_held = proxy.wait_until_holding(10)
    testbed.observed("lost in mid-publish" if is_held else "all was sent before the byte came")
    testbed.rest(0.5)
    proxy.cut()
    testbed.wait_until_settled(names)


def _lose_the_confirmations(testbed: Testbed, proxy: Proxy) -> None:
    """What is published arrives, and its sender does not learn it: it is sent again."""
    proxy.set(Mode.MUTE)
    testbed.wait_until_settled(testbed.place(6))
    testbed.rest(1.5, least=0.5)
    proxy.cut()
    proxy.set(Mode.PASS)


def _be_away(testbed: Testbed, proxy: Proxy) -> None:
    proxy.set(Mode.REFUSE)
    proxy.cut()
    testbed.wait_until_settled(testbed.place(6))
    testbed.rest(2.0, least=0.5)
    proxy.set(Mode.PASS)


def _kill_rabbitmq(testbed: Testbed, consumer: NotificationConsumer) -> None:
    """While messages are published and consumed; it is the worker's broker as well."""
    node = testbed.broker.rabbitmq
    assert node is not None
    seen = len(consumer.deliveries())
    names = testbed.place(30)
    give_up = time.monotonic() + 20
    while len(consumer.deliveries()) == seen and time.monotonic() < give_up:
        time.sleep(0.01)
    node.kill()
    testbed.rest(1.0)
    node.start()
    eventually(lambda: _is_connected_again(testbed), "a new connection of the billing system")
    testbed.wait_until_settled(names)


def _is_connected_again(testbed: Testbed) -> bool:
    """A broken connection is kept by kombu until something is sent by it: here, a tick that nobody needs."""
    try:
        testbed.send("reconciler.reconcile")
    except OperationalError:
        return False
    return True
