"""`orders`: found by what a person knows of them, on every database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import add_newest, add_settled
from worker.domain.records.orders import OrderState
from worker.views.orders import OrderSearch, find_orders

MOBILE = "18812340804"


def names(rows: Any) -> list[str]:
    return [row["request_id"] or row["custom_parm"] for row in rows]


def test_an_order_is_found_by_its_phone_number(cli: CommandLine, bench: Workbench) -> None:
    add_settled(bench, "old")
    add_newest(bench)
    bench.add("new", mobile=MOBILE)
    bench.add("other", mobile="18812340805")
    found = cli.json("orders", "--mobile", "+86 188-1234-0804")
    assert names(found) == ["r-old", "new"] or names(found) == ["new", "r-old"]
    assert names(cli.json("orders", "--mobile", MOBILE, "--state", "pending")) == ["new"]
    assert "is no mobile number" in cli.error("orders", "--mobile", "1", status=2)


def test_an_order_is_found_by_the_start_of_either_id(cli: CommandLine, bench: Workbench) -> None:
    add_settled(bench, "1")
    add_newest(bench)
    bench.enqueue({"request_id": "R-1"}, {"request_id": "r-12", "custom_parm": "C-1"}, {"request_id": "r_1"})
    bench.enqueue({"request_id": "r-2", "custom_parm": "r-1"}, {"request_id": "r1"}, {"request_id": "r.1"})
    assert set(names(cli.json("orders", "--prefix", "r-1"))) == {"r-1", "r-12", "r-2"}
    assert names(cli.json("orders", "--prefix", "R-")) == ["R-1"]
    assert names(cli.json("orders", "--prefix", "c-1")) == ["r-1"]
    for width in (80, 200):
        shown = cli.run("orders", "--prefix", "c-1", width=width).stdout
        assert "c-1" in shown
        assert "r-1" in shown
    assert names(cli.json("orders", "--prefix", "r-12")) == ["r-12"]
    assert names(cli.json("orders", "--prefix", "r_")) == ["r_1"]
    assert cli.json("orders", "--prefix", "r-13") == []
    assert "contains ','" in cli.error("orders", "--prefix", "a,b", status=2)


COLLATED = ["a", "ab", "a-b", "a_b", "A-B", "aB", "ch1", "c-h", "cz", "é1", "e1", "字1", "字2", "宇", "a.1", "a:1"]


@pytest.mark.parametrize("prefix", ["a", "a-", "A", "c", "ch", "é", "e", "字", "a."])
def test_the_start_of_an_id_means_its_characters_in_every_collation(
    cli: CommandLine, bench: Workbench, prefix: str
) -> None:
    bench.add(*COLLATED)
    assert set(names(cli.json("orders", "--prefix", prefix))) == {name for name in COLLATED if name.startswith(prefix)}


def test_times_without_an_offset_are_in_the_time_zone_of_the_settings(cli: CommandLine, bench: Workbench) -> None:
    for hour in (10, 11, 12):
        bench.enqueue({"request_id": str(hour), "submitted_at": f"2016-01-31T{hour}:00:00+08:00"})
    assert names(cli.json("orders", "--since", "2016-01-31T11:00")) == ["12", "11"]
    assert names(cli.json("orders", "--until", "2016-01-31T11:00")) == ["10"]
    assert names(cli.json("orders", "--since", "2016-01-31T03:00Z", "--until", "2016-01-31T04:00+00:00")) == ["11"]
    assert names(cli.json("orders", "--since", "2016-01-31", "--until", "2016-02-01")) == ["12", "11", "10"]
    tokyo = CommandLine({**cli.settings, "RECONCILER_TIMEZONE": "Asia/Tokyo"})
    assert names(tokyo.json("orders", "--since", "2016-01-31T13:00")) == ["12"]
    assert cli.json("orders", "--since", "1h") == []
    assert "is no time; accepted: today" in cli.error("orders", "--since", "sometime", status=2)


def test_orders_are_found_by_the_time_of_their_result(cli: CommandLine, bench: Workbench) -> None:
    add_settled(bench, "old", "older")
    add_newest(bench)
    add_settled(bench, "1", "2", "3", days_ago=1)
    for hour, name in ((10, "r-1"), (11, "r-2"), (12, "r-3")):
        bench.run(
            "UPDATE recharge_orders SET settled_at = :at, submitted_at = :submitted_at WHERE request_id = :name",
            name=name,
            at=f"2016-01-31 {hour}:00:00.000000",
            submitted_at=f"2016-01-0{13 - hour} 00:00:00.000000",
        )
    bench.run("UPDATE recharge_orders SET settled_at = '2016-01-31 10:30:00.000000' WHERE request_id = 'r-old'")
    day = ("orders", "--settled-since", "2016-01-31T18:00", "--settled-until", "2016-01-31T20:00")
    assert names(cli.json(*day)) == ["r-2", "r-old", "r-1"]
    assert names(cli.json(*day, "--since", "2016-01-03")) == ["r-old", "r-1"]
    # Within bounds of the submission they are in its order.
    assert names(cli.json(*day, "--since", "2016-01-01", "--until", "2016-01-04")) == ["r-1", "r-2"]
    assert names(cli.json(*day, "--mobile", MOBILE)) == ["r-2", "r-old", "r-1"]
    assert names(cli.json(*day, "--prefix", "r-o")) == ["r-old"]
    assert [row["request_id"] for row in cli.csv(*day)] == ["r-2", "r-old", "r-1"]
    assert cli.json(*day, "--summary")["total"] == 3
    second = names(cli.json(*day, "--after", str(bench.order("r-2").id)))
    assert second == ["r-old", "r-1"]
    assert "there is no order" in cli.error(*day, "--after", str(bench.order("newest").id))


def test_orders_that_became_final_at_one_moment_are_listed_once_each(bench: Workbench) -> None:
    """More than a page has: pages end within moments."""
    for start in range(0, 4500, 900):
        bench.add(*(f"o{number:04}" for number in range(start, start + 900)))
    first, second = "2016-01-31 10:00:00.000000", "2016-01-31 11:00:00.000000"
    settle = (
        "UPDATE recharge_orders SET state = 'succeeded', settled_at = :at WHERE request_id < :to AND state = 'pending'"
    )
    bench.run(settle, at=first, to="o2300")
    bench.run(settle, at=second, to="o9999")
    bench.run("UPDATE recharge_orders SET state = 'failed' WHERE request_id IN ('o0001', 'o0002', 'o2299', 'o4499')")
    since = datetime(2016, 1, 31, tzinfo=UTC)
    for wanted, most in (
        (OrderSearch(settled_since=since), 700),
        (OrderSearch(settled_since=since, states=[OrderState.FAILED]), 1),
    ):
        found: list[str] = []
        with bench.database.snapshot() as connection:
            page = find_orders(connection, wanted, most=most)
            found += names(page.rows)
            while page.next_after is not None:
                page = find_orders(connection, wanted, after=page.next_after, most=most)
                found += names(page.rows)
        every = [f"o{number:04}" for number in range(4500)]
        chosen = every if not wanted.states else ["o0001", "o0002", "o2299", "o4499"]
        assert found == sorted(chosen, reverse=True)


def test_pages_go_on_after_the_last_order_of_the_one_before(cli: CommandLine, bench: Workbench) -> None:
    add_settled(bench, *(str(number) for number in range(4)))
    add_newest(bench)
    bench.add(*(f"live-{number}" for number in range(5)))
    listed: list[str] = []
    after: list[str] = []
    while page := cli.json("orders", "--limit", "3", *after):
        listed += names(page)
        after = ["--after", str(page[-1]["id"])]
    assert listed == names(cli.json("orders", "--limit", "100"))
    assert len(listed) == len(set(listed)) == 10
    assert "More follow: --after" in cli.run("orders", "--limit", "3").stderr
    assert "More follow" not in cli.run("orders", "--limit", "100").stderr
    assert "there is no order id:999" in cli.error("orders", "--after", "999")


def test_filters_are_combined(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", mobile=MOBILE, expected_amount="1")
    bench.add("3", mobile=MOBILE)
    bench.reconcile([item("1", mobile="188****0804"), item("3", mobile="188****0804")])
    found = ("orders", "--mobile", MOBILE, "--attention", "any", "--state", "succeeded", "--account", "default")
    assert names(cli.json(*found)) == ["1"]
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = '2'")
    assert names(cli.json("orders", "--state", "unresolved")) == ["2"]
    assert names(cli.json("orders", "--state", "unresolved", "--account", "default")) == ["2"]


def test_the_list_is_printed_as_csv(cli: CommandLine, bench: Workbench) -> None:
    bench.enqueue({"request_id": "-1", "mobile": MOBILE, "expected_amount": "2.5"})
    assert cli.run("orders", "--csv").stdout_bytes.startswith(b"\xef\xbb\xbfid,account,")
    (row,) = cli.csv("orders")
    assert (row["request_id"], row["expected_amount"], row["state"]) == ("'-1", "2.50", "pending")
    assert cli.run("orders", "--summary", "--csv").stdout.endswith("default,pending,,1\n")
    assert "either --json or --csv" in cli.error("orders", "--csv", "--json", status=2)


def test_a_rare_state_is_found_behind_many_orders_of_another_one(cli: CommandLine, bench: Workbench) -> None:
    bench.add("rare")
    bench.run("UPDATE recharge_orders SET state = 'cancelled'")
    bench.add(*(f"o{number}" for number in range(300)), age_seconds=60)
    assert names(cli.json("orders", "--state", "cancelled")) == ["rare"]
    assert names(cli.csv("orders", "--state", "cancelled")) == ["rare"]


def test_many_orders_of_one_number_are_listed_as_well(cli: CommandLine, bench: Workbench) -> None:
    """More than are sorted: they are read in the order of the list."""
    now = datetime.now(UTC)
    rows = [
        {"request_id": f"many-{number}", "mobile": MOBILE, "submitted_at": (now - timedelta(hours=1)).isoformat()}
        for number in range(11_000)
    ]
    for start in range(0, len(rows), 1000):
        assert bench.intake.enqueue_orders(rows[start : start + 1000])["rejected"] == []
    assert len(cli.json("orders", "--mobile", MOBILE, "--limit", "20")) == 20
    assert len(cli.json("orders", "--prefix", "many", "--limit", "20")) == 20


def test_a_pending_order_shows_what_is_expected_and_not_what_the_platform_said_beside_its_status(
    cli: CommandLine, bench: Workbench
) -> None:
    bench.add("1", "2", mobile=MOBILE, expected_amount="2.94")
    bench.reconcile([item("1", status="0", amount="0"), item("2", status="-1", amount="0", mobile="188****0804")])
    failed, pending = (line for line in cli.run("orders").stdout.splitlines() if "default" in line)
    assert "(2.94)" in pending
    assert "0.00" not in pending
    assert "0.00" in failed
