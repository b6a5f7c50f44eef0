"""An operator acts on an order while an answer, a callback does something to it, in every interleaving.

The first one decides; the other is refused, or recorded. No final state changes by itself.
"""

from functools import partial
from typing import Any

import pytest

from tests.support.racing import Operation, Race, rounds
from tests.support.reconciling import Workbench, answer_to, item
from tests.support.settled_orders import callback
from worker.database.tables import PAUSES, UNMATCHED
from worker.domain.orders import operator_acts as acts
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import Attention, Order, OrderState, Source
from worker.domain.records.queries import Query
from worker.operations.act_by_hand import (
    Decide,
    Operator,
    OrdersActedOn,
    act_on_orders,
    pause_accounts,
    resume_account,
)

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql", "mariadb")]

ANN, BOB = (Operator(name=name, reason="ticket 77") for name in ("ann", "bob"))
FAIL: Decide = partial(acts.resolve, state=OrderState.FAILED, amount=None)


def act(kind: ActKind, decide: Decide, order: Order) -> Operation:
    def operation(bench: Workbench) -> OrdersActedOn:
        (done,) = act_on_orders(bench.database, ANN, kind, [order.id], decide)
        return done

    return operation


def answer(query: Query, name: str) -> Operation:
    return lambda bench: bench.write_back.answered(query, answer_to(query, [item(name)]))


def polled(bench: Workbench, name: str) -> tuple[Order, Query]:
    """An order, and the query that is under way for it alone."""
    bench.run("UPDATE recharge_orders SET due_at = '2100-01-01 00:00:00'")
    bench.add(name)
    bench.clock.advance(1_000.0)
    query = bench.take()
    assert query.ids == (name,)
    return bench.order(name), query


def is_as_the_first_said(bench: Workbench, name: str) -> Source:
    """An order has the state and the source of its only settlement; returns who that was."""
    order, events = bench.order(name), bench.events_of(name)
    (settled,) = [event for event in events if event["kind"] == "settled"]
    assert (order.state, order.settled_by, order.settled_at) == (settled["to_state"], settled["source"], settled["at"])
    assert order.lease_token is None
    source: Source = settled["source"]
    return source


@pytest.mark.parametrize("act_is_first", [True, False], ids=["act", "answer"])
def test_an_order_is_resolved_while_the_answer_to_its_query_is_written(race: Race, act_is_first: bool) -> None:
    first_sources = set()

    def run(name: str, number: int) -> tuple[Any, Any] | None:
        order, query = polled(race.observer, name)
        one, other = act(ActKind.RESOLVE, FAIL, order), answer(query, name)
        return race.run_either(one, other, number, one_first=act_is_first)

    for name, done, effects in rounds(run):
        source = is_as_the_first_said(race.observer, name)
        first_sources.add(source)
        by_operator = source is Source.OPERATOR
        assert (len(done.changes), effects.settled) == ((1, 0) if by_operator else (0, 1))
        expected = Attention.LATE_CONFLICT if by_operator else None
        assert race.observer.order(name).attention is expected
        kinds = [event["kind"].value for event in race.observer.events_of(name)]
        assert kinds == (["settled", "contradicted"] if by_operator else ["settled"])
    assert first_sources == {Source.OPERATOR, Source.QUERY}


@pytest.mark.parametrize("act_is_first", [True, False], ids=["act", "callback"])
def test_an_order_is_reopened_while_a_callback_settles_it(race: Race, act_is_first: bool) -> None:
    """It was unresolved: reopened first it is settled all the same; settled first it is not reopened."""
    reopened = set()

    def run(name: str, number: int) -> tuple[Any, Any] | None:
        race.observer.add(name)
        race.observer.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = :name", name=name)
        reopen = act(ActKind.REOPEN, acts.reopen, race.observer.order(name))
        return race.run_either(
            reopen, lambda bench: bench.intake.record_callbacks([callback(name)]), number, one_first=act_is_first
        )

    for name, done, taken in rounds(run):
        assert taken["settled"] == 1
        assert is_as_the_first_said(race.observer, name) is Source.CALLBACK
        kinds = [event["kind"].value for event in race.observer.events_of(name)]
        assert kinds == (["reopened", "settled"] if done.changes else ["settled"])
        reopened.add(bool(done.changes))
    assert reopened == {True, False}


