"""Endpoints: entered by a worker that starts, paused, resumed and forgotten by operators; old deliveries go."""

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from tests.support.notifying import put_endpoint, told_of
from tests.support.racing import at_once
from tests.support.reconciling import Workbench
from tests.support.settled_orders import callback
from worker.database.tables import ACTS, ENDPOINTS, NOTIFICATIONS
from worker.database.transactions import Database
from worker.domain.records.notifications import (
    CeleryTask,
    Endpoint,
    EndpointSettings,
    EventType,
    NotificationState,
    TransportKind,
    Webhook,
)
from worker.operations.act_by_hand import Operator
from worker.operations.change_endpoints import (
    EndpointEntry,
    enter_endpoints,
    forget_endpoint,
    pause_notifications,
    resume_notifications,
)
from worker.operations.upkeep import OldDeliveries
from worker.stores.notifications import lock_endpoint, read_endpoints, save_endpoint

ANN = Operator(name="ann", reason="moved")
SECRETS = ("whsec_" + "A" * 32,)
GIVEN = EndpointSettings(account="default", target=Webhook(url="https://one.example/hook?k=v", secrets=SECRETS))
MOVED = replace(GIVEN, target=Webhook(url="https://two.example/hook", secrets=SECRETS))
ROUGH: dict[str, Any] = {"rest_level": 3, "failed_in_row": "[1]", "last_failed_id": 1}


def endpoint_of(bench: Workbench, account: str = "default") -> Endpoint | None:
    with bench.database.read() as connection:
        return read_endpoints(connection).get(account)


def change(bench: Workbench, **fields: Any) -> None:
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        found = lock_endpoint(connection, "default")
        assert found is not None
        save_endpoint(connection, replace(found, **fields, failing_since=now, stopped_at=now), now)


def put_notifications(bench: Workbench, number: int, **fields: Any) -> None:
    """Results that wait, one for each of so many orders."""
    first = len(bench.orders())
    names = [f"r{first + index}" for index in range(number)]
    bench.add(*names)
    for start in range(0, number, 1000):
        bench.intake.record_callbacks([callback(name) for name in names[start : start + 1000]])
    if fields:
        bench.run(update(NOTIFICATIONS).values(**fields))


def test_a_worker_that_starts_enters_its_endpoints(bench: Workbench) -> None:
    task = EndpointSettings(
        account="north",
        target=CeleryTask(task="billing.told", queue="bills", broker_url="redis://:pw@h/1"),
        events=(EventType.SUCCEEDED, EventType.FAILED),
    )
    enter_endpoints(bench.database, [GIVEN, task])
    assert endpoint_of(bench) == GIVEN.as_endpoint()
    assert endpoint_of(bench, "north") == Endpoint(
        account="north",
        transport=TransportKind.CELERY,
        target_digest=task.target.digest,
        shown="task billing.told on queue bills",
        events="order.succeeded,order.failed",
    )
    with bench.database.read() as connection:
        kept = str(connection.execute(select(ENDPOINTS)).all())
    assert not any(secret in kept for secret in (":pw", "whsec_", "/hook", "k=v"))


def test_a_start_with_the_same_endpoint_leaves_it_as_it_is(bench: Workbench) -> None:
    enter_endpoints(bench.database, [GIVEN])
    change(bench, **ROUGH)
    before = endpoint_of(bench)
    enter_endpoints(bench.database, [GIVEN])
    assert endpoint_of(bench) == before
    enter_endpoints(bench.database, [replace(GIVEN, events=(EventType.FAILED,))])
    assert before is not None
    assert endpoint_of(bench) == replace(before, events="order.failed")
    enter_endpoints(bench.database, [])
    assert endpoint_of(bench) is not None


def test_another_url_starts_fresh_and_takes_what_is_pending(bench: Workbench) -> None:
    enter_endpoints(bench.database, [GIVEN])
    put_notifications(bench, 3)
    now = bench.now()
    tomorrow = now + timedelta(days=1)
    bench.run(update(NOTIFICATIONS).values(tries=5, due_at=tomorrow, lease_token="x", outcome="timeout"))
    change(bench, **ROUGH)
    pause_notifications(bench.database, ANN, "default")

    enter_endpoints(bench.database, [MOVED])

    found = endpoint_of(bench)
    assert found is not None
    assert (found.paused_by, found.shown) == ("ann", "https://two.example")
    assert replace(found, paused_at=None, paused_by=None) == MOVED.as_endpoint()
    rows = [one.row for one in told_of(bench)]
    assert {(row.tries, row.state, row.lease_token) for row in rows} == {(0, NotificationState.PENDING, "x")}
    assert all(row.due_at < tomorrow - timedelta(hours=23) for row in rows)


