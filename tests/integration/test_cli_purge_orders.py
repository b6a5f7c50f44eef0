"""`purge --orders`: settled orders of long ago go with their history, and no other ones."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint
from tests.support.pages import pages_of
from tests.support.racing import Operation, Race, rounds
from tests.support.reconciling import Workbench
from tests.support.settled_orders import a_purge, add_newest, add_settled, age, callback, order_of
from worker.database.tables import DEPLOYMENT, EVENTS, NOTIFICATIONS, ORDERS, UNMATCHED
from worker.domain.records.orders import Attention
from worker.operations.act_by_hand import Operator
from worker.operations.purge import purge_orders
from worker.operations.resend import resend


def submitted(bench: Workbench, *names: str, days_ago: float = 100.0) -> None:
    """Set when these orders were submitted."""
    then = bench.now() - timedelta(days=days_ago)
    bench.run(ORDERS.update().where(ORDERS.c.request_id.in_([f"r-{name}" for name in names])).values(submitted_at=then))


def add_old(bench: Workbench, *names: str) -> None:
    """Orders that were submitted and settled 100 days ago, beside a newer one."""
    add_settled(bench, *names)
    submitted(bench, *names)
    add_newest(bench)


def names_of(bench: Workbench) -> set[str | None]:
    """The request ids of the orders."""
    return {order.request_id for order in bench.orders()}


def notify(bench: Workbench, **notifications: tuple[int, str]) -> None:
    """Add notifications by their event ids: the order's id, and the state."""
    at = bench.now()
    row = {"account": "default", "type": "order.succeeded", "version": 1, "rank": 1, "body": "{}", "changed_at": at}
    row |= {"due_at": at, "tries": 1}
    for name, (order_id, state) in notifications.items():
        bench.run(NOTIFICATIONS.insert(), {**row, "event_id": name, "order_id": order_id, "state": state})


def test_old_settled_orders_go_with_their_events_and_notifications(bench: Workbench, cli: CommandLine) -> None:
    bench.enqueue(*({"request_id": f"r-{name}"} for name in ("failed", "cancelled")))
    assert bench.intake.record_callbacks([callback("r-failed", status="-1", amount="0")])["settled"] == 1
    assert bench.intake.cancel_orders([{"request_id": "r-cancelled"}])["cancelled"] == 1
    age(bench, "r-failed", "r-cancelled")
    submitted(bench, "failed", "cancelled")
    add_old(bench, "1")
    order_id = bench.order("r-1").id
    notify(bench, e1=(order_id, "delivered"), e2=(order_id + 1_000, "delivered"))

    counted = cli.json("purge", "--orders", "90d", "--dry-run")
    assert (counted["rows"], counted["dry_run"]) == ({"recharge_orders": 3}, True)
    assert len(names_of(bench)) == 4
    assert cli.json("purge", "--orders", "90d", "--yes")["rows"] == {"recharge_orders": 3}
    assert names_of(bench) == {"newest"}
    assert {row["order_id"] for row in bench.rows(EVENTS)} == {bench.order("newest").id}
    assert [row["event_id"] for row in bench.rows(NOTIFICATIONS)] == ["e2"]
    assert cli.json("purge", "--orders", "90d", "--yes")["rows"] == {"recharge_orders": 0}


def test_what_is_young_open_or_for_a_person_stays(bench: Workbench, cli: CommandLine) -> None:
    kept = ("settled-lately", "submitted-lately", "shown", "unresolved", "pending", "cancelled-lately")
    add_old(bench, "old", *kept)
    age(bench, "r-settled-lately", days_ago=31)
    submitted(bench, "submitted-lately", days_ago=31)
    changed: dict[str, dict[str, Any]] = {
        "shown": {"attention": Attention.LATE_CONFLICT},
        "unresolved": {"state": "unresolved"},
    }
    changed |= {"pending": {"state": "pending"}, "cancelled-lately": {"state": "cancelled", "settled_at": None}}
    for name, values in changed.items():
        bench.run(ORDERS.update().where(ORDERS.c.request_id == f"r-{name}").values(**values))
    bench.run(ORDERS.update().where(ORDERS.c.request_id == "r-cancelled-lately").values(updated_at=bench.now()))
    assert cli.json("purge", "--orders", "90d", "--yes")["rows"] == {"recharge_orders": 1}
    assert names_of(bench) == {"newest", *(f"r-{name}" for name in kept)}