def test_a_callback_is_linked_to_two_orders_at_once(race: Race) -> None:
    """Or once to each of two orders that it fits: one of them has it, and the other stays as it is."""
    linked = set()

    def run(name: str, number: int) -> tuple[Any, Any] | None:
        race.observer.enqueue(*({"custom_parm": f"{one}-{name}", "mobile": "18812340804"} for one in "ab"))
        race.observer.intake.record_callbacks([callback(name)])
        (kept,) = (row["id"] for row in race.observer.rows(UNMATCHED) if row["request_id"] == name)
        one, other = (
            lambda bench, order=order: bench.intake.link_callback(ANN, kept, order.id)
            for order in race.observer.orders()
            if order.custom_parm in (f"a-{name}", f"b-{name}")
        )
        return race.run_either(one, other, number, one_first=True)

    for name, *done in rounds(run):
        assert [one for one in done if isinstance(one, CodedText)] == [CodedText(TextCode.NO_CALLBACK)]
        pair = [order for order in race.observer.orders() if order.custom_parm in (f"a-{name}", f"b-{name}")]
        assert sorted(order.state for order in pair) == [OrderState.PENDING, OrderState.SUCCEEDED]
        linked.add([order.state.is_final for order in pair].index(True))
    assert linked == {0, 1}


def test_two_operators_resolve_one_order_differently(race: Race) -> None:
    succeed: Decide = partial(acts.resolve, state=OrderState.SUCCEEDED, amount=None)

    def run(name: str, number: int) -> tuple[Any, Any] | None:
        race.observer.add(name)
        order = race.observer.order(name)
        return race.run(act(ActKind.RESOLVE, FAIL, order), number, act(ActKind.RESOLVE, succeed, order))

    for name, one, other in rounds(run):
        assert is_as_the_first_said(race.observer, name) is Source.OPERATOR
        assert sorted([len(one.changes), len(other.changes)]) == [0, 1]


def test_an_account_is_paused_while_an_answer_is_written(race: Race) -> None:
    """Both write the account's row: neither what is learned nor the pause is lost."""

    def run(name: str, number: int) -> tuple[Any, Any] | None:
        _, query = polled(race.observer, name)
        return race.run(answer(query, name), number, lambda bench: pause_accounts(bench.database, ANN, ["default"]))

    for number, (name, _, _) in enumerate(rounds(run), start=1):
        assert is_as_the_first_said(race.observer, name) is Source.QUERY
        state = race.observer.state()
        assert ([one.paused_by for one in state.pauses], state.answered_with_items) == (["ann"], number)
        assert resume_account(race.observer.database, ANN, "default").is_resumed


def test_a_grant_that_waits_for_a_pause_sends_no_query(race: Race) -> None:
    """PostgreSQL reads other tables before it waits for the account's row: the pauses are read afterwards."""

    def run(name: str, number: int) -> tuple[Any, Any] | None:
        resume_account(race.observer.database, ANN, "default")
        race.observer.run("UPDATE recharge_orders SET due_at = '2100-01-01 00:00:00'")
        race.observer.add(name)
        race.observer.clock.advance(1_000.0)
        return race.run(pause, number, lambda bench: bench.grants.take(bench.slot))

    def pause(bench: Workbench) -> Any:
        return pause_accounts(bench.database, ANN, ["default"])

    granted = [query is not None for _, _, query in rounds(run)]
    assert granted == [True] + [False] * (len(granted) - 1)


def test_two_people_pause_an_account_at_once_and_one_pause_stays(race: Race) -> None:
    def run(_: str, number: int) -> tuple[Any, Any] | None:
        return race.run(
            lambda bench: pause_accounts(bench.database, ANN, ["default"]),
            number,
            lambda bench: pause_accounts(bench.database, BOB, ["default"]),
        )

    for _ in rounds(run):
        (pause,) = race.observer.state().pauses
        assert pause.paused_by in ("ann", "bob")
        assert len(race.observer.rows(PAUSES)) == 1
