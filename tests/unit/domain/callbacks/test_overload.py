"""What waits for a database that does not answer, or for a lock that lasts."""

import pytest

from worker.domain.callbacks.overload import MOST_WAITING, CommitEnd, CommitHealth

NOW = 1000.0


def test_while_commits_succeed_all_are_taken() -> None:
    health = CommitHealth()
    assert health.takes(NOW, waiting=1000)
    assert health.taken(NOW) == health
    health = health.begun(NOW)
    assert health.takes(NOW + 1.4, waiting=1000)
    assert health.ended(NOW + 1.4, CommitEnd.DONE).takes(NOW + 1.4, waiting=1000)


def test_while_a_commit_runs_for_too_long_none_is_taken() -> None:
    health = CommitHealth().begun(NOW)
    assert not health.takes(NOW + 1.6, waiting=0)
    assert health.ended(NOW + 3, CommitEnd.DONE).takes(NOW + 3, waiting=0)


@pytest.mark.parametrize("ends", [[CommitEnd.AWAY], [CommitEnd.LOCKED_ALONE, CommitEnd.LOCKED, CommitEnd.LOCKED_ALONE]])
def test_after_a_commit_that_found_the_database_away_one_is_taken_each_second(ends: list[CommitEnd]) -> None:
    health = CommitHealth()
    for end in ends:
        assert not health.is_away
        health = health.begun(NOW).ended(NOW + 1, end)
    assert health.is_away
    assert not health.takes(NOW + 1.9, waiting=0)
    assert health.takes(NOW + 2, waiting=0)
    health = health.taken(NOW + 2)
    assert not health.takes(NOW + 2, waiting=0)
    health = health.begun(NOW + 2)
    assert not health.takes(NOW + 2.9, waiting=0)
    assert health.takes(NOW + 3, waiting=0)
    assert health.ended(NOW + 3, ends[-1]).is_away
    assert health.ended(NOW + 3, CommitEnd.DONE).takes(NOW + 3, waiting=0)


def test_locks_of_single_rows_are_no_lock_that_lasts() -> None:
    health = CommitHealth()
    for end in (CommitEnd.LOCKED, CommitEnd.LOCKED_ALONE, CommitEnd.LOCKED, CommitEnd.DONE, CommitEnd.LOCKED_ALONE):
        health = health.begun(NOW).ended(NOW, end)
        assert not health.is_away


def test_for_five_seconds_after_a_lock_that_was_not_to_be_had_few_wait() -> None:
    health = CommitHealth().ended(NOW, CommitEnd.LOCKED).ended(NOW, CommitEnd.DONE)
    assert health.takes(NOW + 4.9, waiting=MOST_WAITING - 1)
    assert not health.takes(NOW + 4.9, waiting=MOST_WAITING)
    assert health.takes(NOW + 5, waiting=MOST_WAITING)
