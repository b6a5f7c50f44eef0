"""Every page of the console in Chinese, with rows of every kind: no English, no mark of half width in a sentence."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, update

from tests.support.console import ANN, console_of
from tests.support.notifying import put_endpoint, put_notifications
from tests.support.reconciling import Workbench, item
from tests.unit.words.test_faults import faults
from tests.unit.words.test_sentences import full
from worker.database.tables import ACTS, EVENTS, NOTIFICATIONS, ORDERS, QUERIES, REJECTED, UNMATCHED
from worker.domain.records.accounts import AccountState, Pause
from worker.domain.records.coded_texts import TextCode, to_columns
from worker.domain.records.incoming import Trust
from worker.domain.records.notifications import DeliveryOutcome, EventType, NotificationState
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, Lane, OrderState, Source, TrafficStatus
from worker.domain.records.queries import OUTCOMES
from worker.domain.records.sentences import to_json
from worker.operations.write_heartbeat import host_name

# It opens some 800 pages.
pytestmark = pytest.mark.quick_on("sqlite")

MARKED = re.compile(r'<(code|pre|script|style)\b.*?</\1>|<(\w+)[^>]* lang="en".*?</\2>', re.DOTALL)
"""What stands as it was stored, and the link to the other language."""
READ_ALOUD = re.compile(r'(?:placeholder|title|aria-label|data-label|alt)="([^"]*)"')
TAG = re.compile("<[^>]*>")
# Names that stand in English on a Chinese page, too: of fields, formats and commands, and what the test has stored.
NAMES = re.compile(
    "https://billing\\.example|request_id|custom_parm|requestId|customParm|expected_amount|submitted_at|mobile|account|appid|oriAmount|trafficSts"
    "|RECONCILER_[A-Z_]+|notify_events|statusCode|UTF-8|GB18030|ISO 8601|JSON|NaN|CSV|Excel|HTTPS?"
    r"|[0-9.]+\.dev[0-9]+"
    "|URL|Cookie|SID|Celery|beat|id:[0-9]+|English|default|ann"
    "|reconciler(?: serve| user add| user role|\\.enqueue_orders| enqueue)?",
    re.IGNORECASE,
)
HALF_WIDTH = re.compile(r"[一-鿿”）] ?[,:;()]|[,:;()] ?[一-鿿“（]|[。；] [一-鿿“（]")


@pytest.fixture
def client(bench: Workbench) -> Iterator[FlaskClient]:
    with console_of(bench.url, ANN) as opened:
        opened.set_cookie("language", "zh")
        yield opened


def fill(bench: Workbench) -> None:
    """Something of each kind that a page may show; what people typed is in Chinese."""
    names = [f"1{number:04}" for number in range(40)]
    bench.enqueue(*({"request_id": name, "mobile": "18812340804", "expected_amount": "2.94"} for name in names))
    now = bench.now()
    ids = [order.id for order in bench.orders()]
    for order_id, state, lane in zip(ids, [*OrderState] * 8, [*Lane] * 8, strict=False):
        values = {
            "state": state,
            "settled_at": None if state is OrderState.PENDING else now,
            "settled_by": Source.QUERY,
        }
        bench.run(update(ORDERS).where(ORDERS.c.id == order_id).values(**values, lane=lane, remark="成功"))
    for order_id, attention, status in zip(ids, [*Attention] * 3, [*TrafficStatus] * 8, strict=False):
        row = update(ORDERS).where(ORDERS.c.id == order_id)
        bench.run(
            row.values(
                attention=attention, traffic_sts=status, ori_amount=Decimal(3), amount_is_price=order_id % 2 == 0
            )
        )
    plain = {
        "order_id": ids[0],
        "at": now,
        "actor": "王",
        "repeats": 2,
        "remark": "成功",
        "from_state": OrderState.PENDING,
    }
    for number, (code, kind) in enumerate(zip(TextCode, [*EventKind] * 9, strict=False)):
        source = list(Source)[number % len(Source)]
        bench.run(insert(EVENTS).values(**plain, **to_columns(full(code)), kind=kind, source=source, query_id=1))
    for number, (kind, code) in enumerate(zip([*ActKind] * 9, TextCode, strict=False)):
        who = {"at": now, "actor": "王", "account": "default" if number % 2 else None, "reason": "核对过"}
        bench.run(insert(ACTS).values(**who, act=kind.value, **to_columns(full(code))))
    query = bench.reconcile([item("10000", remark="成功")])
    base = {
        **bench.rows(QUERIES)[0],
        "polled_ids": ",".join(names[:3]),
        "absent_ids": names[1],
        "added_items": '{"1": 1}',
    }
    del base["id"]
    for outcome in OUTCOMES:
        said: str | None = "查询过于频繁" if outcome in ("refused", "answered") else "no connection: OSError (refused)"
        said = None if outcome == "http_error" else said
        bench.run(insert(QUERIES).values(**{**base, "outcome": outcome, "status_msg": said, "sent_at": query.sent_at}))
    put_endpoint(bench)
    kinds = [(state, outcome) for state in NotificationState for outcome in [None, *DeliveryOutcome]]
    put_notifications(bench, len(kinds))
    rows = [row["id"] for row in bench.rows(NOTIFICATIONS)][-len(kinds) :]
    for row, (state, outcome), kind in zip(rows, kinds, [*EventType] * 9, strict=False):
        is_theirs = outcome in (DeliveryOutcome.ACCEPTED, DeliveryOutcome.HTTP_ERROR)
        told = {
            "outcome": outcome,
            "answer": "没有订单" if is_theirs else outcome and "no connection",
            "tries": 3,
            "type": kind,
        }
        at = {"tried_at": now, "due_at": now, "order_id": ids[0], "refused_since": now - timedelta(hours=2)}
        bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == row).values(state=state, **told, **at))
    for number, fault in enumerate(dict.fromkeys(faults())):
        came = {"received_at": now - timedelta(seconds=number), "source": "reconciler.enqueue_orders", "payload": "{}"}
        bench.run(insert(REJECTED).values(**came, errors=fault, errors_said=to_json([fault]), repeats=number))
    for number, trust in enumerate(Trust):
        called = {"account": "default", "request_id": f"9{number}", "payload": "{}", "repeats": 1, "trust": trust}
        bench.run(insert(UNMATCHED).values(**called, received_at=now - timedelta(days=2)))


def paths(bench: Workbench) -> Iterator[str]:
    yield from ("/", "/overview/now", "/overview/plots", "/sign-in")
    yield from (f"/attention{which}" for which in ("", "/count", "?attention=too_old&sort=oldest", "?from=x&state=x"))
    yield from (f"/attention?tab={tab}" for tab in ("account", "notification", "unmatched", "rejected"))
    yield from ("/orders", "/orders?q=10001", "/orders?q=1,2", "/orders?from=x&to=x&state=x", "/orders?after=999")
    yield from ("/notifications", "/queries", "/rejected", "/unmatched", "/acts", "/hold")
    yield from (f"/finance{path}?from=2016-01-31&by={by}" for path in ("", "/report") for by in ("day", "account"))
    yield from ("/finance/report", "/finance/report?from=2016-01-31&to=2014-01-31")
    for order in bench.orders()[:16]:
        yield f"/orders/{order.id}"
        yield from (
            f"/orders/{order.id}/acts/{act}" for act in ("resolve", "reopen", "cancel", "dismiss", "check", "resend")
        )
    for act in ("dismiss", "check", "reopen", "cancel", "resend"):
        yield from (f"/orders/acts/{act}{which}" for which in ("", "?order=1&order=2", "?scope=all"))
    yield from (f"/queries/{row['id']}" for row in bench.rows(QUERIES))
    for row in bench.rows(REJECTED):
        yield from (f"/rejected/{row['id']}{act}" for act in ("", "/retry", "/dismiss", "/dismiss_all"))
    for row in bench.rows(UNMATCHED):
        yield from (f"/unmatched/{row['id']}{act}" for act in ("", "/link", "/dismiss"))
    yield from ("/orders?q=0804", "/orders?q=90", "/orders?q=o", "/rejected?q=o")
    yield from ("/maintenance", "/maintenance/plan", "/maintenance/cancel?account=default")
    yield from (f"/accounts/{act}?account=default" for act in ("pause", "resume"))
    yield from (f"/notifications/endpoints/{act}?account=default" for act in ("pause", "resume", "forget"))
    yield "/orders/acts/resend?scope=given-up"


def words_of(markup: str) -> str:
    """What is seen or heard of a page, without what stands as it was stored."""
    kept = MARKED.sub("", markup)
    return unescape(TAG.sub("\n", kept) + "\n" + "\n".join(READ_ALOUD.findall(kept)))


def test_no_page_has_english_or_marks_of_half_width(bench: Workbench, client: FlaskClient) -> None:
    fill(bench)
    found: dict[str, str] = {}
    begins = bench.now() + timedelta(hours=2)
    plan = Pause(paused_at=begins, paused_until=begins + timedelta(hours=7), paused_by="王", is_planned=True)
    for state in (
        replace(bench.state(), failures_in_row=10),
        AccountState(
            account="default", pauses=(Pause(paused_at=bench.now(), paused_by="王", pause_reason="维护"), plan)
        ),
    ):
        bench.put_state(state)
        for path in paths(bench):
            page = words_of(client.get(path, follow_redirects=True).text)
            page = page.replace(host_name(), "")
            english = re.findall(r"[A-Za-z]{2,}[^\n]*", NAMES.sub("", page))
            found |= {said.strip(): path for said in [*english, *HALF_WIDTH.findall(page)]}
    routes = [rule for rule in client.application.url_map.iter_rules() if "GET" in (rule.methods or ())]
    names = {rule.endpoint for rule in routes}
    matching = client.application.url_map.bind("localhost")
    seen = {matching.match(path.partition("?")[0])[0] for path in paths(bench)}
    assert names - seen == {"console.static"}
    assert found == {}, "\n".join(f"{path}: {said}" for said, path in found.items())
