"""When a database is another one than a slot's row was written in, and what is said of it."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW
from worker.domain.queries.slots_and_clocks import (
    Permission,
    begin,
    clamp,
    database_findings,
    hold,
    is_another,
    is_noted,
    is_too_late_to_send,
    lower_window,
    may_query,
    noted,
    opens_in,
    raise_window,
    reserve,
    tighten,
)
from worker.domain.records.accounts import DatabaseChanges, DatabaseIdentity, Provenance, Reading, Rules, Slot
from worker.words import ENGLISH
from worker.words.sentences import finding_in_words

RULES = Rules(window_seconds=60, margin_seconds=0.5, deadline_seconds=30)
LONGER = replace(RULES, window_seconds=120)
START = Reading(boot_id="here", boot=1000.0, database=datetime(2026, 1, 31, 12, tzinfo=UTC))

seconds = st.floats(0.01, 100_000)
any_rules = st.builds(
    Rules,
    window_seconds=st.floats(0.05, 3600),
    margin_seconds=st.floats(0.05, 10),
    deadline_seconds=st.floats(0.05, 600),
)
any_database_time = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive, the zone is added
HERE = DatabaseIdentity.of({"system": 7, "table": 16_401})
"""What a role with all rights sees."""


def later(reading: Reading, passed: float, *, boot_id: str = "here", step: float = 0.0) -> Reading:
    """Both clocks after some seconds, the database's stepped besides."""
    database = reading.database + timedelta(seconds=passed + step)
    return Reading(boot_id=boot_id, boot=reading.boot + passed, database=database)


@given(any_rules, st.floats(0, 1_000_000), seconds, any_database_time, any_database_time)
def test_on_the_boot_that_wrote_the_row_the_databases_clock_decides_nothing(
    rules: Rules, boot: float, passed: float, one_time: datetime, another_time: datetime
) -> None:
    slot = reserve(replace(START, boot=boot), rules, "token")
    now = Reading(boot_id="here", boot=boot + passed, database=one_time)
    assert may_query(slot, now, rules) is may_query(slot, replace(now, database=another_time), rules)
    assert may_query(slot, now, rules) is not Permission.CLAMP


@given(any_rules, st.floats(0, 1), st.sampled_from(["here", "elsewhere"]))
def test_after_a_reservation_no_query_starts_before_deadline_window_and_margin_are_over(
    rules: Rules, part: float, boot_id: str
) -> None:
    passed = part * rules.reservation_seconds
    assume(passed < rules.reservation_seconds - 0.001)
    slot = reserve(START, rules, "token")
    assert may_query(slot, later(START, passed, boot_id=boot_id), rules) is not Permission.QUERY


@given(any_rules, seconds, st.sampled_from(["here", "elsewhere"]))
def test_after_a_reservation_any_host_may_query(rules: Rules, more: float, boot_id: str) -> None:
    now = later(START, rules.reservation_seconds + more, boot_id=boot_id)
    assert may_query(reserve(START, rules, "token"), now, rules) is Permission.QUERY


def test_a_row_written_at_a_reading_ahead_of_ours_is_of_another_boot_whatever_its_id() -> None:
    slot = reserve(START, RULES, "token")
    rebooted = replace(later(START, 91), boot=3.0)
    assert may_query(slot, rebooted, RULES) is Permission.QUERY
    assert may_query(slot, replace(rebooted, database=START.database), RULES) is Permission.WAIT


def test_where_the_databases_clock_decides_a_wait_beyond_its_length_is_clamped() -> None:
    slot = reserve(START, RULES, "token")
    now = later(START, 1, boot_id="elsewhere", step=-3600)
    assert may_query(slot, now, RULES) is Permission.CLAMP
    # It is tried at once.
    assert opens_in(slot, now, RULES) == 0
    clamped = clamp(slot, now, RULES)
    assert clamped.due_at == now.database + timedelta(seconds=90.5)
    assert may_query(clamped, now, RULES) is Permission.WAIT


@pytest.mark.parametrize(("written_with", "length"), [(300.0, 300.0), (5.0, 90.5)])
def test_the_length_is_that_of_the_row_or_ours_if_that_is_longer_and_nothing_else_changes(
    written_with: float, length: float
) -> None:
    due_at = START.database + timedelta(seconds=1000)
    slot = Slot(
        due_at=due_at, boot_id="there", boot_due=17.0, wait_seconds=written_with, token="token", window_seconds=60.0
    )
    clamped = clamp(slot, START, RULES)
    assert clamped == replace(slot, due_at=clamped.due_at, wait_seconds=length)
    at_length = replace(slot, due_at=START.database + timedelta(seconds=length))
    assert may_query(at_length, START, RULES) is Permission.WAIT
    beyond = replace(slot, due_at=START.database + timedelta(seconds=length + 0.001))
    assert may_query(beyond, START, RULES) is Permission.CLAMP


