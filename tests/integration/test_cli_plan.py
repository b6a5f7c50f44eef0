"""`reconciler plan` on every database: the next batch, and the reasons for it; nothing changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench, item
from worker.database.tables import BUDGETS, ORDERS, QUERIES
from worker.domain.records.accounts import Pause, Rules
from worker.domain.records.incoming import Refused, Unreachable

pytestmark = pytest.mark.workbench(rules=Rules())


def plan_of(cli: CommandLine, *options: str) -> Any:
    (account,) = cli.json("plan", *options)["accounts"]
    return account


def test_the_plan_is_what_the_next_grant_takes_and_changes_nothing(cli: CommandLine, bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(130)), age_seconds=3_600.0)
    bench.intake.check_orders([{"request_id": "r99"}])
    bench.let_slots_be_due()
    before = bench.rows(ORDERS), bench.rows(BUDGETS), bench.rows(QUERIES)
    plan = plan_of(cli)
    assert (bench.rows(ORDERS), bench.rows(BUDGETS), bench.rows(QUERIES)) == before
    assert [order["request_id"] for order in plan["orders"]] == list(bench.take().ids)
    assert (plan["work"], plan["id_kind"], plan["order_count"]) == ("batch", "requestId", 100)
    assert (plan["may_query_now"], plan["waits"]) == (True, None)


def test_each_order_has_its_reason_in_words_and_its_numbers(cli: CommandLine, bench: Workbench) -> None:
    bench.add("polled", age_seconds=3_600.0)
    bench.reconcile([item("polled", "0", None)])
    bench.make_due()
    bench.add("new", "wanted", age_seconds=1_320.0)
    bench.intake.check_orders([{"request_id": "wanted"}])
    lines = {line["request_id"]: line for line in plan_of(cli)["orders"]}
    assert lines["wanted"]["in_words"] == "a check was requested"
    assert (lines["wanted"]["reason"], lines["new"]["reason"]) == ("checked", "priority")
    assert lines["new"]["in_words"].startswith("never polled, 12 minutes past its grace: a poll saves ")
    assert lines["new"]["in_words"].endswith(" of delay")
    assert lines["new"]["priority_seconds"] > 0
    assert lines["new"]["age_seconds"] == pytest.approx(1_320, abs=60)
    assert (lines["new"]["queried_at"], lines["new"]["since_last_poll_seconds"]) == (None, None)
    assert lines["polled"]["in_words"].startswith("polled ")
    assert lines["polled"]["since_last_poll_seconds"] >= 0
    shown = cli.run("plan").stdout
    assert "never polled, 12 minutes past its grace" in shown
    assert "default: batch by requestId, 3 orders" in shown


def test_as_many_orders_are_shown_as_the_limit_allows(cli: CommandLine, bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(7)))
    plan = plan_of(cli, "--limit", "3")
    assert (len(plan["orders"]), plan["order_count"]) == (3, 7)
    assert "7 orders, the first 3 of them" in cli.run("plan", "--limit", "3").stdout


def test_an_account_that_may_not_be_queried_now_is_shown_with_the_time_until_then(
    cli: CommandLine, bench: Workbench
) -> None:
    bench.add("a")
    bench.write_back.failed(bench.take(), Unreachable("no route"))
    bench.let_slots_be_due()
    plan = plan_of(cli)
    assert plan["may_query_now"] is False
    assert plan["waits"].startswith("the account backs off until ")
    assert plan["backs_off_until"] is not None
    assert [order["request_id"] for order in plan["orders"]] == ["a"]
    bench.put_pauses(Pause(paused_at=datetime(2016, 1, 31, 10, tzinfo=UTC)))
    said = "default: not now: paused by an operator since 2016-01-31 18:00:00+08, until an operator ends it."
    assert said in cli.run("plan").stdout


def test_while_the_window_runs_the_plan_says_so(cli: CommandLine, bench: Workbench) -> None:
    bench.add("a")
    bench.reconcile([item("a")])
    plan = plan_of(cli)
    assert plan["waits"].startswith("the window of the last query runs until ")
    assert (plan["work"], plan["orders"], plan["may_query_now"]) == (None, [], False)
    assert "default: no order is due." in cli.run("plan").stdout


def test_a_group_of_suspects_is_planned_whole(cli: CommandLine, bench: Workbench) -> None:
    bench.add("a", "b")
    bench.write_back.failed(bench.take(), Refused("-7", "系统错误"))
    plan = plan_of(cli)
    assert (plan["work"], len(plan["orders"])) == ("suspects", 2)
    assert {line["in_words"] for line in plan["orders"]} == {"suspect: it is polled with its group only"}
    bench.run("UPDATE recharge_orders SET lane = 'alone', suspect_group = NULL")
    (line,) = plan_of(cli)["orders"]
    assert line["in_words"] == "its turn to be polled alone"


def test_an_order_that_has_been_due_for_longest_has_that_reason(cli: CommandLine, bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(120)))
    bench.run("UPDATE recharge_orders SET age_bucket = 5, queried_at = created_at WHERE id % 2 = 0")
    reasons = [line["in_words"] for line in plan_of(cli)["orders"]]
    assert sum(reason.startswith("due for longest: ") for reason in reasons) == 2


def test_a_position_that_is_free_goes_to_an_order_that_is_not_due(cli: CommandLine, bench: Workbench) -> None:
    bench.add("due", "spare")
    times = "queried_at = submitted_at, due_at = :later, age_bucket = 1, query_count = 1"
    later = (bench.now() + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S.000000")
    bench.run(f"UPDATE recharge_orders SET {times} WHERE request_id = 'spare'", later=later)
    due, spare = plan_of(cli)["orders"]
    assert (due["request_id"], spare["request_id"], spare["reason"]) == ("due", "spare", "spare")
    assert spare["in_words"] == "not due, in a position that is free: polled 1 hour ago"

    bench.reconcile([])
    (query,) = cli.json("queries")
    assert (query["order_count"], query["spare_count"]) == (2, 1)
    assert "2 (1 spare)" in cli.run("queries").stdout


def test_an_account_that_is_not_configured_is_reported_in_a_line(cli: CommandLine, bench: Workbench) -> None:
    assert cli.error("plan", "--account", "other") == "there is no account other; the settings name: default"


def test_before_the_first_start_the_plan_says_so(cli: CommandLine, bench: Workbench) -> None:
    bench.run("DELETE FROM query_budgets")
    assert "default: not now: no worker has run on this database yet." in cli.run("plan").stdout
