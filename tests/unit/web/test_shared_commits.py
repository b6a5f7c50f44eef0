"""Items that come together share a commit."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from worker.domain.callbacks.bodies import receive
from worker.domain.callbacks.overload import MOST_WAITING
from worker.domain.records.incoming import Trust
from worker.web.app import order_of
from worker.web.shared_commits import SharedCommits

Tried = dict[str, BaseException | None]
"""What each item raised."""


class Committer:
    """Records each commit. Items named `bad...` and `away` fail, and so do those that begin with a letter of `locked`,
    as if a lock was not to be had."""

    def __init__(self) -> None:
        self.now = 100.0
        self.key: Callable[[str], str] = lambda item: item[:1]
        self.commits: list[list[str]] = []
        self.followed: list[int] = []
        self.locked = ""
        self._gate, self._under_way = threading.Event(), threading.Event()
        self._gate.set()
        self.shared = SharedCommits[str, int](
            self._commit,
            self.followed.append,
            is_hopeless=lambda error: isinstance(error, ConnectionError),
            is_locked=lambda error: isinstance(error, BlockingIOError),
            key=lambda item: self.key(item),
            clock=lambda: self.now,
        )

    def _commit(self, items: Sequence[str]) -> int:
        self._under_way.set()
        assert self._gate.wait(60)
        self.commits.append(list(items))
        for item in items:
            if item.startswith("bad"):
                raise ValueError(item)
            if item == "away":
                raise ConnectionError(item)
            if item[:1] in self.locked:
                raise BlockingIOError(item)
        return len(items)

    def submit(self, item: str, patience_seconds: float = 60) -> BaseException | None:
        """What it raises."""
        try:
            self.shared.submit(item, patience_seconds=patience_seconds)
        except Exception as error:
            return error
        return None

    @contextmanager
    def holding(self, *items: str) -> Iterator[Tried]:
        """A commit of `first` is held back, and the items wait for the next one: `late` half as long as the others.
        What they raised is known afterwards."""
        self._gate.clear()
        self._under_way.clear()
        tried: Tried = {}
        with ThreadPoolExecutor(len(items) + 1) as pool:
            futures = {"first": pool.submit(self.submit, "first")}
            assert self._under_way.wait(60)
            futures |= {item: pool.submit(self.submit, item, 60 if item == "late" else 120) for item in items}
            while self.shared.unanswered < len(futures) or self.shared.waiting < len(items):
                threading.Event().wait(0.001)
            yield tried
            self._gate.set()
            tried |= {item: future.result() for item, future in futures.items()}

    def submit_all(self, *items: str) -> Tried:
        with self.holding(*items) as tried:
            pass
        return tried

    def is_refusing(self) -> bool:
        return isinstance(self.submit("x"), TimeoutError)

    def close(self) -> None:
        self._gate.set()
        self.shared.close()


@pytest.fixture
def committer() -> Iterator[Committer]:
    made = Committer()
    yield made
    made.close()


def kinds_of(tried: Tried) -> dict[str, type]:
    return {item: type(error) for item, error in tried.items() if error is not None}


def test_what_comes_while_a_commit_runs_shares_the_next_one(committer: Committer) -> None:
    assert kinds_of(committer.submit_all("a", "b", "c")) == {}
    assert [sorted(commit) for commit in committer.commits] == [["first"], ["a", "b", "c"]]
    committer.close()
    assert committer.followed == [1, 3]


def test_items_whose_commit_fails_are_committed_one_by_one(committer: Committer) -> None:
    assert kinds_of(committer.submit_all("a", "bad", "c")) == {"bad": ValueError}
    assert sorted(map(len, committer.commits)) == [1, 1, 1, 1, 3]


def test_where_the_database_is_away_none_is_tried_alone(committer: Committer) -> None:
    assert kinds_of(committer.submit_all("a", "away")) == {"a": ConnectionError, "away": ConnectionError}
    assert len(committer.commits) == 2


def test_while_the_database_is_away_one_item_tests_it_each_second(committer: Committer) -> None:
    assert isinstance(committer.submit("away"), ConnectionError)
    assert "does not answer" in str(committer.submit("a"))
    committer.now += 1
    assert isinstance(committer.submit("away"), ConnectionError)
    committer.now += 1
    assert committer.submit("b") is committer.submit("c") is None
    assert committer.commits == [["away"], ["away"], ["b"], ["c"]]


def test_while_a_commit_gets_no_answer_no_later_caller_waits_for_it(committer: Committer) -> None:
    with committer.holding() as tried:
        committer.now += 2
        assert "does not answer" in str(committer.submit("late"))
    assert kinds_of(tried) == {}
    assert committer.submit("next") is None
    assert committer.commits == [["first"], ["next"]]


def test_who_has_waited_long_enough_is_told_and_not_committed_later(committer: Committer) -> None:
    with committer.holding() as tried:
        assert isinstance(committer.submit("late", patience_seconds=0.01), TimeoutError)
    assert kinds_of(tried) == {}
    assert committer.submit("next") is None
    assert committer.commits == [["first"], ["next"]]


def test_of_a_commit_that_failed_nothing_is_committed_whose_caller_has_left(committer: Committer) -> None:
    with committer.holding("bad", "late") as tried:
        committer.now += 61
    assert kinds_of(tried) == {"bad": ValueError, "late": TimeoutError}
    assert sorted(map(sorted, committer.commits)) == [["bad"], ["bad", "late"], ["first"]]


def test_a_process_that_stops_commits_what_waits_and_takes_no_more(committer: Committer) -> None:
    assert committer.submit("a") is None
    before = committer.shared.is_running
    committer.close()
    assert (before, committer.shared.is_running) == (True, False)
    assert "stopping" in str(committer.submit("b"))
    assert committer.commits == [["a"]]


def test_a_lock_that_two_items_do_not_get_counts_as_away(committer: Committer) -> None:
    committer.locked = "abcde"
    tried = committer.submit_all("a", "b", "c", "d", "e")
    assert [len(commit) for commit in committer.commits] == [1, 5, 1, 1]
    errors = list(kinds_of(tried).values())
    assert (errors.count(BlockingIOError), errors.count(TimeoutError)) == (2, 3)
    assert committer.is_refusing()
    # One a second tests whether the lock is gone.
    committer.now += 1
    assert isinstance(committer.submit("a"), BlockingIOError)
    assert committer.is_refusing()
    committer.locked = ""
    committer.now += 1
    assert committer.submit("a") is None
    assert not committer.is_refusing()


def test_one_row_that_is_locked_again_and_again_counts_once(committer: Committer) -> None:
    committer.locked = "r"
    assert {type(committer.submit(item)) for item in ("r0", "r1")} == {BlockingIOError}
    assert not committer.is_refusing()


def test_where_one_row_is_locked_all_others_are_committed(committer: Committer) -> None:
    committer.locked = "r"
    assert isinstance(committer.submit("r0"), BlockingIOError)
    assert set(kinds_of(committer.submit_all("r1", "a", "r2", "b"))) == {"r1", "r2"}
    # Once it is known to be locked, what waits for the same row is not tried again and again.
    alone = [commit for commit in committer.commits if len(commit) == 1 and commit[0][0] == "r"]
    assert alone in ([["r0"], ["r1"]], [["r0"], ["r2"]])
    assert not committer.is_refusing()


def test_after_a_lock_few_wait_and_the_others_are_refused_at_once(committer: Committer) -> None:
    committer.locked = "r"
    assert isinstance(committer.submit("r0"), BlockingIOError)
    assert kinds_of(committer.submit_all(*(f"a{number}" for number in range(MOST_WAITING - 1)))) == {}
    with committer.holding(*(f"b{number}" for number in range(MOST_WAITING - 1))) as tried:
        assert committer.is_refusing()
    assert kinds_of(tried) == {}


def test_refused_callbacks_wait_for_one_row_where_they_are_the_same() -> None:
    def key(body: bytes) -> object:
        return order_of(receive("default", "app-1", body, "application/json", Trust.SETTLE))

    other_account = b'{"requestId": "r1", "appid": "app-2"}'
    # A key has to be hashable, whatever was sent.
    assert len({key(other_account), key(other_account), key(b'{"requestId": ["r1"]}'), key(b"[[]]"), key(b"no")}) == 4


def test_a_defect_fails_those_who_wait_and_the_next_ones_are_committed(committer: Committer) -> None:
    def no_key(item: str) -> str:
        raise TypeError("unhashable")

    committer.key, committer.locked = no_key, "r"
    with capture_logs() as logs:
        assert kinds_of(committer.submit_all("r0", "a")) == {"r0": TimeoutError, "a": TimeoutError}
    assert [(line["action"], line["log_level"]) for line in logs] == [("commit_failed", "error")]
    assert isinstance(committer.submit("r0"), TypeError)
    assert committer.submit("b") is None
    assert committer.shared.is_running
