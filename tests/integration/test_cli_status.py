"""`status`, `status --check`, `health` and `order`: whether orders are reconciled, and what an order waits for."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint
from tests.support.reconciling import Workbench, item
from tests.support.ticking import let_a_worker_tick
from worker.database.tables import NOTIFICATIONS
from worker.domain.records.accounts import Pause, Rules
from worker.domain.records.incoming import HttpError, Refused, Unreachable
from worker.operations.learn import Learning, read_schedule
from worker.operations.reserve_slot import choose_due
from worker.operations.write_back import WriteBack
from worker.operations.write_heartbeat import Peers, host_name

pytestmark = pytest.mark.workbench(rules=Rules())

FROM_45_SECONDS = r"((4[5-9]|[5-9]\d)(\.\d)? seconds|[1-9][\d.]* minutes)"

AT = datetime(2016, 1, 31, 10, tzinfo=UTC)


def account_of(cli: CommandLine) -> dict[str, Any]:
    (account,) = cli.json("status")["accounts"]
    return dict(account)


def checked(cli: CommandLine, status: int) -> str:
    printed = cli.run("status", "--check", status=status)
    assert printed.stderr == ""
    assert printed.stdout.count("\n") == 1
    return printed.stdout.removesuffix("\n")


def test_each_account_is_counted(cli: CommandLine, bench: Workbench) -> None:
    bench.add("settled", "wrong", "open", "called", expected_amount="2.94")
    bench.reconcile([item("settled"), item("wrong", amount="9"), item("open", "0", None)])
    bench.intake.record_callbacks(
        [{"requestId": "called", "trafficSts": "1", "oriAmount": "2.94", "appid": "app-1", "mobile": None}]
    )
    bench.add("due")
    bench.add("grace", age_seconds=0)
    bench.add("old", age_seconds=3600)
    bench.run("UPDATE recharge_orders SET state = 'unresolved', attention = 'too_old' WHERE request_id = 'old'")
    account = account_of(cli)
    assert {name: account[name] for name in ("pending", "due", "never_polled", "in_flight")} == {
        "pending": 3,
        "due": 1,
        "never_polled": 2,
        "in_flight": 0,
    }
    assert account["settled_last_day"] == account["settled_last_hour"]
    assert account["settled_last_day"] == {"query": 2, "callback": 1}
    assert account["attention"] == {"amount_mismatch": 1, "too_old": 1}
    assert account["unresolved"] == {"too_old": 1}
    assert account["minutes_to_drain"] == pytest.approx(60.5 / 60, abs=0.01)
    assert (account["last_batches"], account["batch_size"]) == ([4], 100)
    assert account["last_query"]["outcome"] == "answered"
    shown = cli.run("status").stdout
    for words in ("1 by callback, 2 by query", "4 of 100", "2 need a person"):
        assert words in shown


def test_the_share_of_lost_callbacks_is_known_once_a_poll_has_shown_something_of_it(
    cli: CommandLine, bench: Workbench
) -> None:
    for name, status in (("open", "0"), ("lost", "1")):
        bench.add(name, age_seconds=0)
        bench.make_due()
        bench.reconcile([item(name, status)])
        # As if the time to learn again had come.
        bench.run("UPDATE poll_schedules SET computed_at = '2016-01-31 10:00:00'")
        assert Learning(bench.database, bench.rules).relearn(["default"])
        bench.run("UPDATE recharge_orders SET state = 'cancelled' WHERE state = 'pending'")
        is_known = name == "lost"
        assert (account_of(cli)["lost_callbacks_share"] is not None) == is_known
        assert ("not known yet" in cli.run("status").stdout) != is_known


def test_workers_are_shown_with_their_last_tick(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench, 3.0, host="worker-7", version="2.0.0.dev7")
    (worker,) = cli.json("status")["workers"]
    assert worker["version"] == "2.0.0.dev7"
    assert (worker["host"], worker["pid"], worker["clock_offset_seconds"]) == ("worker-7", 1, 0.25)
    assert 3 <= worker["last_tick_seconds_ago"] < 60
    shown = cli.run("status").stdout
    assert "All is well" in shown
    assert "worker-7" in shown
    assert "2.0.0.dev7" in shown
    assert "0.2 s ahead" in shown


def test_doctor_warns_of_a_worker_of_another_version_until_it_is_gone(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench, host="worker-7")
    assert cli.checks()["versions"]["status"] == "ok"
    let_a_worker_tick(bench, host="worker-7", version="1.0.0")
    found = cli.checks()["versions"]
    assert (found["status"], "worker-7: 1.0.0" in found["detail"]) == ("warning", True)
    bench.run("UPDATE worker_processes SET written_at = :past", past=bench.now() - timedelta(minutes=1))
    assert cli.checks()["versions"]["status"] == "ok"


def test_the_check_tells_an_idle_worker_from_none(cli: CommandLine, bench: Workbench) -> None:
    assert checked(cli, 2) == "CRITICAL: no worker runs on this database"
    printed = cli.json("status", "--check", status=2)
    assert (printed["level"], printed["status"]) == ("critical", 2)
    assert [finding["name"] for finding in printed["findings"]] == ["no_tick"]
    let_a_worker_tick(bench, None)
    assert checked(cli, 2).startswith("CRITICAL: no worker has ticked yet")
    let_a_worker_tick(bench, 5)
    assert checked(cli, 0) == "OK: a worker ticks; 0 orders are pending, 0 of them due"
    let_a_worker_tick(bench, 45)
    assert re.match(f"CRITICAL: no worker has ticked for {FROM_45_SECONDS}", checked(cli, 2))
    patient = CommandLine({**cli.settings, "RECONCILER_CHECK_TICK_SECONDS": "90"})
    assert checked(patient, 0).startswith("OK")
    slow = CommandLine({**cli.settings, "RECONCILER_TICK_SECONDS": "10"})
    assert checked(slow, 0).startswith("OK")


def test_the_check_warns_of_what_keeps_orders_from_being_reconciled(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    bench.add("1")
    bench.write_back.failed(bench.take(), Unreachable("no route"))
    assert checked(cli, 1).startswith("WARNING: default: backs off for ")
    for command in (("status",), ("queries",), ("order", "1")):
        assert "no route" in cli.run(*command).stdout
    bench.run("UPDATE account_states SET backoff_until = NULL, failures_in_row = 12")
    assert checked(cli, 1) == "WARNING: default: the last 12 queries failed"
    bench.run("UPDATE account_states SET failures_in_row = 0")
    bench.put_pauses(Pause(paused_at=AT, paused_by="ann"))
    assert checked(cli, 1) == "WARNING: default: paused by ann"
    bench.put_pauses()
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    assert checked(cli, 1) == "WARNING: default: 1 need a person"
    more = CommandLine({**cli.settings, "RECONCILER_CHECK_ATTENTION_ORDERS": "2"})
    assert checked(more, 0).startswith("OK")


def test_the_check_tells_of_broker_and_beat(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench, broker_asked_at=1, broker_answered_at=45, last_beat_at=45)
    assert re.match(f"CRITICAL: the broker has not answered for {FROM_45_SECONDS}", checked(cli, 2))
    let_a_worker_tick(bench, broker_asked_at=1, broker_answered_at=1, last_beat_at=1.1)
    shown = cli.run("status").stdout
    assert "answered" in shown
    assert re.search(r"\(last tick of beat: [\d.]+ seconds ago\)", shown)
    response = cli.json("status")
    assert response["last_beat_at"] == response["workers"][0]["last_beat_at"] is not None


def test_the_check_and_health_tell_that_messages_wait_and_none_is_taken_in(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench, orders_waiting=1200, queue_empty_at=45, taken_in_at=90)
    assert checked(cli, 0).startswith("OK")
    let_a_worker_tick(bench, orders_waiting=1200, queue_empty_at=75, taken_in_at=90)
    said = r"CRITICAL: nothing has been taken in for [\d.]+ (seconds|minutes), and messages wait: 1,200"
    assert re.fullmatch(said, checked(cli, 2))
    assert [one["name"] for one in cli.json("status")["findings"]] == ["nothing_taken_in"]
    assert "messages wait, and nothing is taken in" in cli.run("health", status=1).stdout
    let_a_worker_tick(bench, orders_waiting=1200, queue_empty_at=75, taken_in_at=20)
    assert checked(cli, 0).startswith("OK")
    cli.run("health")


def test_the_check_tells_of_another_deployment_on_the_same_queues(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench, other_deployment_at=8)
    assert checked(cli, 2) == (
        "CRITICAL: another deployment takes messages from the same queues: its Redis number is ours"
    )
    # To restart a worker would not help.
    cli.run("health")


def test_messages_that_a_worker_may_not_count_are_not_known(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench, orders_waiting=1200)
    assert re.search(r"broker +waiting +clock", cli.run("status").stdout)
    assert "1,200" in cli.run("status").stdout
    let_a_worker_tick(bench, broker_asked_at=1, broker_answered_at=1, last_beat_at=1)
    assert "not known" in cli.run("status").stdout
    (worker,) = cli.json("status")["workers"]
    assert worker["orders_waiting"] is worker["ticks_waiting"] is None


def test_hosts_that_are_cut_off_are_named_with_since_when_and_why(cli: CommandLine, bench: Workbench) -> None:
    bench.add("a", "b")
    write_back = WriteBack(bench.database, bench.clock, bench.rules, Peers())
    write_back.failed(bench.take(), Unreachable("no connection: No route to host"))
    bench.run("UPDATE account_states SET backoff_until = NULL")
    let_a_worker_tick(bench, host=host_name())
    words = f"{host_name()} has not reached the platform for "
    why = "and sends no query: no connection: No route to host"
    assert re.fullmatch(f"WARNING: {re.escape(words)}.+ seconds?, {why}", checked(cli, 1))
    (finding,) = cli.json("status")["findings"]
    assert (finding["name"], finding["account"]) == ("host_cut_off", None)
    assert words in cli.run("status").stdout
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.make_due()
    write_back.failed(bench.take(), Refused("-205", "x"))
    named = [one for one in cli.json("status")["findings"] if one["account"] == "default"]
    assert f"the platform has refused {host_name()} for " in str(named)


def test_a_worker_that_ticks_and_whose_passes_hang_is_not_healthy(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    cli.run("health")
    let_a_worker_tick(bench, hanging_since=200)
    assert checked(cli, 2).startswith("CRITICAL: what the workers do hangs for 3.")
    assert "what the workers do hangs" in cli.run("health", status=1).stdout
    assert "hangs for 3." in cli.run("status").stdout


def test_the_check_warns_of_a_result_that_is_not_delivered_for_long(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    put_endpoint(bench)
    bench.add("1")
    bench.reconcile([item("1")])
    assert checked(cli, 0).startswith("OK")
    a_second_ago = bench.now() - timedelta(seconds=1)
    bench.run(update(NOTIFICATIONS).values(changed_at=a_second_ago))
    impatient = CommandLine({**cli.settings, "RECONCILER_CHECK_NOTIFY_SECONDS": "0.05"})
    assert re.search(
        r"default: a notification has not been delivered for [\d.]+ seconds?, 1 are pending", checked(impatient, 1)
    )


def test_too_frequent_use_is_named_where_people_look(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    bench.add("1")
    bench.write_back.failed(bench.take(), Refused("-9", "查询过于频繁"))
    said = "queries that the platform refused as too frequent in the last hour: 1"
    words = checked(cli, 1)
    assert "default: the platform says that it is queried too often, backs off for " in words
    assert said in words
    account = account_of(cli)
    assert (account["backoff_reason"], account["too_frequent_last_hour"]) == (
        "the platform says that it is queried too often",
        1,
    )
    shown = cli.run("status").stdout
    assert re.search(r"the platform says that it is queried too often: \d+ s", shown)
    assert said in shown
    (todo,) = cli.json("todo")["todo"]
    assert (todo["reason"], todo["items"][0]["note"]) == ("queried_too_often", "查询过于频繁")
    assert "Find who else uses the SID" in todo["what_to_do"]
    # Once the back-off is over it is still reported, for an hour.
    bench.run("UPDATE account_states SET backoff_until = NULL")
    assert checked(cli, 1).startswith(f"WARNING: default: {said}")
    bench.run("UPDATE platform_queries SET sent_at = '2016-01-31 10:00:00'")
    assert "too frequent" not in checked(cli, 1)
    assert cli.json("todo")["todo"] == []


def test_the_check_warns_of_a_backlog(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    bench.add(*(f"r{number}" for number in range(150)), age_seconds=700)
    assert checked(cli, 0) == "OK: a worker ticks; 150 orders are pending, 150 of them due"
    strict = CommandLine({**cli.settings, "RECONCILER_CHECK_BACKLOG_WINDOWS": "2"})
    assert checked(strict, 1) == "WARNING: default: 150 orders are due, 2 minutes of queries"


def test_more_orders_polled_alone_than_a_day_can_poll_are_named_with_what_to_do(
    cli: CommandLine, bench: Workbench
) -> None:
    let_a_worker_tick(bench)
    bench.add(*(f"r{number}" for number in range(144)), age_seconds=-250)
    # 1,428 queries a day, 60.5 s apart; one in ten is for these orders while others wait.
    bench.run("UPDATE recharge_orders SET lane = 'alone' WHERE request_id <> 'r0'")
    words = "143 orders wait for a query of their own, and a day has 142 such queries"
    assert checked(cli, 1) == f"WARNING: default: {words}"
    assert f"default: {words}." in cli.run("status").stdout
    assert [one["name"] for one in cli.json("status")["findings"]] == ["polled_alone"]
    (todo,) = cli.json("todo")["todo"]
    assert (todo["kind"], todo["reason"]) == ("account", "polled_alone")
    assert [(one["account"], one["note"]) for one in todo["items"]] == [("default", "143 orders, 142 polls a day")]
    assert "RECONCILER_CALLBACK_GRACE_SECONDS" in todo["what_to_do"]
    # Without others, and one less, a day can poll them.
    for end in ("r0", "r1"):
        bench.run("UPDATE recharge_orders SET lane = 'batch'")
        bench.run("UPDATE recharge_orders SET lane = 'alone' WHERE request_id NOT IN ('r0', :end)", end=end)
        if end == "r0":
            bench.intake.cancel_orders([{"request_id": "r0"}])
        assert (checked(cli, 0)[:2], cli.json("todo")["todo"]) == ("OK", [])


def test_orders_that_only_queries_of_their_own_can_poll_count_too(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    blind = [{"custom_parm": f"c{number}", "mobile": "18812340804"} for number in range(1429)]
    bench.enqueue(*blind, age_seconds=0)
    assert "1,429 orders wait for a query of their own, and a day has 1,428 such queries" in checked(cli, 1)
    assert [group["reason"] for group in cli.json("todo")["todo"]] == ["polled_alone"]


def test_a_database_that_cannot_be_used_is_status_3(cli: CommandLine, bench: Workbench) -> None:
    bench.run("UPDATE alembic_version SET version_num = '0001'")
    assert checked(cli, 3).startswith("UNKNOWN: the database is at revision 0001")
    assert cli.json("status", "--check", status=3)["level"] == "unknown"
    wrong = CommandLine({**cli.settings, "RECONCILER_BATCH_SIZE": "0"})
    assert checked(wrong, 3).startswith("UNKNOWN: RECONCILER_BATCH_SIZE")


def test_an_account_that_no_running_worker_has_is_reported_once_orders_are_due(
    cli: CommandLine, bench: Workbench
) -> None:
    let_a_worker_tick(bench)
    bench.add("1", age_seconds=0)
    bench.run("UPDATE recharge_orders SET account = 'removed'")
    assert checked(cli, 0).startswith("OK")
    served = {one["account"]: one["is_served"] for one in cli.json("status")["accounts"]}
    assert served == {"default": True, "removed": False}
    assert "not: no running worker has it" in cli.run("status").stdout
    assert waits(next_of(cli, "1", "--account", "removed"))[:2] == ["grace", "not_served"]
    assert "No running worker has its account" in cli.run("order", "1", "--account", "removed").stdout
    assert [group["reason"] for group in cli.json("todo")["todo"]] == ["account_not_configured"]
    bench.run("UPDATE worker_processes SET accounts = 'default,removed'")
    assert waits(next_of(cli, "1", "--account", "removed"))[0] == "grace"
    assert cli.json("todo")["todo"] == []
    bench.run("UPDATE worker_processes SET accounts = 'default'")
    bench.run("UPDATE recharge_orders SET due_at = '2016-01-31 10:00:00'")
    words = "WARNING: removed: no running worker has this account, and orders are due: 1"
    assert checked(cli, 1) == words


def test_no_next_query_is_announced_while_the_account_backs_off(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    bench.add("1")
    bench.write_back.failed(bench.take(), HttpError(502))
    bench.let_slots_be_due()
    (slot,) = cli.json("status")["slots"]
    assert slot["due_in_seconds"] == 0
    assert 0 < slot["next_query_in_seconds"] <= 66
    shown = cli.run("status").stdout
    assert "default (backs off)" in shown
    assert re.search(r"backs off\) +0 +in [0-9.]+ s", shown)
    bench.run("UPDATE account_states SET backoff_until = NULL")
    assert re.search(r"default +0 +now", cli.run("status").stdout)
    bench.put_pauses(Pause(paused_at=AT))
    assert cli.json("status")["slots"][0]["next_query_in_seconds"] is None
    assert re.search(r"default \(paused\) +0 +paused", cli.run("status").stdout)


def test_a_pause_is_shown_with_why_until_when_and_by_whom(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    bench.reconcile([item("1")])
    paused = Pause(paused_at=AT, paused_until=AT.replace(year=2999), paused_by="ann", pause_reason="ticket 77")
    bench.put_pauses(paused)
    bench.add("2")
    shown = cli.run("status").stdout
    assert "paused by ann since 2016-01-31 18:00:00+08, until 2999-01-31 18:00:00+08: ticket 77" in shown
    budget, orders = (shown.partition(f"{title}\n")[2].splitlines()[2].split() for title in ("Budget", "Orders"))
    # Where the next query and the time to drain would stand.
    assert budget == ["default", "(paused)", "0", "paused"]
    assert (orders[0], orders[-1]) == ("default", "paused")
    shorter = replace(paused, paused_until=AT.replace(year=2998), paused_by="bob", is_planned=True)
    bench.put_pauses(shorter, paused)
    assert [one["paused_by"] for one in account_of(cli)["pauses"]] == ["ann", "bob"]
    assert ": ticket 77; paused by bob since" in " ".join(cli.run("status").stdout.split())
    assert cli.run("resume", "default", "--dry-run").stdout.endswith("it was paused by ann and it was paused by bob.\n")
    bench.put_pauses(replace(paused, paused_until=AT + timedelta(hours=1)))
    assert account_of(cli)["paused_at"] is None


def test_health_is_about_the_ticks_of_this_host(cli: CommandLine, bench: Workbench) -> None:
    assert cli.run("health", status=1).stdout == f"{host_name()}: no worker has ticked for 60 s.\n"
    let_a_worker_tick(bench, 1, host="another")
    cli.run("health", status=1)
    let_a_worker_tick(bench, 20)
    assert cli.json("health")["ticks"] is True
    let_a_worker_tick(bench, 70)
    cli.run("health", status=1)


def test_health_is_well_where_the_database_cannot_tell(cli: CommandLine, bench: Workbench) -> None:
    bench.run("DROP TABLE worker_processes")
    assert "it is not known whether" in cli.run("health").stdout
    for url in ("sqlite:////nowhere/there.db", "postgresql://a@127.0.0.1:9/b"):
        away = CommandLine({**cli.settings, "RECONCILER_DATABASE_URL": url})
        assert away.json("health")["ticks"] is None
    wrong = CommandLine({**cli.settings, "RECONCILER_BATCH_SIZE": "0"})
    assert "RECONCILER_BATCH_SIZE" in wrong.run("health").stdout


def next_of(cli: CommandLine, *arguments: str) -> dict[str, Any]:
    return dict(cli.json("order", *arguments)["next"])


def waits(following: dict[str, Any]) -> list[str]:
    return [why["wait"] for why in following["why"]]


def test_an_order_says_what_it_waits_for(cli: CommandLine, bench: Workbench) -> None:
    bench.let_slots_be_due()
    let_a_worker_tick(bench)
    (order,) = bench.add("1", age_seconds=0)
    following = next_of(cli, "1")
    assert (waits(following), following["polled_at"]) == (["grace"], order.due_at.isoformat())
    shown = cli.run("order", "1").stdout
    assert "Its callback is waited for until " in shown
    assert "Next: A poll, at the earliest: 20" in shown
    bench.make_due()
    bench.take()
    assert waits(next_of(cli, "1")) == ["in_flight"]
    assert "Next: The answer of a query that includes it." in cli.run("order", "1").stdout
    account = account_of(cli)
    assert (account["pending"], account["due"], account["in_flight"]) == (1, 0, 1)
    bench.run("UPDATE recharge_orders SET lane = 'alone', lease_token = NULL")
    assert "It is polled apart from the others" in cli.run("order", "1").stdout


def test_an_order_that_is_due_says_whether_the_next_query_includes_it(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    bench.add(*(f"r{number}" for number in range(130)), age_seconds=3_600.0)
    with bench.database.read() as connection:
        schedule = read_schedule(connection, "default", bench.rules)
        choice = choose_due(connection, bench.state(), schedule, bench.now(), bench.rules)
    assert choice is not None
    included = f"id:{choice.order_ids[0]}"
    left_out = next(f"id:{order.id}" for order in bench.orders() if order.id not in choice.order_ids)
    assert waits(next_of(cli, included)) == ["budget", "next_query"]
    following = next_of(cli, left_out)
    assert waits(following) == ["budget", "queue"]
    assert following["why"][1]["orders_before"] == 129
    allowed = "A query polls 100, and the platform allows one query in 60.5 s."
    assert f"Other due orders that may be polled before it: 129. {allowed}" in cli.run("order", left_out).stdout
    bench.let_slots_be_due()
    assert next_of(cli, included)["in_words"] == "A poll, as soon as a worker ticks: now."


def test_an_order_says_that_it_is_not_polled(cli: CommandLine, bench: Workbench) -> None:
    bench.let_slots_be_due()
    bench.add("1")
    following = next_of(cli, "1")
    assert waits(following) == ["no_worker", "next_query"]
    assert (following["polled_at"], following["in_words"]) == (None, "A poll, but when cannot be told.")
    bench.run("UPDATE recharge_orders SET account = 'removed'")
    removed = cli.json("order", "1", "--account", "removed")["next"]
    assert waits(removed)[:2] == ["not_configured", "no_worker"]


def test_an_order_says_that_its_account_waits(cli: CommandLine, bench: Workbench) -> None:
    let_a_worker_tick(bench)
    bench.add("1")
    bench.write_back.failed(bench.take(), Unreachable("no route"))
    bench.let_slots_be_due()
    assert waits(next_of(cli, "1"))[-2:] == ["back_off", "next_query"]
    bench.run("UPDATE account_states SET backoff_until = NULL")
    bench.put_pauses(Pause(paused_at=AT, paused_by="ann"))
    shown = cli.run("order", "1").stdout
    assert "The account is paused by ann since 2016-01-31 18:00:00+08, until an operator ends it." in shown
    assert "To end that, `reconciler resume ACCOUNT`." in shown


def test_a_final_order_shows_no_due_time(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", "3")
    bench.reconcile([item("1")])
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = '2'")
    bench.run("UPDATE recharge_orders SET state = 'cancelled' WHERE request_id = '3'")
    for name, wait in (("1", "final"), ("2", "unresolved"), ("3", "cancelled")):
        printed = cli.json("order", name)
        assert (printed["order"]["due_at"], waits(printed["next"])) == (None, [wait])
        shown = cli.run("order", name).stdout
        assert "due at" not in shown
        assert "Next: Nothing happens by itself." in shown