def test_many_workers_may_enter_the_same_endpoint_at_once(bench: Workbench) -> None:
    at_once(bench.url, lambda other: enter_endpoints(other.database, [GIVEN]))
    assert endpoint_of(bench) == GIVEN.as_endpoint()


def in_a_child(entry: EndpointEntry, url: str) -> None:
    """Let a process that is forked now do what it does at its ticks."""
    child = os.fork()
    if not child:
        status = 1
        try:
            one = Workbench(url)
            entry.enter_once(one.database, [GIVEN])
            one.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


# Python 3.12 warns of a fork beside threads, such as those of an embedded server; the child uses none of them.
forking = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@forking
def test_what_an_operator_or_a_newer_worker_did_is_not_undone_by_a_process_that_starts_later(bench: Workbench) -> None:
    entry = EndpointEntry()
    entry.enter_once(bench.database, [GIVEN])
    in_a_child(entry, bench.url)
    enter_endpoints(bench.database, [MOVED])
    in_a_child(entry, bench.url)
    assert endpoint_of(bench) == MOVED.as_endpoint()
    forget_endpoint(bench.database, ANN, "default")
    in_a_child(entry, bench.url)
    assert endpoint_of(bench) is None


@forking
def test_a_process_of_the_pool_enters_endpoints_that_the_first_one_could_not_enter(bench: Workbench) -> None:
    entry, away = EndpointEntry(), Database("sqlite:////nowhere/at/all.db")
    with pytest.raises(OperationalError):
        entry.enter_once(away, [GIVEN])
    away.close()
    in_a_child(entry, bench.url)
    assert endpoint_of(bench) == GIVEN.as_endpoint()
    forget_endpoint(bench.database, ANN, "default")
    in_a_child(entry, bench.url)
    entry.enter_once(bench.database, [GIVEN])
    assert endpoint_of(bench) is None


def test_an_endpoint_is_paused_and_resumed_by_name(bench: Workbench) -> None:
    assert pause_notifications(bench.database, ANN, "default") is None
    put_endpoint(bench)
    pause_notifications(bench.database, ANN, "default")
    paused = endpoint_of(bench)
    assert paused is not None
    assert (paused.paused_by, paused.paused_at is not None) == ("ann", True)
    change(bench, **ROUGH)
    assert resume_notifications(bench.database, ANN, "default") is not None
    assert endpoint_of(bench) == Endpoint(
        account="default", transport=TransportKind.WEBHOOK, target_digest="digest", shown="https://billing.example"
    )
    acts = [(row["act"], row["actor"], row["account"], row["detail"]) for row in bench.rows(ACTS)]
    assert acts == [
        ("pause_notifications", "ann", "default", "https://billing.example"),
        ("resume_notifications", "ann", "default", "https://billing.example"),
    ]


@pytest.mark.slow
def test_an_endpoint_is_forgotten_with_all_that_was_not_received(bench: Workbench) -> None:
    put_endpoint(bench)
    put_endpoint(bench, "north")
    put_notifications(bench, 2_100)
    first = {"state": NotificationState.GAVE_UP}
    last = {"state": NotificationState.DELIVERED}
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == 1).values(first))
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == 2).values(account="north"))
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == 3).values(last))
    assert forget_endpoint(bench.database, ANN, "default") == (True, 2_098)
    assert endpoint_of(bench) is None
    assert [(one.row.account, one.row.state.value) for one in told_of(bench)] == [
        ("north", "pending"),
        ("default", "delivered"),
    ]
    bench.add("late")
    bench.intake.record_callbacks([callback("late")])
    assert told_of(bench, "late") == []
    assert forget_endpoint(bench.database, ANN, "default") == (False, 0)


@pytest.mark.slow
def test_what_was_delivered_long_ago_is_deleted_and_nothing_else(bench: Workbench) -> None:
    put_endpoint(bench)
    put_notifications(bench, 1_205)
    now = bench.now()
    old, young = now - timedelta(days=8), now - timedelta(days=6)
    delivered = {"state": NotificationState.DELIVERED, "delivered_at": old}
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id > 3).values(delivered))
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id <= 3).values(changed_at=old))
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == 3).values(**{**delivered, "delivered_at": young}))
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == 2).values(state=NotificationState.GAVE_UP))
    deliveries = OldDeliveries(bench.database, keep_days=7)
    assert [deliveries.delete_some() for _ in range(3)] == [1_000, 202, 0]
    assert [one.row.id for one in told_of(bench)] == [1, 2, 3]
