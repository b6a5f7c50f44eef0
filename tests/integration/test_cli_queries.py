"""`queries` and `query`: what was asked of the platform, on every database."""

from datetime import timedelta

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench, item
from worker.domain.records.incoming import Refused, Unreachable


def send(bench: Workbench) -> None:
    """Three queries: answered in part, unreachable, refused."""
    bench.add("1", "2", "3")
    bench.reconcile([item("1"), item("2", status="0", amount=None), item("unasked")])
    bench.make_due()
    bench.write_back.failed(bench.take(), Unreachable("no route"))
    bench.run("UPDATE account_states SET backoff_until = NULL")
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.make_due()
    bench.write_back.failed(bench.take(), Refused("-1", "=too bad"))


def test_queries_are_listed_newest_first_and_filtered(cli: CommandLine, bench: Workbench) -> None:
    send(bench)
    listed = cli.json("queries")
    assert [query["outcome"] for query in listed] == ["refused", "unreachable", "answered"]
    assert [query["id"] for query in listed] == sorted((query["id"] for query in listed), reverse=True)
    assert [query["outcome"] for query in cli.json("queries", "--outcome", "answered")] == ["answered"]
    assert len(cli.json("queries", "--outcome", "answered", "--outcome", "refused")) == 2
    assert len(cli.json("queries", "--account", "default", "--since", "1h")) == 3
    assert cli.json("queries", "--since", "2100-01-01") == []
    after = str(listed[1]["id"])
    assert [query["outcome"] for query in cli.json("queries", "--after", after)] == ["answered"]
    assert len(cli.json("queries", "--limit", "2")) == 2


def test_the_table_shows_what_was_said(cli: CommandLine, bench: Workbench) -> None:
    send(bench)
    shown = cli.run("queries").stdout
    assert "-1 =too bad" in shown
    assert "unreachable" in shown
    assert "More follow: --after" in cli.run("queries", "--limit", "1").stderr
    assert "'=too bad" in cli.run("queries", "--csv").stdout
    assert cli.run("queries", "--outcome", "lost").stdout == "No such queries.\n"


def test_orders_that_were_not_due_are_counted(cli: CommandLine, bench: Workbench) -> None:
    bench.add("due", "spare")
    later = (bench.now() + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S.000000")
    times = "queried_at = submitted_at, due_at = :later, age_bucket = 1, query_count = 1"
    bench.run(f"UPDATE recharge_orders SET {times} WHERE request_id = 'spare'", later=later)
    bench.reconcile([])
    (query,) = cli.json("queries")
    assert (query["order_count"], query["spare_count"]) == (2, 1)
    assert "2 (1 spare)" in cli.run("queries").stdout


def test_wrong_filters_are_refused(cli: CommandLine, bench: Workbench) -> None:
    assert "'good' is not one of: in_flight, answered" in cli.error("queries", "--outcome", "good", status=2)
    assert "there is no account nosuch" in cli.error("queries", "--account", "nosuch")


def test_a_query_is_shown_with_its_orders_and_its_answer(cli: CommandLine, bench: Workbench) -> None:
    send(bench)
    query_id = str(cli.json("queries")[-1]["id"])
    shown = cli.json("query", query_id)
    assert (shown["query"]["outcome"], shown["query"]["answer_excerpt"]) == ("answered", "{}")
    rows = {order["polled_id"]: order for order in shown["orders"]}
    assert {name: (row["state"], row["absent"]) for name, row in rows.items()} == {
        "1": ("succeeded", False),
        "2": ("pending", False),
        "3": ("pending", True),
    }
    assert rows["1"]["id"] == bench.order("1").id
    assert len(shown["added_items"]) == 1
    table = cli.run("query", query_id).stdout
    assert f"id:{bench.order('3').id}" in table
    assert "left out" in table
    assert "The start of the answer" in table


def test_an_order_that_is_gone_is_named_all_the_same(cli: CommandLine, bench: Workbench) -> None:
    send(bench)
    bench.run("DELETE FROM recharge_orders WHERE request_id = '3'")
    assert "gone" in cli.run("query", str(cli.json("queries")[0]["id"])).stdout


def test_an_unknown_query_is_reported_in_a_line(cli: CommandLine, bench: Workbench) -> None:
    assert cli.error("query", "99") == "there is no query 99; `reconciler queries` lists the newest ones"