def test_an_order_stays_until_all_its_notifications_are_delivered(bench: Workbench, cli: CommandLine) -> None:
    add_old(bench, "pending", "gave_up", "delivered")
    notify(bench, **{name: (bench.order(f"r-{name}").id, name) for name in ("pending", "gave_up", "delivered")})
    notify(bench, earlier=(bench.order("r-pending").id, "delivered"))
    for options in (("--dry-run",), ("--yes",)):
        assert cli.json("purge", "--orders", "90d", *options)["rows"] == {"recharge_orders": 1}
    assert names_of(bench) == {"newest", "r-pending", "r-gave_up"}
    bench.run(NOTIFICATIONS.update().values(state="delivered"))
    assert cli.json("purge", "--orders", "90d", "--yes")["rows"] == {"recharge_orders": 2}


def test_an_order_that_a_query_holds_or_that_is_to_be_checked_stays(bench: Workbench, cli: CommandLine) -> None:
    add_old(bench, "held", "checked", "held-long-ago")
    now = bench.now()
    changed: dict[str, dict[str, Any]] = {
        "held": {"lease_token": "t", "due_at": now + timedelta(minutes=1)},
        "checked": {"check_requested_at": now},
        "held-long-ago": {"lease_token": "t", "due_at": now - timedelta(days=100)},
    }
    for name, values in changed.items():
        bench.run(ORDERS.update().where(ORDERS.c.request_id == f"r-{name}").values(**values))
    assert cli.json("purge", "--orders", "90d", "--yes")["rows"] == {"recharge_orders": 1}
    assert names_of(bench) == {"newest", "r-held", "r-checked"}


def test_a_settled_order_that_changed_lately_stays(bench: Workbench, cli: CommandLine) -> None:
    add_old(bench, "old", "changed")
    bench.run(ORDERS.update().where(ORDERS.c.request_id == "r-changed").values(updated_at=bench.now()))
    assert cli.json("purge", "--orders", "90d", "--yes")["rows"] == {"recharge_orders": 1}
    assert names_of(bench) == {"newest", "r-changed"}


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--orders", "29d"), "--orders 29d is less than 30 days ago; accepted: 30d or older"),
        (("--orders", "soon"), "is no time"),
        ((), "give either --older-than or --orders"),
        (("--orders", "90d", "--older-than", "90d"), "give either --older-than or --orders"),
    ],
)
def test_an_age_that_is_too_low_and_two_purges_at_once_are_refused(
    bench: Workbench, cli: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    add_old(bench, "1")
    assert words in cli.error("purge", *arguments, status=2)
    assert "r-1" in names_of(bench)


def test_whose_purge_it_was_is_recorded_as_far_as_it_came(bench: Workbench, cli: CommandLine) -> None:
    add_old(bench, *map(str, range(450)))
    assert cli.error("purge", "--orders", "90d", status=2).startswith("a question needs a terminal")
    assert len(names_of(bench)) == 451
    parts = purge_orders(bench.database, bench.now() - timedelta(days=90), a_purge())
    assert next(parts).rows == 200
    # The run dies here.
    assert len(names_of(bench)) == 251, "each batch is a transaction"
    done = cli.run("purge", "--orders", "90d", "--yes", "--by", "ann", "--reason", "ticket 77")
    assert "250 rows from before" in done.stdout
    act, interrupted = cli.json("acts")
    assert (act["actor"], act["act"], act["reason"]) == ("ann", "purge", "ticket 77")
    assert act["detail"].startswith("orders: 250; settled before 20")
    assert interrupted["detail"] == "orders: 200"


@pytest.mark.slow
@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("answer", "status", "left"), [("n", 1, 2), ("y", 0, 1)])
def test_at_a_terminal_a_person_is_asked_first(
    bench: Workbench, cli: CommandLine, answer: str, status: int, left: int
) -> None:
    add_old(bench, "1")
    asked = cli.answered("purge", "--orders", "90d", answer=answer, status=status).stderr
    assert "Settled before " in asked
    assert ": 1 order." in asked
    assert "Delete? [y/N]: " in asked
    assert len(names_of(bench)) == left


