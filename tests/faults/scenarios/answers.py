"""What befalls an answer: garbage, items that are missing, foreign, doubled or false, and ids that spoil a batch."""

from collections import Counter
from decimal import Decimal

from tests.faults.catalogue import fault
from tests.faults.exchanges import exchanges, strike
from tests.faults.house import House, Scale
from tests.support.memory import peaks
from tests.support.waiting import eventually

_SHORTEST = Scale(window=0.5, deadline=0.6, tick=0.1)

_GARBAGE = (
    *("html", "empty", "blank", "null", "text", "cut", "trailing", "gbk", "bom", "doubled-keys", "nan", "huge-number"),
    *("deep", "wrong-types", "gzip-bomb"),
)
_GARBAGE_MEMORY = 32 * 1024
"""KiB that garbage may cost a process at its worst: half of what the bomb becomes, eight times what may be read."""

_ITEM_FAULTS = (
    *("absent", "foreign", "duplicate", "conflict", "wrong-amount", "wrong-appid", "wrong-mobile"),
    *("wrong-custom-parm", "unknown-status", "colliding-keys"),
)
_UNBELIEVABLE = ("conflict", "wrong-appid", "wrong-mobile", "wrong-custom-parm", "unknown-status", "colliding-keys")
"""Whoever knows the order can tell that such an item is not to be believed."""
_FALSE_AMOUNT = Decimal("9999.99")
"""What `wrong-amount` says."""


@fault(17, "garbage instead of an answer, of every kind", scale=_SHORTEST, seconds=120)
def fault_17_garbage_comes_back(house: House) -> None:
    worker = house.worker()
    house.beat()
    house.wait_until_settled(house.place(5))
    before = peaks(worker.children())
    kinds = list(_GARBAGE)
    house.rng.shuffle(kinds)
    for kind in kinds:
        house.wait_until_settled(strike(house, f"garbage-{kind}", orders=3))
    for kind in kinds:
        for one in exchanges(house, f"garbage-{kind}"):
            # A byte order mark before a sound answer keeps nobody from reading it.
            assert one.settled == 0 or kind == "bom", f"{kind} settled {one.settled} orders"
    after = peaks(worker.children())
    assert before.keys() == after.keys(), "a process did not outlive the garbage"
    growth = max(after[pid] - before[pid] for pid in before)
    assert growth < _GARBAGE_MEMORY, f"garbage cost a process {growth} KiB"
    house.observed(f"garbage cost a process at most {growth} KiB of memory, at its peak")


@fault(18, "items missing, foreign, doubled, in conflict, or false", scale=_SHORTEST, seconds=120)
def fault_18_items_are_spoilt(house: House) -> None:
    house.worker()
    house.beat()
    house.trouble(shares=dict.fromkeys(_ITEM_FAULTS, 0.09))
    known = house.place(60, told=("custom_parm", "expected_amount"))
    # Where no amount was expected, nobody knows better: a false one is the platform's word.
    unknown = house.place(30, told=("custom_parm",))
    eventually(lambda: set(_ITEM_FAULTS) <= _spoilt(house).keys(), "items spoilt in every way")
    house.rest(2 * house.scale.window)
    house.trouble()
    house.injected(sum(_spoilt(house).values()))
    # The others go on; what was not believed is asked about again, and told truly now.
    house.wait_until_settled(known + unknown)
    _check_events(house)
    _check_amounts(house, set(known))
    house.observed(", ".join(f"{name} {count}" for name, count in sorted(_spoilt(house).items())))


def _spoilt(house: House) -> Counter[str]:
    """How many items were spoilt, by the fault."""
    return Counter(name for arrival in house.arrivals() for _, name in arrival["spoiled"])


def _check_events(house: House) -> None:
    """Each item that could not be believed settled nothing, and stands in an event of its order."""
    statement = (
        "SELECT o.request_id FROM order_events e JOIN recharge_orders o ON o.id = e.order_id"
        " WHERE e.kind = 'not_believed'"
    )
    disbelieved = Counter(name for (name,) in house.rows(statement))
    answered = [one.arrival for one in exchanges(house) if one.outcome == "answered"]
    spoilt = Counter(name for arrival in answered for name, what in arrival["spoiled"] if what in _UNBELIEVABLE)
    assert disbelieved == spoilt, f"not believed: {disbelieved - spoilt} too many, {spoilt - disbelieved} too few"


def _check_amounts(house: House, known: set[str]) -> None:
    """A false amount is kept as it was told, and shown to a person wherever something tells that it is false."""
    rows = house.rows("SELECT request_id, state, ori_amount, attention FROM recharge_orders")
    for name, state, amount, attention in rows:
        if amount is not None and Decimal(str(amount)) == _FALSE_AMOUNT:
            # Nothing is charged for a failed order.
            is_seen = name in known or state == "failed"
            assert attention is not None or not is_seen, f"order {name}, {state}: nobody is to look at {amount}"


@fault(21, "an id for which the platform refuses the whole batch", scale=_SHORTEST, seconds=150)
def fault_21_one_id_makes_the_platform_refuse_the_batch(house: House) -> None:
    names = house.place(100, enqueue=False)
    poison = house.rng.choice(names)
    house.trouble(poison_ids=[poison], poison_effect="refuse")
    house.worker()
    house.enqueue(names)
    house.wait_for_rows(names)
    # Ticks begin once all are there: the first batch holds all of them.
    house.beat()
    eventually(lambda: _sizes_refused(house), "a batch refused")
    # What comes meanwhile is asked about beside the suspects.
    house.wait_until_settled(house.place(5))
    # Refused in turn: all, all as suspects, 50, 25, 13, 7, 4, 2 and 1. Where each half that is refused is asked first,
    # the back-off grows to 1 + 2 + 4 + 8 + 3 * 15 windows, before the seven others are answered.
    others = [name for name in names if name != poison]
    house.wait_until_settled(others, seconds=house.bound(queries=16, backoff_windows=60))
    assert house.states()[poison] in ("pending", "unresolved"), "the order was settled by refusals"
    sizes = _sizes_refused(house)
    assert sizes[0] == len(names), f"the first batch that was refused held {sizes[0]}"
    house.injected(len(sizes))
    house.observed(f"refused were batches of {', '.join(map(str, sizes))}")
    if house.rng.random() < 0.5:
        _leave_to_a_person(house, poison)
    house.trouble()
    # The one that was always refused is asked about as any other that was asked a while ago.
    house.heal(bound=house.bound(queries=2, backoff_windows=15))


def _sizes_refused(house: House) -> list[int]:
    return [arrival["id_count"] for arrival in house.arrivals() if arrival["detail"] == "refuse"]


def _leave_to_a_person(house: House, poison: str) -> None:
    """Refused alone three times, with answers to others in between, an order is asked about no more."""

    def is_left() -> bool:
        house.wait_until_settled(house.place(2))
        return house.states()[poison] == "unresolved"

    eventually(is_left, "the order that is always refused left to a person", seconds=90)
    [(attention,)] = house.rows(f"SELECT attention FROM recharge_orders WHERE request_id = '{poison}'")
    assert attention == "rejected_by_platform", f"left to a person for {attention}"
    house.observed("refused alone three times, the order was left to a person")
