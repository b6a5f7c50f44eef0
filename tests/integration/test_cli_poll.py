"""`reconciler poll`: one query for orders that a person names, against a simulated platform, on every database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.command_line import APP_ID, SID, TOKEN, CommandLine
from tests.support.reconciling import Workbench
from tests.support.settled_orders import add_settled
from worker.database.tables import ACTS, BUDGETS, QUERIES
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import OrderState
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator

MOBILE = "18812340804"
SHORT = Rules(window_seconds=0.5, margin_seconds=0.05, deadline_seconds=15.0, grace_seconds=1.0)
SHORT_WINDOW = {
    "RECONCILER_QUERY_WINDOW_SECONDS": "0.5",
    "RECONCILER_QUERY_MARGIN_SECONDS": "0.05",
    "RECONCILER_REQUEST_DEADLINE_SECONDS": "15",
    "RECONCILER_CONNECT_TIMEOUT_SECONDS": "1",
}


@pytest.fixture
def platform() -> Iterator[Simulator]:
    account = Account(sid=SID, auth_token=TOKEN, app_id=APP_ID)
    config = SimulatorConfig(
        accounts=(account,), queries_per_window=1000, delay=Delay.parse("0"), failed_share=0.0, stuck_share=0.0
    )
    with Simulator(config) as running:
        running.register([NewOrder(request_id=name, mobile=MOBILE, amount="2.94") for name in ("1", "2", "3")])
        yield running


@pytest.fixture
def cli(bench: Workbench, platform: Simulator, cli: CommandLine) -> CommandLine:
    """The commands, with this platform, and a slot that is open by the database's clock."""
    bench.let_slots_be_due()
    return CommandLine({**cli.settings, "RECONCILER_PLATFORM_URL": platform.url})


def polled(cli: CommandLine, *arguments: str) -> dict[str, Any]:
    shown: dict[str, Any] = cli.json("poll", *arguments, "--yes", "--by", "ann")
    return shown


def queries(platform: Simulator) -> int:
    return len(platform.record.arrivals())


def refused(cli: CommandLine, bench: Workbench, *arguments: str, status: int = 1) -> str:
    """Why nothing was sent; nothing was granted either."""
    before = (bench.rows(QUERIES), bench.rows(BUDGETS), bench.orders(), bench.rows(ACTS))
    result = cli.run("poll", *arguments, "--yes", status=status)
    assert result.stdout == ""
    assert (bench.rows(QUERIES), bench.rows(BUDGETS), bench.orders(), bench.rows(ACTS)) == before
    return result.stderr


def test_one_order_is_polled_explained_and_settled(bench: Workbench, cli: CommandLine, platform: Simulator) -> None:
    bench.add("1", mobile=MOBILE, age_seconds=1.0)
    shown = polled(cli, "1", "--reason", "go live")
    assert queries(platform) == 1
    assert bench.order("1").state is OrderState.SUCCEEDED
    assert (shown["query"]["outcome"], shown["reply"]["status"]) == ("answered", 200)
    explanation = shown["explanation"]
    assert (explanation["shape"], explanation["item_count"]) == ("one_object", 1)
    assert [(one["polled_id"], one["effect"]) for one in explanation["orders"]] == [("1", "succeeded")]
    assert shown["orders"][0]["state"] == "succeeded"
    assert shown["account"] == {"echoes_custom_parm": False, "one_item_mode": False}
    (status,) = cli.json("status")["accounts"]
    assert status["platform_habits"] == shown["account"]
    (act,) = bench.rows(ACTS)
    assert (act["actor"], act["act"], act["account"], act["reason"], act["detail"]) == (
        *("ann", "poll", "default", "go live", "1 order: 1"),
    )


def test_neither_credential_nor_whole_phone_is_shown(bench: Workbench, cli: CommandLine) -> None:
    bench.add("1", mobile=MOBILE)
    shown = cli.run("poll", "1", "--yes").stdout
    assert "Sign=***" in shown
    assert "shape    one object that is an item\n" in shown
    assert "188****0804" in shown
    for secret in (TOKEN, MOBILE):
        assert secret not in shown


def test_several_orders_go_in_one_query_final_ones_gain_history_only(
    bench: Workbench, cli: CommandLine, platform: Simulator
) -> None:
    bench.add("1", "2", "3", mobile=MOBILE)
    cli.run("resolve", "2", "--state", "succeeded", "--amount", "2.94", "--reason", "known")
    cli.run("cancel", "3")
    final, cancelled, events = bench.order("2"), bench.order("3"), len(bench.events_of("2"))
    shown = polled(cli, "1", "2", "3", "id:1")
    assert queries(platform) == 1
    assert shown["query"]["order_count"] == 3
    assert bench.order("1").state is OrderState.SUCCEEDED
    assert bench.order("2") == replace(final, version=bench.order("2").version)
    assert [event["kind"].value for event in bench.events_of("2")[events:]] == ["ignored"]
    assert (bench.order("3").state, bench.order("3").lease_token) == (cancelled.state, None)


def test_an_unresolved_order_that_is_not_due_is_settled(bench: Workbench, cli: CommandLine) -> None:
    bench.add("1", mobile=MOBILE)
    bench.run("UPDATE recharge_orders SET state = 'unresolved'")
    polled(cli, "1")
    assert bench.order("1").state is OrderState.SUCCEEDED


