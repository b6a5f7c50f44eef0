"""A platform for tests: it holds the truth, records what arrives, and answers in bytes, with lies among them.

Each lie can be detected (by the app id, the mobile, a missing amount, ...) and says the opposite of the truth: a worker
that believes one settles an order wrongly.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.platforms.writing import Item, Reply, failing
from worker.domain.records.accounts import Rules, SlotKey
from worker.domain.records.orders import IdKind
from worker.domain.records.queries import Query
from worker.domain.wire.query_request import Credentials

APP_IDS = {"a": "app-a", "b": "app-b", "c": "app-c"}
SIDS = {"a": "sid-1", "b": "sid-1", "c": "sid-2"}
"""Two accounts share a SID, and so its budget."""
CREDENTIALS = {
    account: Credentials(account_sid=sid, auth_token="token", app_id=APP_IDS[account]) for account, sid in SIDS.items()
}

BODIES = {
    "empty list": b"[]",
    "others only": b'[{"requestId":"nobody","trafficSts":"1","oriAmount":"2.94","mobile":"155****0000"}]',
}
FAULTS = (
    *BODIES,
    *("error object", "configuration", "frequent", "page", "cut", "empty object"),
    *("500", "503", "429", "timeout", "reset"),
)
LIES = (
    "appid",
    "mobile",
    "unknown status",
    "no amount",
    "unreadable amount",
    "another customParm",
    "two items",
    "colliding keys",
    "nothing but -1",
    "no such order",
)


@dataclass
class PlatformOrder:
    """An order as the platform knows it, and what billing has sent of it to the worker."""

    account: str
    request_id: str
    custom_parm: str
    mobile: str
    traffic_sts: str = "0"
    amount: str | None = None
    billed_mobile: str = ""
    """The mobile that billing sends: wrong for some orders, and then no item with a mobile may settle them."""
    comes_apart: bool = False
    """Whether billing may send its two names as two orders: then neither can be settled."""
    given: set[str] = field(default_factory=set)
    """The names by which billing has enqueued it: `request_id`, `custom_parm`, `mobile`."""
    called_back_by: set[str] = field(default_factory=set)
    """The names by which a true and final callback was taken in."""

    @property
    def is_final(self) -> bool:
        return self.traffic_sts != "0"

    @property
    def has_wrong_mobile(self) -> bool:
        return self.billed_mobile != self.mobile

    def finish(self, succeeds: bool) -> None:
        """End the recharge; a final state stays."""
        if not self.is_final:
            self.traffic_sts, self.amount = ("1", "2.94") if succeeds else ("-1", "0")

    def item(self, *, echo: bool) -> Item:
        """The truth, as the platform answers it."""
        return {
            "requestId": self.request_id,
            **({"customParm": self.custom_parm} if echo else {}),
            "appid": APP_IDS[self.account],
            "trafficSts": self.traffic_sts,
            "remark": f"order {self.request_id}",
            "mobile": f"{self.mobile[:3]}****{self.mobile[-4:]}",
            **({"oriAmount": self.amount} if self.amount is not None else {}),
        }

    def opposite(self, *, echo: bool) -> Item:
        """An item with the opposite of the truth: the worker must never believe it."""
        says = {"trafficSts": "-1", "oriAmount": "0"}
        if self.traffic_sts != "1":
            says = {"trafficSts": "1", "oriAmount": "7.77"}
        return {**self.item(echo=echo), **says}

    def lie(self, kind: str, *, echo: bool, named_by: IdKind = IdKind.REQUEST_ID) -> list[Item]:
        """The items of a lie; the truth where this lie could not be detected for this order.

        `named_by`: the one name that a lie without evidence gives, since the other one would be evidence.
        """
        item = self.opposite(echo=echo)
        witnesses = set() if self.comes_apart else self.given
        match kind:
            case "appid":
                return [{**item, "appid": "app-of-nobody"}]
            case "mobile" if "mobile" in witnesses:
                return [{**item, "mobile": f"{self.billed_mobile[:3]}****{int(self.billed_mobile[-4:]) + 1:04}"}]
            case "unknown status":
                return [{**item, "trafficSts": "2"}]
            case "no amount":
                # An empty one: a callback without the field makes the order due for a poll.
                return [{**item, "trafficSts": "1", "oriAmount": ""}]
            case "unreadable amount":
                return [{**item, "trafficSts": "1", "oriAmount": "2.94567"}]
            case "another customParm" if "custom_parm" in witnesses:
                return [{**item, "customParm": "C-of-nobody"}]
            case "two items":
                return [self.item(echo=echo), item]
            case "colliding keys":
                return [{**item, "TrafficSts": "0"}]
            case "nothing but -1":
                bare: Item = {name: item[name] for name in (named_by.value, "appid") if name in item}
                return [{**bare, "trafficSts": "-1"}]
            case "no such order":
                return [{**item, "trafficSts": "-1", "remark": "订单不存在"}]
        return [self.item(echo=echo)]


@dataclass(frozen=True)
class Arrival:
    """A query as the platform saw it."""

    ms: int
    sid: str
    account: str
    kind: IdKind
    ids: tuple[str, ...]
    said: list[Item]


@dataclass(frozen=True)
class Mood:
    """How the platform answers one query."""

    fault: str | None = None
    """One of FAULTS."""
    lie: str | None = None
    about: int = 0
    """Which of the polled orders is lied about or left out: an index from the end, modulo their number."""
    leaves_out: bool = False
    shape: str = "list"


HONEST = Mood()


class Platform:
    """The truth about every order, and the record of what arrived."""

    def __init__(self, orders: Sequence[PlatformOrder], *, echoes: bool, answers_one: bool) -> None:
        self.orders = list(orders)
        self.echoes = echoes
        self._answers_one = answers_one
        self.arrivals: list[Arrival] = []
        self._by_name = {
            (order.account, kind, name): order
            for order in orders
            for kind, name in ((IdKind.REQUEST_ID, order.request_id), (IdKind.CUSTOM_PARM, order.custom_parm))
        }

    def find(self, account: str, kind: IdKind, name: str) -> PlatformOrder | None:
        """The order of a name."""
        return self._by_name.get((account, kind, name))

    def receive(self, ms: int, mood: Mood, query: Query) -> Reply:
        """Record the arrival of a query, and reply."""
        account, kind, ids = query.account, query.id_kind, query.ids
        items = [] if mood.fault else self._items(account, kind, ids, mood)
        self.arrivals.append(Arrival(ms=ms, sid=SIDS[account], account=account, kind=kind, ids=tuple(ids), said=items))
        if mood.fault is None:
            return Reply(body=_written(items, kind, mood.shape))
        if mood.fault in BODIES:
            return Reply(body=BODIES[mood.fault])
        return failing(mood.fault, Random(0), retry_after=None if mood.fault == "500" else 200.0)

    def _items(self, account: str, kind: IdKind, ids: Sequence[str], mood: Mood) -> list[Item]:
        known = [order for name in ids if (order := self.find(account, kind, name)) is not None]
        if self._answers_one:
            known = known[:1]
        chosen = known[-1 - mood.about % len(known)] if known else None
        items: list[Item] = []
        for order in known:
            if order is not chosen:
                items.append(order.item(echo=self.echoes))
            elif mood.lie:
                items.extend(order.lie(mood.lie, echo=self.echoes, named_by=kind))
            elif not mood.leaves_out:
                items.append(order.item(echo=self.echoes))
        return items


def _written(items: list[Item], kind: IdKind, shape: str) -> bytes:
    value: object = items
    names = [str(item.get(kind.value)) for item in items]
    if shape == "object" and len(items) == 1:
        value = items[0]
    elif shape == "wrapped":
        value = {"statusCode": "0", "data": items}
    elif shape == "keyed" and all(kind.value in item for item in items) and len(set(names)) == len(items):
        value = {"statusCode": "000000", **dict(zip(names, items, strict=True))}
    return json.dumps(value, ensure_ascii=False).encode()


def slots_of(rules: Rules) -> list[SlotKey]:
    """Every slot of every SID."""
    return [
        SlotKey(account_sid=sid, number=number, app_ids={a: APP_IDS[a] for a, own in SIDS.items() if own == sid})
        for sid in sorted(set(SIDS.values()))
        for number in range(rules.slots)
    ]
