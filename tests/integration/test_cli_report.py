"""`reconciler report`: what finance reads of a period, on every database."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, insert, update

from tests.support.command_line import CommandLine
from tests.support.plans import add as add_rows
from tests.support.plans import analyze, plan, row
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from tests.support.sql import statements_of
from worker.database.tables import EVENTS, ORDERS
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import OrderState, Source

NOON = datetime(2016, 1, 31, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
PERIOD = ("--from", "2016-01-31", "--to", "2016-01-31")
MOBILE = "18812340804"


def put(bench: Workbench, name: str, settled_at: datetime, delay: float = 60.0, **fields: object) -> None:
    """Set when an order was settled, and after how many seconds."""
    times = {"settled_at": settled_at, "submitted_at": settled_at - timedelta(seconds=delay), "updated_at": settled_at}
    bench.run(update(ORDERS).where(ORDERS.c.request_id == name).values({**times, **fields}))


def by_hand(bench: Workbench, name: str, amount: str, at: datetime) -> None:
    settled = {"state": OrderState.SUCCEEDED, "settled_by": Source.OPERATOR, "ori_amount": Decimal(amount)}
    put(bench, name, at, 7200, **settled)


def add(bench: Workbench, *names: str, amount: str | None = "2.94", account: str = "default") -> None:
    fields = {"mobile": MOBILE, "account": account, **({} if amount is None else {"expected_amount": amount})}
    bench.enqueue(*({"request_id": name, **fields} for name in names))


def fill(bench: Workbench) -> None:
    """Orders of one day, settled in every way, and some of the days beside it."""
    add(bench, "called", "polled", "late", "wrong", "hand", "stuck", "charged", "before", "after")
    add(bench, "unknown", amount=None)
    bench.intake.record_callbacks([callback(name) for name in ("called", "before", "after", "unknown")])
    bench.reconcile(
        [
            item("polled"),
            item("late", amount="2.94"),
            item("wrong", amount="3"),
            item("charged", status="-1", amount="0.05"),
        ]
    )
    bench.intake.record_callbacks([callback("late")])
    put(bench, "called", NOON, 60)
    put(bench, "polled", NOON + timedelta(hours=1), 660)
    put(bench, "late", NOON + timedelta(hours=2), 720)
    put(bench, "wrong", NOON + timedelta(hours=3), 86_400)
    put(bench, "charged", NOON + timedelta(hours=4), 780)
    put(bench, "unknown", NOON + timedelta(hours=5), 61.25)
    by_hand(bench, "hand", "2.94", NOON + timedelta(hours=6))
    # The last moment of the day before, and the first of the day after, as China counts.
    put(bench, "before", NOON - timedelta(hours=12, microseconds=1))
    put(bench, "after", NOON + timedelta(hours=12))
    stuck = {"state": OrderState.UNRESOLVED, "submitted_at": NOON}
    bench.run(update(ORDERS).where(ORDERS.c.request_id == "stuck").values(stuck))


EXPECTED = {
    "by_callback": 2,
    "by_query": 4,
    "by_hand": 1,
    "callbacks_lost": 3,
    "succeeded": 6,
    "failed": 1,
    "expected_amount": "14.70",
    "without_expected_amount": 1,
    "charged_amount": "17.75",
    "mismatches": 2,
    "unresolved": 1,
    "callback_delay_median_seconds": 60.0,
    "callback_delay_p95_seconds": 61.2,
    "callback_delay_p99_seconds": 61.2,
    "query_delay_median_seconds": 720.0,
    "query_delay_p95_seconds": 86_400.0,
    "query_delay_p99_seconds": 86_400.0,
    "hand_delay_median_seconds": 7200.0,
    "hand_delay_p95_seconds": 7200.0,
    "hand_delay_p99_seconds": 7200.0,
}


def test_a_day_has_its_own_orders_however_they_were_settled(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    shown = cli.json("report", *PERIOD)
    assert shown == {
        "from": "2016-01-31",
        "to": "2016-01-31",
        "timezone": "Asia/Shanghai",
        "from_time": "2016-01-30T16:00:00+00:00",
        "to_time": "2016-01-31T16:00:00+00:00",
        **EXPECTED,
    }


def test_every_day_of_the_period_has_a_row_and_days_add_up(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    shown = cli.json("report", "--from", "2016-01-29", "--to", "2016-02-01", "--by", "day")
    days = shown["days"]
    assert [(row["day"], row["by_callback"]) for row in days] == [
        ("2016-01-29", 0),
        ("2016-01-30", 1),
        ("2016-01-31", 2),
        ("2016-02-01", 1),
    ]
    assert shown["by_callback"] == 4
    assert {name: days[2][name] for name in EXPECTED} == EXPECTED


def test_days_are_those_of_the_configured_zone(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    utc = CommandLine({**cli.settings, "RECONCILER_TIMEZONE": "UTC"})
    shown = utc.json("report", "--from", "2016-01-30", "--to", "2016-01-31", "--by", "day")
    assert [row["by_callback"] for row in shown["days"]] == [1, 3]


@pytest.mark.workbench(app_ids={"default": "app-1", "shop": "app-2"})
def test_accounts_are_told_apart(bench: Workbench, cli: CommandLine) -> None:
    add(bench, "a", "b")
    add(bench, "c", account="shop")
    for name, amount in (("a", "1.1"), ("b", "2.2"), ("c", "0.0001")):
        by_hand(bench, name, amount, NOON)
    shown = cli.json("report", *PERIOD, "--by", "account")
    assert [(row["account"], row["by_hand"], row["charged_amount"]) for row in shown["accounts"]] == [
        ("default", 2, "3.30"),
        ("shop", 1, "0.0001"),
    ]
    assert shown["charged_amount"] == "3.3001"
    assert cli.json("report", *PERIOD, "--account", "shop")["charged_amount"] == "0.0001"
    assert "there is no account nowhere" in cli.error("report", "--account", "nowhere")


def test_without_dates_the_report_is_of_yesterday(bench: Workbench, cli: CommandLine) -> None:
    add(bench, "a")
    yesterday = bench.now() - timedelta(days=1)
    by_hand(bench, "a", "1", yesterday)
    noon = CommandLine({**cli.settings, "RECONCILER_TIMEZONE": bench.zone_where_it_is(12)})
    for dates in ((), ("--from", "yesterday"), ("--to", "yesterday")):
        assert noon.json("report", *dates)["by_hand"] == 1
    assert noon.json("report", "--from", "yesterday", "--to", "today", "--by", "day")["days"][1]["by_hand"] == 0


def test_people_see_figures_and_delays(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    lines = cli.run("report", *PERIOD).stdout.splitlines()
    assert lines[0] == "2016-01-31"
    assert "callbacks lost           3" in lines
    assert "charged amount           17.75" in lines
    assert any(
        line.split() == ["by", "query", "0:12:00", "1", "day", "0:00:00", "1", "day", "0:00:00"] for line in lines
    )
    by_day = cli.run("report", *PERIOD, "--by", "day").stdout.splitlines()
    assert by_day[1].split()[:3] == ["day", "by", "callback"]
    assert by_day[-8].split()[:5] == ["total", "2", "4", "1", "3"]


def test_a_spreadsheet_gets_a_row_for_each_day(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    (row,) = cli.csv("report", *PERIOD, "--by", "day")
    assert (row["day"], row["charged_amount"], row["callbacks_lost"]) == ("2016-01-31", "17.75", "3")
    whole = cli.run("report", *PERIOD, "--csv").stdout_bytes
    assert whole.startswith(b"\xef\xbb\xbffrom,to,by_callback,")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "31.01.2016"), "'31.01.2016' is not a date such as 2016-01-31, today or yesterday, or 7d"),
        (("--from", "20160131"), "is not a date"),
        (("--from", "2016-02-01", "--to", "2016-01-31"), "--to 2016-01-31 is not within ten years after --from"),
        (("--from", "0001-01-01", "--to", "0001-01-02"), "is outside of the calendar"),
        (("--json", "--csv"), "give either --json or --csv"),
    ],
)
@pytest.mark.databases("sqlite")
def test_a_period_that_cannot_be_is_refused(cli: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    assert said in cli.error("report", *arguments, status=2)


def test_a_day_is_read_by_the_indexes_of_times(bench: Workbench, cli: CommandLine) -> None:
    settled = {"state": OrderState.SUCCEEDED, "settled_by": Source.QUERY, "query_count": 1, "age_bucket": 1}
    times = [NOON - timedelta(hours=number) for number in range(5000)]
    names = ("submitted_at", "due_at", "settled_at", "created_at", "updated_at")
    add_rows(
        bench.database,
        *(row(f"o{number}", **settled, **dict.fromkeys(names, at)) for number, at in enumerate(times)),
    )
    event = {"at": NOON, "kind": EventKind.REPORTED, "source": Source.QUERY}
    bench.run(insert(EVENTS), *({**event, "order_id": number} for number in range(5000)))
    analyze(bench.database, "recharge_orders", "order_events")
    compared = plans(bench, cli, "compare", "-", *PERIOD, stdin=b"request_id,state,amount\no3,succeeded,2.94\n")
    assert "ix_recharge_orders_submitted" in compared
    assert "request_id_account" in compared or bench.database.kind == "sqlite"
    steps = plans(bench, cli, "report", *PERIOD)
    assert "ix_recharge_orders_results" in steps
    assert "ix_order_events_order_id" in steps
    for table in ("recharge_orders", "order_events"):
        for whole in (f"Seq Scan on {table}", f"SCAN {table}", f"{table} ALL"):
            assert whole not in steps + compared, steps + compared


def plans(bench: Workbench, cli: CommandLine, *arguments: str, stdin: bytes = b"") -> str:
    """The plans of what a command reads of orders, a step a line."""
    with statements_of(Engine) as executed:
        cli.json(*arguments, stdin=stdin)
    seen = [one for one in executed if "FROM recharge_orders" in one[0]]
    assert seen
    with bench.database.read() as connection:
        return "\n".join(plan(bench.database, connection, *one) for one in seen)