def test_an_order_that_the_answer_leaves_out_stays_pending(bench: Workbench, cli: CommandLine) -> None:
    bench.add("1", "9", mobile=MOBILE)
    shown = polled(cli, "1", "9")
    assert [order["absent"] for order in shown["orders"]] == [False, True]
    assert bench.order("9").state is OrderState.PENDING
    assert bench.order("9").absences == 1


@pytest.mark.workbench(rules=SHORT)
def test_the_slot_is_waited_for(bench: Workbench, cli: CommandLine, platform: Simulator) -> None:
    cli = CommandLine({**cli.settings, **SHORT_WINDOW})
    bench.add("1", "2", mobile=MOBILE)
    first = polled(cli, "1")["query"]
    second = polled(cli, "2")["query"]
    assert queries(platform) == 2
    assert second["sent_at"] > first["answered_at"]


@pytest.mark.workbench(rules=Rules(window_seconds=3600.0))
def test_a_slot_that_opens_after_the_time_is_not_waited_for(
    bench: Workbench, cli: CommandLine, platform: Simulator
) -> None:
    cli = CommandLine({**cli.settings, "RECONCILER_QUERY_WINDOW_SECONDS": "3600"})
    bench.add("1", "2", mobile=MOBILE)
    polled(cli, "1")
    assert "the slot opens in" in refused(cli, bench, "2", "--wait", "1m")
    assert queries(platform) == 1


def test_why_it_may_not_is_said(bench: Workbench, cli: CommandLine, platform: Simulator) -> None:
    bench.add("1", "2", mobile=MOBILE)
    cli.run("pause", "default", "--reason", "moved", "--by", "ann")
    assert "paused by ann" in refused(cli, bench, "1")
    cli.run("resume", "default")
    bench.put_state(replace(bench.state(), backoff_until=bench.now() + timedelta(minutes=5), backoff_seconds=300.0))
    assert "default backs off until" in refused(cli, bench, "1")
    bench.put_state(replace(bench.state(), backoff_until=None, configuration_refused=True))
    assert "this account polls one order a query at present" in refused(cli, bench, "1", "2")
    bench.put_state(replace(bench.state(), configuration_refused=False))
    longer = CommandLine({**cli.settings, **SHORT_WINDOW})
    assert "set RECONCILER_QUERY_WINDOW_SECONDS to 60" in refused(longer, bench, "1")
    assert queries(platform) == 0


def test_an_order_that_a_query_holds_is_waited_for(bench: Workbench, cli: CommandLine, platform: Simulator) -> None:
    bench.add("1", mobile=MOBILE)
    bench.take()
    bench.let_slots_be_due()
    bench.run("UPDATE recharge_orders SET due_at = :later", later=bench.now() + timedelta(hours=1))
    why = refused(cli, bench, "1", "--wait", "1m")
    assert "another query polls one of them, for at most" in why
    assert "longer than --wait" in why
    assert queries(platform) == 0


def test_orders_that_no_query_polls_together_are_refused(bench: Workbench, cli: CommandLine) -> None:
    bench.add("1")
    bench.enqueue({"custom_parm": "c", "mobile": MOBILE})
    assert "default by customParm: id:2; default by requestId: id:1" in refused(cli, bench, "1", "c", status=2)
    add_settled(bench, "old")
    result = cli.run("poll", "1", "r-old", "nosuch", "--yes", status=1)
    assert "Refused: nosuch" in result.stderr
    bench.run("UPDATE recharge_orders SET account = 'gone'")
    assert "is not in the settings" in cli.run("poll", "id:1", "--yes", status=1).stderr


def test_a_refusal_of_the_platform_is_explained_and_recorded(
    bench: Workbench, cli: CommandLine, platform: Simulator
) -> None:
    bench.add("1", mobile=MOBILE)
    platform.platform.set_faults(Faults(shares={"refuse": 1.0}, refuse_message=f"号码{MOBILE}"))
    shown = polled(cli, "1")
    assert (shown["query"]["outcome"], shown["explanation"]["shape"]) == ("refused", "error_object")
    assert shown["query"]["status_msg"] == "号码188****0804"
    assert bench.order("1").state is OrderState.PENDING


@pytest.mark.parametrize(("fault", "outcome"), [("garbage-html", "malformed"), ("reset", "malformed")])
def test_an_unreadable_answer_is_explained_and_recorded(
    bench: Workbench, cli: CommandLine, platform: Simulator, fault: str, outcome: str
) -> None:
    bench.add("1", mobile=MOBILE)
    platform.platform.set_faults(Faults(shares={fault: 1.0}))
    shown = polled(cli, "1")
    assert shown["query"]["outcome"] == outcome
    assert (shown["explanation"] is None) is (fault == "reset")
    assert bench.order("1").state is OrderState.PENDING


def test_nothing_is_sent_without_a_yes(bench: Workbench, cli: CommandLine, platform: Simulator) -> None:
    bench.add("1", mobile=MOBILE)
    assert "add --yes" in cli.run("poll", "1", status=2).stderr
    assert "Without --dry-run: One query polls 1 order" in cli.run("poll", "1", "--dry-run", status=0).stdout
    assert queries(platform) == 0
    assert bench.rows(QUERIES) == []
