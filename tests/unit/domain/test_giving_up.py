from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.domain.builders import (
    NOW,
    RULES,
    SENT_AT,
    after,
    answered,
    failed,
    kinds,
    make_order,
    make_report,
    make_state,
)
from worker.domain.giving_up import flag_overdue
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, Lane, OrderState, Source
from worker.domain.records.query_errors import DeadlineExceeded, HttpError, QueryError, Refused

LIMIT = timedelta(seconds=RULES.unresolved_after_seconds)
OLD = make_order(submitted_at=SENT_AT - LIMIT)


@pytest.mark.parametrize("fields", [{"traffic_sts": "0"}, {"traffic_sts": "5"}, None], ids=["0", "unknown", "absent"])
def test_past_the_age_limit_an_order_is_too_old_once_a_query_was_answered_without_settling_it(
    fields: dict[str, str] | None,
) -> None:
    others = [make_report(2), make_report(3)]
    end = answered([OLD, make_order(2), make_order(3)], [*others, *([make_report(**fields)] if fields else [])])
    assert after(end).state is OrderState.UNRESOLVED
    assert after(end).attention in (Attention.TOO_OLD, Attention.UNKNOWN_STATUS)
    assert kinds(end)[-1] == "gave_up"
    assert after(end).lease_token is None


def test_a_result_settles_an_order_of_any_age() -> None:
    assert after(answered([OLD], [make_report()])).state is OrderState.SUCCEEDED


def test_a_query_sent_before_that_age_does_not_count() -> None:
    younger = make_order(submitted_at=SENT_AT - LIMIT + timedelta(milliseconds=1))
    assert younger.submitted_at < NOW - LIMIT
    assert after(answered([younger], [make_report(traffic_sts="0")])).state is OrderState.PENDING


@pytest.mark.parametrize("error", [Refused("-7", "no"), HttpError(403), DeadlineExceeded("no answer")])
def test_past_the_age_limit_a_query_that_was_not_answered_gives_no_order_up(error: QueryError) -> None:
    assert after(failed([OLD], error)).state is OrderState.PENDING
    assert after(failed([OLD, make_order(2)], error)).state is OrderState.PENDING
    suspect = make_order(submitted_at=OLD.submitted_at, lane=Lane.SUSPECT, suspect_group=1)
    assert after(failed([suspect], error)).state is OrderState.PENDING


def test_an_order_is_given_up_once() -> None:
    order = make_order(submitted_at=OLD.submitted_at, lane=Lane.ALONE, absences=2, absence_mark=1)
    end = answered([order], [], state=make_state(answered_with_items=9))
    assert (after(end).attention, kinds(end)) == (Attention.UNKNOWN_TO_PLATFORM, ["gave_up"])


# ---- orders that stay pending past the age limit


OVERDUE = make_order(submitted_at=NOW - LIMIT - RULES.windows(60) - timedelta(seconds=1))


def test_60_windows_past_the_age_limit_a_pending_order_is_flagged_and_stays_pending() -> None:
    change = flag_overdue(OVERDUE, NOW, RULES)
    assert change.after == replace(OVERDUE, attention=Attention.TOO_OLD)
    (event,) = change.events
    assert (event.kind, event.source, event.to_state) == (EventKind.OVERDUE, Source.WORKER, OrderState.PENDING)


@pytest.mark.parametrize(
    "fields",
    [
        {"submitted_at": NOW - LIMIT - RULES.windows(60)},
        {"state": OrderState.UNRESOLVED},
        {"state": OrderState.CANCELLED},
        {"attention": Attention.UNKNOWN_STATUS},
    ],
    ids=str,
)
def test_an_order_that_is_younger_settled_or_flagged_already_is_not_overdue(fields: dict[str, Any]) -> None:
    order = replace(OVERDUE, **fields)
    change = flag_overdue(order, NOW, RULES)
    assert (change.after, change.events) == (order, ())


def test_an_overdue_order_that_settles_is_no_longer_flagged() -> None:
    settled = after(answered([flag_overdue(OVERDUE, NOW, RULES).after], [make_report()]))
    assert (settled.state, settled.attention) == (OrderState.SUCCEEDED, None)