def test_after_a_whole_answer_the_slot_opens_a_window_and_the_margin_from_now() -> None:
    granted = reserve(START, RULES, "token")
    answered = later(START, 2)
    slot = tighten(granted, answered, RULES)
    assert (slot.token, slot.wait_seconds, slot.boot_due) == ("token", 60.5, 1062.5)
    assert may_query(slot, later(answered, 60.4), RULES) is Permission.WAIT
    assert may_query(slot, later(answered, 60.6), RULES) is Permission.QUERY
    assert may_query(slot, later(answered, 60.4, boot_id="elsewhere"), RULES) is Permission.WAIT
    assert may_query(slot, later(answered, 60.6, boot_id="elsewhere"), RULES) is Permission.QUERY


@pytest.mark.parametrize(("boot", "is_late"), [(0.0, False), (20.0, False), (20.001, True), (30.0, True), (99.0, True)])
def test_with_less_than_a_third_of_the_deadline_left_nothing_is_sent(boot: float, is_late: bool) -> None:
    assert is_too_late_to_send(started=0.0, boot=boot, deadline_seconds=30.0) is is_late


def test_a_slot_opens_when_its_wait_has_passed_by_the_clock_that_decides() -> None:
    slot = reserve(START, RULES, "token")
    assert opens_in(slot, later(START, 80.0), RULES) == pytest.approx(10.5)
    assert opens_in(slot, later(START, 80.0, boot_id="elsewhere"), RULES) == pytest.approx(10.5)
    assert opens_in(slot, later(START, 90.6), RULES) == 0


@pytest.mark.parametrize("boot_id", ["here", "elsewhere"])
def test_a_worker_whose_window_is_shorter_than_the_rows_queries_nothing_however_long_it_waits(boot_id: str) -> None:
    slot = reserve(START, LONGER, "token")
    for passed in (0.0, 150.4, 150.6, 1_000_000.0):
        now = later(START, passed, boot_id=boot_id)
        assert may_query(slot, now, RULES) is Permission.REFUSE
        assert opens_in(slot, now, RULES) == math.inf
    # It clamps no wait after a stepped clock either.
    assert may_query(slot, later(START, 0.0, boot_id="elsewhere", step=-3600.0), RULES) is Permission.REFUSE


def test_a_longer_window_raises_the_rows_by_the_difference_and_leaves_the_moment_of_writing() -> None:
    slot = reserve(START, RULES, "token")
    raised = raise_window(slot, LONGER)
    assert raised.due_at == slot.due_at + timedelta(seconds=60)
    assert raised.boot_due == slot.boot_due + 60
    assert raised.wait_seconds == slot.wait_seconds + 60
    assert (raised.boot_id, raised.token, raised.window_seconds) == (slot.boot_id, slot.token, 120)
    for boot_id in ("here", "elsewhere"):
        assert may_query(raised, later(START, 150.4, boot_id=boot_id), LONGER) is Permission.WAIT
        assert may_query(raised, later(START, 150.6, boot_id=boot_id), LONGER) is Permission.QUERY


@pytest.mark.parametrize("window", [60.0, 59.999_995, 30.0])
def test_a_window_that_is_no_longer_raises_nothing(window: float) -> None:
    slot = reserve(START, RULES, "token")
    assert raise_window(slot, replace(RULES, window_seconds=window)) is slot


def test_to_a_row_of_a_release_that_kept_no_window_all_of_ours_is_added() -> None:
    old = replace(reserve(START, RULES, "token"), window_seconds=0.0)
    raised = raise_window(old, RULES)
    assert (raised.window_seconds, raised.boot_due) == (60, old.boot_due + 60)
    # Where it has been due for longer than that, there is no wait.
    assert may_query(raised, later(START, 200), RULES) is Permission.QUERY


