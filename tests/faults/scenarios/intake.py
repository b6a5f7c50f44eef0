"""What stops the intake without ending a process: nothing comes in, and `reconciler status` must say so."""

import json
import os
import signal
import time
from collections.abc import Callable

from kombu import Connection, Exchange, Queue

from tests.faults.catalogue import SERVERS, fault
from tests.faults.testbed import Testbed
from tests.support.processes import stop_processes
from tests.support.proxy import Mode, through_proxy
from tests.support.servers import EmbeddedValkey
from tests.support.sql import session
from tests.support.waiting import eventually

_QUEUE = "reconciler.orders"
_REPORTED_WITHIN = 120.0
"""Seconds: a minute of readings, the last one before it, and a command on a busy machine."""
_TASK_RETRIES = 65.0
"""Seconds: the longest wait of a task that was put off, and the tick after it."""
# So many that some stay in the queue for longer than a minute, while the processes of the pool put them off.
_LOCKED_OUT = 1000
# Nothing is written, and everybody may read: a lock that a person at the database holds, or a migration.
_LOCKS = {
    "postgresql": "LOCK TABLE recharge_orders IN EXCLUSIVE MODE",
    "mariadb": "SELECT id FROM recharge_orders FOR UPDATE",
}


@fault(54, "Celery's main process stopped (SIGSTOP) while orders come", times=6, times_in_ci=2, seconds=150)
def fault_54_the_main_process_is_stopped(testbed: Testbed) -> None:
    worker = testbed.start()
    testbed.wait_until_settled(testbed.place(20))
    # Its pool goes on: it polls, writes its rows and asks the broker.
    stop_processes([worker.pid])
    try:
        testbed.injected()
        names = _send_one_by_one(testbed, 40)
        _wait_until_reported(testbed)
        assert not {*names} & testbed.states().keys(), "a stopped process took orders in"
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    testbed.wait_for_rows(names)
    _wait_until_well(testbed)
    testbed.heal(bound=testbed.bound(queries=2))


@fault(55, "a result backend that never answers", times=4, times_in_ci=2, seconds=170)
def fault_55_the_result_backend_is_silent(testbed: Testbed) -> None:
    backend = testbed.enter(EmbeddedValkey())
    proxy, url = testbed.enter(through_proxy(backend.url, 6379))
    # It is waited for longer than the fault lasts: a process that stores a result takes in nothing else.
    testbed.extra_settings["result_backend"] = f"{url}?socket_timeout=600&socket_connect_timeout=600"
    testbed.start()
    testbed.wait_until_settled(testbed.place(20))
    proxy.set(Mode.HOLD)
    testbed.injected()
    names = _send_one_by_one(testbed, 40)

    def is_all_there() -> bool:
        return testbed.states().keys() >= {*names}

    # Where storing a result is bounded, the orders come in.
    _wait_until_reported(testbed, unless=is_all_there)
    testbed.observed("the orders came in" if is_all_there() else "the orders did not come in")
    proxy.set(Mode.PASS)
    testbed.wait_for_rows(names)
    _wait_until_well(testbed)
    testbed.heal(bound=testbed.bound(queries=2))


