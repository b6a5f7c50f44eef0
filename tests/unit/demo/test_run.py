from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from worker.demo.readings import Progress
from worker.demo.run import Moment, line_of, shown_on
from worker.domain.records.orders import OrderState, Source

COUNTS = {"settled_count": 88, "pending_count": 11, "absent_count": 1}
ANSWERED = {"id": 1, "order_count": 100, "outcome": "answered", **COUNTS}
IN_FLIGHT = {**ANSWERED, "id": 2, "outcome": "in_flight", **dict.fromkeys(COUNTS)}
PROGRESS = Progress(
    states={OrderState.PENDING: 400, OrderState.SUCCEEDED: 90},
    settled_by={Source.QUERY: 88, Source.CALLBACK: 2},
    attention=0,
    next_query_in=1.25,
    queries=1,
    latest=(ANSWERED,),
)
MOMENT = Moment(seconds=12.0, orders=1000, placed=490, progress=PROGRESS, callbacks={"sent": 2, "lost": 9}, window=2.0)


def shown(*moments: Moment, terminal: bool) -> str:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, _environ={"TERM": "xterm"})
    with shown_on(console) as show:
        for moment in moments:
            show(moment)
    return out.getvalue()


def test_a_line_shows_states_budget_callbacks_and_the_last_answer() -> None:
    assert line_of(MOMENT) == (
        " 12 s  400 pending, 90 succeeded | queries: 1, next in 1.2 s at the earliest | callbacks: 2"
        " | last answer: 100 polled, 88 settled, 11 pending, 1 absent"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latest": (IN_FLIGHT, ANSWERED)}, ["a query is under way", "88 settled"]),
        ({"latest": ({**IN_FLIGHT, "outcome": "timeout"},)}, ["last answer: 100 polled, timeout"]),
        ({"next_query_in": -3.0}, ["next as soon as an order is due"]),
        ({"next_query_in": None}, ["has not begun"]),
    ],
)
def test_queries_under_way_or_failed_and_each_budget_have_words_of_their_own(
    changes: dict[str, Any], words: list[str]
) -> None:
    line = line_of(replace(MOMENT, progress=replace(PROGRESS, **changes)))
    assert [word for word in words if word not in line] == []


def test_without_a_terminal_a_line_comes_every_few_seconds_and_no_escape_code() -> None:
    text = shown(*(replace(MOMENT, seconds=float(second)) for second in range(10)), terminal=False)
    assert text.count("\n") == 3
    assert "\x1b" not in text


def test_in_a_terminal_the_picture_shows_states_budget_and_answers() -> None:
    text = shown(MOMENT, terminal=True)
    for word in ("pending", "succeeded", "400", "Budget: one query per 2 s", "88 settled", "Ctrl-C"):
        assert word in text
