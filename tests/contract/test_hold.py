"""A hold closes every slot for a full reservation, on two hosts, whatever the clocks do; and never opens one."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.contract.test_stepped_clocks import HOUR, SteppedDatabase
from tests.support.reconciling import ManualClock, Workbench, answer_to, item
from worker.database.tables import BUDGETS
from worker.database.transactions import Database
from worker.domain.records.orders import OrderState
from worker.domain.records.parameters import Rules
from worker.operations.act_by_hand import Operator, hold_slots
from worker.operations.maintain_slots import SlotMaintenance, lower_windows
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack

ANN = Operator(name="ann")


class Host:
    """A process on a host of its own, whose database's clock the test moves."""

    def __init__(self, bench: Workbench, boot_id: str) -> None:
        self.bench = bench
        self.clock = ManualClock(boot_id=boot_id, seconds=500.0)
        self.database = SteppedDatabase(bench.url)
        self.maintenance = SlotMaintenance(self.database, self.clock, bench.rules)
        self.grants = Grants(self.database, self.clock, bench.rules)
        self.write_back = WriteBack(self.database, self.clock, bench.rules)

    def hold(self) -> None:
        held = hold_slots(self.database, self.clock, self.bench.rules, ANN, {self.bench.slot.account_sid})
        assert len(held) == len(self.bench.slots)

    def may_query(self) -> bool:
        return self.grants.take(self.bench.slot) is not None


@pytest.fixture
def hosts(bench: Workbench) -> Iterator[tuple[Host, Host]]:
    bench.add(*(f"r{number}" for number in range(300)), age_seconds=10 * 3600.0)
    pair = Host(bench, "boot-a"), Host(bench, "boot-b")
    # The row is the other host's own from the start, and open.
    bench.clock.advance(10_000.0)
    bench.run("UPDATE query_budgets SET due_at = '2016-01-31 10:00:00', boot_id = 'boot-a', boot_due_us = 0")
    yield pair
    for host in pair:
        host.database.close()


def pass_time(hosts: tuple[Host, Host], seconds: float) -> None:
    for host in hosts:
        host.clock.advance(seconds)
        host.database.step += timedelta(seconds=seconds)


def test_no_host_queries_before_a_full_reservation_has_passed(bench: Workbench, hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    other.hold()
    pass_time(hosts, bench.rules.reservation_seconds - 1)
    assert not one.may_query()
    assert not other.may_query()
    pass_time(hosts, 1.0)
    assert one.may_query()


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
def test_on_the_host_that_holds_no_step_of_the_databases_clock_opens_or_blocks_it(
    bench: Workbench, hosts: tuple[Host, Host], step: timedelta
) -> None:
    one, _ = hosts
    one.hold()
    one.database.step += step
    one.clock.advance(bench.rules.reservation_seconds - 0.001)
    assert not one.may_query()
    one.clock.advance(0.001)
    assert one.may_query()


@pytest.mark.parametrize("step", [-HOUR, timedelta(0), HOUR], ids=["back", "still", "forward"])
def test_a_hold_shortens_no_wait_whatever_clock_was_stepped_before(
    bench: Workbench, hosts: tuple[Host, Host], step: timedelta
) -> None:
    """The slot was closed for longer than a reservation, by the host that lowered a longer window."""
    one, other = hosts
    longer = Rules(grace_seconds=1.0, window_seconds=600.0)
    sids = {bench.slot.account_sid}
    SlotMaintenance(one.database, one.clock, longer).bring_up_to_date(sids)
    assert len(lower_windows(one.database, one.clock, bench.rules, sids, 60.0)) == 1
    for host in hosts:
        host.database.step += step
    other.hold()
    pass_time(hosts, longer.reservation_seconds - 1)
    assert not one.may_query()
    assert not other.may_query()
    pass_time(hosts, 1.0)
    assert other.may_query()


def test_a_query_under_way_settles_nothing_and_opens_nothing_early(bench: Workbench, hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    query = one.grants.take(bench.slot)
    assert query is not None
    pass_time(hosts, 5.0)
    other.hold()
    one.write_back.answered(query, answer_to(query, [item(query.ids[0])]))
    assert bench.order(query.ids[0]).state is OrderState.PENDING
    assert bench.events_of(query.ids[0])[-1]["kind"] == "ignored"
    pass_time(hosts, bench.rules.spacing_seconds)
    assert not one.may_query()
    pass_time(hosts, bench.rules.deadline_seconds)
    assert one.may_query()
    bench.make_due()


def test_every_slot_of_the_sids_is_held_and_no_other(migrated_database_url: str) -> None:
    bench = Workbench(migrated_database_url, Rules(grace_seconds=1.0, slots=3)).open()
    database = Database(migrated_database_url)
    bench.run("UPDATE query_budgets SET account_sid = 'another' WHERE slot = 2")
    before = {row["id"]: row for row in bench.rows(BUDGETS)}
    held = hold_slots(database, bench.clock, bench.rules, ANN, {bench.slot.account_sid})
    assert [row.number for row in held] == [0, 1]
    changed = [row for row in bench.rows(BUDGETS) if row != before[row["id"]]]
    assert len({row["token"] for row in changed}) == 2
    assert [row["slot"] for row in changed] == [0, 1]
    assert all(row["window_us"] == 60_000_000 for row in changed)
    database.close()
    bench.close()
