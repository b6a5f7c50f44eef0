"""What waits for a database that does not answer."""

from worker.domain.commit_health import CommitHealth

NOW = 1000.0


def test_while_commits_succeed_all_are_taken() -> None:
    health = CommitHealth()
    assert health.takes(NOW)
    assert health.taken(NOW) == health
    health = health.begun(NOW)
    assert health.takes(NOW + 1.4)
    assert health.ended(NOW + 1.4, is_away=False).takes(NOW + 1.4)


def test_while_a_commit_runs_for_too_long_none_is_taken() -> None:
    health = CommitHealth().begun(NOW)
    assert not health.takes(NOW + 1.6)
    assert health.ended(NOW + 3, is_away=False).takes(NOW + 3)


def test_after_a_commit_that_found_the_database_away_one_is_taken_each_second() -> None:
    health = CommitHealth().begun(NOW).ended(NOW + 1, is_away=True)
    assert not health.takes(NOW + 1.9)
    assert health.takes(NOW + 2)
    health = health.taken(NOW + 2)
    assert not health.takes(NOW + 2)
    health = health.begun(NOW + 2)
    assert not health.takes(NOW + 2.9)
    assert health.takes(NOW + 3)
    assert health.ended(NOW + 3, is_away=False).takes(NOW + 3)
