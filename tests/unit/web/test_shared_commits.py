"""Items that come together share a commit."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.web.shared_commits import SharedCommits


class Committer:
    """Records each commit; `gate` holds the commits back, and items named `bad...` fail."""

    def __init__(self) -> None:
        self.now = 100.0
        self.gate = threading.Event()
        self.gate.set()
        self.under_way = threading.Event()
        self.commits: list[list[str]] = []
        self.followed: list[int] = []

    def commit(self, items: Sequence[str]) -> int:
        self.under_way.set()
        assert self.gate.wait(10)
        self.commits.append(list(items))
        for item in items:
            if item.startswith("bad"):
                raise ValueError(item)
            if item == "away":
                raise ConnectionError(item)
        return len(items)


@pytest.fixture
def committer() -> Committer:
    return Committer()


@pytest.fixture
def shared(committer: Committer) -> Iterator[SharedCommits[str, int]]:
    commits = SharedCommits(
        committer.commit,
        committer.followed.append,
        is_hopeless=lambda error: isinstance(error, ConnectionError),
        clock=lambda: committer.now,
    )
    yield commits
    committer.gate.set()
    commits.close()


def submit_all(shared: SharedCommits[str, int], committer: Committer, *items: str) -> dict[str, BaseException | None]:
    """Submit items while a commit of `first` is held back; returns what each raised."""
    committer.gate.clear()
    committer.under_way.clear()
    with ThreadPoolExecutor(len(items) + 1) as pool:
        first = pool.submit(shared.submit, "first", patience_seconds=10)
        assert committer.under_way.wait(10)
        futures = {item: pool.submit(shared.submit, item, patience_seconds=10) for item in items}
        while shared.waiting < len(items):
            threading.Event().wait(0.001)
        committer.gate.set()
        return {"first": first.exception(), **{item: future.exception() for item, future in futures.items()}}


def test_what_comes_while_a_commit_runs_shares_the_next_one(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    assert set(submit_all(shared, committer, "a", "b", "c").values()) == {None}
    assert [sorted(commit) for commit in committer.commits] == [["first"], ["a", "b", "c"]]
    shared.close()
    assert committer.followed == [1, 3]


def test_items_whose_commit_fails_are_committed_one_by_one(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    raised = submit_all(shared, committer, "a", "bad", "c")
    assert {item: str(error) for item, error in raised.items() if error} == {"bad": "bad"}
    assert sorted(map(len, committer.commits)) == [1, 1, 1, 1, 3]


def test_where_the_database_is_away_none_is_tried_alone(shared: SharedCommits[str, int], committer: Committer) -> None:
    raised = submit_all(shared, committer, "a", "away")
    assert {item: type(error) for item, error in raised.items()} == {
        "first": type(None),
        "a": ConnectionError,
        "away": ConnectionError,
    }
    assert len(committer.commits) == 2


def test_who_has_waited_long_enough_is_told_and_not_committed_later(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    committer.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.submit, "first", patience_seconds=10)
        assert committer.under_way.wait(10)
        with pytest.raises(TimeoutError):
            shared.submit("late", patience_seconds=0.01)
        committer.gate.set()
        assert first.exception() is None
    shared.submit("next", patience_seconds=10)
    assert committer.commits == [["first"], ["next"]]


def test_of_a_commit_that_failed_nothing_is_committed_for_which_nobody_waits_any_more(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    committer.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(shared.submit, "first", patience_seconds=20)
        assert committer.under_way.wait(10)
        bad = pool.submit(shared.submit, "bad", patience_seconds=20)
        late = pool.submit(shared.submit, "late", patience_seconds=10)
        while shared.waiting < 2:
            threading.Event().wait(0.001)
        committer.now += 11
        committer.gate.set()
        assert first.exception() is None
        assert str(bad.exception()) == "bad"
        assert isinstance(late.exception(), TimeoutError)
    assert sorted(map(sorted, committer.commits)) == [["bad"], ["bad", "late"], ["first"]]


def test_a_process_that_stops_commits_what_waits_and_takes_no_more(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    shared.submit("a", patience_seconds=10)
    before = shared.is_running
    shared.close()
    assert (before, shared.is_running) == (True, False)
    with pytest.raises(TimeoutError, match="stopping"):
        shared.submit("b", patience_seconds=10)
    assert committer.commits == [["a"]]
