"""The laws that hold for every order, whatever the platform answers and however queries fail."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import (
    APP_ID,
    NOW,
    RULES,
    SCHEDULE,
    leased,
    make_answer,
    make_order,
    make_query,
    make_report,
    make_state,
)
from tests.unit.domain.queries.test_after_failure import ALL as EVERY_FAILURE
from worker.domain.queries.after_failure import after_query_failure
from worker.domain.queries.after_reply import QueryEffects, after_answer
from worker.domain.records.accounts import AccountState
from worker.domain.records.incoming import (
    HttpError,
    QueryError,
    Report,
)
from worker.domain.records.orders import Attention, IdKind, Lane, Order, OrderState

ids = st.integers(1, 6)
states = st.builds(
    make_state,
    echoes_custom_parm=st.booleans(),
    one_item_mode=st.booleans(),
    one_item_streak=st.integers(0, 3),
    one_item_since=st.none() | st.integers(1, 7),
    answered_with_items=st.integers(0, 3),
    answered_by_request_id=st.integers(0, 3),
    configuration_refused=st.booleans(),
)
reports = st.builds(
    make_report,
    ids,
    request_id=st.none() | ids.map("R{}".format),
    custom_parm=st.none() | ids.map("C{}".format),
    app_id=st.sampled_from([APP_ID, APP_ID, APP_ID, "another"]),
    mobile=st.sampled_from([None, "188****0804", "189****0804"]),
    traffic_sts=st.sampled_from([None, "0", "1", "-1", "2"]),
    ori_amount=st.sampled_from([None, "2.94", "0", "x"]),
    fault=st.sampled_from([None, None, None, "unreadable"]),
)
errors = st.sampled_from([*EVERY_FAILURE, HttpError(503, retry_after=9e9)])


@st.composite
def orders_of(draw: st.DrawFn) -> list[Order]:
    """The orders of one query, of one id kind, each as it might be before the lease."""
    by_request_id = draw(st.booleans())
    return [
        make_order(
            order_id,
            request_id=f"R{order_id}" if by_request_id else None,
            custom_parm=draw(st.sampled_from([None, f"C{order_id}"])) if by_request_id else f"C{order_id}",
            submitted_at=NOW - timedelta(days=draw(st.integers(0, 4))),
            lane=draw(st.sampled_from(Lane)),
            suspect_group=1,
            attention=draw(st.none() | st.sampled_from(Attention)),
            absences=draw(st.integers(0, 2)),
            batch_failures=draw(st.integers(0, 2)),
            failures_alone=draw(st.integers(0, 2)),
        )
        for order_id in draw(st.lists(ids, min_size=1, max_size=6, unique=True))
    ]


@st.composite
def rows_of(draw: st.DrawFn, polled: list[Order]) -> list[Order]:
    """The same orders when the query ends: most still held, some changed by another process."""
    rows = []
    for order in polled:
        row = leased(order)
        match draw(st.sampled_from(["held", "held", "held", "taken over", *OrderState])):
            case "taken over":
                row = replace(row, lease_token="another")
            case OrderState() as state:
                row = replace(row, state=state, lease_token=None)
        rows.append(row)
    return rows


def check_the_laws(polled: list[Order], rows: list[Order], effects: QueryEffects) -> None:
    held = {row.id for row in rows if make_query(polled).holds(row)}
    assert len({change.after.id for change in effects.changes}) == len(effects.changes)
    for change in effects.changes:
        before, now = change.before, change.after
        if not before.state.may_settle:
            assert now == replace(before, attention=now.attention)
        if before.id not in held:
            assert now == replace(before, attention=now.attention)
            continue
        assert now.lease_token is None
        match now.state:
            case OrderState.PENDING:
                assert now.due_at <= NOW + RULES.windows(360)
            case OrderState.UNRESOLVED:
                assert now.attention is not None
                assert change.events
            case _:
                assert now.settled_at == NOW
                assert change.settles
        assert (now.lane is Lane.SUSPECT) == (now.suspect_group is not None)
    assert held <= {change.after.id for change in effects.changes}
    assert effects.settled + effects.pending + effects.absent <= len(polled) + len(rows)


@given(st.data(), orders_of(), st.lists(reports, max_size=8), states, st.booleans())
def test_after_an_answer_each_held_order_is_due_settled_or_unresolved_and_no_other_is_touched(
    data: st.DataObject, polled: list[Order], said: list[Report], state: AccountState, is_stale: bool
) -> None:
    rows = data.draw(rows_of(polled))
    others = [make_order(order_id) for order_id in range(1, 7) if order_id not in {order.id for order in polled}]
    query = make_query(polled)
    holder = replace(query, token="") if is_stale else query
    effects = after_answer(
        holder, make_answer(query, said), [*rows, *others], state, schedule=SCHEDULE, now=NOW, rules=RULES
    )
    if is_stale:
        assert all(
            change.after == replace(change.before, attention=change.after.attention) for change in effects.changes
        )
    else:
        check_the_laws(polled, rows, effects)
    taken = [
        (kind, name)
        for change in effects.changes
        for kind in IdKind
        if (name := change.after.key.id_of(kind)) is not None
    ]
    assert len(taken) == len(set(taken)), "no two rows ever share an id"


@given(st.data(), orders_of(), errors, states, st.floats(0, 1))
def test_after_a_query_failure_each_held_order_is_due_or_unresolved_and_no_other_is_touched(
    data: st.DataObject, polled: list[Order], error: QueryError, state: AccountState, jitter: float
) -> None:
    rows = data.draw(rows_of(polled))
    effects = after_query_failure(
        make_query(polled), error, rows, state, schedule=SCHEDULE, now=NOW, rules=RULES, jitter=jitter
    )
    assert effects.settled == 0
    assert {change.after.id for change in effects.changes} == {row.id for row in rows if make_query(polled).holds(row)}
    for change in effects.changes:
        order = change.after
        assert order.lease_token is None
        assert order.state in (OrderState.PENDING, OrderState.UNRESOLVED)
        assert (order.query_count, order.queried_at) == (change.before.query_count, change.before.queried_at)
        assert (order.traffic_sts, order.remark, order.ori_amount) == (None, None, None)
        assert order.due_at <= NOW + RULES.windows(360)
