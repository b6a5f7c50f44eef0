"""What monitoring is told of an overview: ticks, waits, backlogs, and orders that need a person."""

from dataclasses import replace
from datetime import timedelta
from time import process_time
from typing import Any

import pytest

from tests.unit.domain.builders import NOW, RULES, make_state
from worker.domain.monitoring.findings import Thresholds, check, queries_for, shared_budgets
from worker.domain.monitoring.worker_processes import (
    hang_patience,
    is_ticking,
    last_tick,
    polled_accounts,
    tick_allowance,
)
from worker.domain.records.accounts import DatabaseChanges, Pause
from worker.domain.records.monitoring import (
    AccountOverview,
    CutOff,
    Finding,
    Level,
    NotificationCounts,
    Overview,
    PastQuery,
    PendingCount,
    WorkerRow,
)
from worker.domain.records.notifications import Endpoint, TransportKind
from worker.domain.records.orders import IdKind, Lane
from worker.words import ENGLISH
from worker.words.sentences import finding_in_words


def said(finding: Finding) -> str:
    return finding_in_words(finding, ENGLISH)


def ago(seconds: float) -> Any:
    return NOW - timedelta(seconds=seconds)


def make_worker(tick_seconds_ago: float | None = 1.0, **fields: Any) -> WorkerRow:
    defaults: dict[str, Any] = {
        **{"name": "host:1:a", "host": "host", "pid": 1, "started_at": ago(100), "written_at": ago(1)},
        "last_tick_at": None if tick_seconds_ago is None else ago(tick_seconds_ago),
        "clock_offset_seconds": 0.0,
        "accounts": ("default", "other"),
    }
    return WorkerRow(**{**defaults, **fields})


def make_count(due: int = 0, **fields: Any) -> PendingCount:
    defaults: dict[str, Any] = {"lane": Lane.BATCH, "id_kind": IdKind.REQUEST_ID, "pending": due, "due": due}
    return PendingCount(**{**defaults, **fields})


def make_account(**fields: Any) -> AccountOverview:
    state = fields.pop("state", make_state())
    return AccountOverview(**{"account": "default", "account_sid": "sid", "state": state, **fields})


WORKERS = (make_worker(),)
ENDPOINT = Endpoint(account="default", transport=TransportKind.WEBHOOK, target_digest="", shown="https://h")


def checked(*accounts: AccountOverview, workers: Any = WORKERS, **thresholds: Any) -> list[Finding]:
    return check(Overview(now=NOW, accounts=accounts, workers=workers), Thresholds(**thresholds), RULES)


def names(*accounts: AccountOverview, **thresholds: Any) -> list[str]:
    return [finding.name for finding in checked(*accounts, **thresholds)]


@pytest.mark.parametrize(
    ("at_least", "period", "seconds"), [(30.0, 1.0, 30.0), (30.0, 60.0, 610.0), (5.0, 1.0, 20.0), (5.0, 0.05, 12.0)]
)
def test_a_worker_counts_as_dead_only_after_ten_periods_without_a_tick(
    at_least: float, period: float, seconds: float
) -> None:
    assert tick_allowance(at_least, period) == seconds


def test_the_last_tick_is_that_of_any_process() -> None:
    assert last_tick([], NOW) is None
    assert last_tick([make_worker(None)], NOW) is None
    assert last_tick([make_worker(50), make_worker(3), make_worker(None)], NOW) == ago(3)


def test_a_tick_that_lies_ahead_is_the_mark_of_a_stepped_clock() -> None:
    assert last_tick([make_worker(-3)], NOW) == ago(-3)
    assert last_tick([make_worker(-3600), make_worker(7)], NOW) == ago(7)
    assert not is_ticking([make_worker(-3600)], NOW, 30)


def test_what_running_workers_have_is_polled_and_what_ours_name_where_none_runs() -> None:
    dead = make_worker(31, accounts=("gone",))
    both = [make_worker(accounts=("a",)), make_worker(29, accounts=("b",)), dead]
    assert polled_accounts(both, ["ours"], NOW, 30) == {"a", "b"}
    assert polled_accounts([dead], ["ours"], NOW, 30) == ["ours"]


def test_a_worker_of_a_release_that_does_not_say_may_poll_every_account() -> None:
    silent = replace(make_worker(), accounts=None)
    assert polled_accounts([make_worker(accounts=("a",)), silent], ["ours"], NOW, 30) == {"a", "ours"}


