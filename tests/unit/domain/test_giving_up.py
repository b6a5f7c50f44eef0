from datetime import timedelta

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
from worker.domain.orders import Attention, Lane, OrderState
from worker.domain.query_errors import DeadlineExceeded, Refused

LIMIT = timedelta(seconds=RULES.unresolved_after_seconds)
OLD = make_order(submitted_at=SENT_AT - LIMIT)


@pytest.mark.parametrize("fields", [{"traffic_sts": "0"}, {"traffic_sts": "5"}, None], ids=["0", "unknown", "absent"])
def test_past_the_age_limit_an_order_is_too_old_once_a_query_was_answered_without_settling_it(
    fields: dict[str, str] | None,
) -> None:
    end = answered([OLD, make_order(2)], [make_report(2), *([make_report(**fields)] if fields else [])])
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


def test_past_the_age_limit_an_order_refused_alone_is_too_old() -> None:
    end = failed([OLD], Refused("-7", "no"))
    assert (after(end).state, after(end).attention) == (OrderState.UNRESOLVED, Attention.TOO_OLD)


def test_past_the_age_limit_no_other_bad_end_gives_an_order_up() -> None:
    assert after(failed([OLD, make_order(2)], Refused("-7", "no"))).state is OrderState.PENDING
    suspect = make_order(submitted_at=OLD.submitted_at, lane=Lane.SUSPECT, suspect_group=1)
    assert after(failed([suspect], DeadlineExceeded("no answer"))).state is OrderState.PENDING


def test_an_order_is_given_up_once() -> None:
    order = make_order(submitted_at=OLD.submitted_at, lane=Lane.ALONE, absences=2, absence_mark=1)
    end = answered([order], [], state=make_state(answered_with_items=9))
    assert (after(end).attention, kinds(end)) == (Attention.UNKNOWN_TO_PLATFORM, ["gave_up"])
