"""The platform's callbacks, by its own keys: settled once, whatever comes first."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.commits import HeldDatabase
from tests.support.reconciling import Workbench, errors_of, item
from tests.support.sql import statements_of
from tests.support.waiting import locked_table
from worker.database.tables import ORDERS, REJECTED, UNMATCHED
from worker.operations.record_callbacks import record_callbacks

MOBILE = "18812340804"


def body(request_id: object = "r1", **fields: object) -> dict[str, object]:
    """A callback body as the platform sends it."""
    said: dict[str, object] = {
        "requestId": request_id,
        "appid": "app-1",
        "trafficSts": "1",
        "remark": "成功",
        "mobile": "188****0804",
        "oriAmount": "2.94",
        **fields,
    }
    return {name: value for name, value in said.items() if value is not None}


def answer_of(settled: int = 0, unchanged: int = 0, kept: int = 0) -> dict[str, object]:
    return {"settled": settled, "unchanged": unchanged, "kept": kept, "rejected": []}


def record_all(bench: Workbench, *callbacks: object) -> dict[str, Any]:
    return bench.intake.record_callbacks(list(callbacks))


def verdict_on(bench: Workbench, name: str) -> tuple[object, ...]:
    order = bench.order(name)
    return (order.state, order.traffic_sts, order.ori_amount, order.settled_by, order.attention)


SUCCESS = ("succeeded", 1, Decimal("2.94"), "callback", None)


@pytest.mark.parametrize(
    "callback",
    [
        body(),
        {name.upper(): value for name, value in body().items()},
        {name.lower(): value for name, value in body().items()},
        {name.capitalize(): value for name, value in body().items()},
        body(trafficSts=1, oriAmount=2.94),
        body(oriAmount="2.9400"),
        body(statusCode="000000", another={"field": [1]}),
        body(mobile=None, remark=None),
        body(mobile=MOBILE),
    ],
)
@pytest.mark.databases("sqlite")
def test_a_callback_settles_its_order_in_whatever_case_and_type_it_comes(
    bench: Workbench, callback: dict[str, object]
) -> None:
    bench.add("r1", mobile=MOBILE)
    assert record_all(bench, callback) == answer_of(settled=1)
    assert verdict_on(bench, "r1") == SUCCESS


def test_a_settled_order_records_when_by_what_and_by_which_report(bench: Workbench) -> None:
    bench.add("r1", "r2", expected_amount="2.94")
    assert record_all(bench, body(), body("r2", trafficSts="-1", oriAmount="0.00", remark="号码😀错误")) == answer_of(2)
    assert verdict_on(bench, "r1") == SUCCESS
    assert verdict_on(bench, "r2") == ("failed", -1, Decimal(0), "callback", None)
    order = bench.order("r2")
    assert order.remark == "号码😀错误"
    assert order.settled_at is not None
    assert abs(order.settled_at - datetime.now(UTC)) < timedelta(minutes=1)
    (settled,) = bench.events_of("r2")
    assert (settled["kind"], settled["source"], settled["from_state"], settled["to_state"]) == (
        "settled",
        "callback",
        "pending",
        "failed",
    )
    assert json.loads(settled["detail"])["remark"] == "号码😀错误"


def test_a_number_as_an_id_is_the_id_that_it_spells(bench: Workbench) -> None:
    bench.add("2016010000000219")
    assert record_all(bench, body(2016010000000219)) == answer_of(settled=1)


def test_the_same_callback_again_changes_nothing(bench: Workbench) -> None:
    bench.add("r1")
    assert record_all(bench, body(), body()) == answer_of(settled=1, unchanged=1)
    before = bench.rows(ORDERS)
    assert record_all(bench, body()) == answer_of(unchanged=1)
    assert bench.rows(ORDERS) == before
    assert [row["kind"] for row in bench.events_of("r1")].count("settled") == 1


def test_a_callback_that_comes_before_its_order_is_kept_and_then_settles_it(bench: Workbench) -> None:
    assert record_all(bench, body()) == answer_of(kept=1)
    (kept,) = bench.rows(UNMATCHED)
    assert (kept["account"], kept["request_id"], json.loads(kept["payload"])) == ("default", "r1", body())
    bench.add("r1")
    assert verdict_on(bench, "r1") == SUCCESS
    assert bench.rows(UNMATCHED) == []


def test_the_log_counts_the_callbacks_that_were_matched_and_not_those_that_were_tried(bench: Workbench) -> None:
    record_all(bench, body("r1"), body("r2"))
    bench.run("UPDATE unmatched_callbacks SET account = 'removed' WHERE request_id = 'r2'")
    with capture_logs() as logs:
        bench.add("r1", "r2")
        bench.run("UPDATE recharge_orders SET account = 'removed' WHERE request_id = 'r2'")
        bench.intake.match_some_callbacks()
    assert [line["count"] for line in logs if line.get("action") == "callbacks_matched"] == [1]
    assert [row["request_id"] for row in bench.rows(UNMATCHED)] == ["r2"]


def test_an_order_known_by_its_custom_parm_is_settled_and_its_request_id_filled_in(bench: Workbench) -> None:
    bench.enqueue({"custom_parm": "c1", "mobile": MOBILE}, {"custom_parm": "c2", "mobile": MOBILE})
    assert record_all(bench, body("r1", customParm="c1"), body(None, customParm="c2")) == answer_of(settled=2)
    assert (bench.order("c1").request_id, bench.order("c2").request_id) == ("r1", None)


def test_a_row_whose_request_id_is_filled_in_by_enqueue_is_settled_by_the_callback_that_waits(bench: Workbench) -> None:
    bench.enqueue({"custom_parm": "c1", "mobile": MOBILE})
    assert record_all(bench, body("r1")) == answer_of(kept=1)
    assert bench.intake.enqueue_orders([{"custom_parm": "c1", "request_id": "r1"}])["duplicates"] == 1
    assert verdict_on(bench, "c1") == SUCCESS


def test_a_row_whose_request_id_is_filled_in_by_a_callback_is_settled_by_the_one_that_waits(bench: Workbench) -> None:
    bench.enqueue({"custom_parm": "c1", "mobile": MOBILE})
    recharging = body("r1", customParm="c1", trafficSts="0", oriAmount=None)
    assert record_all(bench, body("r1")) == answer_of(kept=1)
    assert record_all(bench, recharging) == answer_of(unchanged=1)
    assert verdict_on(bench, "c1") == SUCCESS
    assert bench.rows(UNMATCHED) == []


def test_a_row_whose_request_id_is_filled_in_by_a_query_is_settled_on_a_tick(bench: Workbench) -> None:
    bench.open()
    bench.enqueue({"custom_parm": "c1", "mobile": MOBILE})
    assert record_all(bench, body("r1")) == answer_of(kept=1)
    bench.reconcile([item("r1", "0", None, custom_parm="c1", mobile="188****0804")])
    bench.intake.match_some_callbacks()
    assert verdict_on(bench, "c1") == SUCCESS


def test_ticks_read_all_kept_callbacks_a_part_at_a_time(bench: Workbench) -> None:
    for start in (0, 1000):
        record_all(bench, *(body(f"r{number:04}") for number in range(start, start + 500)))
    model = bench_row(bench)
    # As left by a process that was killed between its commit and its match.
    bench.run(ORDERS.insert(), *({**model, "request_id": name} for name in ("r0001", "r1499")))
    for _ in range(8):
        bench.intake.match_some_callbacks()
    assert [verdict_on(bench, name) for name in ("r0001", "r1499")] == [SUCCESS] * 2
    assert len(bench.rows(UNMATCHED)) == 998


def bench_row(bench: Workbench) -> dict[str, Any]:
    """A pending order as a row, without its ids."""
    bench.add("model")
    (model,) = bench.rows(ORDERS)
    return {name: value for name, value in model.items() if name not in ("id", "request_id", "custom_parm")}


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("first", ["callback", "order"])
def test_a_callback_and_its_order_that_commit_at_the_same_moment_find_each_other(bench: Workbench, first: str) -> None:
    # Refusals are written last: while their table is locked, a transaction has done its work and is not committed.
    def callback() -> object:
        return record_all(bench, body(), *([5] if first == "callback" else []))

    def order() -> object:
        return bench.intake.enqueue_orders([{"request_id": "r1"}, *([5] if first == "order" else [])])

    held, other = (callback, order) if first == "callback" else (order, callback)
    with ThreadPoolExecutor(1) as threads, locked_table(bench.url, "rejected_orders") as lock:
        running = threads.submit(held)
        lock.wait_for_waiting()
        other()
        assert not running.done()
        lock.release()
        running.result(30)
    assert verdict_on(bench, "r1") == SUCCESS
    assert bench.rows(UNMATCHED) == []


@pytest.mark.databases("postgresql", "mariadb")
def test_a_callback_whose_process_died_at_that_moment_is_matched_on_a_tick(bench: Workbench) -> None:
    def enqueue_at_that_moment() -> None:
        bench.add("r1")
        assert verdict_on(bench, "r1")[0] == "pending"

    with closing(HeldDatabase(bench.url, enqueue_at_that_moment)) as held:
        record_callbacks(held, bench.rules, bench.app_ids, [body()], "test")
    bench.intake.match_some_callbacks()
    assert verdict_on(bench, "r1") == SUCCESS


@pytest.mark.databases("postgresql", "mariadb")
def test_many_callbacks_and_orders_at_once_all_find_each_other(bench: Workbench) -> None:
    names = [f"r{number}" for number in range(80)]

    def work(turn: int) -> None:
        for start in range(0, 80, 10):
            part = names[start : start + 10]
            if turn % 2:
                bench.intake.enqueue_orders([{"request_id": name} for name in part])
            else:
                record_all(bench, *map(body, reversed(part)))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    # The next tick finds those that were kept just after their order had looked for them.
    bench.intake.match_some_callbacks()
    assert {verdict_on(bench, name) for name in names} == {SUCCESS}
    assert bench.rows(UNMATCHED) == []


@pytest.mark.parametrize(
    ("fields", "attention"),
    [
        ({"trafficSts": "-1", "oriAmount": "0"}, "late_conflict"),
        ({"oriAmount": "2.95"}, "late_conflict"),
        ({"trafficSts": "0", "oriAmount": None}, None),
        ({"appid": "app-9"}, "conflicting_answer"),
    ],
)
def test_a_final_state_never_changes_whatever_is_reported_later(
    bench: Workbench, fields: dict[str, object], attention: str | None
) -> None:
    bench.add("r1")
    record_all(bench, body())
    assert record_all(bench, body(**fields)) == answer_of(unchanged=1)
    assert verdict_on(bench, "r1") == (*SUCCESS[:-1], attention)
    expected = {"late_conflict": "contradicted", "conflicting_answer": "not_believed", None: "ignored"}
    assert [row["kind"] for row in bench.events_of("r1")] == ["settled", expected[attention]]


def test_a_success_without_an_amount_field_makes_the_order_due_now(bench: Workbench) -> None:
    bench.add("r1", "r2", age_seconds=0)
    bench.run("UPDATE recharge_orders SET due_at = '2099-01-01 00:00:00'")
    assert record_all(bench, body(oriAmount=None), body("r2", oriAmount="a lot")) == answer_of(unchanged=2)
    assert verdict_on(bench, "r1") == ("pending", None, None, None, None)
    assert bench.order("r1").due_at <= datetime.now(UTC)
    assert verdict_on(bench, "r2") == ("pending", None, None, None, "conflicting_answer")
    assert bench.order("r2").due_at.year == 2099


@pytest.mark.parametrize(
    ("fields", "attention"),
    [
        ({"TrafficSts": "-1"}, "conflicting_answer"),
        ({"appid": "app-9"}, "conflicting_answer"),
        ({"statusCode": "-2"}, "conflicting_answer"),
        ({"trafficSts": ["1"]}, "conflicting_answer"),
    ],
)
@pytest.mark.databases("sqlite")
def test_what_cannot_be_believed_settles_nothing_and_flags_the_order(
    bench: Workbench, fields: dict[str, object], attention: str
) -> None:
    bench.add("r1", mobile=MOBILE, custom_parm="c1")
    assert record_all(bench, body(**fields)) == answer_of(unchanged=1)
    assert verdict_on(bench, "r1") == ("pending", None, None, None, attention)
    assert [row["kind"] for row in bench.events_of("r1")] == ["not_believed"]


def test_a_request_id_that_a_callback_filled_in_for_one_order_is_not_filled_in_for_another(bench: Workbench) -> None:
    bench.enqueue({"custom_parm": "c1", "mobile": MOBILE}, {"custom_parm": "c2", "mobile": MOBILE})
    record_all(bench, body("r1", customParm="c1"), body("r1", customParm="c2"))
    assert [bench.order(name).request_id for name in ("c1", "c2")] == ["r1", None]
    assert verdict_on(bench, "c2")[::4] == ("pending", "conflicting_answer")
    assert verdict_on(bench, "c1")[0] == "succeeded"


@pytest.mark.workbench(app_ids={"default": "app-1", "second": "app-2", "third": "app-2"})
class TestSeveralAccounts:
    def test_the_account_follows_from_the_appid_or_else_from_the_only_row_that_matches(self, bench: Workbench) -> None:
        bench.enqueue(*({"request_id": name, "account": name[:-1]} for name in ("default1", "second2", "second3")))
        bench.run("UPDATE recharge_orders SET request_id = 'r1' WHERE request_id IN ('default1', 'second2')")
        assert record_all(bench, body("r1"), body("second3", appid=None)) == answer_of(settled=2)
        assert [(order.account, order.state) for order in bench.orders()] == [
            *(("default", "succeeded"), ("second", "pending"), ("second", "succeeded")),
        ]

    @pytest.mark.parametrize(("app_id", "settled"), [("app-2", 1), ("", 1), ("app-9", 0)])
    def test_an_order_is_settled_by_the_callback_of_its_own_application_alone(
        self, bench: Workbench, app_id: str, settled: int
    ) -> None:
        bench.enqueue({"request_id": "r1", "account": "second"})
        assert record_all(bench, body("r1", appid=app_id))["settled"] == settled
        assert bench.order("r1").attention == (None if settled else "conflicting_answer")

    @pytest.mark.parametrize("app_id", [None, "app-2", "app-9"])
    def test_where_the_account_is_unknown_the_callback_is_rejected_and_kept(
        self, bench: Workbench, app_id: str | None
    ) -> None:
        bench.enqueue({"request_id": "r1", "account": "second"}, {"request_id": "r1", "account": "third"})
        answer = record_all(bench, body("r1", appid=app_id), body("unknown", appid=app_id))
        assert (answer["settled"], answer["unchanged"], answer["kept"]) == (0, 0, 0)
        assert [errors[0].startswith("appid: ") for errors in errors_of(answer).values()] == [True, True]
        kept = bench.rows(REJECTED)
        assert {json.loads(row["payload"])["requestId"] for row in kept} == {"r1", "unknown"}
        assert {row["source"] for row in kept} == {"reconciler.record_callbacks"}


@pytest.mark.databases("sqlite")
def test_what_is_no_callback_is_rejected_and_kept_while_the_others_go_through(bench: Workbench) -> None:
    bench.add("good")
    refused = {"callback: must be an object, not null": None, "requestId: contains ','": body("a,b")}
    answer = record_all(bench, *refused.values(), body("good"))
    assert answer["settled"] == 1
    assert [errors[0][: len(said)] for said, errors in zip(refused, errors_of(answer).values(), strict=True)] == [
        *refused
    ]
    kept = [json.loads(row["payload"]) for row in bench.rows(REJECTED)]
    # In one order by every writer, so that no two transactions wait for each other.
    assert sorted(kept, key=str) == sorted(refused.values(), key=str)


def test_a_list_needs_a_few_statements_however_long_it_is(bench: Workbench) -> None:
    def statements(first: int, last: int) -> int:
        listed = [body(f"{kind}{number}") for number in range(first, last) for kind in ("known", "unknown")]
        with statements_of(bench.database.engine) as executed:
            answer = record_all(bench, *listed)
        assert answer == answer_of(settled=last - first, kept=last - first)
        return len(executed)

    bench.add(*(f"known{number}" for number in range(301)))
    assert statements(0, 1) == statements(1, 301) <= 12
