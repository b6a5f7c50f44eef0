"""What is said of endpoints, and when a person or monitoring hears of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.domain.builders import NOW, make_endpoint
from worker.domain.monitoring.todo import TodoKind, endpoints_to_do
from worker.domain.notifications.endpoint_watch import (
    Condition,
    condition_of,
    endpoint_views,
    is_failing_for_long,
    late_notifications,
    takes_others,
    unsent_since,
    warnings_of,
)
from worker.domain.records.monitoring import NotificationCounts
from worker.domain.records.notifications import Endpoint
from worker.words import ENGLISH
from worker.words.sentences import clause_of, endpoint_in_words, finding_in_words

SOUND = make_endpoint("a")
FAILING = replace(SOUND, failing_since=NOW - timedelta(hours=3))
DOUBTED = replace(SOUND, failed_in_row="[1, 2, 3, 4, 5]", rest_until=NOW, failing_since=NOW - timedelta(minutes=9))
LONG = replace(SOUND, failing_since=NOW - timedelta(hours=75))
NONE = NotificationCounts()
WAITING = NotificationCounts(pending=9, waits_since=NOW - timedelta(minutes=6))
STOPPED = replace(LONG, stopped_at=NOW)
PAUSED = replace(SOUND, paused_at=NOW, paused_by="ann")


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (SOUND, "takes notifications"),
        (PAUSED, "paused by ann"),
        (replace(PAUSED, paused_by=None), "paused by an operator"),
        (STOPPED, "stopped: it answered 410, which means that it wants no more"),
        (replace(SOUND, rest_until=NOW + timedelta(seconds=9)), "rests for 9 seconds more"),
        (replace(FAILING, rest_until=NOW + timedelta(seconds=9)), "rests for 9 seconds more, failing for 3 hours"),
        (replace(FAILING, rest_until=NOW), "is tried again, failing for 3 hours"),
        (
            replace(DOUBTED, rest_until=NOW + timedelta(seconds=9)),
            "in doubt: it refused several events in a row, and is sent one at a time, failing for 9 minutes",
        ),
        (
            replace(DOUBTED, rest_level=1, rest_until=NOW + timedelta(seconds=9)),
            "rests for 9 seconds more, failing for 9 minutes",
        ),
    ],
)
def test_how_an_endpoint_fares_in_words(endpoint: Endpoint, words: str) -> None:
    assert fares(endpoint, NONE) == words


@pytest.mark.parametrize(
    ("endpoint", "count", "condition"),
    [
        (SOUND, NONE, Condition.TAKING),
        (FAILING, NONE, Condition.FAILING),
        (replace(FAILING, rest_until=NOW), NONE, Condition.FAILING),
        (replace(FAILING, rest_until=NOW + timedelta(seconds=9)), NONE, Condition.RESTING),
        (DOUBTED, NONE, Condition.IN_DOUBT),
        (replace(DOUBTED, rest_until=NOW + timedelta(seconds=9)), WAITING, Condition.IN_DOUBT),
        (replace(DOUBTED, rest_level=1), NONE, Condition.FAILING),
        (SOUND, WAITING, Condition.UNSENT),
        (PAUSED, WAITING, Condition.PAUSED),
        (replace(STOPPED, paused_at=NOW), WAITING, Condition.STOPPED),
    ],
)
def test_the_gravest_condition_of_an_endpoint_is_named(
    endpoint: Endpoint, count: NotificationCounts, condition: Condition
) -> None:
    assert condition_of(endpoint, count, NOW) is condition


def test_an_endpoint_that_refuses_everything_for_an_hour_needs_a_person() -> None:
    refuses = replace(DOUBTED, failing_since=NOW - timedelta(hours=1))
    assert is_failing_for_long(refuses, NOW)
    assert not is_failing_for_long(replace(refuses, failing_since=NOW - timedelta(minutes=59)), NOW)
    assert not is_failing_for_long(replace(refuses, failed_in_row="[1, 2, 3, 4]"), NOW)
    assert [one.kind for one in endpoints_to_do([refuses], {}, NOW)] == [TodoKind.ENDPOINT_FAILING]
    assert [one.name for one in warnings_of([refuses], {}, NOW)] == ["endpoint_failing"]


def test_accounts_are_shown_that_have_an_endpoint_or_notifications_without_one() -> None:
    left = NotificationCounts(gave_up=2)
    sound, missing = endpoint_views([SOUND], {"removed": left}, NOW)
    assert (sound.account, sound.endpoint, sound.count, sound.condition) == ("a", SOUND, NONE, Condition.TAKING)
    assert (missing.account, missing.endpoint, missing.count) == ("removed", None, left)
    assert missing.condition is Condition.MISSING


@pytest.mark.parametrize(
    ("endpoint", "minutes", "since"),
    [
        (SOUND, 5, 5),
        (SOUND, 4.9, None),
        (PAUSED, 60, None),
        (STOPPED, 60, None),
        (replace(SOUND, rest_from=NOW, rest_until=NOW + timedelta(minutes=1)), 60, None),
        # Its rest has just ended: the probe comes within a second.
        (replace(SOUND, rest_from=NOW - timedelta(minutes=15), rest_until=NOW), 60, None),
        (replace(SOUND, rest_from=NOW - timedelta(minutes=15), rest_until=NOW - timedelta(minutes=7)), 60, 7),
    ],
)
def test_no_process_sends_what_is_due_for_five_minutes_and_may_be_sent(
    endpoint: Endpoint, minutes: float, since: float | None
) -> None:
    count = NotificationCounts(pending=1, waits_since=NOW - timedelta(minutes=minutes))
    assert unsent_since(endpoint, count, NOW) == (None if since is None else NOW - timedelta(minutes=since))
    assert unsent_since(endpoint, NONE, NOW) is None


def test_that_no_process_sends_is_said_in_words_to_monitoring_and_on_the_list_of_things_to_do() -> None:
    assert fares(SOUND, WAITING) == "no process sends to it, notifications are due for 6 minutes"
    (warning,) = warnings_of([SOUND], {"a": WAITING}, NOW)
    assert finding_in_words(warning, ENGLISH) == "a: no process sends its notifications, which are due for 6 minutes"
    (todo,) = endpoints_to_do([SOUND], {"a": WAITING}, NOW)
    assert (todo.kind, todo.since) == (TodoKind.NOTIFICATIONS_UNSENT, WAITING.waits_since)


def fares(endpoint: Endpoint, count: NotificationCounts) -> str:
    (view,) = endpoint_views([endpoint], {"a": count}, NOW)
    return endpoint_in_words(view, ENGLISH)


def late_words(endpoint: Endpoint, queued_ago: int, changed_ago: int = 7200) -> list[str]:
    queued, changed = (NOW - timedelta(seconds=ago) for ago in (queued_ago, changed_ago))
    counts = {"a": NotificationCounts(pending=2, queued_since=queued, oldest_changed_at=changed), "idle": NONE}
    found = list(late_notifications([endpoint], counts, NOW, timedelta(seconds=30)))
    assert all((one.account, one.name) == ("a", "notifications_late") for one in found)
    return [clause_of(one, ENGLISH) for one in found]


def test_why_a_notification_is_late_is_said_by_its_endpoint() -> None:
    words = "a notification has not been delivered for 31 seconds, 2 are pending; its endpoint: takes notifications"
    assert late_words(SOUND, 31) == [words]
    assert late_words(SOUND, 30) == late_words(PAUSED, 31) == []


@pytest.mark.parametrize(("changed_ago", "seconds"), [(7200, 90), (60, 60), (20, None)])
def test_a_failed_try_does_not_make_a_notification_less_late(changed_ago: int, seconds: int | None) -> None:
    # Such a try puts it behind the others, as if it were queued then.
    failing = replace(SOUND, failing_since=NOW - timedelta(seconds=90))
    found = [words.split(",")[0] for words in late_words(failing, 5, changed_ago)]
    assert found == ([] if seconds is None else [f"a notification has not been delivered for {seconds} seconds"])


def test_monitoring_is_warned_of_stopped_and_failing_endpoints_and_of_what_was_given_up() -> None:
    counts = {"b": NotificationCounts(pending=9, gave_up=2), "c": NotificationCounts(pending=1)}
    endpoints = [SOUND, FAILING, PAUSED, LONG, STOPPED, replace(SOUND, account="b"), replace(SOUND, account="c")]
    found = [f"{one.account} {one.name}" for one in warnings_of(endpoints, counts, NOW)]
    assert found == ["a endpoint_failing", "a endpoint_stopped", "b notifications_gave_up"]


def test_notifications_without_an_endpoint_need_a_person() -> None:
    since = NOW - timedelta(hours=1)
    left = NotificationCounts(pending=1_999, gave_up=1, oldest_changed_at=since)
    counts = {"left": left, "one": NotificationCounts(gave_up=1), "a": left, "idle": NONE}
    assert [(one.kind, one.account, one.since, one.note) for one in endpoints_to_do([SOUND], counts, NOW)] == [
        (TodoKind.ENDPOINT_MISSING, "left", since, "2,000 notifications"),
        (TodoKind.ENDPOINT_MISSING, "one", None, "1 notification"),
    ]
    found = [one for one in warnings_of([SOUND], counts, NOW) if one.name == "endpoint_missing"]
    assert [finding_in_words(one, ENGLISH) for one in found] == [
        "left: 2,000 notifications of it wait, and it has no endpoint",
        "one: 1 notifications of it wait, and it has no endpoint",
    ]


@pytest.mark.parametrize(("endpoint", "takes"), [(SOUND, True), (FAILING, False), (STOPPED, False)])
def test_what_an_endpoint_refuses_while_it_takes_others_is_to_blame_itself(endpoint: Endpoint, takes: bool) -> None:
    assert takes_others(endpoint) is takes


def test_what_a_person_can_do_is_listed_gravest_first() -> None:
    found = endpoints_to_do([SOUND, PAUSED, LONG, replace(STOPPED, paused_at=NOW)], {}, NOW)
    assert [(one.kind, one.by) for one in found] == [
        (TodoKind.ENDPOINT_STOPPED, None),
        (TodoKind.ENDPOINT_FAILING, None),
        (TodoKind.ENDPOINT_PAUSED, "ann"),
        (TodoKind.ENDPOINT_PAUSED, None),
    ]
    assert all(one.note == "https://h" for one in found)
