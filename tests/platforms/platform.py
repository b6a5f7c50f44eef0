"""A random platform: it holds the truth, answers in bytes, and records what it made of each query."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.platforms import wording
from tests.platforms.traits import Phase, Traits
from tests.platforms.truth import CUSTOM_PARM, REQUEST_ID, TrueOrder, app_id
from tests.platforms.writing import Item, Reply, failing, written

FAILS = frozenset({"down", "busy", "configuration", "frequent", "flaps"})


@dataclass
class Heard:
    """One query as the platform saw it. `said` tells what it made of each order, by the order's place."""

    at: float
    account: str
    kind: str
    orders: tuple[int, ...]
    end: str
    """`answered`, or why the whole query failed."""
    is_flap: bool = False
    said: dict[int, str] = field(default_factory=dict)
    """`item`: it has to be believed; `bare`: a failure that shows no evidence, and so reads as a denial; `doubtful`:
    any other item that cannot be believed; `denied` (by an item), `absent`, or `left out`."""
    is_denying: bool = False
    """Whether it denied everything just then."""
    query_id: int | None = None


class RandomPlatform:
    """One platform with its orders. Its chance is its own: the same queries at the same times draw the same answers."""

    def __init__(self, traits: Traits, orders: Sequence[TrueOrder], random: Random) -> None:
        self.traits = traits
        self.orders = list(orders)
        self.record: list[Heard] = []
        self._random = random
        self._places = {
            (order.account, kind, order.name(kind)): place
            for place, order in enumerate(orders)
            for kind in (REQUEST_ID, CUSTOM_PARM)
        }

    def receive(self, at: float, account: str, kind: str, ids: Sequence[str]) -> Reply:
        """Answer a query, or fail it."""
        places = tuple(self._places[account, kind, name] for name in ids)
        heard = Heard(at=at, account=account, kind=kind, orders=places, end="answered")
        self.record.append(heard)
        phase = self._trouble(at)
        way = self._way_to_fail(places, kind, at) if phase is None else phase.way or phase.kind
        if way:
            heard.end = way
            heard.is_flap = phase is not None and phase.kind == "flaps"
            return failing(way, self._random, phase.retry_after if phase else None)
        return self._answer(heard, at)

    def refuses_for_good(self, order: TrueOrder, kind: str) -> bool:
        """Whether it fails every query for this order, even one for it alone, whatever it knows."""
        is_poison = order.is_refused and not self.traits.refused_in_company
        return is_poison or self.refuses_kind(kind)

    def refuses_kind(self, kind: str) -> bool:
        """Whether it fails every query by this kind of id."""
        return kind == CUSTOM_PARM and bool(self.traits.refuses_custom_parm)

    def denies_all(self, at: float) -> Phase | None:
        """The phase in which it denies whatever it knows, if it is in one."""
        return next((phase for phase in self.traits.phases if phase.kind == "denies" and phase.covers(at)), None)

    def is_well(self, at: float) -> bool:
        """Whether no phase of any kind is on."""
        return not any(phase.covers(at) for phase in self.traits.phases)

    def speaks_plainly(self, order: TrueOrder, kind: str, at: float) -> bool:
        """Whether its item for this order, asked alone, has to be believed: attributable, and with evidence."""
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

    def _way_to_fail(self, places: Sequence[int], kind: str, at: float) -> str:
        """How the whole query fails by what it polls; empty where it is answered."""
        traits = self.traits
        if kind == CUSTOM_PARM and traits.refuses_custom_parm:
            return traits.refuses_custom_parm
        asked = [self.orders[place] for place in places]
        if any(order.is_refused for order in asked) and (len(asked) > 1 or not traits.refused_in_company):
            return traits.refusal
        if traits.largest_batch and len(asked) > traits.largest_batch:
            return "414"
        unknown = [order.denial for order in asked if not order.is_known(at)]
        return next((denial for denial in unknown if denial not in _BY_ITEM), "")

    def _answer(self, heard: Heard, at: float) -> Reply:
        items: list[tuple[int, Item]] = []
        denying = self.denies_all(at)
        heard.is_denying = denying is not None
        for place in heard.orders:
            order = self.orders[place]
            is_denied = denying is not None or order.is_denied_singly(at)
            if order.is_known(at) and not is_denied:
                if len(heard.orders) > 1 and self._random.random() < self.traits.leaves_out:
                    heard.said[place] = "left out"
                    continue
                heard.said[place] = self._as_read(order, heard.kind, at)
                items.append((place, self._item(order, heard.kind, at)))
                continue
            # A failure of the whole query is only for the unknown; by the rest an item denies.
            style = denying.way if denying else order.denial if order.denial in _BY_ITEM else "item"
            heard.said[place] = "denied" if style == "item" else "absent"
            items.extend(self._denied(place, style, heard.kind, at))
        if self.traits.one_item and items:
            heard.said |= {place: "left out" for place, _ in items[1:] if place >= 0}
            items = items[:1]
        self._random.shuffle(items)
        if self.traits.extras == "foreign" and len(heard.orders) > 1:
            items.append((-1, self._foreign(heard.kind)))
        names = [self.orders[place].name(heard.kind) if place >= 0 else "nobody" for place, _ in items]
        return written(
            list(zip(names, (item for _, item in items), strict=True)), heard.kind, self.traits, self._random
        )

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

    def _denied(self, place: int, style: str, kind: str, at: float) -> list[tuple[int, Item]]:
        if style == "absent":
            return []
        if style == "foreign":
            return [(-1, self._foreign(kind))]
        order = self.orders[place]
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
        return [(place, item)]

    def _denial_words(self) -> str:
        if self.traits.denial_words != "mixed":
            return self.traits.denial_words
        return self._random.choice(wording.DENIALS + wording.EMPTY_WORDS)

    def _foreign(self, kind: str) -> Item:
        """An item of an order that nobody here placed, with a number that is no order's."""
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