def test_an_order_that_was_deleted_is_new_when_it_is_sent_again(bench: Workbench, cli: CommandLine) -> None:
    add_old(bench, "1")
    first = bench.order("r-1").id
    events = {row["id"] for row in bench.rows(EVENTS)}
    cli.json("purge", "--orders", "90d", "--yes")
    assert bench.intake.record_callbacks([callback("r-1")])["kept"] == 1
    assert bench.intake.enqueue_orders([order_of("1")])["accepted"] == 1
    again = bench.order("r-1")
    assert (again.state, again.id == first) == ("succeeded", False)
    assert bench.rows(UNMATCHED) == []
    assert not {row["id"] for row in bench.events_of("r-1")} & events


@pytest.mark.databases("sqlite")
def test_the_newest_order_and_that_of_the_newest_event_stay_on_sqlite(bench: Workbench, cli: CommandLine) -> None:
    """SQLite would give their ids once more."""
    add_settled(bench, "1", "2", "3")
    submitted(bench, "1", "2", "3")
    bench.run(
        EVENTS.insert(), {"order_id": bench.order("r-2").id, "at": bench.now(), "kind": "ignored", "source": "callback"}
    )
    assert cli.json("purge", "--orders", "90d", "--yes")["rows"] == {"recharge_orders": 1}
    assert names_of(bench) == {"r-2", "r-3"}


@pytest.mark.slow
@pytest.mark.databases("postgresql", "mariadb")
def test_two_purges_at_once_delete_each_order_once(bench: Workbench) -> None:
    add_old(bench, *map(str, range(900)))
    before = bench.now() - timedelta(days=90)

    def purge(_: int) -> int:
        return sum(part.rows for part in purge_orders(bench.database, before, a_purge()))

    with ThreadPoolExecutor(2) as threads:
        # One skips what the other holds locked; the next run deletes what neither did.
        assert sum(threads.map(purge, range(2))) + purge(0) == 900
    assert names_of(bench) == {"newest"}


SAID = "Orders from before "


def test_readings_that_begin_before_the_deleted_orders_say_so(bench: Workbench, cli: CommandLine) -> None:
    add_old(bench, "1")
    bench.intake.record_callbacks([callback("unknown")])
    statement = b"request_id,state,amount\n"
    before_it = ("--from", "2016-01-31", "--to", "2016-01-31")
    reaching = [("orders",), ("orders", "--summary"), ("orders", "--settled-since", "100d"), ("unmatched",)]
    reaching += [("report", *before_it), ("compare", "-", *before_it)]
    pages = ["/orders", "/unmatched", f"/unmatched/{bench.rows(UNMATCHED)[0]['id']}", "/finance/report?from=2016-01-31"]

    def saying() -> tuple[list[bool], list[bool]]:
        with pages_of(bench.url) as console:
            shown = [SAID in console.text(page) for page in pages]
        return [SAID in cli.run(*words, stdin=statement).stderr for words in reaching], shown

    assert saying() == ([False] * 6, [False] * 4)
    cli.json("purge", "--orders", "90d", "--yes")
    assert saying() == ([True] * 6, [True] * 4)
    newer = [("orders", "--since", "80d"), ("report", "--from", "yesterday"), ("compare", "-", "--from", "yesterday")]
    for later in newer:
        assert SAID not in cli.run(*later, stdin=statement).stderr
    # The order of this row may have been one of them.
    assert SAID in cli.run(*newer[-1], stdin=statement + b"r-1,1,2.94\n").stderr
    with pages_of(bench.url) as console:
        assert SAID not in console.text(f"/orders?from={bench.now():%F}")


@pytest.mark.parametrize("command", ["orders", "unmatched"])
def test_a_list_says_so_of_orders_that_are_deleted_while_it_is_read(
    bench: Workbench, cli: CommandLine, command: str
) -> None:
    add_old(bench, "1")
    done: list[int] = []

    def delete(*args: Any) -> None:
        if "SELECT deployment.orders_deleted_before" in args[2] and not done:
            done.append(purge(bench))
            bench.intake.record_callbacks([callback("r-1")])

    event.listen(Engine, "after_cursor_execute", delete)
    try:
        result = cli.run(command)
    finally:
        event.remove(Engine, "after_cursor_execute", delete)
    assert done == [1]
    is_as_before = ("r-1" in result.stdout) == (command == "orders")
    assert is_as_before or SAID in result.stderr


