"""What is said of endpoints, and when a person or monitoring hears of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.domain.builders import NOW
from worker.domain.endpoint_watch import endpoint_in_words, endpoints_to_do, is_failing_for_long, warnings_of
from worker.domain.records.notifications import Endpoint, TransportKind
from worker.domain.records.overview import NotificationCounts
from worker.domain.todo import TODO, TodoKind

SOUND = Endpoint(account="a", transport=TransportKind.WEBHOOK, target_digest="", shown="https://h")
FAILING = replace(SOUND, failing_since=NOW - timedelta(hours=3))
LONG = replace(SOUND, failing_since=NOW - timedelta(hours=75))
STOPPED = replace(LONG, stopped_at=NOW)
PAUSED = replace(SOUND, paused_at=NOW, paused_by="ann")


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (SOUND, "takes notifications"),
        (PAUSED, "paused by ann"),
        (replace(PAUSED, paused_by=None), "paused by an operator"),
        (STOPPED, "stopped: it answered 410, which means that it wants no more"),
        (replace(SOUND, rest_until=NOW + timedelta(seconds=9)), "rests for 9 s more"),
        (replace(FAILING, rest_until=NOW + timedelta(seconds=9)), "rests for 9 s more, failing for 3 hours"),
        (replace(FAILING, rest_until=NOW), "is tried again, failing for 3 hours"),
        (replace(SOUND, failing_since=NOW - timedelta(seconds=9)), "is tried again, failing for 9 s"),
        (replace(SOUND, failing_since=NOW - timedelta(minutes=9)), "is tried again, failing for 9 minutes"),
    ],
)
def test_how_an_endpoint_fares_in_words(endpoint: Endpoint, words: str) -> None:
    assert endpoint_in_words(endpoint, NOW) == words


def test_an_endpoint_needs_a_person_after_75_hours() -> None:
    assert [is_failing_for_long(one, NOW) for one in (SOUND, FAILING, LONG)] == [False, False, True]


def test_monitoring_is_warned_of_stopped_and_failing_endpoints_and_of_what_was_given_up() -> None:
    counts = {"b": NotificationCounts(pending=9, gave_up=2), "c": NotificationCounts(pending=1)}
    found = list(warnings_of([SOUND, FAILING, PAUSED, LONG, STOPPED], counts, NOW))
    assert [(account, name) for account, name, _ in found] == [
        ("a", "endpoint_failing"),
        ("a", "endpoint_stopped"),
        ("b", "notifications_gave_up"),
    ]


def test_what_a_person_can_do_is_listed_gravest_first() -> None:
    found = endpoints_to_do([SOUND, PAUSED, LONG, replace(STOPPED, paused_at=NOW)], NOW)
    assert [(one.kind, one.by) for one in found] == [
        (TodoKind.ENDPOINT_STOPPED, None),
        (TodoKind.ENDPOINT_FAILING, None),
        (TodoKind.ENDPOINT_PAUSED, "ann"),
        (TodoKind.ENDPOINT_PAUSED, None),
    ]
    assert all(one.kind in TODO and one.note == "https://h" for one in found)
