"""Turn requests into replies. This is the simulated platform without its sockets."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from worker.simulator.callbacks import CallbackQueue, Push
from worker.simulator.faults import GARBAGE, Faults, spoil
from worker.simulator.orders import Draws, Item, NewOrder, OrderBook, PlacedOrder, item_of
from worker.simulator.protocol import Account, Code, Head, Polled, Refusal, check_body, check_head, error_body
from worker.simulator.record import Arrival, Record

_JSON = (("Content-Type", "application/json;charset=utf-8"),)
Items = list[tuple[str, Item]]


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorConfig(Draws):
    """The settings of the simulated platform. Durations are in seconds."""

    accounts: tuple[Account, ...]
    host: str = "127.0.0.1"
    port: int = 0
    """The port to listen on; 0 for any free port."""
    version: str = "201512"
    window_seconds: float = 60.0
    queries_per_window: int = 1
    faults: Faults = field(default_factory=Faults)
    record_path: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A reply, and the way to send it."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = _JSON
    wait_seconds: float = 0.0
    """Seconds before the first byte."""
    manner: str = "whole"
    """How the reply is sent: `whole`, or the name of a fault, such as `silent` (see `worker.simulator.faults`)."""


class Platform:
    """Accounts, orders, limit and faults of one simulated platform. Safe to use from several threads."""

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        push: Push | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._faults = config.faults
        self._clock = clock
        self._accounts = defaultdict[str, list[Account]](list)
        for account in config.accounts:
            self._accounts[account.sid].append(account)
        self.callbacks = CallbackQueue(push, clock)
        self._orders = OrderBook(config, self.callbacks.add)
        self.record = Record(
            window_seconds=config.window_seconds,
            queries_per_window=config.queries_per_window,
            clock=clock,
            path=config.record_path,
        )
        self.stopping = threading.Event()
        """Set when the platform closes. Replies that still wait to be sent are then dropped."""

    def register(self, orders: Iterable[NewOrder]) -> list[PlacedOrder]:
        """Place orders now: all of them, or none. Raises ValueError as `OrderBook.register` does."""
        app_ids = [account.app_id for account in self.config.accounts]
        return self._orders.register(orders, app_ids=app_ids, now=self._clock())

    def truth(self) -> list[dict[str, object]]:
        """The truth about all orders at this moment, as JSON values."""
        now = self._clock()
        return [order.truth_at(now) | {"callback": self.callbacks.state_of(order)} for order in self._orders.all()]

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults in force."""
        with self._lock:
            self._faults = faults

    def answer(self, arrival: Arrival, head: Head, body: bytes | None) -> Reply:
        """Decide the reply to a request that has arrived. `body` is None if the body never arrived completely."""
        if body is None:
            self.record.close(replace(arrival, outcome="broken", detail="the body never came whole"))
            return Reply(body=b"", status=400, manner="reset")
        try:
            query = self._checked(arrival, head, body)
        except Refusal as refusal:
            return self._refused(arrival, refusal)
        return self._answered(_with_ids(arrival, query), query)

    def _checked(self, arrival: Arrival, head: Head, body: bytes) -> Polled:
        own = check_head(head, self._accounts, version=self.config.version, now=datetime.now(UTC))
        is_too_frequent = "limit" in arrival.violations
        try:
            query = check_body(body, own)
        except Refusal as refusal:
            if not is_too_frequent:
                raise
            raise Refusal(Code.TOO_FREQUENT, str(refusal), polled=refusal.polled) from refusal
        if is_too_frequent:
            raise Refusal(Code.TOO_FREQUENT, f"{arrival.window_spacing:.3f} s after the one before", polled=query)
        return query

    def _refused(self, arrival: Arrival, refusal: Refusal) -> Reply:
        arrival, code = _with_ids(arrival, refusal.polled), refusal.status_code
        self.record.close(replace(arrival, outcome="refused", detail=refusal.detail, status_code=code))
        return Reply(body=error_body(code, refusal.message))

    def _answered(self, arrival: Arrival, query: Polled) -> Reply:
        faults = self._take_faults(arrival.sid)
        rng = Random(f"{self.config.seed}:{arrival.number}")
        wait = faults.latency.draw(rng, turn=arrival.number - 1)
        fault = faults.of_answer(query.ids, rng)
        items, spoiled = self._items(query, faults, rng)
        # Answer with the items in random order, because a client must match items by id, never by position.
        items = rng.sample(items, len(items))
        body = _compose([item for _, item in items], polled=len(query.ids))
        # Record the items only if a client may accept them. This includes an answer with a byte order mark, which is
        # unusual but readable.
        if fault in (None, "garbage-bom"):
            arrival = replace(arrival, items=tuple(_recorded(one, item) for one, item in items), spoiled=spoiled)
        if fault is None:
            self.record.close(replace(arrival, outcome="answered"))
            return Reply(body=body, wait_seconds=wait)
        code = faults.refuse_code if fault == "refuse" else None
        self.record.close(replace(arrival, outcome="fault", detail=fault, status_code=code))
        return replace(_faulty(fault, faults, body), wait_seconds=wait)

    def _take_faults(self, sid: str) -> Faults:
        """The faults for the next query of this SID. If the SID has faults, count this query as one with faults."""
        with self._lock:
            faults = self._faults
            if (faults.sids and sid not in faults.sids) or faults.queries == 0:
                return Faults()
            if faults.queries is not None:
                self._faults = replace(faults, queries=faults.queries - 1)
            return faults

    def _items(self, query: Polled, faults: Faults, rng: Random) -> tuple[Items, tuple[tuple[str, str], ...]]:
        """Two lists about a query: the items of its answer, and the faults of its items.

        Each item comes with the polled id that it answers, and each name of a fault with the polled id that has it.
        """
        now = self._clock()
        found = self._orders.find(query.app_id, query.id_kind, query.ids, now=now)
        items: Items = []
        spoiled = []
        for one, order in found.items():
            fault = faults.of_item(rng)
            if order:
                items += [(one, spoilt) for spoilt in spoil(item_of(order, now), fault, rng)]
                spoiled += [(one, fault)] if fault else []
        return items, tuple(spoiled)


def _with_ids(arrival: Arrival, polled: Polled) -> Arrival:
    violations = arrival.violations + polled.violations
    return replace(arrival, id_kind=polled.id_kind or None, ids=polled.ids, violations=violations)


def _faulty(fault: str, faults: Faults, body: bytes) -> Reply:
    """The reply that is sent instead of the answer because of a fault."""
    if fault == "refuse":
        return Reply(body=error_body(faults.refuse_code, faults.refuse_message))
    if fault.startswith("http-"):
        retry_after = () if faults.retry_after is None else (("Retry-After", f"{faults.retry_after:g}"),)
        return Reply(body=b"", status=int(fault.removeprefix("http-")), headers=retry_after)
    if fault.startswith("garbage-"):
        encoding = (("Content-Encoding", "gzip"),) if fault == "garbage-gzip-bomb" else ()
        return Reply(body=GARBAGE[fault.removeprefix("garbage-")](body), headers=_JSON + encoding)
    return Reply(body=body, manner=fault)


def _recorded(one: str, item: Item) -> tuple[str, str, str | None, str | None]:
    amount, remark = (None if item.get(name) is None else str(item[name]) for name in ("oriAmount", "remark"))
    return one, str(item["trafficSts"]), amount, remark


def _compose(items: Sequence[Item], *, polled: int) -> bytes:
    """The body of an answer; `polled` is the number of polled ids.

    The body is an object if one id was polled and there is one item; otherwise it is an array.
    """
    answer = items[0] if polled == 1 and len(items) == 1 else items
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
