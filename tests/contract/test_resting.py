"""Which accounts a tick skips: those for which a grant would find no order, and no other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.reconciling import Workbench
from worker.domain.records.accounts import AccountState, Pause
from worker.domain.records.orders import Lane
from worker.operations.reserve_slot import read_resting

ACCOUNTS = {"default": "app-1", "other": "app-2"}

pytestmark = pytest.mark.workbench(app_ids=ACCOUNTS)


def resting(bench: Workbench) -> set[str]:
    return read_resting(bench.database, list(ACCOUNTS))


def test_an_order_that_waits_for_its_callback_is_not_due(bench: Workbench) -> None:
    bench.add("r1", age_seconds=-60.0)
    assert resting(bench) == {"default", "other"}


def test_an_account_rests_once_its_orders_are_leased_or_settled(bench: Workbench) -> None:
    bench.add("r1", "r2")
    bench.take()
    assert resting(bench) == {"default", "other"}
    bench.run("UPDATE recharge_orders SET state = 'cancelled', due_at = submitted_at")
    assert resting(bench) == {"default", "other"}


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("kind", ["request_id", "custom_parm"])
@pytest.mark.parametrize("is_polled_already", [False, True])
def test_the_account_of_a_due_order_is_tried_in_every_lane_and_bucket(
    bench: Workbench, lane: Lane, kind: str, is_polled_already: bool
) -> None:
    bench.enqueue({kind: "x1", "mobile": "18812340804", "account": "other"})
    bench.run(
        "UPDATE recharge_orders SET lane = :lane, age_bucket = :bucket, suspect_group = :suspects",
        lane=lane.value,
        bucket=int(is_polled_already),
        suspects=1 if lane is Lane.SUSPECT else None,
    )
    assert resting(bench) == {"default"}


def test_an_account_that_backs_off_or_is_paused_rests_until_that_ends(bench: Workbench) -> None:
    bench.add("r1")
    now = bench.now()
    waiting = AccountState(account="default", backoff_until=now + timedelta(seconds=60), backoff_seconds=60.0)
    for state, rests in (
        (waiting, True),
        (replace(waiting, backoff_until=now - timedelta(seconds=1)), False),
        (AccountState(account="default", pauses=(Pause(paused_at=now),)), True),
        (AccountState(account="default"), False),
    ):
        bench.put_state(state)
        assert ("default" in resting(bench)) is rests


def test_an_account_whose_back_off_a_stepped_clock_lengthened_is_tried(bench: Workbench) -> None:
    bench.add("r1")
    tomorrow = bench.now() + timedelta(days=1)
    bench.put_state(AccountState(account="default", backoff_until=tomorrow, backoff_seconds=60.0))
    assert resting(bench) == {"other"}


def test_an_account_without_a_state_is_tried(bench: Workbench) -> None:
    bench.run("DELETE FROM account_states WHERE account = 'other'")
    assert resting(bench) == {"default"}


def test_without_accounts_nothing_is_read(bench: Workbench) -> None:
    assert read_resting(bench.database, []) == set()
