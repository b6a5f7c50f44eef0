"""The true state of the orders, at billing and at the platform. Times are in windows since the start."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.platforms import wording
from tests.platforms.traits import Traits

REQUEST_ID, CUSTOM_PARM = "requestId", "customParm"


@dataclass(kw_only=True)
class TrueOrder:
    """One order. The platform has both of its names; billing may have given one of them."""

    account: str
    request_id: str
    custom_parm: str
    mobile: str
    billed_mobile: str
    """The mobile that billing sends."""
    given: frozenset[str]
    """The columns that billing gives: `request_id`, `custom_parm`, `mobile`, `expected_amount`."""
    placed_at: float
    enqueued_at: float
    known_from: float | None
    """When it arrives at the platform; None: never."""
    settles_at: float | None
    """When its recharge ends; None: never."""
    result: str
    """`1` or `-1`."""
    amount: object
    """Beside the result; None: the field is left out."""
    is_amount_readable: bool
    is_amount_price: bool
    """It failed, and the amount is its price: nothing was charged."""
    remark: str
    reads_as_denial: bool
    """Whether the remark counts as a denial unless the item has a mobile that agrees."""
    mask: str
    denial: str = "item"
    denied: tuple[float, float] = (0.0, 0.0)
    """When it is denied among others that are answered."""
    is_refused: bool = False
    callbacks: list[tuple[float, dict[str, object]]] = field(default_factory=list)

    def is_known(self, at: float) -> bool:
        """Whether the platform has it."""
        return self.known_from is not None and at >= self.known_from

    def is_final(self, at: float) -> bool:
        """Whether the platform has its result."""
        return self.is_known(at) and self.settles_at is not None and at >= self.settles_at

    def is_denied_singly(self, at: float) -> bool:
        """Whether the platform denies this one, though it answers others."""
        return self.denied[0] <= at < self.denied[1]

    def name(self, kind: str) -> str:
        """Its id of one kind."""
        return self.request_id if kind == REQUEST_ID else self.custom_parm

    @property
    def polled_by(self) -> str:
        """The kind of id by which the worker must poll it, until it learns a requestId."""
        return REQUEST_ID if "request_id" in self.given else CUSTOM_PARM

    @property
    def shows_witness(self) -> bool:
        """Whether its items show a number that agrees with billing's."""
        return self.mask in wording.WITNESSES and "mobile" in self.given and self.mobile == self.billed_mobile

    @property
    def contradicts_number(self) -> bool:
        """Whether its items show a number that cannot be billing's."""
        return self.mask in wording.SHOWING and "mobile" in self.given and self.mobile != self.billed_mobile


def draw_orders(random: Random, traits: Traits) -> list[TrueOrder]:
    """Draw the orders of a platform at random."""
    return [_draw_order(random, traits, number) for number in range(traits.orders)]


def _draw_order(random: Random, traits: Traits, number: int) -> TrueOrder:
    placed_at = -random.uniform(0, 30) + random.uniform(0, traits.spread)
    enqueued_at = max(0.0, placed_at + random.choice((0.0, 0.0, random.uniform(0, 20))))
    mobile = f"1{random.choice((3, 5, 8))}{random.randrange(10**9):09}"
    wrong = random.random() < traits.wrong_mobiles
    billed = f"{mobile[:2]}{(int(mobile[2:]) + 100_000_001) % 10**9:09}" if wrong else mobile
    known_from = _known_from(random, traits, placed_at)
    settles_at = None
    if known_from is not None and random.random() >= traits.stuck:
        settles_at = known_from + random.expovariate(1 / traits.recharge)
    failed = random.random() < traits.failing
    remark, reads_as_denial = random.choice(wording.FAILURES) if failed else ("成功", False)
    readable = failed or random.random() < 0.98
    amount = random.choice(
        wording.FAILURE_AMOUNTS if failed else wording.SUCCESS_AMOUNTS if readable else wording.UNREADABLE_AMOUNTS
    )
    order = TrueOrder(
        account="ab"[number % traits.accounts],
        request_id=f"R{number:04}",
        custom_parm=f"C{number:04}",
        mobile=mobile,
        billed_mobile=billed,
        given=_given(random, traits),
        placed_at=placed_at,
        enqueued_at=enqueued_at,
        known_from=known_from,
        settles_at=settles_at,
        result="-1" if failed else "1",
        amount=amount,
        is_amount_readable=readable,
        is_amount_price=failed and traits.echoes_price and amount in wording.CHARGED,
        remark=remark,
        reads_as_denial=reads_as_denial,
        mask=random.choice(wording.MASKS) if traits.mask == "mixed" else traits.mask,
        denial=_denial(random, traits),
        denied=_denied(random, traits, placed_at),
        is_refused=random.random() < traits.refused,
    )
    order.callbacks.extend(_callbacks(random, traits, order))
    return order


