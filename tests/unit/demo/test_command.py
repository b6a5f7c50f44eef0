from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from worker.demo.command import Moment, line_of, picture_of
from worker.domain.records.orders import OrderState, Source

COUNTS = {"settled_count": 88, "pending_count": 11, "absent_count": 1}
ANSWERED = {"id": 1, "order_count": 100, "outcome": "answered", **COUNTS}
IN_FLIGHT = {**ANSWERED, "id": 2, "outcome": "in_flight", **dict.fromkeys(COUNTS)}
PENDING = {"state": OrderState.PENDING, "settled_by": None, "attention": None}
SETTLED = {"state": OrderState.SUCCEEDED, "settled_by": Source.QUERY, "attention": None}
MOMENT = Moment(
    seconds=12.0,
    orders=[PENDING] * 400 + [SETTLED] * 90,
    queries=[ANSWERED],
    next_query_in=1.25,
    callbacks={"sent": 2, "lost": 9},
)


def test_a_line_shows_states_budget_callbacks_and_the_last_answer() -> None:
    assert line_of(MOMENT) == (
        " 12 s  400 pending, 90 succeeded | queries: 1, next in 1.2 s at the earliest | callbacks: 2"
        " | last answer: 100 polled, 88 settled, 11 pending, 1 absent"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"orders": [], "queries": []}, ["no orders yet | queries: 0, next in"]),
        ({"queries": [IN_FLIGHT, ANSWERED]}, ["a query is under way", "88 settled"]),
        ({"queries": [{**IN_FLIGHT, "outcome": "timeout"}]}, ["last answer: 100 polled, timeout"]),
        ({"next_query_in": -3.0}, ["next as soon as an order is due"]),
        ({"next_query_in": None}, ["has not begun"]),
    ],
)
def test_queries_under_way_or_failed_and_each_budget_have_words_of_their_own(
    changes: dict[str, Any], words: list[str]
) -> None:
    line = line_of(replace(MOMENT, **changes))
    assert [word for word in words if word not in line] == []


def test_the_picture_shows_states_budget_and_answers() -> None:
    out = StringIO()
    Console(file=out, width=100).print(picture_of(MOMENT, 1000, 2.0))
    for word in (
        *("pending", "400", "━", "  490  enqueued so far", "90  settled by a query", "9  callbacks lost"),
        *("Budget: one query per 2 s; 1 so far, next in 1.2 s", "Query 1: 100 polled, 88 settled", "Ctrl-C"),
    ):
        assert word in out.getvalue()