def test_a_slot_begins_with_the_longest_window_of_its_sids_slots() -> None:
    slot = begin(START, RULES, longest_window_seconds=120.0)
    assert (slot.window_seconds, slot.wait_seconds) == (120, 150.5)
    assert begin(START, LONGER, longest_window_seconds=60.0).wait_seconds == 150.5
    assert begin(START, LONGER, longest_window_seconds=0.0).wait_seconds == 150.5


def test_an_answer_never_shortens_a_window_that_was_raised_since_the_grant() -> None:
    raised = raise_window(reserve(START, RULES, "token"), LONGER)
    slot = tighten(raised, later(START, 2), RULES)
    assert (slot.window_seconds, slot.wait_seconds, slot.boot_due) == (120, 120.5, 1122.5)
    assert may_query(slot, later(START, 100_000), RULES) is Permission.REFUSE


def test_windows_that_differ_by_less_than_a_row_keeps_are_the_same() -> None:
    slot = reserve(START, replace(RULES, window_seconds=60.000_004), "token")
    assert may_query(slot, later(START, 100), RULES) is Permission.QUERY
    assert raise_window(slot, replace(RULES, window_seconds=60.000_009)) is slot


@pytest.mark.parametrize("boot_id", ["here", "elsewhere"])
def test_a_lowered_window_begins_with_one_full_reservation_of_the_longer_one(boot_id: str) -> None:
    slot = reserve(START, LONGER, "token")
    now = later(START, 10_000, boot_id=boot_id)
    lowered = lower_window(slot, now, RULES, 60.0)
    assert (lowered.window_seconds, lowered.wait_seconds, lowered.token) == (60, 150.5, "token")
    for boot in ("here", "elsewhere"):
        assert may_query(lowered, later(now, 150.4, boot_id=boot), RULES) is Permission.WAIT
        assert may_query(lowered, later(now, 150.6, boot_id=boot), RULES) is Permission.QUERY


def test_a_lowered_window_waits_no_less_than_a_longer_deadline_made_it_wait() -> None:
    slot = reserve(START, replace(LONGER, deadline_seconds=300), "token")
    assert lower_window(slot, START, RULES, 60.0).wait_seconds == 420.5


@pytest.mark.parametrize("window", [120.0, 240.0])
def test_a_window_that_is_no_longer_is_not_lowered(window: float) -> None:
    slot = reserve(START, LONGER, "token")
    assert lower_window(slot, START, RULES, window) is slot


@given(st.floats(0.05, 3600), st.floats(0.05, 3600), st.floats(0, 600), st.booleans(), st.booleans())
def test_from_the_raise_on_the_next_query_is_the_longer_window_away(
    shorter: float, longer: float, answered_after: float, is_answered: bool, is_raised_first: bool
) -> None:
    """A query of one worker, a raise by the other before its answer or after it, then the other's next query."""
    assume(longer >= shorter)
    one, other = replace(RULES, window_seconds=shorter), replace(RULES, window_seconds=longer)
    slot = reserve(START, one, "token")
    seen = later(START, min(answered_after, one.deadline_seconds))
    if is_raised_first:
        slot = raise_window(slot, other)
    if is_answered:
        slot = tighten(slot, seen, one)
    slot = raise_window(slot, other)
    # Without an answer the platform may have seen it as late as at the deadline.
    seen = seen if is_answered else later(START, one.deadline_seconds)
    assert may_query(slot, later(seen, longer), other) is not Permission.QUERY
    assert may_query(slot, later(seen, longer + one.margin_seconds + 0.001), other) is Permission.QUERY


# ---- held by an operator


held_rows = st.builds(
    lambda made, more, window: made(more, window),
    st.sampled_from(
        [
            lambda more, window: reserve(START, replace(RULES, window_seconds=window), "query"),
            lambda more, window: tighten(
                reserve(START, replace(RULES, window_seconds=window), "query"), later(START, 1.0), RULES
            ),
            lambda more, window: raise_window(reserve(START, RULES, "query"), replace(RULES, window_seconds=60 + more)),
            lambda more, window: lower_window(
                reserve(START, replace(RULES, window_seconds=60 + more), "query"), START, RULES, 60.0
            ),
        ]
    ),
    st.floats(0, 5_000),
    st.floats(0.05, 600),
)
steps = st.sampled_from([-86_400.0, -3_600.0, -0.5, 0.0, 0.5, 3_600.0, 86_400.0])


