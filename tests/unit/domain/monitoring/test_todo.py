"""What needs a person, and that every reason says what to do."""

from datetime import UTC, datetime, timedelta

from worker.domain.monitoring.todo import TodoKind, accounts_to_do, alone_to_do
from worker.domain.records.accounts import AccountState, Pause, Rules
from worker.domain.records.monitoring import PastQuery

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)


def kinds(*states: AccountState, pending: tuple[str, ...] = (), configured: tuple[str, ...] = ("a", "b")) -> list[str]:
    return [f"{one.account} {one.kind}" for one in accounts_to_do(states, pending, configured, {}, NOON, Rules())]


def test_an_account_that_works_needs_no_person() -> None:
    assert kinds(AccountState(account="a"), pending=("a",)) == []


def test_a_pause_is_shown_with_who_and_why_until_it_ends() -> None:
    pause = Pause(paused_at=NOON, paused_until=LATER, paused_by="li", pause_reason="audit")
    paused = AccountState(account="a", pauses=(pause,))
    (found,) = accounts_to_do([paused], [], ["a"], {}, NOON, Rules())
    assert (found.kind, found.since, found.until, found.by, found.note) == (TodoKind.PAUSED, NOON, LATER, "li", "audit")
    assert accounts_to_do([paused], [], ["a"], {}, LATER, Rules()) == []


def test_only_a_long_back_off_needs_a_person() -> None:
    assert kinds(AccountState(account="a", backoff_until=LATER, backoff_seconds=240)) == []
    assert kinds(AccountState(account="a", backoff_until=LATER, backoff_seconds=900)) == ["a account_backs_off"]
    assert kinds(AccountState(account="a", backoff_until=NOON, backoff_seconds=900)) == []


def test_a_refused_configuration_explains_its_back_off() -> None:
    state = AccountState(account="a", backoff_until=LATER, backoff_seconds=900, configuration_refused=True)
    assert kinds(state) == ["a configuration_refused"]


def test_queries_that_come_too_often_are_shown_since_the_first_one_of_an_hour() -> None:
    state = AccountState(account="a")
    times = [NOON - timedelta(minutes=minutes) for minutes in (1, 59, 61)]
    queries = [
        PastQuery(sent_at=time, work="batch", order_count=1, outcome="refused", status_msg=f"too frequent {number}")
        for number, time in enumerate(times)
    ]
    (found,) = accounts_to_do([state], [], ["a"], {"a": queries}, NOON, Rules())
    assert (found.kind, found.since, found.note) == (TodoKind.TOO_FREQUENT, times[1], "too frequent 0")


def test_pending_orders_of_an_unknown_account_come_before_pauses() -> None:
    states = [AccountState(account=name, pauses=(Pause(paused_at=NOON),)) for name in ("a", "gone")]
    assert kinds(*states, pending=("a", "gone")) == ["gone account_not_configured", "a account_paused"]


def test_accounts_with_more_orders_polled_alone_than_a_day_can_poll_need_a_person() -> None:
    found = alone_to_do({"b": (1_000, 142), "a": (143, 142), "c": (142, 142)})
    assert [(one.account, one.note) for one in found] == [
        ("a", "143 orders, 142 polls a day"),
        ("b", "1,000 orders, 142 polls a day"),
    ]