def _known_from(random: Random, traits: Traits, placed_at: float) -> float | None:
    if random.random() < traits.unknown:
        return None
    return placed_at + (random.uniform(0, traits.limit * 1.1) if random.random() < traits.late else 0.0)


def _given(random: Random, traits: Traits) -> frozenset[str]:
    kind = random.choice(("request_id", "custom_parm", "both")) if traits.kinds == "mixed" else traits.kinds
    given = {"request_id", "custom_parm"} if kind == "both" else {kind}
    if kind == "custom_parm" or random.random() < 0.7:
        given.add("mobile")
    if random.random() < 0.3:
        given.add("expected_amount")
    return frozenset(given)


def _denial(random: Random, traits: Traits) -> str:
    return random.choice(("item", "item", "absent", "foreign")) if traits.denial == "mixed" else traits.denial


def _denied(random: Random, traits: Traits, placed_at: float) -> tuple[float, float]:
    if random.random() >= traits.denied_singly:
        return (0.0, 0.0)
    start = placed_at + random.uniform(-5, traits.limit)
    # Mostly shorter than the 120 windows after which a denial among believed answers counts for good.
    return start, start + random.choice((10.0, 60.0, 100.0, 118.0, 200.0))


def _callbacks(random: Random, traits: Traits, order: TrueOrder) -> list[tuple[float, dict[str, object]]]:
    if order.settles_at is None or random.random() >= traits.callbacks:
        return []
    body: dict[str, object] = {"trafficSts": order.result, "remark": order.remark}
    names = random.choice(((REQUEST_ID,), (CUSTOM_PARM,), (REQUEST_ID, CUSTOM_PARM)))
    if not traits.echo_in_callbacks:
        names = (REQUEST_ID,)
    body |= {name: order.name(name) for name in names}
    shown = wording.masked(order.mask, order.mobile)
    if shown is not None:
        body["mobile"] = shown
    body["appid"] = app_id(order.account)
    has_amount = traits.callback_amounts == "always" or (
        traits.callback_amounts == "sometimes" and random.random() < 0.5
    )
    if has_amount and order.amount is not None:
        body["oriAmount"] = order.amount
    at = order.settles_at + random.choice((0.0, 0.1, random.expovariate(1 / 5), random.expovariate(1 / 100)))
    times = [at, at + random.expovariate(1 / 30)] if random.random() < 0.1 else [at]
    return [(max(0.0, time), body) for time in times]


def app_id(account: str) -> str:
    """The application of an account."""
    return f"app-{account}"


def submission(order: TrueOrder, submitted_at: str) -> dict[str, Any]:
    """The order as billing sends it."""
    sent: dict[str, Any] = {"account": order.account, "submitted_at": submitted_at}
    for column in ("request_id", "custom_parm"):
        if column in order.given:
            sent[column] = getattr(order, column)
    if "mobile" in order.given:
        sent["mobile"] = order.billed_mobile
    has_price = (order.result == "1" and order.is_amount_readable) or order.is_amount_price
    if "expected_amount" in order.given and has_price:
        sent["expected_amount"] = str(order.amount)
    return sent