@fault(56, "a lock on all orders that lasts", times=4, times_in_ci=2, databases=SERVERS, seconds=200)
def fault_56_all_orders_are_locked(testbed: Testbed) -> None:
    testbed.start()
    testbed.wait_until_settled(testbed.place(20))
    with session(testbed.database.direct_url) as connection:
        for statement in ("BEGIN", _LOCKS[testbed.database.kind]):
            connection.exec_driver_sql(statement).close()
        testbed.injected()
        try:
            names = _send_one_by_one(testbed, _LOCKED_OUT)
            _wait_until_reported(testbed)
        finally:
            connection.exec_driver_sql("COMMIT")
    testbed.wait_for_rows(names, seconds=90.0 + _TASK_RETRIES)
    _wait_until_well(testbed)
    testbed.heal(bound=testbed.bound(queries=2 + _LOCKED_OUT // 100, extra=_TASK_RETRIES))


@fault(57, "a queue that cannot be declared", times=4, times_in_ci=1, brokers=("rabbitmq",), seconds=170)
def fault_57_a_queue_cannot_be_declared(testbed: Testbed) -> None:
    # As an administrator has made it: RabbitMQ refuses the declaration of a worker, which connects again and again.
    made = Queue(_QUEUE, Exchange(_QUEUE), routing_key=_QUEUE, queue_arguments={"x-queue-type": "quorum"})
    with Connection(testbed.broker.direct_url) as connection, connection.channel() as channel:
        queue = made.bind(channel)
        queue.declare()
        testbed.injected()
        worker = testbed.worker(until="")
        testbed.beat()
        names = testbed.place(20, enqueue=False)
        for name in names:
            order = {"request_id": name}
            testbed.caller.send_task("reconciler.enqueue_order", [order], queue=made, retry=False)
        _wait_until_reported(testbed)
        assert not testbed.states(), "orders came in from a queue that could not be declared"
        queue.delete()
    # Until it has made the queue again, RabbitMQ would drop what is sent.
    worker.wait_for(" ready.")
    # What was in the queue is gone: the billing system sends the orders again.
    testbed.enqueue(names)
    testbed.wait_for_rows(names)
    _wait_until_well(testbed)
    testbed.heal(bound=testbed.bound(queries=2))


@fault(59, "a lock on four orders that lasts", times=4, times_in_ci=2, databases=SERVERS, seconds=150)
def fault_59_four_orders_are_locked(testbed: Testbed) -> None:
    testbed.start()
    held = testbed.place(4)
    testbed.wait_until_settled(held)
    ids = ", ".join(str(row[0]) for row in testbed.rows("SELECT id FROM recharge_orders"))
    truth = testbed.truth()
    names = testbed.place(60, enqueue=False)
    with session(testbed.database.direct_url) as connection:
        for statement in ("BEGIN", f"SELECT id FROM recharge_orders WHERE id IN ({ids}) FOR UPDATE"):
            connection.exec_driver_sql(statement).close()
        testbed.injected()
        try:
            # A process that waited for the lock would wait 20 s for each of these messages.
            for number, name in enumerate(names):
                known = held[number % len(held)]
                testbed.enqueue([known, name], details=[{"expected_amount": truth[known]["amount"]}, {}])
                testbed.send("reconciler.cancel_orders", [{"request_id": known}])
            testbed.wait_for_rows(names)
        finally:
            connection.exec_driver_sql("COMMIT")

    def are_filled_in() -> bool:
        return not testbed.rows(f"SELECT id FROM recharge_orders WHERE id IN ({ids}) AND expected_amount IS NULL")

    eventually(are_filled_in, "what waited for the lock", seconds=60)
    testbed.heal(bound=testbed.bound(queries=2))


def _send_one_by_one(testbed: Testbed, count: int) -> list[str]:
    """Send a message for each order: more than the worker fetches ahead, so that some wait at the broker."""
    names = testbed.place(count, enqueue=False)
    for name in names:
        testbed.enqueue([name])
    return names


def _wait_until_reported(testbed: Testbed, *, unless: Callable[[], bool] = lambda: False) -> None:
    """Return once `reconciler status` finds that nothing is taken in, or something else holds."""
    began = time.monotonic()
    eventually(
        lambda: unless() or _is_reported(testbed),
        "the finding that nothing is taken in",
        seconds=_REPORTED_WITHIN,
        every=2.0,
    )
    testbed.observed(f"reported or over {time.monotonic() - began:.0f} s after the messages were sent")


def _wait_until_well(testbed: Testbed) -> None:
    """Return once the finding is gone: a process writes its row every five seconds."""
    eventually(lambda: not _is_reported(testbed), "the end of the finding", seconds=60, every=1.0)


def _is_reported(testbed: Testbed) -> bool:
    found = json.loads(testbed.command("status", "--json"))["findings"]
    return ("nothing_taken_in", "critical") in [(one["name"], one["level"]) for one in found]