KILLED = make_worker(296, written_at=ago(295))
HANGING = make_worker(hanging_since=ago(160))
ENDS_ITSELF = "such a process ends itself, and another one starts"


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ([], "no worker runs on this database"),
        ([make_worker(31)], "no worker has ticked for 31 seconds"),
        ([make_worker(None)], "no worker has ticked yet; the last one started 100 seconds ago"),
        ([make_worker(None, written_at=ago(31))], "no worker runs or reaches the database"),
        # A killed worker is not taken for one that runs and does not tick.
        ([KILLED], "no worker runs or reaches the database; one that did not end in order ticked 4.9 minutes ago"),
        ([KILLED, make_worker(31)], "no worker has ticked for 31 seconds"),
        ([KILLED, make_worker(None)], "no worker has ticked yet; the last one started 100 seconds ago"),
        ([KILLED, HANGING], f"what the workers do hangs for 2.7 minutes: {ENDS_ITSELF}"),
        ([make_worker(hanging_since=ago(155)), HANGING], f"what the workers do hangs for 2.7 minutes: {ENDS_ITSELF}"),
    ],
)
def test_without_a_tick_in_time_the_finding_is_critical(workers: list[WorkerRow], words: str) -> None:
    (finding,) = checked(workers=workers)
    assert (finding.level, finding.name, said(finding)) == (Level.CRITICAL, "no_tick", words)


def test_a_tick_in_time_of_any_process_is_enough_unless_something_hangs_in_it() -> None:
    assert checked(workers=[make_worker(30)]) == checked(workers=[HANGING, make_worker()]) == []
    assert last_tick([HANGING, make_worker(7)], NOW) == ago(7)


def test_a_step_may_take_a_reservation_and_a_minute() -> None:
    assert hang_patience(RULES) == RULES.reservation_seconds + 60


def heard(broker: float = 1.0, beat: float = 1.0, **fields: Any) -> WorkerRow:
    times = {"broker_asked_at": ago(1), "broker_answered_at": ago(broker), "last_beat_at": ago(beat)}
    return make_worker(**times, written_at=NOW, **fields)


def test_a_broker_that_answers_no_worker_is_critical_and_one_that_some_miss_a_warning() -> None:
    (none,) = checked(workers=[heard(31), heard(45)])
    assert (none.level, none.name) == (Level.CRITICAL, "no_broker")
    (some,) = checked(workers=[heard(31), heard(2)])
    assert (some.level, some.name) == (Level.WARNING, "no_broker")
    assert checked(workers=[heard(45)], tick_seconds=60) == []


def test_what_a_dead_process_heard_says_nothing() -> None:
    dead = heard(45, 45, tick_seconds_ago=45)
    assert checked(workers=[dead, heard()]) == []
    assert [finding.name for finding in checked(workers=[dead])] == ["no_tick"]


def test_a_beat_that_is_gone_is_a_warning_unless_the_broker_is_away() -> None:
    (gone,) = checked(workers=[heard(beat=31)])
    assert (gone.level, gone.name) == (Level.WARNING, "no_beat")
    assert [finding.name for finding in checked(workers=[heard(31, 31)])] == ["no_broker"]


def test_messages_that_nobody_takes_in_are_critical_while_workers_tick() -> None:
    (stopped,) = checked(workers=[make_worker(orders_waiting=3)])
    assert (stopped.level, stopped.name) == (Level.CRITICAL, "nothing_taken_in")
    assert checked(workers=[make_worker(orders_waiting=3, taken_in_at=ago(9))]) == []


def cut_off(host: str = "host", account: str = "", **fields: Any) -> CutOff:
    times = {"since": ago(300), "probe_at": ago(0), "why": "no route"}
    return CutOff(host=host, account=account, **times | fields)


def test_each_host_that_is_cut_off_is_named_with_since_when_and_why() -> None:
    rows = [cut_off(), cut_off(account="shop", why="-205"), cut_off(account="other", since=None), cut_off("gone")]
    found = check(Overview(now=NOW, workers=WORKERS, cut_off=rows), Thresholds(), RULES)
    assert [(one.level, one.name, one.account, said(one)) for one in found] == [
        (
            *(Level.WARNING, "host_cut_off", None),
            "host has not reached the platform for 5 minutes, and sends no query: no route",
        ),
        (Level.WARNING, "host_cut_off", "shop", "shop: the platform has refused host for 5 minutes: -205"),
    ]


