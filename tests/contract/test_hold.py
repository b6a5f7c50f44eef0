"""A hold closes every slot for a full reservation, on two hosts, whatever the clocks do; and never opens one."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.support.reconciling import ManualClock, Workbench, answer_to, item
from worker.database.tables import BUDGETS
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import OrderState
from worker.operations.act_by_hand import Operator, hold_slots

ANN = Operator(name="ann")

pytestmark = pytest.mark.workbench(rules=Rules(grace_seconds=1.0, batch_size=2))

Hosts = tuple[Workbench, Workbench]


@pytest.fixture
def hosts(bench: Workbench) -> Iterator[Hosts]:
    """Two processes, each on a host of its own, whose database's clock only the test moves."""
    bench.add(*(f"r{number}" for number in range(10)), age_seconds=10 * 3600.0)
    clocks = ManualClock(boot_id="boot-a", seconds=500.0), ManualClock(boot_id="boot-b", seconds=500.0)
    one, other = (Workbench(bench.url, bench.rules, clock=clock) for clock in clocks)
    # The row is the other host's own from the start, and open.
    bench.clock.advance(10_000.0)
    bench.run("UPDATE query_budgets SET due_at = '2016-01-31 10:00:00', boot_id = 'boot-a', boot_due_us = 0")
    now = bench.now()
    for host in (bench, one, other):
        host.database.stopped_at = now
    yield one, other
    one.close()
    other.close()


def hold(host: Workbench) -> None:
    assert len(hold_slots(host.database, host.clock, host.rules, ANN, {host.slot.account_sid})) == len(host.slots)


def may_query(host: Workbench) -> bool:
    return host.grants.take(host.slot) is not None


def pass_time(hosts: Hosts, seconds: float) -> None:
    for host in hosts:
        host.clock.advance(seconds)
        host.database.step += timedelta(seconds=seconds)


def test_no_host_queries_before_a_full_reservation_has_passed(bench: Workbench, hosts: Hosts) -> None:
    one, other = hosts
    hold(other)
    pass_time(hosts, bench.rules.reservation_seconds - 0.001)
    assert not may_query(one)
    assert not may_query(other)
    pass_time(hosts, 0.002)
    assert may_query(one)


def test_a_query_under_way_settles_nothing_and_opens_nothing_early(bench: Workbench, hosts: Hosts) -> None:
    one, other = hosts
    query = one.grants.take(bench.slot)
    assert query is not None
    pass_time(hosts, 5.0)
    hold(other)
    one.write_back.answered(query, answer_to(query, [item(query.ids[0])]))
    assert bench.order(query.ids[0]).state is OrderState.PENDING
    assert bench.events_of(query.ids[0])[-1]["kind"] == "ignored"
    pass_time(hosts, bench.rules.spacing_seconds)
    assert not may_query(one)
    pass_time(hosts, bench.rules.deadline_seconds)
    assert may_query(one)
    bench.make_due()


@pytest.mark.workbench(rules=Rules(grace_seconds=1.0, slots=3))
def test_every_slot_of_the_sids_is_held_and_no_other(bench: Workbench) -> None:
    bench.run("UPDATE query_budgets SET account_sid = 'another' WHERE slot = 2")
    before = {row["id"]: row for row in bench.rows(BUDGETS)}
    held = hold_slots(bench.database, bench.clock, bench.rules, ANN, {bench.slot.account_sid})
    assert [row.number for row in held] == [0, 1]
    changed = [row for row in bench.rows(BUDGETS) if row != before[row["id"]]]
    assert len({row["token"] for row in changed}) == 2
    assert [row["slot"] for row in changed] == [0, 1]
    assert all(row["window_us"] == 60_000_000 for row in changed)
