"""Small builders of the domain's values: a test names only the fields that it is about."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from worker.domain.orders.verdicts import Effect
from worker.domain.queries.after_failure import Blame, after_query_failure
from worker.domain.queries.after_reply import QueryEffects, after_answer
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.incoming import Answer, QueryError, Report
from worker.domain.records.notifications import Claim, Endpoint, EventType, Notification, Rank, TransportKind
from worker.domain.records.orders import IdKind, Lane, Order
from worker.domain.records.queries import Candidate, Query, Work
from worker.domain.scheduling.poll_schedule import prior_schedule

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""The time at which the effects of a query are decided."""
SENT_AT = NOW - timedelta(seconds=1)
RULES = Rules()
SCHEDULE = prior_schedule(RULES)
"""The schedule of an account that has learned nothing yet."""
WINDOW = RULES.windows(1)
APP_ID = "app"
MOBILE = "18812340804"
MASKED = "188****0804"
TOKEN = "token"
ACCEPTED = {Effect.PENDING, Effect.SUCCEEDED, Effect.FAILED}
"""The effects by which status, remark and amount are taken over."""


def make_order(order_id: int = 1, /, **fields: Any) -> Order:
    """A pending order of an hour's age, known by its request_id."""
    defaults: dict[str, Any] = {
        "account": "default",
        "request_id": f"R{order_id}",
        "mobile": MOBILE,
        "submitted_at": NOW - timedelta(hours=1),
        "due_at": NOW - timedelta(minutes=1),
    }
    return Order(id=order_id, **{**defaults, **fields})


def make_blind_order(order_id: int = 1, /, **fields: Any) -> Order:
    """An order known by its custom_parm alone."""
    return make_order(order_id, **{"request_id": None, "custom_parm": f"C{order_id}", **fields})


def make_report(order_id: int = 1, /, **fields: Any) -> Report:
    """What the platform says about a recharged order, by its requestId."""
    defaults: dict[str, Any] = {
        "request_id": f"R{order_id}",
        "app_id": APP_ID,
        "mobile": MASKED,
        "traffic_sts": "1",
        "remark": "成功",
        "ori_amount": "2.94",
        "has_amount_field": True,
        "words": f'{{"requestId":"R{order_id}"}}',
    }
    return Report(**{**defaults, **fields})


def make_state(**fields: Any) -> AccountState:
    return AccountState(**{"account": "default", **fields})


def make_query(orders: Sequence[Order], **fields: Any) -> Query:
    """A query under way for orders as they were before their lease."""
    defaults: dict[str, Any] = {
        "id": 7,
        "account": "default",
        "app_id": APP_ID,
        "account_sid": "sid",
        "slot": 0,
        "sid_accounts": ("default",),
        "token": TOKEN,
        "id_kind": orders[0].id_kind,
        "work": Work.BATCH,
        "sent_at": SENT_AT,
    }
    return Query(orders=tuple(orders), **{**defaults, **fields})


def make_candidate(order_id: int = 1, /, **fields: Any) -> Candidate:
    """A due order that no answered query has polled yet. The lower its id, the longer it is due."""
    defaults: dict[str, Any] = {
        "id_kind": IdKind.REQUEST_ID,
        "lane": Lane.BATCH,
        "due_at": NOW - timedelta(hours=1) + timedelta(seconds=order_id),
        "submitted_at": NOW - timedelta(hours=2),
    }
    return Candidate(order_id=order_id, **{**defaults, **fields})


def make_notification(number: int = 1, /, **fields: Any) -> Notification:
    """The row of a result that is due now, and that no delivery has tried yet."""
    defaults: dict[str, Any] = {
        "event_id": f"msg_{number}",
        "account": "a",
        "order_id": number,
        "type": EventType.SUCCEEDED,
        "version": 1,
        "rank": Rank.RESULT,
        "body": "{}",
        "changed_at": NOW,
        "due_at": NOW,
    }
    return Notification(id=number, **{**defaults, **fields})


def make_claim(number: int = 1, /, **fields: Any) -> Claim:
    """A delivery of that notification under way."""
    defaults: dict[str, Any] = {
        "account": "a",
        "event_id": f"msg_{number}",
        "order_id": number,
        "body": "{}",
        "token": TOKEN,
        "claimed_at": NOW,
        "rest_from": None,
    }
    return Claim(id=number, **{**defaults, **fields})


def make_endpoint(account: str = "default", /, **fields: Any) -> Endpoint:
    """A webhook that takes whatever it is sent."""
    defaults: dict[str, Any] = {"transport": TransportKind.WEBHOOK, "target_digest": "", "shown": "https://h"}
    return Endpoint(account=account, **{**defaults, **fields})


def leased(order: Order) -> Order:
    """The order's row while the query is under way."""
    return replace(order, lease_token=TOKEN, due_at=SENT_AT + timedelta(seconds=RULES.reservation_seconds))


def make_answer(query: Query, reports: Sequence[Report]) -> Answer:
    """An answer that holds these items, matched by id."""
    named = [(r.request_id if query.id_kind is IdKind.REQUEST_ID else r.custom_parm, r) for r in reports]
    said = {name: tuple(r for other, r in named if other == name) for name in query.ids}
    return Answer(
        said={name: items for name, items in said.items() if items},
        absent=tuple(name for name, items in said.items() if not items),
        added=tuple(report for name, report in named if name not in said),
    )


def answered(
    orders: Sequence[Order],
    reports: Sequence[Report] = (),
    *,
    state: AccountState | None = None,
    rows: Sequence[Order] | None = None,
    others: Sequence[Order] = (),
    now: datetime = NOW,
    **query_fields: Any,
) -> QueryEffects:
    """The effects of an answer with these items. `rows` are the orders as they are stored now: leased, unless given."""
    query = make_query(orders, **query_fields)
    stand = [*([leased(order) for order in orders] if rows is None else rows), *others]
    answer = make_answer(query, reports)
    return after_answer(query, answer, stand, state or make_state(), schedule=SCHEDULE, now=now, rules=RULES)


def failed(
    orders: Sequence[Order],
    error: QueryError,
    *,
    state: AccountState | None = None,
    rows: Sequence[Order] | None = None,
    jitter: float = 0.0,
    blame: Blame = Blame.NONE,
    **query_fields: Any,
) -> QueryEffects:
    """The effects of a query failure. `rows` as for `answered`."""
    query = make_query(orders, **query_fields)
    stand = [leased(order) for order in orders] if rows is None else rows
    context: dict[str, Any] = {"schedule": SCHEDULE, "now": NOW, "rules": RULES, "blame": blame}
    return after_query_failure(query, error, stand, state or make_state(), jitter=jitter, **context)


def after(effects: QueryEffects, order_id: int = 1) -> Order:
    """An order after the effects of a query."""
    return next(change.after for change in effects.changes if change.after.id == order_id)


def kinds(effects: QueryEffects, order_id: int = 1) -> list[str]:
    """The kinds of an order's events among the effects of a query."""
    return [event.kind for change in effects.changes for event in change.events if event.order_id == order_id]
