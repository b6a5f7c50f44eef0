from datetime import timedelta

from worker.domain.records.parameters import Rules


def test_a_reservation_is_the_deadline_the_window_and_the_margin() -> None:
    assert Rules(window_seconds=60, margin_seconds=0.5, deadline_seconds=30).reservation_seconds == 90.5


def test_after_an_answer_a_slot_is_closed_for_the_window_and_the_margin() -> None:
    assert Rules(window_seconds=60, margin_seconds=0.5, deadline_seconds=30).spacing_seconds == 60.5


def test_durations_given_in_windows_scale_with_the_window() -> None:
    assert Rules(window_seconds=0.05).windows(15) == timedelta(seconds=0.75)
