"""`purge`: what is old goes, and nothing that a history refers to."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import a_purge, add_newest, callback
from worker.database.tables import QUERIES, REJECTED
from worker.operations.purge import purge, purge_orders

OLD = "2015-01-31 10:00:00.000000"


def make_old(bench: Workbench, *names: str, columns: str = "submitted_at, settled_at, updated_at, created_at") -> None:
    written = ", ".join(f"{column} = '{OLD}'" for column in columns.split(", "))
    for name in names:
        bench.run(f"UPDATE recharge_orders SET {written} WHERE request_id = :name", name=name)


def queried(bench: Workbench, *names: str, status: str = "1") -> int:
    """Orders of a query of their own, which was sent long ago; returns the query."""
    bench.add(*names)
    bench.make_due()
    query = bench.reconcile([item(name, status=status, amount="2.94" if status == "1" else None) for name in names])
    bench.run(f"UPDATE platform_queries SET sent_at = '{OLD}' WHERE id = :id", id=query.id)
    return query.id


@pytest.fixture
def history(bench: Workbench) -> dict[str, int]:
    """Queries by what became of their orders."""
    queries = {"gone": queried(bench, "a", "b"), "kept": queried(bench, "c"), "mixed": queried(bench, "d", "e")}
    make_old(bench, "a", "b", "d")
    # Submitted long ago, and settled lately.
    make_old(bench, "c", columns="submitted_at, updated_at, created_at")
    make_old(bench, "e", columns="updated_at, created_at")
    queries["pending"] = queried(bench, "p", status="0")
    bench.run("UPDATE recharge_orders SET submitted_at = :old WHERE request_id = 'p'", old=OLD)
    add_newest(bench)
    assert sum(part.rows for part in purge_orders(bench.database, bench.now() - timedelta(days=90), a_purge())) == 3
    bench.run("DELETE FROM operator_acts")
    bench.run("UPDATE recharge_orders SET due_at = '2099-01-01 00:00:00'")
    bench.add("last")
    queries["last"] = bench.reconcile([item("last")]).id
    return queries


def test_old_rows_go_and_what_a_history_refers_to_stays(
    cli: CommandLine, bench: Workbench, history: dict[str, int]
) -> None:
    bench.intake.enqueue_orders([{"request_id": ""}])
    bench.intake.record_callbacks([callback("x"), callback("y")])
    for table, name in (("rejected_orders", "1"), ("unmatched_callbacks", "x")):
        column = "request_id" if name == "x" else "'1'"
        bench.run(f"UPDATE {table} SET received_at = '{OLD}' WHERE {column} = '{name}'")
    expected = {"rejected_orders": 1, "unmatched_callbacks": 1, "platform_queries": 1}

    counted = cli.json("purge", "--yes", "--older-than", "400d", "--dry-run")
    assert (counted["rows"], counted["dry_run"]) == (expected, True)
    assert len(bench.rows(QUERIES)) == len(history)

    assert cli.json("purge", "--yes", "--older-than", "400d")["rows"] == expected
    assert {row["id"] for row in bench.rows(QUERIES)} == set(history.values()) - {history["gone"]}
    assert [query["id"] for query in cli.json("order", "e")["queries"]] == [history["mixed"]]
    assert [query["id"] for query in cli.json("order", "c")["queries"]] == [history["kept"]]
    assert [row["request_id"] for row in cli.json("unmatched")] == ["y"]
    assert set(cli.json("purge", "--yes", "--older-than", "400d")["rows"].values()) == {0}


def test_orders_that_revision_0033_could_not_move_stay(cli: CommandLine, bench: Workbench) -> None:
    """Each of their rows is the only copy of an order."""
    row = {"received_at": datetime.fromisoformat(f"{OLD}+00:00"), "payload": "{}", "errors": "it has no account"}
    sources = ("revision 0033", "reconciler enqueue", "revision 0033")
    bench.run(REJECTED.insert(), *({**row, "source": one, "is_open": n == 0} for n, one in enumerate(sources)))
    for options in (("--dry-run",), ("--yes",)):
        assert cli.json("purge", "--older-than", "400d", *options)["rows"]["rejected_orders"] == 1
    assert [left["source"] for left in bench.rows(REJECTED)] == ["revision 0033"] * 2


def test_the_counts_are_shown(cli: CommandLine, bench: Workbench, history: dict[str, int]) -> None:
    assert "1 row from before" in cli.run("purge", "--yes", "--older-than", "400d", "--dry-run").stdout
    assert "platform_queries" in cli.run("purge", "--yes", "--older-than", "2016-01-01").stdout


def test_what_is_young_is_refused(cli: CommandLine, bench: Workbench) -> None:
    assert "less than 30 days ago" in cli.error("purge", "--older-than", "2d", status=2)
    assert "is no time" in cli.error("purge", "--older-than", "soon", status=2)


def test_no_transaction_deletes_more_than_a_thousand_rows(cli: CommandLine, bench: Workbench) -> None:
    for start in (0, 900, 1800):
        bench.intake.record_callbacks([callback(str(number)) for number in range(start, start + 900)])
    bench.run(f"UPDATE unmatched_callbacks SET received_at = '{OLD}'")
    before = bench.now() - timedelta(days=400)
    commits: list[int] = []
    event.listen(bench.database.engine, "commit", lambda _connection: commits.append(1))
    rows = [one.rows for one in purge(bench.database, before, a_purge())]
    assert sum(rows) == 2700
    assert max(rows) == 1000
    assert len(commits) > 3
    assert cli.json("unmatched") == []


def acts(cli: CommandLine) -> list[tuple[str, str, str | None, str]]:
    return [(act["actor"], act["act"], act["reason"], act["detail"]) for act in cli.json("acts")]


def test_whose_purge_it_was_is_recorded_and_logged_once(
    cli: CommandLine, bench: Workbench, history: dict[str, int]
) -> None:
    cli.json("purge", "--older-than", "2016-01-01", "--dry-run", "--by", "ann")
    assert acts(cli) == []
    done = cli.run("purge", "--older-than", "2016-01-01", "--yes", "--by", "ann", "--reason", "ticket 77")
    detail = "platform_queries: 1; from before 2015-12-31 16:00:00Z"
    assert acts(cli) == [("ann", "purge", "ticket 77", detail)]
    assert done.stderr.count("an operator acted") == 1
    # What changes nothing is no act.
    cli.json("purge", "--older-than", "2016-01-01", "--yes", "--by", "ann")
    assert len(acts(cli)) == 1


def test_an_act_of_many_transactions_is_one_row_that_says_how_far_it_came(cli: CommandLine, bench: Workbench) -> None:
    for start in (0, 900):
        bench.intake.record_callbacks([callback(str(number)) for number in range(start, start + 900)])
    bench.run(f"UPDATE unmatched_callbacks SET received_at = '{OLD}'")
    before = bench.now() - timedelta(days=400)
    parts = purge(bench.database, before, a_purge())
    assert next(part.rows for part in parts if part.rows) == 1000
    # The run dies here.
    assert acts(cli) == [("ann", "purge", None, "unmatched_callbacks: 1,000")]
    assert sum(part.rows for part in parts) == 800
    assert acts(cli) == [("ann", "purge", None, "unmatched_callbacks: 1,800")]


def test_nothing_is_deleted_where_no_person_can_be_asked(
    cli: CommandLine, bench: Workbench, history: dict[str, int]
) -> None:
    before = bench.rows(QUERIES)
    assert cli.error("purge", "--older-than", "400d", status=2).startswith("a question needs a terminal")
    assert bench.rows(QUERIES) == before


@pytest.mark.slow
@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("answer", "status", "gone"), [("n", 1, 0), ("y", 0, 1)])
def test_at_a_terminal_a_person_is_asked_before_anything_goes(
    cli: CommandLine, bench: Workbench, history: dict[str, int], answer: str, status: int, gone: int
) -> None:
    asked = cli.answered("purge", "--older-than", "400d", answer=answer, status=status).stderr
    assert "Old and referred to by nothing: 1 row from before " in asked
    assert "Delete? [y/N]: " in asked
    assert len(bench.rows(QUERIES)) == len(history) - gone
    assert [act["act"] for act in cli.json("acts")] == ["purge"] * gone


@pytest.mark.databases("sqlite")
def test_archive_says_what_replaces_it_and_does_not_fail(cli: CommandLine, bench: Workbench) -> None:
    for arguments in ((), ("--settled-before", "90d", "--yes", "--by", "cron"), ("--restore", "--json")):
        ended = cli.run("archive", *arguments)
        assert (ended.stdout, "`reconciler purge --orders AGE` deletes old orders" in ended.stderr) == ("", True)
