"""`reconciler archive`: settled orders leave the live table, and stay known."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, select, update

from tests.support.archiving import (
    MOBILE,
    add_newest,
    add_settled,
    age,
    archived_names,
    callback,
    everything,
    order_of,
    standing,
)
from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.plans import analyze, plan
from tests.support.reconciling import Workbench, item
from tests.support.sql import statements_of
from worker.database.migrations import downgrade, upgrade
from worker.database.revisions import MigrationError
from worker.database.tables import ARCHIVED, EVENTS, ORDERS, UNMATCHED
from worker.operations.archive_and_purge import move_settled, purge


def archive(cli: CommandLine, *more: str) -> int:
    """Archive what is older than 90 days; returns how many orders were moved."""
    printed = cli.json("archive", "--yes", "--settled-before", "90d", *more)
    assert printed["restored"] == 0
    moved: int = printed["archived"]
    return moved


def put_into_archive(bench: Workbench, cli: CommandLine, *names: str) -> None:
    add_settled(bench, *names)
    add_newest(bench)
    assert archive(cli) == len(names)


def test_settled_orders_are_moved_whole_and_restored_as_they_were(bench: Workbench, cli: CommandLine) -> None:
    bench.add("r1", mobile=MOBILE, expected_amount="2.94", custom_parm="c1")
    bench.add("r2", expected_amount="0.0001")
    bench.add("r3")
    bench.reconcile(
        [
            item("r1", amount="2.94", remark="成功 😀\n\"{}'\\"),
            item("r2", status="-1", amount=None, mobile="188****0804"),
        ]
    )
    bench.intake.cancel_orders([{"request_id": "r3"}])
    age(bench, "r1", "r2", "r3")
    add_newest(bench)
    before = everything(bench)
    assert {row["state"].value for row in before[0]} == {"succeeded", "failed", "cancelled", "pending"}

    assert archive(cli) == 3
    assert [row["request_id"] for row in bench.rows(ORDERS)] == ["newest"]
    assert {row["order_id"] for row in bench.rows(EVENTS)} == {bench.order("newest").id}
    first, _, third = bench.rows(ARCHIVED)
    assert (first["id"], first["account"], first["custom_parm"]) == (before[0][0]["id"], "default", "c1")
    assert (first["state"], first["settled_at"]) == ("succeeded", before[0][0]["settled_at"])
    assert (third["state"], third["settled_at"]) == ("cancelled", None)
    record = json.loads(first["record"])
    assert (Decimal(record["order"]["ori_amount"]), type(record["order"]["ori_amount"])) == (Decimal("2.94"), str)
    assert datetime.fromisoformat(record["events"][0]["at"]).utcoffset() == timedelta(0)

    assert cli.json("archive", "--restore", "--yes")["restored"] == 3
    assert everything(bench) == before
    assert bench.rows(ARCHIVED) == []


def test_unresolved_pending_and_young_orders_are_not_archived(bench: Workbench, cli: CommandLine) -> None:
    add_settled(bench, "strange", "old")
    add_settled(bench, "young", days_ago=89)
    bench.add("r-pending", "r-unresolved")
    add_newest(bench)
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = 'r-unresolved'")
    bench.intake.record_callbacks([callback("r-strange", status="-1")])
    age(bench, "r-pending", "r-unresolved", "r-strange")
    assert archive(cli) == 1
    assert archived_names(bench) == ["r-old"]
    assert {order.request_id for order in bench.orders()} == {
        *("r-pending", "r-unresolved", "r-strange", "r-young", "newest")
    }


@pytest.mark.parametrize("named", [("request_id",), ("custom_parm", "mobile"), ("request_id", "custom_parm", "mobile")])
def test_an_archived_order_that_comes_again_is_a_duplicate(
    bench: Workbench, cli: CommandLine, named: tuple[str, ...]
) -> None:
    put_into_archive(bench, cli, "1", "2")
    (before,) = standing(bench, "1")
    again = {name: order_of("1")[name] for name in named}
    new = {"request_id": "r-new"}
    assert bench.intake.enqueue_orders([new, again]) == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert bench.intake.enqueue_orders([again, again]) == {"accepted": 0, "duplicates": 2, "rejected": []}
    ((_, *found),) = standing(bench, "1")
    assert found == [*before[1:]]
    assert archived_names(bench) == ["r-2"], "the orders that were not named stay archived"


def test_an_archived_order_is_filled_in_and_never_overwritten(bench: Workbench, cli: CommandLine) -> None:
    bench.add("r-1")
    bench.intake.record_callbacks([callback("r-1")])
    age(bench, "r-1")
    add_settled(bench, "2")
    add_newest(bench)
    assert archive(cli) == 2
    answer: Any = bench.intake.enqueue_orders([order_of("1"), {**order_of("2"), "expected_amount": "5"}])
    assert (answer["accepted"], answer["duplicates"]) == (0, 1)
    ((error,),) = [one["errors"] for one in answer["rejected"]]
    assert error.startswith("expected_amount: 5 differs from the known order's 2.94")
    order = bench.order("c-1")
    assert (order.request_id, order.state, order.mobile) == ("r-1", "succeeded", MOBILE)
    assert [row["kind"] for row in bench.events_of("r-1")] == ["settled", "filled_in"]


def test_ids_of_two_archived_orders_never_become_one_order(bench: Workbench, cli: CommandLine) -> None:
    put_into_archive(bench, cli, "1", "2")
    answer: Any = bench.intake.enqueue_orders([{"request_id": "r-1", "custom_parm": "c-2", "mobile": MOBILE}])
    assert (answer["accepted"], answer["duplicates"], len(answer["rejected"])) == (0, 0, 1)


def test_a_callback_finds_an_archived_order(bench: Workbench, cli: CommandLine) -> None:
    put_into_archive(bench, cli, "1", "2")
    ids = {row["request_id"]: row["id"] for row in bench.rows(ARCHIVED)}
    said = [callback("r-1"), callback("r-2", status="-1", amount="0")]
    answer: Any = bench.intake.record_callbacks(said)
    assert (answer["settled"], answer["unchanged"], answer["kept"]) == (0, 2, 0)
    agreeing, contradicted = bench.order("r-1"), bench.order("r-2")
    assert (agreeing.id, contradicted.id) == (ids["r-1"], ids["r-2"])
    assert (agreeing.state, agreeing.attention) == ("succeeded", None)
    assert (contradicted.state, contradicted.attention) == ("succeeded", "late_conflict")
    assert [row["kind"] for row in bench.events_of("r-2")] == ["settled", "contradicted"]
    assert archive(cli) == 1
    assert archived_names(bench) == ["r-1"], "the other needs attention"


def test_an_archived_order_that_is_named_is_cancelled_or_checked_like_any_other(
    bench: Workbench, cli: CommandLine
) -> None:
    put_into_archive(bench, cli, "1", "2")
    assert bench.intake.cancel_orders([{"request_id": "r-1"}]) == {"cancelled": 0, "unchanged": 1, "rejected": []}
    answer: Any = bench.intake.check_orders([{"custom_parm": "c-2"}])
    ((error,),) = [one["errors"] for one in answer["rejected"]]
    assert "is succeeded, not pending" in error
    assert {order.request_id for order in bench.orders()} == {"r-1", "r-2", "newest"}
    age(bench, "r-1", "r-2")
    assert archive(cli) == 2
    assert "is succeeded, not pending" in cli.run("check", "r-1", status=1).stderr


def test_a_request_id_of_an_archived_order_is_never_filled_in_for_another(bench: Workbench, cli: CommandLine) -> None:
    put_into_archive(bench, cli, "1")
    bench.intake.cancel_orders([{"request_id": "newest"}])
    bench.enqueue({"custom_parm": "other", "mobile": MOBILE})
    bench.reconcile([item("r-1", custom_parm="other", mobile="188****0804")])
    found, other = bench.order("r-1"), bench.order("other")
    assert (other.state, other.request_id, other.attention) == ("pending", None, "conflicting_answer")
    assert (found.state, found.custom_parm) == ("succeeded", "c-1")


def test_a_kept_callback_finds_its_order_in_the_archive(bench: Workbench, cli: CommandLine) -> None:
    bench.intake.record_callbacks([callback("r-late", status="-1", amount="0")])
    put_into_archive(bench, cli, "1")
    # It was kept, and never matched while the order was in the live table.
    bench.run("UPDATE archived_orders SET request_id = 'r-late', record = replace(record, '\"r-1\"', '\"r-late\"')")
    bench.intake.match_some_callbacks()
    assert bench.rows(UNMATCHED) == []
    assert bench.order("r-late").attention == "late_conflict"


def test_an_archived_order_is_shown_with_its_history(bench: Workbench, cli: CommandLine) -> None:
    bench.add("r-1", custom_parm="c-1", mobile=MOBILE)
    query = bench.reconcile([item("r-1")])
    add_newest(bench)
    before = cli.json("order", "r-1")
    assert before["order"]["archived_at"] is None
    age(bench, "r-1")
    # The query is older than the order's last change, as ever.
    bench.run("UPDATE platform_queries SET sent_at = '2016-01-01 00:00:00'")
    bench.run("UPDATE recharge_orders SET created_at = '2015-12-31 00:00:00'")
    assert archive(cli) == 1
    order_id = bench.rows(ARCHIVED)[0]["id"]
    for name in ("r-1", "c-1", f"id:{order_id}"):
        shown = cli.json("order", name)
        assert (shown["order"]["id"], shown["order"]["state"]) == (order_id, "succeeded")
        assert shown["order"]["ori_amount"] == "2.94"
        assert datetime.fromisoformat(shown["order"]["archived_at"]).utcoffset() is not None
        assert shown["order"].keys() == before["order"].keys()
        assert shown["events"] == before["events"]
        assert [row["id"] for row in shown["queries"]] == [query.id]
    assert "archive" in cli.run("order", "r-1").stdout
    assert archived_names(bench) == ["r-1"], "showing an order changes nothing"


def test_ids_are_never_used_again(bench: Workbench, cli: CommandLine) -> None:
    add_settled(bench, "1", "2", "3")
    order_ids = {row["id"] for row in bench.rows(ORDERS)}
    event_ids = {row["id"] for row in bench.rows(EVENTS)}
    assert archive(cli) >= 2
    add_settled(bench, "4")
    assert bench.order("r-4").id not in order_ids
    assert bench.events_of("r-4")[0]["id"] not in event_ids
    cli.json("archive", "--restore", "--yes")
    assert {row["id"] for row in bench.rows(EVENTS)} > event_ids


def test_a_limit_bounds_a_run_and_the_next_one_continues(bench: Workbench, cli: CommandLine) -> None:
    add_settled(bench, *map(str, range(450)))
    add_newest(bench)
    assert archive(cli, "--limit", "250", "--dry-run") == 250
    assert archive(cli, "--dry-run") == 450
    assert "450 orders settled before " in (
        said := cli.run("archive", "--yes", "--settled-before", "90d", "--dry-run").stdout
    )
    assert " would be moved to the archive in " in said
    assert archived_names(bench) == []
    assert archive(cli, "--limit", "250") == 250
    shown = cli.run("archive", "--yes", "--settled-before", "90d").stdout
    assert shown.startswith("200 orders settled before ")
    assert " moved to the archive in " in shown
    assert archive(cli) == 0
    assert cli.json("archive", "--restore", "--yes", "--limit", "201")["restored"] == 201
    assert "249 orders restored" in cli.run("archive", "--restore", "--yes").stdout


def test_whose_archive_run_it_was_is_recorded(bench: Workbench, cli: CommandLine) -> None:
    add_settled(bench, *map(str, range(250)))
    add_newest(bench)
    assert "--yes" in cli.error("archive", "--settled-before", "90d", status=2)
    assert "--yes" in cli.error("archive", "--restore", status=2)
    archive(cli, "--by", "ann", "--reason", "ticket 77")
    cli.json("archive", "--restore", "--yes", "--by", "bob")
    restored, moved = cli.json("acts")
    assert (restored["actor"], restored["act"], restored["detail"]) == ("bob", "restore", "orders: 250")
    assert (moved["actor"], moved["act"], moved["reason"]) == ("ann", "archive", "ticket 77")
    assert moved["detail"].startswith("orders: 250; settled before 20")


def test_a_time_may_be_named_instead_of_an_age(bench: Workbench, cli: CommandLine) -> None:
    add_settled(bench, "1")
    add_settled(bench, "2", days_ago=200)
    add_newest(bench)
    then = datetime.now(UTC) - timedelta(days=150)
    # Without an offset it is in the time zone of people.
    local = then.astimezone(ZoneInfo("Asia/Shanghai")).replace(tzinfo=None).isoformat()
    printed = cli.json("archive", "--yes", "--settled-before", local, "--dry-run")
    assert (printed["archived"], printed["dry_run"]) == (1, True)
    assert datetime.fromisoformat(printed["settled_before"]) == then
    assert cli.json("archive", "--yes", "--settled-before", f"{then:%Y-%m-%d}")["archived"] == 1
    assert archived_names(bench) == ["r-2"]


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either --settled-before or --restore"),
        (("--settled-before", "90d", "--restore"), "give either --settled-before or --restore"),
        (("--restore", "--dry-run"), "--dry-run is for --settled-before"),
        (
            ("--settled-before", "90"),
            "'90' is no time; accepted: today or yesterday (from midnight on), an age such as 90m",
        ),
        (
            ("--settled-before", "2016-31-01"),
            "is no time; accepted: today or yesterday (from midnight on), an age such as 90m",
        ),
        (("--settled-before", "23h"), "23h is less than a day ago; accepted: 1d or older"),
        (("--settled-before", "2100-01-01T00:00:00Z"), "is less than a day ago"),
        (("--settled-before", "999999w"), "is no time; accepted"),
        (("--settled-before", "90d", "--limit", "0"), "--limit"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    bench: Workbench, cli: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    add_settled(bench, "1")
    assert words in cli.error("archive", *arguments, status=2)
    assert archived_names(bench) == []


def test_a_process_killed_at_any_statement_loses_nothing_and_doubles_nothing(bench: Workbench) -> None:
    add_settled(bench, *map(str, range(5)))
    add_newest(bench)
    whole = sorted(row["id"] for row in bench.rows(ORDERS))
    countdown = [0]

    def die(*_: Any) -> None:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise KeyboardInterrupt

    event.listen(bench.database.engine, "before_cursor_execute", die)
    event.listen(bench.database.engine, "commit", die)
    deaths = 0
    for deaths in range(1, 50):
        countdown[0] = deaths
        try:
            moved = sum(move_settled(bench.database, datetime.now(UTC) - timedelta(days=90)))
        except KeyboardInterrupt:
            countdown[0] = 0
            ids = [row["id"] for row in bench.rows(ORDERS)] + [row["id"] for row in bench.rows(ARCHIVED)]
            assert sorted(ids) == whole
            assert [len(standing(bench, str(number))[0][3]) for number in range(5)] == [1] * 5
        else:
            assert moved in (0, 5)
            break
    assert deaths > 5


def test_what_is_to_be_moved_is_found_through_an_index(bench: Workbench) -> None:
    add_settled(bench, *map(str, range(3000)), days_ago=1)
    age(bench, *(f"r-{number}" for number in range(20)))
    analyze(bench.database)
    with statements_of(bench.database.engine) as statements:
        assert sum(move_settled(bench.database, datetime.now(UTC) - timedelta(days=90))) == 20
    searches = [one for one in statements if "ORDER BY recharge_orders.updated_at" in one[0]]
    assert searches
    with bench.database.read() as connection:
        plans = [plan(bench.database, connection, *one) for one in searches]
    assert not [steps for steps in plans if "ix_recharge_orders_changed" not in steps]


def test_the_archive_is_downgraded_only_when_it_is_empty(database_url: str) -> None:
    upgrade(database_url)
    bench, cli = Workbench(database_url), CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": database_url})
    put_into_archive(bench, cli, "1")
    bench.run("DELETE FROM operator_acts")
    with pytest.raises(MigrationError, match=r"archived_orders holds orders.* `reconciler archive --restore` first"):
        downgrade(database_url, "0002")
    # Each revision is downgraded by itself: those after the archive are gone.
    upgrade(database_url)
    assert archived_names(bench) == ["r-1"]
    cli.json("archive", "--restore", "--yes")
    bench.run("DELETE FROM operator_acts")
    bench.close()
    downgrade(database_url, "0002")
    upgrade(database_url)
    bench = Workbench(database_url)
    assert bench.order("r-1").state == "succeeded"
    bench.close()


_COUNTED = {"age_bucket": 7, "batch_failures": 1}


def from_before_some_counts(order: dict[str, Any]) -> dict[str, Any]:
    newer = ("unavailable_failures", "failure_mark_any", "denials", "first_denied_at", "denial_mark")
    return {name: value for name, value in order.items() if name not in newer} | _COUNTED


def under_old_names(order: dict[str, Any]) -> dict[str, Any]:
    old_names = {"age_bucket": "look_group", "batch_failures": "bad_ends"}
    return {old_names.get(name, name): value for name, value in (order | _COUNTED).items()}


@pytest.mark.parametrize("as_written", [from_before_some_counts, under_old_names])
def test_a_record_of_an_older_release_is_restored_as_one_of_today(
    bench: Workbench, cli: CommandLine, as_written: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    put_into_archive(bench, cli, "1")
    with bench.database.write() as connection:
        record = json.loads(connection.execute(select(ARCHIVED.c.record)).scalar_one())
        record["order"] = as_written(record["order"])
        connection.execute(update(ARCHIVED).values(record=json.dumps(record)))
    cli.json("archive", "--restore", "--yes")
    order = bench.order("r-1")
    assert (order.state, order.age_bucket, order.batch_failures) == ("succeeded", 7, 1)
    assert (order.denials, order.unavailable_failures) == (0, 0)


def test_an_order_with_very_many_events_is_archived_and_keeps_all_of_them(bench: Workbench, cli: CommandLine) -> None:
    add_settled(bench, "1", "2")
    add_newest(bench)
    order_id = bench.order("r-1").id
    said = {"order_id": order_id, "at": datetime(2016, 1, 1, tzinfo=UTC), "kind": "ignored", "source": "callback"}
    bench.run(EVENTS.insert(), *({**said, "detail": f"word {number}"} for number in range(2500)))
    bench.run(EVENTS.insert(), {**said, "order_id": bench.order("newest").id})
    before, shown = everything(bench), cli.json("order", "r-1")
    assert archive(cli) == 2
    assert archived_names(bench) == ["r-1", "r-2"]
    (first, _) = bench.rows(ARCHIVED)
    assert len(json.loads(first["record"])["events"]) == 1000
    assert cli.json("order", "r-1")["events"] == shown["events"]
    assert cli.json("archive", "--restore", "--yes")["restored"] == 2
    assert everything(bench) == before
    # Once it is deleted none of them stays.
    assert archive(cli) == 2
    bench.run("UPDATE archived_orders SET submitted_at = settled_at")
    purged = list(purge(bench.database, datetime.now(UTC) - timedelta(days=90), dry_run=False))
    assert ("archived_orders", 2) in purged
    assert order_id not in {row["order_id"] for row in bench.rows(EVENTS)}
