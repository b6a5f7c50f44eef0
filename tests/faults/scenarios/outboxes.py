"""Many notifications at once: those of a dead endpoint, those of a bulk act, and several workers at one outbox."""

from collections.abc import Sequence

from tests.faults.catalogue import fault
from tests.faults.endpoints import (
    column_names,
    count_notifications,
    repeats,
    wait_for_rest,
    wait_until_told_after_waits,
)
from tests.faults.notification_recorder import HANG, Answer
from tests.faults.recorder import SECRET, Recorder
from tests.faults.testbed import Testbed
from tests.support.processes import accounts_file, alike_accounts
from tests.support.waiting import eventually

_DEAD_ROWS = 100_000
_HOUR = 3600.0
_AT_ONCE = 16
"""Deliveries that two processes have under way to one endpoint."""
_MOST_IN_A_TRANSACTION = 1_000
_BEFORE_THE_PAUSE = 2
_SOME_OF_MANY = 300
"""Deliveries after which all results must have come."""
_TOLD_AFTER_A_STEP = 75.0
"""A row that a stepped clock has put far ahead is looked for once a minute, and at the next claim."""


@fault(
    38, "100,000 notifications of an endpoint that hangs, beside one that lives", times=6, times_in_ci=1, seconds=90.0
)
def fault_38_a_dead_endpoint_has_many_rows(testbed: Testbed) -> None:
    testbed.record_notifications()
    dead = testbed.enter(Recorder(testbed.folder / "dead"))
    dead.answers(Answer(how=HANG))
    account = alike_accounts(["dead"])["dead"] | {"notify_url": dead.url, "notify_secret": SECRET}
    testbed.extra_settings["accounts_file"] = accounts_file(testbed.folder, {"dead": account})
    testbed.start()
    _add_rows(testbed, "dead", _DEAD_ROWS)
    testbed.injected()
    dead.wait_for(1)
    for _ in range(4):
        testbed.wait_until_settled(testbed.place(25))
        testbed.rest(2.0)
    # Not by their names: each reading would join them with the many.
    waiting = "account = 'default' AND state = 'pending'"
    eventually(lambda: count_notifications(testbed, waiting) == 0, "all told beside a dead endpoint", seconds=60)
    slowest = _slowest_seconds(testbed)
    tried = len(dead.deliveries())
    # Each rest ends with one probe, and its level counts the rests.
    rests = wait_for_rest(testbed, account="dead").level
    assert tried <= _AT_ONCE + rests, f"a dead endpoint was tried {tried} times in {rests} rests"
    testbed.observed(f"told within {slowest:.1f} s; the dead endpoint was tried {tried} times")
    testbed.command("notifications", "forget", "dead", "--reason", "it is dead", "--yes")
    assert count_notifications(testbed, "account = 'dead'") == 0


def _add_rows(testbed: Testbed, account: str, count: int) -> None:
    """Pending notifications of orders that no table has any more, as if they had been written long ago."""
    event_id = {
        "postgresql": "'msg_' || lpad(n::text, 32, '0')",
        "mariadb": "concat('msg_', lpad(n, 32, '0'))",
        "sqlite": "'msg_' || printf('%032d', n)",
    }[testbed.database.kind]
    long_ago = "'2026-01-01 00:00:00.000000'"
    testbed.execute(
        "INSERT INTO notifications"
        " (event_id, account, order_id, type, version, rank, body, changed_at, state, due_at, tries)"
        f" SELECT {event_id}, '{account}', 0, 'order.succeeded', n, 0, '{{}}', {long_ago}, 'pending', {long_ago}, 0"
        f" FROM {_numbers(testbed, count)}",
    )


def _numbers(testbed: Testbed, count: int) -> str:
    """A table of the numbers from 1 on, with a column `n`."""
    recursive = f"WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s"
    return {
        "postgresql": f"generate_series(1, {count}) AS numbers (n)",
        "mariadb": f"(SELECT seq AS n FROM seq_1_to_{count}) AS numbers",
        "sqlite": f"({recursive}) AS numbers",
    }[testbed.database.kind]


def _slowest_seconds(testbed: Testbed) -> float:
    """The longest time from a change to its delivery, of the account `default`."""
    moments = {
        "postgresql": "extract(epoch FROM delivered_at - changed_at)",
        "mariadb": "timestampdiff(microsecond, changed_at, delivered_at) / 1e6",
        "sqlite": "(julianday(delivered_at) - julianday(changed_at)) * 86400",
    }
    longest = f"SELECT max({moments[testbed.database.kind]}) FROM notifications WHERE account = 'default' AND rank = 0"
    return float(testbed.rows(longest)[0][0])