def test_the_newest_time_of_a_purge_is_kept(bench: Workbench, cli: CommandLine) -> None:
    add_old(bench, "1", "2")
    submitted(bench, "2", days_ago=400)
    age(bench, "r-2", days_ago=400)

    def kept() -> list[Any]:
        return [row["orders_deleted_before"] for row in bench.rows(DEPLOYMENT)]

    cli.json("purge", "--orders", "500d", "--yes")
    assert kept() == [None], "none was deleted"
    cli.json("purge", "--orders", "300d", "--yes")
    (first,) = kept()
    cli.json("purge", "--orders", "90d", "--yes")
    (second,) = kept()
    assert bench.now() - timedelta(days=91) < second
    add_settled(bench, "3", days_ago=400)
    submitted(bench, "3", days_ago=400)
    bench.add("newer")
    assert bench.intake.check_orders([{"request_id": "newer"}])["queued"] == 1
    assert cli.json("purge", "--orders", "300d", "--yes")["rows"] == {"recharge_orders": 1}
    assert (first < second, kept()) == (True, [second])


def purge(bench: Workbench) -> int:
    return sum(part.rows for part in purge_orders(bench.database, bench.now() - timedelta(days=90), a_purge()))


def enqueue(name: str) -> Operation:
    return lambda bench: bench.intake.enqueue_orders([order_of(name)])


def send_again(order_id: int) -> Operation:
    return lambda bench: next(resend(bench.database, Operator(name="ann"), [order_id]))


def contradict(name: str) -> Operation:
    return lambda bench: bench.intake.record_callbacks([callback(f"r-{name}", status="-1", amount="0")])


@pytest.mark.slow
@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("purge_first", [True, False])
def test_an_order_that_comes_again_while_it_is_deleted_is_known_or_new(race: Race, purge_first: bool) -> None:
    def run(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(race.observer, name)
        submitted(race.observer, name)
        return race.run_either(purge, enqueue(name), number, one_first=purge_first)

    for name, deleted, answer in rounds(run):
        assert answer["rejected"] == []
        assert answer["accepted"] + answer["duplicates"] == 1
        left = [order for order in race.observer.orders() if order.request_id == f"r-{name}"]
        assert len(left) == 1 - deleted + answer["accepted"], name


@pytest.mark.slow
@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("purge_first", [True, False])
def test_a_callback_of_an_order_that_is_being_deleted_contradicts_it_or_is_kept(race: Race, purge_first: bool) -> None:
    def run(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(race.observer, name)
        submitted(race.observer, name)
        return race.run_either(purge, contradict(name), number, one_first=purge_first)

    for name, deleted, answer in rounds(run):
        left = [order for order in race.observer.orders() if order.request_id == f"r-{name}"]
        assert (len(left), answer["kept"]) == (1 - deleted, deleted), name
        # Who contradicts it makes it one for a person, which is not deleted.
        assert [order.attention for order in left] == [Attention.LATE_CONFLICT] * (1 - deleted)
        assert {row["order_id"] for row in race.observer.rows(EVENTS)} <= {one.id for one in race.observer.orders()}


@pytest.mark.slow
@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("purge_first", [True, False])
def test_an_order_that_is_resent_while_it_is_deleted_stays_or_is_refused(race: Race, purge_first: bool) -> None:
    put_endpoint(race.observer)

    def run(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(race.observer, name)
        submitted(race.observer, name)
        order_id = race.observer.order(f"r-{name}").id
        told = NOTIFICATIONS.update().where(NOTIFICATIONS.c.order_id == order_id)
        race.observer.run(told.values(state="delivered"))
        return race.run_either(purge, send_again(order_id), number, one_first=purge_first)

    for name, deleted, sent in rounds(run):
        left = [order.id for order in race.observer.orders() if order.request_id == f"r-{name}"]
        assert (len(left), sent.again, len(sent.refusals)) == (1 - deleted, 1 - deleted, deleted), name
    # Each that stays has its notification, which is to be sent.
    waiting = {row["order_id"] for row in race.observer.rows(NOTIFICATIONS) if row["state"] == "pending"}
    assert waiting == {order.id for order in race.observer.orders()}
