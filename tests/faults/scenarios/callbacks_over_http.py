"""Callbacks over HTTP: `reconciler serve` killed, its database away, and forgeries by the thousand."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

from tests.faults.catalogue import SERVERS, fault
from tests.faults.endpoints import column_names
from tests.faults.points import Point, Strike
from tests.faults.posting import PATH, body_of, post, post_until_accepted
from tests.faults.testbed import CALLBACK_TOKEN, Testbed
from tests.support.processes import accounts_file
from tests.support.raw_query import SID, TOKEN
from tests.support.waiting import eventually

_SETTLE_AFTER = 20.0
"""Seconds for which the platform answers 0 about an order whose callback it posts at once."""
_SENDERS = 8
_PUT_OFF = 503
_AT_LAST = 60.0
"""Seconds after which a callback that is put off again and again is not repeated."""
_OVERTAKEN = (
    "SELECT count(*) FROM order_events AS earlier JOIN order_events AS later ON later.order_id = earlier.order_id"
    " WHERE earlier.id < later.id AND earlier.source = 'callback' AND later.source = 'query'"
    " AND later.from_state <> later.to_state AND later.to_state IN ('succeeded', 'failed')"
)
"""How often a query has settled an order whose callback had been there before."""


@fault(
    43,
    "`serve` killed between commit and answer, and before both; its database away; each callback repeated",
    databases=SERVERS,
    times=6,
    times_in_ci=1,
    seconds=90.0,
)
def fault_43_serve_is_killed_between_commit_and_answer(testbed: Testbed) -> None:
    testbed.record_notifications()
    serve = testbed.serve()
    testbed.start()
    steps: list[Callable[[], object]] = [
        lambda: _kill_at(testbed, Point.RECEIPT_BEGINS),
        lambda: _kill_at(testbed, Point.RECEIPT_COMMITTED),
        lambda: _kill_the_database(testbed),
    ]
    testbed.inject(steps)
    bodies = _callbacks(testbed, 20)
    with ThreadPoolExecutor(_SENDERS) as senders:
        posting = [senders.submit(post_until_accepted, testbed, body) for body in bodies]
        testbed.rest(0.3)
        serve.kill()
        testbed.injected()
        testbed.serve()
        testbed.observed(f"{sum(one.result() for one in posting)} posts of 20 callbacks while `serve` was killed")
    _check_that_callbacks_settle(testbed)


def _kill_at(testbed: Testbed, point: Point) -> None:
    bodies = _callbacks(testbed, 5)
    testbed.points.arm(point, Strike.KILL)
    with ThreadPoolExecutor(len(bodies)) as senders:
        tries = list(senders.map(lambda body: post_until_accepted(testbed, body), bodies))
    assert testbed.points.struck(point), "no process was killed"
    assert max(tries) > 1, "a process was killed, and its callbacks were answered"


def _kill_the_database(testbed: Testbed) -> None:
    (body,) = _callbacks(testbed, 1)
    testbed.database.kill()
    began = time.monotonic()
    status = post(testbed.serve_port, json.dumps(body).encode())
    seconds = time.monotonic() - began
    testbed.database.start()
    assert status == _PUT_OFF, f"answered {status} without a database"
    testbed.observed(f"put off after {seconds:.1f} s without a database")
    post_until_accepted(testbed, body)


def _callbacks(testbed: Testbed, count: int) -> list[dict[str, Any]]:
    """The callbacks for new orders, which no query settles for a while."""
    names = testbed.place(count, settle_after=_SETTLE_AFTER)
    return [body_of(testbed, name) for name in names]


def _check_that_callbacks_settle(testbed: Testbed) -> None:
    names = [one["requestId"] for one in testbed.sent.callbacks]
    testbed.wait_until_settled(names)
    overtaken = testbed.rows(_OVERTAKEN)[0][0]
    assert overtaken == 0, f"{overtaken} orders were settled by queries, and their callbacks had come before"
    # The checker compares with the platform's truth.
    eventually(lambda: all(testbed.truth()[name]["settled"] for name in names), "orders that the platform has settled")


@fault(
    44, "10,000 forged callbacks: wrong tokens, huge bodies, other accounts' ids", times=6, times_in_ci=1, seconds=120.0
)
def fault_44_callbacks_are_forged(testbed: Testbed) -> None:
    testbed.record_notifications()
    other = {"account_sid": SID, "auth_token": TOKEN, "app_id": _OTHER_APP_ID, "callback_token": "y" * 28}
    testbed.extra_settings["accounts_file"] = accounts_file(testbed.folder, {"other": other})
    serve = testbed.serve()
    testbed.start()
    victims = testbed.place(5, outcome="stuck")
    others = _orders_of_another_account(testbed, victims[0])
    processes = serve.children()
    count = 1_000 if testbed.is_brief else 10_000
    forgeries = list(islice(cycle(_forgeries(victims, others)), count))
    testbed.rng.shuffle(forgeries)
    true = _callbacks(testbed, 20)
    answers: Counter[tuple[int, int | None]] = Counter()
    with ThreadPoolExecutor(2 * _SENDERS) as senders:
        forged = [senders.submit(_post, testbed, one) for one in forgeries]
        for body in true:
            testbed.sent.callbacks.append(body)
            text = json.dumps(body, ensure_ascii=False).encode()
            answers[_post(testbed, (200, "POST", PATH, text))] += 1
        for one in forged:
            answers[one.result()] += 1
    testbed.injected(count)
    wrong = {pair: number for pair, number in answers.items() if pair[0] != pair[1]}
    assert not wrong, f"answered otherwise (expected, got): {wrong}"
    states = testbed.states()
    assert {states[name] for name in (*victims, *others)} == {"pending"}, "a forgery has settled an order"
    kept = testbed.rows("SELECT count(*) FROM rejected_orders")[0][0]
    assert kept <= _KINDS_THAT_ARE_KEPT, f"{kept} rows keep the same few forgeries"
    assert serve.children() == processes, "a process of `serve` was lost"
    _check_that_callbacks_settle(testbed)
    # They were never meant to be polled.
    testbed.command("cancel", *others, "--account", "other", "--reason", "the end of the scenario")


_Request = tuple[int, str, str, bytes]
"""The status that it must be answered with, method, path and body."""
_KINDS_THAT_ARE_KEPT = 12


def _post(testbed: Testbed, request: _Request) -> tuple[int, int | None]:
    """The status that was expected, and the one that came; what a busy database puts off is posted again."""
    expected, method, path, body = request
    give_up = time.monotonic() + _AT_LAST
    while (status := post(testbed.serve_port, body, path=path, method=method)) == _PUT_OFF and expected == 200:
        if time.monotonic() > give_up:
            break
        time.sleep(0.2)
    return expected, status


def _forgeries(victims: Sequence[str], others: Sequence[str]) -> list[_Request]:
    wanted = json.dumps({"requestId": victims[0], "trafficSts": "1", "oriAmount": "9.99"}).encode()
    guesses = ["x" * 28, CALLBACK_TOKEN[:-1] + "x", CALLBACK_TOKEN.upper(), f"{CALLBACK_TOKEN}x", "%00"]
    theirs = [{"requestId": name, "trafficSts": "1", "oriAmount": "9.99"} for name in others]
    foreign = [{**one, "appid": _OTHER_APP_ID} for one in (*theirs, {**theirs[0], "requestId": victims[1]})]
    return [
        *((404, "POST", f"/callbacks/default/{guess}", wanted) for guess in guesses),
        *(
            (404, "POST", f"/callbacks/{account}/{CALLBACK_TOKEN}", wanted)
            for account in ("other", "nobody", "..", "DEFAULT")
        ),
        (404, "POST", "/callbacks/default", wanted),
        (405, "GET", PATH, b""),
        (405, "PUT", PATH, wanted),
        (413, "POST", PATH, b'{"requestId": "' + b"9" * 70_000 + b'"}'),
        (413, "POST", PATH, b"[" * 900_000),
        # Kept, and answered 200: to have it repeated is of no use.
        *((200, "POST", PATH, json.dumps(one).encode()) for one in (*theirs, *foreign)),
        *((200, "POST", PATH, body) for body in (b"", b"{", b"\xff\xfe", b'{"requestId": 1e999}', b"[" * 60_000)),
    ]


_OTHER_APP_ID = "app-of-the-other"


def _orders_of_another_account(testbed: Testbed, model: str) -> list[str]:
    """Pending orders that are not due for long, copied from one of ours; returns their request ids."""
    columns = ", ".join(column_names(testbed, "recharge_orders") - {"id", "request_id", "account", "due_at"})
    names = ["1" * 16, "2" * 16]
    for name in names:
        testbed.execute(
            f"INSERT INTO recharge_orders (request_id, account, due_at, {columns})"
            f" SELECT '{name}', 'other', '2099-01-01 00:00:00.000000', {columns}"
            f" FROM recharge_orders WHERE request_id = '{model}'",
        )
    return names