@fault(39, "a bulk act of 100,000 orders, with results beside it", times=3, times_in_ci=1, seconds=600.0)
def fault_39_many_orders_are_cancelled_at_once(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    testbed.start()
    count = 3_000 if testbed.is_brief else 100_000
    names = _add_orders(testbed, count)
    testbed.command("notifications", "pause", "default", "--reason", "to have all of them wait")
    for start in range(0, count, 10_000):
        testbed.command("cancel", *names[start : start + 10_000], "--reason", "they were sold otherwise")
    testbed.injected()
    times = "SELECT count(*) FROM notifications WHERE rank = 1 GROUP BY changed_at"
    sizes = [row[0] for row in testbed.rows(times)]
    assert sum(sizes) == count
    assert max(sizes) <= _MOST_IN_A_TRANSACTION, f"{max(sizes)} rows in one transaction"
    results = testbed.place(20)
    testbed.wait_until_settled(results)
    testbed.command("notifications", "resume", "default", "--reason", "go on")
    recorder.wait_for(_SOME_OF_MANY, seconds=120)
    _check_that_results_came_first(recorder, results)
    # Not by their names, ten times a second.
    waiting = "state = 'pending'"
    eventually(
        # A busy machine delivers fewer than 20 a second.
        lambda: count_notifications(testbed, waiting) == 0,
        "all of them told",
        seconds=60 + count / 10,
        every=1.0,
    )


def _add_orders(testbed: Testbed, count: int) -> list[str]:
    """Copies of a pending order that are not due for long; returns their request ids."""
    (model,) = testbed.place(1, outcome="stuck")
    testbed.cancel([model])
    eventually(lambda: testbed.states()[model] == "cancelled", "the order to be copied, at rest")
    columns = ", ".join(column_names(testbed, "recharge_orders") - {"id", "request_id", "state", "due_at"})
    name = "concat('b', n)" if testbed.database.kind == "mariadb" else "'b' || n"
    testbed.execute(
        f"INSERT INTO recharge_orders (request_id, state, due_at, {columns})"
        f" SELECT {name}, 'pending', '2099-01-01 00:00:00.000000', {columns}"
        f" FROM recharge_orders, {_numbers(testbed, count)} WHERE request_id = '{model}'",
    )
    return [f"b{number}" for number in range(1, count + 1)]


def _check_that_results_came_first(recorder: Recorder, results: Sequence[str]) -> None:
    """Four of five claims take results first, however many others have waited for longer."""
    bodies = [one["body"] for one in recorder.deliveries()]
    # The first delivery of each: one whose answer came too late is repeated.
    places = [next((place for place, body in enumerate(bodies) if name in body), len(bodies)) for name in results]
    # The deliveries before the pause, and a claim of each process that took the others first.
    most = len(results) + _BEFORE_THE_PAUSE + 4 * _AT_ONCE
    assert max(places) <= most, f"the last of {len(results)} results came as number {max(places)}"


@fault(
    40, "two workers at one outbox; their clocks stepped by an hour, both ways", times=6, times_in_ci=1, seconds=120.0
)
def fault_40_two_workers_share_an_outbox(testbed: Testbed) -> None:
    testbed.order_age = 3 * _HOUR
    recorder = testbed.record_notifications()
    # Of one host: between two, a step forward of the database's clock opens the limit (docs/reliability.md).
    for number in (1, 2):
        testbed.start(f"worker-{number}")
    testbed.wait_until_settled(testbed.place(150))
    testbed.wait_until_told()
    assert repeats(recorder) == 0, f"{repeats(recorder)} deliveries were made twice"
    testbed.injected()
    steps = [(clock, seconds) for clock in ("host", "database") for seconds in (_HOUR, -_HOUR)]
    testbed.rng.shuffle(steps)
    for clock, seconds in steps[:2] if testbed.is_brief else steps:
        for offset in (seconds, 0.0):
            _step_while_some_wait(testbed, recorder, clock, offset)
            testbed.injected()
    testbed.observed(f"{repeats(recorder)} deliveries repeated what had been accepted")


def _settle_by_callbacks(testbed: Testbed, count: int) -> None:
    """While its host's clock is wrong, the platform refuses a worker's queries."""
    names = testbed.place(count, outcome="1")
    for name in names:
        testbed.call_back(name)
    testbed.wait_until_settled(names)


def _step_while_some_wait(testbed: Testbed, recorder: Recorder, clock: str, offset: float) -> None:
    """Step a clock while an endpoint rests and notifications wait, or while deliveries are under way."""
    recorder.answers(testbed.rng.choice((Answer(status=503), Answer(status=500), Answer(how=HANG))))
    seen = len(recorder.deliveries())
    _settle_by_callbacks(testbed, 4)
    recorder.wait_for(seen + 2)
    testbed.step_clock(clock, offset)
    recorder.answers()
    _settle_by_callbacks(testbed, 3)
    # One that was refused twice, because the receiver was well too late, waits for five minutes.
    waiting = "tries < 2 AND state = 'pending'"
    eventually(lambda: count_notifications(testbed, waiting) == 0, "all told", seconds=_TOLD_AFTER_A_STEP)
    wait_until_told_after_waits(testbed)