def test_a_host_that_is_refused_for_all_accounts_is_one_finding() -> None:
    rows = [cut_off(account="a", since=ago(60)), cut_off(account="b"), cut_off()]
    found = check(Overview(now=NOW, workers=WORKERS, cut_off=rows), Thresholds(), RULES)
    assert [(one.account, said(one)) for one in found] == [
        (None, "the platform has refused host for several accounts for 5 minutes: no route"),
        (None, "host has not reached the platform for 5 minutes, and sends no query: no route"),
    ]
    answered = [replace(row, is_answered=True) for row in rows[:2]]
    found = check(Overview(now=NOW, workers=WORKERS, cut_off=answered), Thresholds(), RULES)
    assert [one.account for one in found] == ["b", "a"]


def test_where_no_host_is_connected_it_is_known_why_nothing_is_polled() -> None:
    account = make_account(counts=[make_count(1, oldest_due_at=ago(11 * 60))], last_query_at=ago(11 * 60))

    def names(*rows: CutOff) -> set[str]:
        overview = Overview(now=NOW, accounts=[account], workers=WORKERS, cut_off=rows)
        return {one.name for one in check(overview, Thresholds(), RULES)}

    assert names() == {"nothing_asked"}
    assert names(cut_off()) == {"host_cut_off"}
    assert names(cut_off("another")) == {"nothing_asked"}


def test_a_notification_that_is_not_delivered_for_long_is_a_warning() -> None:
    def found(seconds: float, **thresholds: Any) -> list[Finding]:
        counts = {"default": NotificationCounts(pending=20, oldest_changed_at=ago(seconds), queued_since=ago(seconds))}
        overview = Overview(now=NOW, workers=WORKERS, notifications=counts, endpoints=[ENDPOINT])
        return check(overview, Thresholds(**thresholds), RULES)

    assert found(600) == []
    (late,) = found(660)
    assert (late.level, late.name, late.account) == (Level.WARNING, "notifications_late", "default")
    words = "a notification has not been delivered for 11 minutes, 20 are pending; its endpoint: takes notifications"
    assert said(late) == f"default: {words}"
    assert [finding.name for finding in found(31, notify_seconds=30.0)] == ["notifications_late"]


def make_query(seconds_ago: float = 10, **fields: Any) -> PastQuery:
    defaults: dict[str, Any] = {"work": "batch", "order_count": 3, "outcome": "refused", "status_msg": "查询过于频繁"}
    return PastQuery(sent_at=ago(seconds_ago), **{**defaults, **fields})


def of_state(**fields: Any) -> AccountOverview:
    return make_account(state=make_state(**fields))


def of_counts(*counts: PendingCount) -> AccountOverview:
    return make_account(counts=counts)


NEED_A_PERSON = make_account(attention={"too_old": 2}, unresolved={"too_old": 2, None: 1})
STUCK = make_account(counts=[make_count(1, oldest_due_at=ago(601))], last_query_at=ago(601))
TOO_FREQUENT = [make_query(10), make_query(3600), make_query(3601)]
OTHER_FAILURES = [make_query(outcome="http_error"), make_query(status_msg="no such order"), make_query(status_msg=None)]


@pytest.mark.parametrize(
    ("account", "name", "words"),
    [
        (of_state(pauses=(Pause(paused_at=ago(60), paused_by="ann"),)), "paused", "paused by ann"),
        (of_state(pauses=(Pause(paused_at=ago(60)),)), "paused", "paused by an operator"),
        (of_state(backoff_until=ago(-45)), "back_off", "backs off for 45 seconds more"),
        (of_state(backoff_until=ago(-0.2)), "back_off", "backs off for 0.2 seconds more"),
        (of_state(backoff_until=ago(-45), configuration_refused=True), "back_off", "the configuration (-205)"),
        (make_account(queries=[make_query()]), "too_frequent", "refused as too frequent in the last hour: 1"),
        (make_account(queries=TOO_FREQUENT), "too_frequent", "last hour: 2"),
        (of_state(failures_in_row=10), "outage", "the last 10 queries failed"),
        # 60 windows of 60 s hold 59 queries, which are 60.5 s apart.
        (of_counts(make_count(5901)), "backlog", "5,901 orders are due, 1 hour of queries"),
        (STUCK, "nothing_asked", "no query for 10 minutes, although orders are due"),
        (replace(STUCK, last_query_at=None), "nothing_asked", "although orders are due"),
        (replace(STUCK, state=make_state(pauses=(Pause(paused_at=ago(1)),))), "paused", "paused by an operator"),
        (replace(STUCK, state=make_state(backoff_until=ago(-1))), "back_off", "backs off for 1 second more"),
        (NEED_A_PERSON, "attention", "3 need a person"),
    ],
)
def test_what_an_account_suffers_is_a_warning(account: AccountOverview, name: str, words: str) -> None:
    (finding,) = checked(account)
    assert (finding.level, finding.name, finding.account) == (Level.WARNING, name, "default")
    assert said(finding).startswith("default: ")
    assert words in said(finding)


