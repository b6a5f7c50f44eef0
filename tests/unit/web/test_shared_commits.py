"""Items that come together share a commit."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from worker.domain.callbacks.bodies import receive
from worker.domain.callbacks.overload import MOST_WAITING
from worker.domain.records.incoming import Trust
from worker.web.app import order_of
from worker.web.shared_commits import SharedCommits


class Committer:
    """Records each commit; `gate` holds the commits back, items named `bad...` fail, and so do those that begin with a
    letter of `locked`, as if a lock was not to be had."""

    def __init__(self) -> None:
        self.now = 100.0
        self.gate = threading.Event()
        self.gate.set()
        self.under_way = threading.Event()
        self.commits: list[list[str]] = []
        self.followed: list[int] = []
        self.locked = ""

    def commit(self, items: Sequence[str]) -> int:
        self.under_way.set()
        assert self.gate.wait(10)
        self.commits.append(list(items))
        for item in items:
            if item.startswith("bad"):
                raise ValueError(item)
            if item == "away":
                raise ConnectionError(item)
            if item[:1] in self.locked:
                raise BlockingIOError(item)
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
        is_locked=lambda error: isinstance(error, BlockingIOError),
        key=lambda item: item[:1],
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


def test_while_the_database_is_away_one_item_tests_it_each_second(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    with pytest.raises(ConnectionError):
        shared.submit("away", patience_seconds=10)
    with pytest.raises(TimeoutError, match="does not answer"):
        shared.submit("a", patience_seconds=10)
    committer.now += 1
    with pytest.raises(ConnectionError):
        shared.submit("away", patience_seconds=10)
    committer.now += 1
    shared.submit("b", patience_seconds=10)
    shared.submit("c", patience_seconds=10)
    assert committer.commits == [["away"], ["away"], ["b"], ["c"]]


def test_while_a_commit_gets_no_answer_nobody_else_waits_for_it(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    committer.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.submit, "first", patience_seconds=10)
        assert committer.under_way.wait(10)
        committer.now += 2
        with pytest.raises(TimeoutError, match="does not answer"):
            shared.submit("late", patience_seconds=10)
        committer.gate.set()
        assert first.exception() is None
    shared.submit("next", patience_seconds=10)
    assert committer.commits == [["first"], ["next"]]


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


def refused_at_once(shared: SharedCommits[str, int]) -> bool:
    try:
        shared.submit("x", patience_seconds=10)
    except TimeoutError:
        return True
    return False


def test_a_lock_that_two_items_do_not_get_counts_as_away(shared: SharedCommits[str, int], committer: Committer) -> None:
    committer.locked = "abcde"
    raised = submit_all(shared, committer, "a", "b", "c", "d", "e")
    assert [len(commit) for commit in committer.commits] == [1, 5, 1, 1]
    errors = [type(error) for name, error in raised.items() if name != "first"]
    assert (errors.count(BlockingIOError), errors.count(TimeoutError)) == (2, 3)
    assert refused_at_once(shared)
    # One a second tests whether the lock is gone.
    committer.now += 1
    with pytest.raises(BlockingIOError):
        shared.submit("a", patience_seconds=10)
    assert refused_at_once(shared)
    committer.locked = ""
    committer.now += 1
    shared.submit("a", patience_seconds=10)
    assert not refused_at_once(shared)


def test_one_row_that_is_locked_again_and_again_counts_once(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    committer.locked = "r"
    for item in ("r0", "r1"):
        with pytest.raises(BlockingIOError):
            shared.submit(item, patience_seconds=10)
    assert not refused_at_once(shared)


def test_where_one_row_is_locked_all_others_are_committed(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    committer.locked = "r"
    with pytest.raises(BlockingIOError):
        shared.submit("r0", patience_seconds=10)
    raised = submit_all(shared, committer, "r1", "a", "r2", "b")
    assert {name for name, error in raised.items() if error is None} == {"first", "a", "b"}
    # Once it is known to be locked, what waits for the same row is not tried again and again.
    assert [commit for commit in committer.commits if len(commit) == 1 and commit[0][0] == "r"] in (
        [["r0"], ["r1"]],
        [["r0"], ["r2"]],
    )
    assert not refused_at_once(shared)


def test_after_a_lock_few_wait_and_the_others_are_refused_at_once(
    shared: SharedCommits[str, int], committer: Committer
) -> None:
    committer.locked = "r"
    with pytest.raises(BlockingIOError):
        shared.submit("r0", patience_seconds=10)
    raised = submit_all(shared, committer, *(f"a{number}" for number in range(MOST_WAITING - 1)))
    assert set(raised.values()) == {None}
    committer.gate.clear()
    committer.under_way.clear()
    with ThreadPoolExecutor(MOST_WAITING) as pool:
        first = [pool.submit(shared.submit, f"b{number}", patience_seconds=10) for number in range(MOST_WAITING)]
        assert committer.under_way.wait(10)
        while shared.unanswered < MOST_WAITING:
            threading.Event().wait(0.001)
        assert refused_at_once(shared)
        committer.gate.set()
        assert {future.exception() for future in first} == {None}


def test_refused_callbacks_wait_for_one_row_where_they_are_the_same() -> None:
    def key(body: bytes) -> object:
        return order_of(receive("default", "app-1", body, "application/json", Trust.SETTLE))

    other_account = b'{"requestId": "r1", "appid": "app-2"}'
    # A key has to be hashable, whatever was sent.
    assert len({key(other_account), key(other_account), key(b'{"requestId": ["r1"]}'), key(b"[[]]"), key(b"no")}) == 4


def test_a_defect_fails_those_who_wait_and_the_next_ones_are_committed(committer: Committer) -> None:
    def no_key(item: str) -> object:
        raise TypeError("unhashable")

    def is_locked(error: Exception) -> bool:
        return isinstance(error, BlockingIOError)

    shared = SharedCommits(
        committer.commit, committer.followed.append, is_hopeless=lambda _: False, is_locked=is_locked, key=no_key
    )
    committer.locked = "r"
    try:
        with capture_logs() as logs:
            raised = submit_all(shared, committer, "r0", "a")
        assert {item: type(error) for item, error in raised.items() if error} == {"r0": TimeoutError, "a": TimeoutError}
        assert [(line["action"], line["log_level"]) for line in logs] == [("commit_failed", "error")]
        with pytest.raises(TypeError):
            shared.submit("r0", patience_seconds=10)
        shared.submit("b", patience_seconds=10)
        assert shared.is_running
    finally:
        shared.close()
