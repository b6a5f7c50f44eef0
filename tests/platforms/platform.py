"""A random platform: it holds the truth, answers in bytes, and records its answer to each query."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.platforms import wording
from tests.platforms.traits import Phase, Traits
from tests.platforms.truth import CUSTOM_PARM, REQUEST_ID, TrueOrder, app_id
from tests.platforms.writing import Item, Reply, failing, written
from worker.domain.records.queries import Query

FAILS = frozenset({"down", "busy", "configuration", "frequent", "flaps"})


@dataclass
class QueryRecord:
    """One query as the platform saw it. `said`: how it answered each order, by the index of the order."""

    query_id: int
    at: float
    kind: str
    orders: tuple[int, ...]
    outcome: str
    """`answered`, or why the whole query failed."""
    is_flap: bool = False
    said: dict[int, str] = field(default_factory=dict)
    """`item`: it has to be believed; `bare`: a failure that shows no evidence, and so reads as a denial; `doubtful`:
    any other item that cannot be believed; `denied` (by an item), `absent`, or `left out`."""
    is_denying: bool = False
    """Whether it denied everything at that time."""


class RandomPlatform:
    """One platform with its orders. Its random numbers are its own: the same queries at the same times get the same
    answers."""

    def __init__(self, traits: Traits, orders: Sequence[TrueOrder], random: Random) -> None:
        self.traits = traits
        self.orders = list(orders)
        self.record: list[QueryRecord] = []
        self._random = random
        self._indexes = {
            (order.account, kind, order.name(kind)): index
            for index, order in enumerate(orders)
            for kind in (REQUEST_ID, CUSTOM_PARM)
        }

    def receive(self, at: float, query: Query) -> Reply:
        """Answer a query, or fail it."""
        kind = query.id_kind.value
        indexes = tuple(self._indexes[query.account, kind, name] for name in query.ids)
        seen = QueryRecord(query_id=query.id, at=at, kind=kind, orders=indexes, outcome="answered")
        self.record.append(seen)
        phase = self._trouble(at)
        failure = self._failure_of(indexes, kind, at) if phase is None else phase.style or phase.kind
        if failure:
            seen.outcome = failure
            seen.is_flap = phase is not None and phase.kind == "flaps"
            return failing(failure, self._random, phase.retry_after if phase else None)
        return self._answer(seen, at)

    def refuses_for_good(self, order: TrueOrder, kind: str) -> bool:
        """Whether it fails every query for this order, even one for it alone, whatever it knows."""
        is_poison = order.is_refused and not self.traits.refused_in_company
        return is_poison or self.refuses_kind(kind)

    def refuses_kind(self, kind: str) -> bool:
        """Whether it fails every query by this kind of id."""
        return kind == CUSTOM_PARM and bool(self.traits.refuses_custom_parm)

    def denies_all(self, at: float) -> Phase | None:
        """The phase in which it denies whatever it knows; None where it is in none."""
        return next((phase for phase in self.traits.phases if phase.kind == "denies" and phase.covers(at)), None)

    def is_well(self, at: float) -> bool:
        """Whether it is in no phase of any kind."""
        return not any(phase.covers(at) for phase in self.traits.phases)

    def speaks_plainly(self, order: TrueOrder, kind: str, at: float) -> bool:
        """Whether its item for this order, polled alone, has to be believed: attributable, and with evidence."""
        if order.contradicts_number:
            return False
        echoes = self.traits.echoes(at)
        if kind == CUSTOM_PARM and not echoes and not (self._is_keyed or order.shows_witness):
            return False
        if not order.is_final(at):
            return order.is_known(at)
        if order.result == "1":
            return order.is_amount_readable
        has_both = {"request_id", "custom_parm"} <= order.given
        shows_other = echoes if kind == REQUEST_ID else self.traits.names_request_id
        evidence = order.shows_witness or order.amount in wording.CHARGED or (has_both and shows_other)
        return evidence and (order.shows_witness or not order.reads_as_denial)

    @property
    def _is_keyed(self) -> bool:
        return self.traits.shape.startswith("keyed")

    def _trouble(self, at: float) -> Phase | None:
        for phase in self.traits.phases:
            if phase.kind in FAILS and phase.covers(at) and self._random.random() < phase.rate:
                return phase
        return None

    def _failure_of(self, indexes: Sequence[int], kind: str, at: float) -> str:
        """The failure of the whole query because of the orders that it polls; empty where it is answered."""
        traits = self.traits
        if kind == CUSTOM_PARM and traits.refuses_custom_parm:
            return traits.refuses_custom_parm
        polled = [self.orders[index] for index in indexes]
        if any(order.is_refused for order in polled) and (len(polled) > 1 or not traits.refused_in_company):
            return traits.refusal
        if traits.largest_batch and len(polled) > traits.largest_batch:
            return "414"
        unknown = [order.denial for order in polled if not order.is_known(at)]
        return next((denial for denial in unknown if denial not in _BY_ITEM), "")

    def _answer(self, seen: QueryRecord, at: float) -> Reply:
        items: list[tuple[int, Item]] = []
        denying = self.denies_all(at)
        seen.is_denying = denying is not None
        for index in seen.orders:
            order = self.orders[index]
            is_denied = denying is not None or order.is_denied_singly(at)
            if order.is_known(at) and not is_denied:
                if len(seen.orders) > 1 and self._random.random() < self.traits.leaves_out:
                    seen.said[index] = "left out"
                    continue
                seen.said[index] = self._as_read(order, seen.kind, at)
                items.append((index, self._item(order, seen.kind, at)))
                continue
            # Only unknown orders fail the whole query; the others are denied by an item.
            style = denying.style if denying else order.denial if order.denial in _BY_ITEM else "item"
            seen.said[index] = "denied" if style == "item" else "absent"
            items.extend(self._denied(index, style, seen.kind, at))
        if self.traits.one_item and items:
            seen.said |= {index: "left out" for index, _ in items[1:] if index >= 0}
            items = items[:1]
        self._random.shuffle(items)
        if self.traits.extras == "foreign" and len(seen.orders) > 1:
            items.append((-1, self._foreign(seen.kind)))
        names = [self.orders[index].name(seen.kind) if index >= 0 else "nobody" for index, _ in items]
        return written(list(zip(names, (item for _, item in items), strict=True)), seen.kind, self.traits, self._random)

    def _item(self, order: TrueOrder, kind: str, at: float) -> Item:
        is_final = order.is_final(at)
        item = self._named(order, kind, at)
        if kind == CUSTOM_PARM and self.traits.names_request_id:
            item[REQUEST_ID] = order.request_id
        if kind == REQUEST_ID and self.traits.echoes(at):
            item[CUSTOM_PARM] = order.custom_parm
        shown = wording.masked(order.mask, order.mobile)
        if shown is not None:
            item["mobile"] = shown
        item |= {"trafficSts": order.result if is_final else "0", "remark": order.remark if is_final else "充值中"}
        amount = order.amount if is_final else self._random.choice(("", None, "0"))
        if amount is not None:
            item["oriAmount"] = amount
        return item

    def _as_read(self, order: TrueOrder, kind: str, at: float) -> str:
        if self.speaks_plainly(order, kind, at):
            return "item"
        is_bare = order.is_final(at) and order.result == "-1" and not order.contradicts_number
        return "bare" if is_bare else "doubtful"

    def _named(self, order: TrueOrder, kind: str, at: float) -> Item:
        item: Item = {"appid": app_id(order.account)} if self.traits.has_app_id else {}
        if kind == REQUEST_ID or self.traits.echoes(at):
            item[kind] = order.name(kind)
        return item

    def _denied(self, index: int, style: str, kind: str, at: float) -> list[tuple[int, Item]]:
        if style == "absent":
            return []
        if style == "foreign":
            return [(-1, self._foreign(kind))]
        order = self.orders[index]
        status = "7" if style == "odd status" else "-1"
        item = self._named(order, kind, at) | {"trafficSts": status}
        mobile: str | None = self._random.choice(wording.DENIAL_MOBILES)
        words = self._denial_words()
        if order.is_known(at) and self.traits.denial_shows_mobile and words in wording.DENIALS:
            mobile = wording.masked(order.mask, order.mobile)
        if mobile is not None:
            item["mobile"] = mobile
        if words or self._random.random() < 0.5:
            item["remark"] = words
        amount = self._random.choice(wording.DENIAL_AMOUNTS)
        if amount is not None:
            item["oriAmount"] = amount
        return [(index, item)]

    def _denial_words(self) -> str:
        if self.traits.denial_words != "mixed":
            return self.traits.denial_words
        return self._random.choice(wording.DENIALS + wording.EMPTY_WORDS)

    def _foreign(self, kind: str) -> Item:
        """An item of an order that billing never placed, with a number of no order."""
        names: Item = {REQUEST_ID: f"X{self._random.randrange(10**6)}"}
        if kind == CUSTOM_PARM and self._random.random() < 0.5:
            names = {}
        return names | {
            "trafficSts": self._random.choice(("1", "-1")),
            "remark": "成功",
            "mobile": self._random.choice(("177****0000", "***********", "17700000000")),
            "oriAmount": "9.99",
        }


_BY_ITEM = frozenset({"item", "absent", "foreign", "odd status"})