@pytest.mark.parametrize(
    "account",
    [
        make_account(),
        of_state(pauses=(Pause(paused_at=ago(60), paused_until=ago(1)),)),
        of_state(backoff_until=ago(1)),
        make_account(queries=OTHER_FAILURES),
        of_state(failures_in_row=9),
        of_counts(make_count(5900)),
        replace(STUCK, last_query_at=ago(599)),
        of_counts(make_count(1, oldest_due_at=ago(599))),
    ],
)
def test_an_account_is_well_until_then(account: AccountOverview) -> None:
    assert checked(account) == []


ALONE = make_count(0, pending=143, lane=Lane.ALONE)
BLIND = make_count(0, pending=1429, id_kind=IdKind.CUSTOM_PARM)
OTHERS = make_count(0, pending=1)


def test_more_orders_polled_alone_than_a_day_can_poll_are_reported() -> None:
    # A day has 1,428 queries, of which these orders get one in ten while others wait.
    assert names(of_counts(ALONE, OTHERS)) == names(of_counts(BLIND)) == ["polled_alone"]
    (finding,) = checked(of_counts(ALONE, OTHERS))
    assert said(finding) == "default: 143 orders wait for a query of their own, and a day has 142 such queries"
    for counts in ((ALONE,), (replace(ALONE, pending=142), OTHERS), (replace(BLIND, pending=1428),)):
        assert names(of_counts(*counts)) == []
    echoing, one_item = make_state(echoes_custom_parm=True), make_state(one_item_mode=True)
    assert names(make_account(counts=[BLIND], state=echoing)) == []
    assert names(make_account(counts=[ALONE, OTHERS], state=one_item)) == []


def test_thresholds_say_when_a_backlog_or_orders_for_a_person_are_reported() -> None:
    assert names(of_counts(make_count(101)), backlog_windows=1) == ["backlog"]
    assert names(of_counts(make_count(0, pending=9999)), backlog_windows=1) == []
    assert NEED_A_PERSON.needs_a_person == 3
    assert names(NEED_A_PERSON, attention_orders=4) == []


def test_while_another_account_of_its_sid_is_polled_an_account_waits_its_turn() -> None:
    assert names(STUCK, make_account(account="other", last_query_at=ago(1))) == []


def test_a_back_off_for_too_frequent_use_says_so_for_every_account_of_the_sid() -> None:
    waiting = make_state(backoff_until=ago(-45))
    refused = make_account(account="other", queries=[make_query(10)])
    words = "default: the platform says that it is queried too often, backs off for 45 seconds more"
    assert words in [said(finding) for finding in checked(make_account(state=waiting), refused)]
    later = make_account(state=waiting, queries=[make_query(5, outcome="timeout", status_msg=None)])
    apart = replace(refused, account_sid="sid-2")
    for account, neighbour in ((later, refused), (make_account(state=waiting), apart)):
        found = {finding.name: said(finding) for finding in checked(account, neighbour)}
        assert found["back_off"] == "default: backs off for 45 seconds more"


def test_accounts_with_one_sid_share_its_budget() -> None:
    one = make_account(counts=[make_count(200)])
    other = make_account(account="other", counts=[make_count(50)])
    apart = make_account(account="apart", account_sid="sid-2", counts=[make_count(900)])
    unknown = make_account(account="unknown", account_sid=None, counts=[make_count(900)])
    also_unknown = replace(unknown, account="also unknown")
    budgets = shared_budgets([one, other, apart, unknown, also_unknown], NOW, RULES)
    assert budgets["default"] is budgets["other"]
    seconds = {name: round(budget.drain_seconds / RULES.spacing_seconds) for name, budget in budgets.items()}
    assert seconds == {"default": 3, "other": 3, "apart": 9, "unknown": 9, "also unknown": 9}
    two_slots = shared_budgets([one, other], NOW, replace(RULES, slots=2))
    assert two_slots["default"].drain_seconds == 2 * RULES.spacing_seconds


