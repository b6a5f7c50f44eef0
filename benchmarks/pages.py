"""`python -m benchmarks.pages --database-url URL`: how soon the first bytes of each page of the console are there.

One user asks for one page after another, without a network between. The database is one that `python -m
benchmarks.tick` has filled. On PostgreSQL it is given what the pages show beside: of 10,000,000 orders 20,000 need a
person for a reason, and 1,800 because they are unresolved.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import func, select, text

from benchmarks.bench import APP_ID, TOKEN, settings
from benchmarks.tick.about import about
from worker.adapters.log import configure_logging
from worker.adapters.users_file import editing
from worker.database.migrations import upgrade
from worker.database.tables import ORDERS
from worker.database.transactions import Database
from worker.domain.records.operators import Part, Role, User
from worker.web.app import WebProcess
from worker.web.users import hash_of

_RUNS, _WARM_UPS = 20, 2
_LONGEST_SECONDS = 30
_NAME, _PASSWORD = "reader", "a long password"
_OTHER_ACCOUNTS = ("second", "third")
# A third of what needs a person is of the account `second`, and 20 old orders of `third`. Five of the acts are on ten
# thousand orders each, the others on one.
_FILL = (
    """UPDATE recharge_orders SET attention = chosen.attention, state = chosen.state, account = chosen.account,
    settled_at = CASE WHEN chosen.state = 'unresolved' THEN NULL ELSE settled_at END FROM (
        SELECT id, CASE WHEN k % 20 < 8 THEN 'too_old' WHEN k % 20 < 13 THEN 'unknown_to_platform'
            WHEN k % 20 < 16 THEN 'amount_mismatch' WHEN k % 20 < 18 THEN 'conflicting_answer'
            WHEN k % 20 = 18 THEN 'rejected_by_platform' ELSE 'late_conflict' END AS attention,
        CASE WHEN k % 20 < 13 OR k % 20 IN (16, 17, 18) THEN 'unresolved' ELSE state END AS state,
        CASE WHEN k < 2000 AND k % 100 = 0 THEN 'third' WHEN k % 3 = 0 THEN 'second' ELSE 'default' END AS account
        FROM (SELECT id, state, id / 500 AS k FROM recharge_orders WHERE id % 500 = 1 AND state <> 'pending') AS kept
    ) AS chosen WHERE recharge_orders.id = chosen.id""",
    """UPDATE recharge_orders SET state = 'unresolved', settled_at = NULL
    WHERE id % 5000 = 101 AND state <> 'pending'""",
    """INSERT INTO order_events (order_id, at, kind, source, from_state, to_state, traffic_sts, remark, ori_amount)
    SELECT id, submitted_at + interval '1 hour', CASE state WHEN 'unresolved' THEN 'not_believed' ELSE 'settled' END,
    CASE state WHEN 'unresolved' THEN 'query' ELSE 'callback' END, 'pending', state, traffic_sts::text, remark, '2.94'
    FROM recharge_orders WHERE state <> 'pending'""",
    """INSERT INTO platform_queries
    (account, account_sid, slot, work, id_kind, order_count, sent_at, answered_at, outcome, polled_ids)
    SELECT (ARRAY['default', 'second', 'third'])[1 + n % 3], 'sid', 0, 'batch', 'requestId', 100, at, at, 'answered',
    (SELECT string_agg((2016010000000000 + 100 * n + i)::text, ',') FROM generate_series(1, 100) AS i)
    FROM generate_series(1, 100000) AS n, LATERAL (SELECT now() - (100000 - n) * interval '1 minute' AS at) AS times""",
    """INSERT INTO notifications
    (event_id, account, order_id, type, version, rank, body, changed_at, state, due_at, tries, delivered_at)
    SELECT 'msg_' || n, (ARRAY['default', 'second', 'third'])[1 + n % 3], 6 * n + 1, 'order.succeeded', 1, 0, '{}', at,
    CASE WHEN n <= 500 THEN 'gave_up' WHEN n > 1490000 THEN 'pending' ELSE 'delivered' END, at, 1,
    CASE WHEN n > 500 AND n <= 1490000 THEN at END
    FROM generate_series(1, 1500000) AS n, LATERAL (SELECT now() - (1500000 - n) * interval '400 ms' AS at) AS times""",
    """INSERT INTO unmatched_callbacks (account, request_id, received_at, payload)
    SELECT 'default', 'unmatched' || n, now() - n * interval '1 minute', '{"requestId":"unmatched"}'
    FROM generate_series(1, 8000) AS n""",
    """INSERT INTO rejected_orders (received_at, source, payload, errors)
    SELECT now() - n * interval '1 minute', 'enqueue_orders', '{"requestId":"refused' || n || '"}', 'mobile: no number'
    FROM generate_series(1, 8000) AS n""",
    """INSERT INTO notify_endpoints (account, transport, target_digest, shown, rest_level, updated_at)
    VALUES ('default', 'webhook', 'x', 'https://billing.example', 0, now())""",
    """INSERT INTO operator_acts (at, actor, act, account, reason, act_key, order_count, order_ids)
    SELECT now() - (20050 - n) * interval '2 minutes', 'user-' || n % 12, 'dismiss', 'default', 'seen',
    md5((CASE WHEN n > 20000 THEN (n - 1) / 10 ELSE -n END)::text), CASE WHEN n > 20000 THEN 1000 ELSE 1 END,
    CASE WHEN n > 20000 THEN (SELECT string_agg((n % 10 * 1000 + i)::text, ' ') FROM generate_series(1, 1000) AS i)
    ELSE n::text END
    FROM generate_series(1, 20050) AS n""",
)
# What the addresses below name.
_NAMED = {
    "old": "SELECT id, mobile, request_id, custom_parm FROM recharge_orders WHERE state = 'failed'"
    " ORDER BY id DESC LIMIT 1 OFFSET 99",
    "worked": "SELECT id FROM recharge_orders WHERE attention = 'too_old' ORDER BY submitted_at DESC LIMIT 1 OFFSET 9",
    "rare": "SELECT id FROM recharge_orders WHERE attention = 'too_old' AND account = 'third' ORDER BY id LIMIT 1",
    "act": "SELECT act_key FROM operator_acts WHERE order_count > 1 ORDER BY id DESC LIMIT 1",
    "query": "SELECT max(id) FROM platform_queries",
    "unmatched": "SELECT max(id) FROM unmatched_callbacks",
    "rejected": "SELECT max(id) FROM rejected_orders",
}
_DAY, _MONTH, _SETTLED = "from={day}&to={day}", "from={month}&to={day}", "settled_from={day}&settled_to={day}"
_PAGES = f"""
/ /overview/now /overview/plots
/attention /attention/count /attention?sort=oldest /attention?attention=too_old /attention?attention=late_conflict
/attention?attention=unresolved
/attention?account=default /attention?account=second /attention?account=third /attention?account=third&sort=oldest
/attention?attention=too_old&account=third /attention?state=unresolved /attention?state=succeeded
/attention?state=failed /attention?{_DAY} /attention?{_MONTH} /attention?{_DAY}&account=third
/attention?after={{worked}} /attention?account=third&after={{worked}}
/attention?tab=account /attention?tab=notification /attention?tab=unmatched /attention?tab=rejected
/orders /orders?state=pending /orders?state=succeeded /orders?state=failed /orders?state=unresolved
/orders?state=cancelled /orders?account=default /orders?account=third /orders?account=third&state=pending
/orders?account=third&state=failed /orders?account=third&state=unresolved
/orders?attention=any /orders?attention=any&account=third
/orders?{_DAY} /orders?{_MONTH} /orders?{_DAY}&account=third&state=cancelled
/orders?{_SETTLED} /orders?{_SETTLED}&account=third /orders?{_SETTLED}&state=cancelled /orders?{_MONTH}&{_SETTLED}
/orders?q={{mobile}} /orders?q={{four}} /orders?q={{four}}&state=unresolved /orders?q={{four}}&{_DAY}
/orders?q={{request_id}} /orders?q={{request_id:.13}} /orders?q={{request_id:.8}} /orders?q={{custom_parm}}
/orders?q={{custom_parm:.6}} /orders?q=nothing /orders?q=refused77 /orders?q=unmatched77
/orders?act={{act}} /orders?after={{old}}
/orders/{{old}} /orders/{{worked}} /orders/{{worked}}?list= /orders/{{worked}}?list=account%3Dthird
/orders/{{worked}}?list=state%3Dfailed /orders/{{rare}}?list=account%3Dthird%26sort%3Doldest
/orders/{{worked}}/acts/resolve /orders/{{worked}}/acts/reopen /orders/{{worked}}/acts/cancel
/orders/{{worked}}/acts/dismiss /orders/{{old}}/acts/resend
/orders/acts/dismiss?scope=all&attention=any /orders/acts/reopen?scope=all&attention=too_old
/orders/acts/dismiss?scope=all&attention=any&account=third /orders/acts/cancel?scope=all&state=pending
/orders/acts/dismiss?order={{worked}}&order={{rare}} /orders/acts/resend?scope=given-up
/acts /acts?act=pause /acts?actor=user-7 /acts?actor=none /acts?{_DAY}
/notifications /notifications?state=gave_up /notifications?state=pending /notifications?state=delivered
/notifications?account=third /notifications?account=third&state=gave_up /notifications/endpoints/pause?account=default
/queries /queries?account=third /queries?outcome=failed /queries?{_DAY} /queries/{{query}}
/rejected /rejected?{_DAY} /rejected?q=refused77 /rejected/{{rejected}} /rejected/{{rejected}}/retry
/unmatched /unmatched?account=third /unmatched?to={{day}} /unmatched/{{unmatched}} /unmatched/{{unmatched}}/link
/unmatched/{{unmatched}}/dismiss
/finance?{_DAY} /finance/report?{_DAY} /finance/report?{_MONTH}
/maintenance /maintenance/plan /maintenance/cancel /accounts/pause?account=second /accounts/resume?account=second
/hold /sign-in
""".split()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--database-url", required=True, help="SQLAlchemy's URL")
    arguments = parser.parse_args()
    upgrade(arguments.database_url)
    database = Database(arguments.database_url)
    try:
        _fill(database)
        addresses = _addresses(database)
    finally:
        database.close()
    with _console(arguments.database_url) as client:
        for page, address in zip(_PAGES, addresses, strict=True):
            print(f"| `{page}` | {_measure(client, address)} |", flush=True)
        routes = client.application.url_map
        seen = {routes.bind("").match(address.partition("?")[0])[0] for address in addresses}
        others = sorted({rule.rule for rule in routes.iter_rules() if rule.endpoint not in seen})
    print(json.dumps({"others": others, **about(arguments.database_url)}, indent=2))


def _fill(database: Database) -> None:
    with database.write() as connection:
        if database.kind != "postgresql" or connection.scalar(text("SELECT id FROM operator_acts LIMIT 1")):
            return
        for statement in _FILL:
            connection.execute(text(statement))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _addresses(database: Database) -> list[str]:
    named: dict[str, Any] = {}
    with database.read() as connection:
        for name, statement in _NAMED.items():
            row = connection.execute(text(statement)).mappings().first()
            named |= {**(row or {}), name: next(iter((row or {}).values()), 0)}
        # The orders of `benchmarks.tick` end long ago.
        today = connection.execute(select(func.max(ORDERS.c.submitted_at))).scalar_one().date()
    named |= {"four": named["mobile"][-4:], "day": today - timedelta(days=1), "month": today - timedelta(days=30)}
    return [page.format(**named) for page in _PAGES]


@contextmanager
def _console(url: str) -> Iterator[FlaskClient]:
    """The console, with a user who has signed in."""
    # A server writes its log lines, too; here they are discarded.
    with TemporaryDirectory() as folder, open(os.devnull, "w", encoding="utf-8") as nowhere:
        configure_logging("INFO", "json", stream=nowhere)
        users, accounts = Path(folder, "users.toml"), Path(folder, "accounts.toml")
        with editing(users) as written:
            written[_NAME] = User(name=_NAME, password_hash=hash_of(_PASSWORD), role=Role.ACT)
        accounts.touch(0o600)
        accounts.write_text(
            "".join(
                f'[{name}]\naccount_sid = "{number:032}"\nauth_token = "{TOKEN}"\napp_id = "{APP_ID}"\n'
                for number, name in enumerate(_OTHER_ACCOUNTS)
            )
        )
        process = WebProcess(settings(url, users_file=users, accounts_file=accounts), [Part.OPERATE])
        try:
            app = process.app()
            # Of https alone are the cookies of the console.
            app.config["PREFERRED_URL_SCHEME"] = "https"
            client = app.test_client()
            token = re.findall('name="csrf" value="([^"]+)"', client.get("/sign-in").text)
            client.post("/sign-in", data={"name": _NAME, "password": _PASSWORD, "csrf": token[-1]})
            yield client
        finally:
            process.close()


def _measure(client: FlaskClient, address: str) -> str:
    """The status, then in ms: the median and the longest time until the first bytes, the median until the last."""
    first, last, statuses = list[float](), list[float](), set[str]()
    until = time.monotonic() + _LONGEST_SECONDS
    while len(last) < _WARM_UPS + _RUNS and (len(last) <= _WARM_UPS or time.monotonic() < until):
        sent = time.perf_counter()
        answer = client.get(address, headers={"Accept-Language": "zh"})
        pieces = answer.iter_encoded()
        next(pieces, b"")
        first.append(1000 * (time.perf_counter() - sent))
        for _ in pieces:
            pass
        last.append(1000 * (time.perf_counter() - sent))
        statuses.add(f"{answer.status_code}")
        answer.close()
    first, last = first[_WARM_UPS:], last[_WARM_UPS:]
    return f"{' '.join(sorted(statuses))} | {median(first):.0f} | {max(first):.0f} | {median(last):.0f}"


if __name__ == "__main__":
    main()
