"""A CSV of a list holds all of it, whatever its length; what is cut says so on standard error."""

import csv
import io
from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint
from tests.support.plans import query_row
from tests.support.reconciling import Workbench
from tests.support.settled_orders import a_purge, add_newest, add_settled, callback
from tests.support.sql import statements_of
from worker.database.tables import ACTS, QUERIES, REJECTED
from worker.operations.purge import purge_orders
from worker.views.orders import OrderSearch, find_orders
from worker.views.page import every_row

COUNT = 45
NAMES = [f"o{number}" for number in range(COUNT)]


def fill(bench: Workbench) -> None:
    """Forty-five of everything that a list shows, and as many orders again."""
    add_settled(bench, *map(str, range(COUNT)))
    add_newest(bench)
    put_endpoint(bench)
    bench.add(*NAMES)
    bench.run("UPDATE recharge_orders SET attention = 'unknown_status' WHERE request_id LIKE 'o%'")
    # Kept callbacks that are old enough to need a person.
    bench.intake.record_callbacks([callback(f"unknown-{number}") for number in range(COUNT)])
    bench.run("UPDATE unmatched_callbacks SET received_at = '2020-01-31 12:00:00.000000'")
    bench.intake.cancel_orders([{"request_id": name} for name in NAMES])
    bench.run("UPDATE notifications SET state = 'gave_up'")
    now = bench.now()
    refused = {"source": "a task", "payload": "{}", "errors": "request_id: is empty", "repeats": 0}
    bench.run(insert(REJECTED), *[{**refused, "received_at": now}] * COUNT)
    bench.run(insert(ACTS), *[{"at": now, "actor": "ann", "act": "hold"}] * (3 * COUNT))
    bench.run(insert(QUERIES), *[query_row(sent_at=now, answered_at=None)] * COUNT)


def rows(cli: CommandLine, *arguments: str) -> tuple[list[dict[str, str]], str]:
    """The rows of a command's CSV, and what it says beside them."""
    result = cli.run(*arguments, "--csv")
    return list(csv.DictReader(io.StringIO(result.stdout_bytes.decode("utf-8-sig")))), result.stderr


LISTS = {
    ("orders",): 2 * COUNT + 1,
    ("orders", "--state", "cancelled"): COUNT,
    ("queries",): COUNT,
    ("rejected",): COUNT,
    ("unmatched",): COUNT,
    ("notifications",): COUNT,
    ("acts",): 3 * COUNT,
}


def test_a_csv_is_complete_and_what_is_cut_says_so(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    for command, count in LISTS.items():
        found, said = rows(cli, *command)
        ids = [int(row["id"]) for row in found]
        assert len(ids) == len(set(ids)) == count, command
        assert said == ""
        page = cli.run(*command, "--json")
        assert page.stdout.count('"id":') >= 20
        assert "More follow" in page.stderr, command
        few, said = rows(cli, *command, "--limit", "3")
        assert [int(row["id"]) for row in few] == ids[:3]
        assert f"--after {ids[2]}" in said
        rest, said = rows(cli, *command, "--after", str(ids[2]))
        assert [int(row["id"]) for row in rest] == ids[3:]
        exact = cli.run(*command, "--json", "--limit", str(count))
        assert exact.stderr == "", command


def test_a_csv_of_all_that_needs_a_person_has_more_than_a_table(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    found, said = rows(cli, "todo")
    counts = {reason: sum(row["reason"] == reason for row in found) for reason in {row["reason"] for row in found}}
    expected = dict.fromkeys(("unknown_status", "rejected_input", "unmatched_callback", "notification_gave_up"), COUNT)
    assert {reason: counts[reason] for reason in expected} == expected
    assert said == ""
    few, said = rows(cli, "todo", "--limit", "2")
    assert max(sum(row["reason"] == reason for row in few) for reason in expected) == 2
    assert "--limit" in said
    assert "--limit" in cli.run("todo", "--json").stderr
    assert cli.run("todo", "--json", "--limit", "100").stderr == ""


def test_a_complete_list_shows_one_moment_and_holds_a_page_of_it(bench: Workbench) -> None:
    # As many as several pages hold.
    add_settled(bench, *map(str, range(1500)))
    other = Workbench(bench.url)
    later = other.now() + timedelta(days=1)
    with statements_of(bench.database.engine) as statements, bench.database.snapshot() as connection:
        listed = every_row(partial(find_orders, connection, OrderSearch()))
        first = next(listed)
        begun = len(statements)
        other.add("meanwhile")
        add_newest(other)
        # On SQLite a transaction that has begun to read sees what others commit no more.
        assert sum(part.rows for part in purge_orders(other.database, later, a_purge())) == 1500
        ids = [first["id"], *(row["id"] for row in listed)]
    other.close()
    assert len(ids) == len(set(ids)) == 1500
    assert len(statements) > begun


@pytest.mark.databases("sqlite")
def test_today_and_yesterday_begin_at_midnight_in_the_zone_of_the_settings(bench: Workbench, cli: CommandLine) -> None:
    # Midnights twelve hours apart.
    for hour in (6, 18):
        zone = bench.zone_where_it_is(hour)
        midnight = bench.now().astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
        names = {name: f"{hour}-{name}" for name in ("today", "yesterday", "before")}
        at = {
            "today": midnight,
            "yesterday": midnight - timedelta(days=1),
            "before": midnight - timedelta(days=1, microseconds=1),
        }
        bench.enqueue(*({"request_id": names[name], "submitted_at": at[name].isoformat()} for name in at))
        own = CommandLine({**cli.settings, "RECONCILER_TIMEZONE": zone})

        def found(*arguments: str, own: CommandLine = own, hour: int = hour) -> set[str]:
            listed = own.json("orders", "--prefix", f"{hour}-", *arguments)
            return {order["request_id"].partition("-")[2] for order in listed}

        assert found("--since", "today") == {"today"}
        assert found("--since", "yesterday") == {"today", "yesterday"}
        assert found("--since", "yesterday", "--until", "today") == {"yesterday"}
        assert found("--since", "7d") == {"today", "yesterday", "before"}


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "arguments",
    [
        ("orders", "--since"),
        ("orders", "--until"),
        ("queries", "--since"),
        ("rejected", "--since"),
        ("unmatched", "--before"),
        ("resend", "--dry-run", "--since"),
        ("reopen", "--unresolved", "--dry-run", "--reason", "x", "--since"),
        ("report", "--from"),
        ("compare", "-", "--from"),
    ],
)
def test_every_command_that_takes_a_time_takes_the_same_words(
    bench: Workbench, cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    statement = "request_id,state,amount\n"
    for word in ("yesterday", "7d", "2016-01-31"):
        assert cli.run(*arguments, word, stdin=statement).exit_code == 0
    refused = cli.run(*arguments, "the other day", stdin=statement, status=2).stderr
    for word in ("today", "yesterday", "7d"):
        assert word in refused