@pytest.mark.parametrize("sids", [1, 5_000])
def test_thousands_of_accounts_are_checked_in_a_moment(sids: int) -> None:
    due = [make_count(200, oldest_due_at=ago(9_000))]
    accounts = [
        make_account(
            account=f"a{number}",
            account_sid=f"sid-{number % sids}",
            counts=due,
            queries=[make_query(9_000)],
            state=make_state(backoff_until=ago(-45)),
        )
        for number in range(5_000)
    ]
    worker = make_worker(accounts=tuple(f"a{number}" for number in range(4_999)))
    started = process_time()
    found = checked(*accounts, workers=[worker])
    assert process_time() - started < 2
    assert [finding.account for finding in found if finding.name == "not_served"] == ["a4999"]


def test_a_full_disk_is_reported_for_a_while_after_the_last_write_that_failed() -> None:
    (full,) = checked(workers=[make_worker(), make_worker(name="other", database_full_at=ago(42))])
    assert (full.level, full.name) == (Level.CRITICAL, "database_full")
    assert said(full) == "the database's disk is full: a write failed 42 seconds ago"
    assert not checked(workers=[make_worker(database_full_at=ago(91))])


def test_orders_that_are_polled_one_by_one_need_a_query_each() -> None:
    echoes, state = make_state(echoes_custom_parm=True), make_state()
    blind = make_count(5, id_kind=IdKind.CUSTOM_PARM)
    assert queries_for([make_count(5)], state, NOW, RULES) == 1
    assert queries_for([make_count(5), blind], state, NOW, RULES) == 6
    assert queries_for([make_count(5), blind], echoes, NOW, RULES) == 1
    assert queries_for([make_count(5, lane=Lane.ALONE)], state, NOW, RULES) == 5
    assert queries_for([make_count(5)], make_state(one_item_mode=True), NOW, RULES) == 5
    assert queries_for([make_count(5)], make_state(configuration_refused=True), NOW, RULES) == 5


def test_an_account_that_no_running_worker_has_is_reported_where_orders_are_due() -> None:
    removed = make_account(account="removed", account_sid=None, counts=[make_count(2, oldest_due_at=ago(900))])
    (finding,) = checked(removed)
    assert finding.name == "not_served"
    assert said(finding) == "removed: no running worker has this account, and orders are due: 2"
    assert checked(replace(removed, counts=[make_count(0, pending=2)])) == []
    dead = make_worker(600, accounts=("removed",))
    assert [finding.name for finding in checked(removed, workers=[dead, *WORKERS])] == ["not_served"]
    assert [finding.name for finding in checked(removed, workers=[dead])] == ["no_tick", "nothing_asked"]
    assert checked(replace(removed, last_query_at=ago(5)), workers=[make_worker(accounts=("removed",))]) == []


def test_the_gravest_finding_comes_first() -> None:
    found = checked(make_account(state=make_state(pauses=(Pause(paused_at=ago(1)),))), workers=[])
    assert [finding.level for finding in found] == [Level.CRITICAL, Level.WARNING]


def test_what_endpoints_suffer_is_reported_under_their_account() -> None:
    counts = {"default": NotificationCounts(gave_up=2)}
    overview = Overview(now=NOW, workers=WORKERS, notifications=counts, endpoints=[ENDPOINT])
    (finding,) = check(overview, Thresholds(), RULES)
    assert (finding.account, finding.name) == ("default", "notifications_gave_up")
    assert (finding.level, said(finding)) == (Level.WARNING, "default: 2 notifications were given up")


def test_an_overview_adds_its_counts_up() -> None:
    account = of_counts(
        make_count(2, pending=5, never_polled=3, oldest_due_at=ago(9)),
        make_count(1, pending=1, never_polled=1, oldest_due_at=ago(20)),
        make_count(0, pending=4),
    )
    assert (account.pending, account.due, account.never_polled, account.oldest_due_at) == (10, 3, 4, ago(20))
    assert make_account().oldest_due_at is None
    queries = [make_query(order_count=7), make_query(work="single", order_count=1), make_query(order_count=9)]
    assert make_account(queries=queries).batches == [7, 9]


def test_another_database_is_reported() -> None:
    changes = DatabaseChanges(now=NOW, is_another=True)
    (finding,) = check(Overview(now=NOW, workers=WORKERS, database=changes), Thresholds(), RULES)
    assert (finding.level, finding.name) == (Level.WARNING, "database_changed")
    well = DatabaseChanges(now=NOW)
    assert check(Overview(now=NOW, workers=WORKERS, database=well), Thresholds(), RULES) == []
