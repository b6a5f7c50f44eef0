"""Enqueueing orders: answers by the contract, on every database."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.databases import Sqlite
from tests.support.reconciling import Workbench, errors_of
from tests.support.sql import statements_of
from worker.database.migrations import upgrade
from worker.database.tables import ORDERS, REJECTED
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import version_at

MOBILE = "18812340804"

pytestmark = pytest.mark.workbench(app_ids={"default": "app-1", "second": "app-2"})


def answer_of(accepted: int = 0, duplicates: int = 0, rejected: object = ()) -> dict[str, object]:
    return {"accepted": accepted, "duplicates": duplicates, "rejected": [*rejected]}  # type: ignore[misc]  # any list


def enqueue(bench: Workbench, *orders: object) -> dict[str, Any]:
    return bench.intake.enqueue_orders(list(orders))


def test_orders_are_accepted_with_all_their_fields(bench: Workbench) -> None:
    full = {
        "request_id": "r1",
        "custom_parm": "c1",
        "mobile": "+86 188-1234-0804",
        "account": "second",
        "submitted_at": "2024-01-31T18:05:00.123456+08:00",
        "expected_amount": "2.94",
    }
    assert enqueue(bench, full, {"request_id": "r2"}, {"custom_parm": "c3", "mobile": MOBILE}) == answer_of(accepted=3)
    first, second, third = bench.order("r1"), bench.order("r2"), bench.order("c3")
    assert (first.request_id, first.custom_parm, first.mobile, first.account) == ("r1", "c1", MOBILE, "second")
    assert first.expected_amount == Decimal("2.94")
    assert first.submitted_at == datetime(2024, 1, 31, 10, 5, 0, 123456, tzinfo=UTC)
    assert first.due_at == first.submitted_at + timedelta(seconds=bench.rules.grace_seconds)
    assert (first.state, first.query_count, first.attention) == ("pending", 0, None)
    assert (second.account, second.custom_parm, third.request_id, third.mobile) == ("default", None, None, MOBILE)
    rows = bench.rows(ORDERS)
    assert [row["id_kind"] for row in rows] == ["requestId" if row["request_id"] else "customParm" for row in rows]
    assert all(row["created_at"] == row["updated_at"] == rows[0]["created_at"] for row in rows)
    assert abs(second.submitted_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_same_order_again_is_a_duplicate_and_changes_nothing(bench: Workbench) -> None:
    order = {"request_id": "r1", "custom_parm": "c1", "mobile": MOBILE, "expected_amount": "2.94"}
    enqueue(bench, order)
    before = bench.rows(ORDERS)
    assert enqueue(bench, order) == answer_of(duplicates=1)
    assert enqueue(bench, {"custom_parm": "c1", "mobile": MOBILE}) == answer_of(duplicates=1)
    assert enqueue(bench, {"request_id": "r1", "expected_amount": "2.9400"}) == answer_of(duplicates=1)
    assert bench.rows(ORDERS) == before
    assert bench.rows(REJECTED) == []


def test_a_later_order_fills_in_what_was_missing_and_overwrites_nothing(bench: Workbench) -> None:
    enqueue(bench, {"custom_parm": "c1", "mobile": MOBILE, "submitted_at": "2024-01-31T10:05:00Z"})
    later = {"custom_parm": "c1", "request_id": "r1", "expected_amount": "2.94", "submitted_at": "2024-02-01T10:05:00Z"}
    assert enqueue(bench, later) == answer_of(duplicates=1)
    order = bench.order("c1")
    assert (order.request_id, order.expected_amount, order.mobile) == ("r1", Decimal("2.94"), MOBILE)
    assert order.submitted_at == datetime(2024, 1, 31, 10, 5, tzinfo=UTC)
    assert bench.rows(ORDERS)[0]["id_kind"] == "requestId"
    assert [row["kind"] for row in bench.events_of("r1")] == ["filled_in"]


def test_an_order_that_differs_is_refused_and_kept(bench: Workbench) -> None:
    order = {"request_id": "r1", "custom_parm": "c1", "mobile": MOBILE, "expected_amount": "2.94"}
    enqueue(bench, order)
    before = bench.rows(ORDERS)
    other = {**order, "expected_amount": "0"}
    answer = enqueue(bench, other, {"request_id": "r2"})
    assert (answer["accepted"], answer["duplicates"]) == (1, 0)
    assert errors_of(answer)[0][0].startswith("expected_amount: 0 differs from the known order's 2.94")
    assert bench.rows(ORDERS)[:1] == before
    (kept,) = bench.rows(REJECTED)
    assert (kept["source"], json.loads(kept["payload"])) == ("reconciler.enqueue_orders", other)
    assert kept["errors"].startswith("expected_amount: 0 differs")
    assert abs(kept["received_at"] - datetime.now(UTC)) < timedelta(minutes=1)


def open_payloads(bench: Workbench) -> list[object]:
    return [json.loads(row["payload"]) for row in bench.rows(REJECTED) if row["is_open"]]


def test_a_refused_order_is_no_longer_open_once_it_is_taken_in(bench: Workbench) -> None:
    by_both: dict[str, object] = {"request_id": "r1", "custom_parm": "c1", "mobile": "1"}
    by_parm: dict[str, object] = {"custom_parm": "c2", "mobile": "1", "account": "second"}
    others: list[object] = [
        {"request_id": "r1", "account": "second", "mobile": "1"},  # of another account
        {"request_id": "r3", "custom_parm": "c1", "mobile": "1"},  # another order, which shares an id
        {"request_id": "r4", "mobile": "1"},
    ]
    enqueue(bench, by_both, by_parm, *others)
    assert enqueue(bench, {**by_both, "mobile": MOBILE}, {**by_parm, "mobile": MOBILE}) == answer_of(accepted=2)
    assert open_payloads(bench) == others
    assert len(bench.rows(REJECTED)) == 5
    # It was known by its other id alone, and learns this one.
    enqueue(bench, {"custom_parm": "c4", "mobile": MOBILE})
    assert enqueue(bench, {"request_id": "r4", "custom_parm": "c4", "mobile": MOBILE}) == answer_of(duplicates=1)
    assert open_payloads(bench) == others[:2]


def test_an_order_that_its_own_list_also_takes_in_is_not_open(bench: Workbench) -> None:
    answer = enqueue(bench, {"request_id": "r1", "mobile": "1"}, {"request_id": "r1", "mobile": MOBILE})
    assert answer["accepted"] == 1
    assert (open_payloads(bench), len(bench.rows(REJECTED))) == ([], 1)


def test_an_order_that_was_known_already_ends_nothing_that_was_refused(bench: Workbench) -> None:
    order = {"custom_parm": "c1", "mobile": MOBILE}
    enqueue(bench, order)
    # Another customer's, under the same id.
    other = {**order, "mobile": "18812340805"}
    bench.intake.cancel_orders([{"request_id": "r1"}])
    enqueue(bench, other)
    enqueue(bench, order, {"request_id": "r1"})
    # A cancellation of an order that came later has to be sent again.
    assert open_payloads(bench) == [{"request_id": "r1"}, other]


def test_what_is_no_id_is_refused_and_names_no_order(bench: Workbench) -> None:
    unnamed: list[object] = [{"request_id": "x" * 65}, {"request_id": 7}, {"request_id": "nul\x00"}, {}, 5, [{}]]
    enqueue(bench, *unnamed, *({"request_id": "r1", "account": name} for name in (7, "nul\x00", "")))
    assert {(row["account"], row["request_id"], row["custom_parm"]) for row in bench.rows(REJECTED)} == {(None,) * 3}


def test_a_list_that_names_an_order_twice_holds_a_duplicate(bench: Workbench) -> None:
    listed = [
        {"request_id": "r1"},
        {"request_id": "r1", "custom_parm": "c1"},  # fills in
        {"custom_parm": "c1", "mobile": MOBILE},  # by the id that was filled in just now
        {"request_id": "r1", "custom_parm": "c2"},  # differs from that
        {"request_id": "r1", "mobile": "18812340805"},
    ]
    answer = enqueue(bench, *listed)
    assert (answer["accepted"], answer["duplicates"], list(errors_of(answer))) == (1, 2, [3, 4])
    (order,) = bench.orders()
    assert (order.request_id, order.custom_parm, order.mobile) == ("r1", "c1", MOBILE)


# What the domain refuses of an order is in its own tests: these have payloads of every kind.
BAD: list[tuple[object, str]] = [
    (None, "order: must be an object, not null"),
    ([], "order: must be an object, not a list"),
    ({}, "request_id: is missing"),
    ({"request_id": "nul\x00"}, "request_id: contains"),
    ({"request_id": "lone\ud800"}, "request_id: contains"),
    ({"request_id": "r1", "account": "nobody"}, "account: nobody is not configured; accepted: default, second"),
    ({"request_id": "r1", "expected_amount": 2.94}, "expected_amount: "),
    ({"request_id": "r1", "state": "succeeded"}, "'state': is not a known field"),
]


def test_every_bad_order_is_refused_by_name_and_kept_while_the_good_ones_go_through(bench: Workbench) -> None:
    listed = [{"request_id": "good-1"}, *(order for order, _ in BAD), {"request_id": "good-2"}]
    answer = enqueue(bench, *listed)
    assert (answer["accepted"], answer["duplicates"]) == (2, 0)
    errors = errors_of(answer)
    assert list(errors) == list(range(1, len(BAD) + 1))
    for index, (_, expected) in enumerate(BAD, start=1):
        assert errors[index][0].startswith(expected)
        assert len(errors[index]) == 1
    kept = bench.rows(REJECTED)
    assert [row["errors"].split("\n") for row in kept] == list(errors.values())
    # No supported database can hold half a surrogate pair.
    as_kept = [{"request_id": "lone\ufffd"} if order == {"request_id": "lone\ud800"} else order for order, _ in BAD]
    assert [json.loads(row["payload"]) for row in kept] == as_kept
    assert {order.request_id for order in bench.orders()} == {"good-1", "good-2"}


def test_a_thousand_orders_are_accepted_and_a_list_with_one_more_is_refused_whole(bench: Workbench) -> None:
    listed: list[object] = [{"request_id": f"r{number}"} for number in range(1001)]
    answer = bench.intake.enqueue_orders(listed)
    assert (answer["accepted"], list(errors_of(answer))) == (0, [None])
    assert [json.loads(row["payload"]) for row in bench.rows(REJECTED)] == [listed]
    assert bench.intake.enqueue_orders(listed[:1000]) == answer_of(accepted=1000)


def test_a_list_needs_a_few_statements_however_long_it_is(bench: Workbench) -> None:
    def statements(first: int, last: int) -> int:
        numbers = range(first, last)
        listed = [
            *({"request_id": f"known{number}"} for number in numbers),
            *({"request_id": f"known{number}", "mobile": MOBILE} for number in numbers),  # fills in
            *({"request_id": f"new{number}", "custom_parm": f"c{number}"} for number in numbers),
            *({"custom_parm": f"alone{number}", "mobile": MOBILE} for number in numbers),
            *({"request_id": f"bad,{number}"} for number in numbers),
        ]
        with statements_of(bench.database.engine) as executed:
            answer = bench.intake.enqueue_orders(listed)
        count = last - first
        assert (answer["accepted"], answer["duplicates"]) == (2 * count, 2 * count)
        return len(executed)

    enqueue(bench, *({"request_id": f"known{number}"} for number in range(101)))
    enqueue(bench, *({"request_id": f"new{number}", "mobile": "1"} for number in range(101)))
    # Two of them read and lock what is filled in.
    assert statements(0, 1) == statements(1, 101) <= 13
    assert len(open_payloads(bench)) == 101


def test_lists_of_the_same_orders_at_once_lose_nothing_and_double_nothing(bench: Workbench) -> None:
    lists = 6
    barrier = threading.Barrier(lists)

    def send(turn: int) -> dict[str, Any]:
        # Each begins elsewhere and in the opposite direction to the one before; a third of the orders is its own.
        shared = [{"request_id": f"r{n}", "custom_parm": f"c{(n * 37) % 60}"} for n in range(60)]
        own = [{"request_id": f"own{turn}-{n}"} for n in range(20)]
        listed = (shared + own)[:: 1 if turn % 2 else -1]
        barrier.wait()
        return bench.intake.enqueue_orders(listed)

    with ThreadPoolExecutor(lists) as threads:
        answers = list(threads.map(send, range(lists)))
    assert sum(answer["accepted"] for answer in answers) == 60 + 20 * lists
    assert sum(answer["duplicates"] for answer in answers) == 60 * (lists - 1)
    assert all(answer["rejected"] == [] for answer in answers)
    assert len(bench.orders()) == 60 + 20 * lists


def test_two_lists_that_fill_in_the_same_order_at_once_both_count(bench: Workbench) -> None:
    enqueue(bench, *({"request_id": f"r{number}"} for number in range(50)))
    barrier = threading.Barrier(2)

    def fill(fields: dict[str, str]) -> dict[str, Any]:
        barrier.wait()
        return bench.intake.enqueue_orders([{"request_id": f"r{number}", **fields} for number in range(50)])

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(fill, [{"mobile": MOBILE}, {"expected_amount": "2.94"}]))
    assert answers == [answer_of(duplicates=50)] * 2
    assert {(order.mobile, order.expected_amount) for order in bench.orders()} == {(MOBILE, Decimal("2.94"))}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["request_id", "custom_parm", "mobile", "account", "submitted_at", "expected_amount", "requestId"]
)


@pytest.fixture(scope="module")
def junk_bench(request: pytest.FixtureRequest) -> Iterator[Workbench]:
    server: Sqlite = request.getfixturevalue("sqlite_server")
    with server.empty() as url:
        upgrade(url)
        workbench = Workbench(url, rules=Rules())
        yield workbench
        workbench.close()


def kept_refusals(bench: Workbench) -> int:
    """How many refusals are kept: the same callback is one row, with a count."""
    return sum(1 + (row["repeats"] or 0) for row in bench.rows(REJECTED))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(listed=JSON | st.lists(JSON | st.dictionaries(FIELDS, JSON, max_size=4), max_size=4))
def test_whatever_json_arrives_is_answered_and_what_is_refused_is_kept(junk_bench: Workbench, listed: object) -> None:
    intake = junk_bench.intake
    for operation in (intake.enqueue_orders, intake.record_callbacks, intake.cancel_orders, intake.check_orders):
        before = kept_refusals(junk_bench)
        answer: dict[str, Any] = operation(listed)
        assert kept_refusals(junk_bench) - before == len(answer["rejected"])
        items = len(listed) if isinstance(listed, list) and listed else 1
        counted = sum(value for value in answer.values() if isinstance(value, int))
        assert counted + len(answer["rejected"]) == items


@pytest.mark.databases("postgresql")
def test_an_order_is_the_same_row_whether_it_is_looked_up_first_or_not(bench: Workbench) -> None:
    time = "2024-01-31T18:05:00.123456+08:00"
    orders: list[dict[str, str]] = [
        {"request_id": "r1", "custom_parm": "c1", "mobile": MOBILE, "submitted_at": time, "expected_amount": "2.9400"},
        {"request_id": "NULL", "submitted_at": time, "expected_amount": "9999999999.9999"},
        {"custom_parm": "c3", "mobile": MOBILE, "submitted_at": time, "account": "second"},
        {"request_id": "r1", "account": "second", "submitted_at": time, "expected_amount": "0"},
    ]
    other_ids = {"r1": "r2", "NULL": "null", "c1": "d1", "c3": "d3"}
    others = [{name: other_ids.get(value, value) for name, value in order.items()} for order in orders]
    assert enqueue(bench, *orders) == answer_of(accepted=4)
    # An id that is named twice: each is looked up, and inserted after the other.
    assert enqueue(bench, *others, others[0]) == answer_of(accepted=4, duplicates=1)
    rows = sorted(bench.rows(ORDERS), key=lambda row: row["id"])
    assert all(row["version"] == version_at(row["created_at"]) for row in rows)
    ignored = ("id", "request_id", "custom_parm", "created_at", "updated_at", "version")

    def shown(some: list[Any]) -> list[str]:
        kept = [{name: value for name, value in row.items() if name not in ignored} for row in some]
        return sorted(str(sorted(one.items())) for one in kept)

    assert shown(rows[:4]) == shown(rows[4:])
    assert {row["request_id"] for row in rows} == {"r1", "NULL", None, "r2", "null"}


@pytest.mark.databases("postgresql")
def test_a_list_of_new_orders_is_not_looked_up_first(bench: Workbench) -> None:
    orders = [{"request_id": f"r{number}", "custom_parm": f"c{number}"} for number in range(500)]
    with statements_of(bench.database.engine) as executed:
        assert enqueue(bench, *orders) == answer_of(accepted=500)
    assert not [one for one, _ in executed if "FROM recharge_orders" in one]
    # One of them looks for what was refused before.
    assert len(executed) <= 6
    # Some are known by now, one of them by its other id alone, and one gets its other id filled in.
    enqueue(bench, {"request_id": "late"})
    mixed = [
        orders[7],
        {"request_id": "new"},
        {"custom_parm": "c9", "mobile": MOBILE},
        {"request_id": "late", "custom_parm": "parm"},
    ]
    answer = enqueue(bench, *mixed, {"request_id": "r5", "custom_parm": "c6"})
    assert (answer["accepted"], answer["duplicates"], list(errors_of(answer))) == (1, 3, [4])
    assert bench.order("parm").request_id == "late"


def test_single_orders_are_refused_under_the_name_of_their_task(bench: Workbench) -> None:
    order, differs = {"request_id": "r1", "custom_parm": "c1"}, {"request_id": "r1", "custom_parm": "c2"}
    answers = [
        bench.intake.enqueue_orders([one], source="reconciler.enqueue_order")
        for one in (order, "no order", order, differs, {"request_id": "r3"})
    ]
    assert [(one["accepted"], one["duplicates"]) for one in answers] == [(1, 0), (0, 0), (0, 1), (0, 0), (1, 0)]
    assert [[fault["index"] for fault in one["rejected"]] for one in answers] == [[], [0], [], [0], []]  # type: ignore[attr-defined]  # a list
    kept = [(row["source"], json.loads(row["payload"])) for row in bench.rows(REJECTED)]
    assert sorted(kept, key=str) == sorted(
        [("reconciler.enqueue_order", "no order"), ("reconciler.enqueue_order", differs)], key=str
    )


def test_a_list_with_refusals_is_logged_as_a_warning(bench: Workbench) -> None:
    with capture_logs() as logs:
        enqueue(bench, {"request_id": "r1"})
        enqueue(bench, {"request_id": "r2"}, {"request_id": 5})
    lines = [(line["log_level"], line["rejected"]) for line in logs if line["action"] == "orders_enqueued"]
    assert lines == [("info", 0), ("warning", 1)]