@given(held_rows, st.floats(0, 10_000), st.sampled_from(["here", "elsewhere"]), steps, st.floats(0, 1))
def test_a_held_slot_carries_no_query_before_a_full_reservation_has_passed(
    row: Slot, passed: float, boot_id: str, step: float, part: float
) -> None:
    now = later(START, passed, boot_id=boot_id, step=step)
    held = hold(row, now, RULES, "held")
    longest = replace(RULES, window_seconds=max(RULES.window_seconds, row.window_seconds))
    assert held.wait_seconds >= max(longest.reservation_seconds, row.wait_seconds)
    for host in ("here", "elsewhere"):
        soon = replace(later(now, part * (longest.reservation_seconds - 0.001)), boot_id=host)
        assert may_query(held, soon, RULES) is not Permission.QUERY


@given(held_rows, st.floats(0, 10_000), st.sampled_from(["here", "elsewhere"]), steps, steps, st.floats(0, 1))
def test_a_hold_opens_no_slot_that_was_closed(
    row: Slot, passed: float, boot_id: str, step: float, other_step: float, part: float
) -> None:
    """What the host that wrote the row still had to wait, it waits at least, whichever host holds it and whatever its
    database's clock says; and so does the holding one, on whose boot clock later steps have no effect."""
    now = later(START, passed, boot_id=boot_id, step=step)
    left = max(0.0, row.boot_due - now.boot)
    held = hold(row, now, RULES, "held")
    assert (held.due_at - now.database).total_seconds() >= left - 0.00001
    soon = later(now, part * held.wait_seconds * 0.999, boot_id=boot_id, step=other_step)
    assert may_query(held, soon, RULES) is not Permission.QUERY


def test_a_hold_leaves_the_window_as_it_is_and_has_a_token_of_its_own() -> None:
    row = reserve(START, LONGER, "query")
    held = hold(row, later(START, 1.0), RULES, "held")
    assert (held.window_seconds, held.token, held.boot_id) == (120, "held", "here")
    assert hold(reserve(START, RULES, "query"), START, LONGER, "held").window_seconds == 60
    assert hold(replace(row, window_seconds=0.0), START, RULES, "held").window_seconds == 0.0
    assert hold(held, later(START, 2.0), RULES, "again").wait_seconds == held.wait_seconds


def written(text: str) -> Provenance:
    return Provenance(identity=DatabaseIdentity(text))


@pytest.mark.parametrize(
    ("texts", "after"),
    [
        (["system=7 table=16402", "system=8 table=16401", "table=1"], Provenance(identity=HERE, changes=(NOW,))),
        (["", "table=16401", "system=7"], Provenance(identity=HERE)),
        (["system=7 table=16401", "system=7 table=16401 timeline=1"], None),
    ],
    ids=["another fact: another database", "a fact that a row lacks: taken without a change", "all is noted: it stays"],
)
def test_what_a_row_says_of_the_database_is_compared_fact_by_fact(texts: list[str], after: Provenance | None) -> None:
    for text in texts:
        assert is_another(written(text), HERE) is (after is not None and after.changes != ())
        assert is_noted(written(text), HERE) is (after is None)
        assert noted(written(text), HERE, NOW) == (after or written(text))


def test_where_nothing_is_known_no_database_is_another_one() -> None:
    nothing = DatabaseIdentity()
    assert is_noted(Provenance(), nothing)
    assert not is_another(written("system=7"), nothing)
    assert noted(written("system=7"), nothing, NOW) == written("system=7")


def test_the_last_three_changes_are_kept() -> None:
    provenance = Provenance(identity=HERE)
    for hour in range(4):
        elsewhere = DatabaseIdentity.of({"system": hour})
        provenance = noted(provenance, elsewhere, NOW + timedelta(hours=hour))
    assert provenance.changes == tuple(NOW + timedelta(hours=hour) for hour in (1, 2, 3))


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        ((), None),
        ((61,), None),
        ((59,), "59 minutes ago the database was another one, after a restore or a failover"),
        ((61, 50, 2), "2 minutes ago the database was another one, after a restore or a failover"),
        ((59, 50, 2), "2 minutes ago the database was another one, for the third time within an hour"),
    ],
)
def test_a_change_is_reported_for_an_hour_and_three_in_an_hour_as_such(
    minutes: tuple[float, ...], said: str | None
) -> None:
    changes = DatabaseChanges(now=NOW, changes=tuple(NOW - timedelta(minutes=ago) for ago in minutes))
    found = [finding_in_words(one, ENGLISH) for one in database_findings(changes)]
    assert [one.partition(":")[0] for one in found] == ([] if said is None else [said])
