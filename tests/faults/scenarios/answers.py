"""Faults of answers: garbage, items that are missing, foreign, doubled or false, and ids that spoil a batch."""

from collections import Counter
from decimal import Decimal

from tests.faults.catalogue import fault
from tests.faults.exchanges import exchanges, strike
from tests.faults.testbed import Scale, Testbed
from tests.support.memory import peaks
from tests.support.waiting import eventually

_SHORTEST = Scale(window=0.5, deadline=0.6, tick=0.1)
# No query that the deadline cuts makes suspects of the orders before the platform has refused them.
_ONE_BATCH = Scale(window=0.5, deadline=2.0, tick=0.1)

_GARBAGE = (
    *("html", "empty", "cut", "gbk", "bom", "doubled-keys", "nan", "huge-number", "deep", "wrong-types", "gzip-bomb"),
)
_GARBAGE_MEMORY = 32 * 1024
"""The most KiB that garbage may cost a process: half of the decoded bomb, eight times what may be read."""

_ITEM_FAULTS = (
    *("absent", "foreign", "duplicate", "conflict", "wrong-amount", "wrong-appid", "wrong-mobile"),
    *("wrong-custom-parm", "unknown-status", "colliding-keys"),
)
_UNBELIEVABLE = ("conflict", "wrong-appid", "wrong-mobile", "wrong-custom-parm", "unknown-status", "colliding-keys")
"""The worker can detect from the order that such an item must not be believed."""
_FALSE_AMOUNT = Decimal("9999.99")
"""The amount that `wrong-amount` answers."""


@fault(17, "garbage instead of an answer, of every kind", scale=_SHORTEST, seconds=120)
def fault_17_garbage_comes_back(testbed: Testbed) -> None:
    worker = testbed.start()
    testbed.wait_until_settled(testbed.place(5))
    before = peaks(worker.children())
    kinds = list(_GARBAGE)
    testbed.rng.shuffle(kinds)
    for kind in kinds:
        testbed.wait_until_settled(strike(testbed, f"garbage-{kind}", orders=3))
    for kind in kinds:
        for one in exchanges(testbed, f"garbage-{kind}"):
            # A byte order mark before a good answer does not keep it from being read.
            assert one.settled == 0 or kind == "bom", f"{kind} settled {one.settled} orders"
    after = peaks(worker.children())
    assert before.keys() == after.keys(), "a process did not survive the garbage"
    growth = max(after[pid] - before[pid] for pid in before)
    assert growth < _GARBAGE_MEMORY, f"garbage cost a process {growth} KiB"
    testbed.observed(f"garbage cost a process at most {growth} KiB of memory, at its peak")


@fault(18, "items missing, foreign, doubled, in conflict, or false", scale=_SHORTEST, seconds=120)
def fault_18_items_are_spoilt(testbed: Testbed) -> None:
    testbed.start()
    testbed.trouble(shares=dict.fromkeys(_ITEM_FAULTS, 0.09))
    known = testbed.place(60, sent_fields=("custom_parm", "expected_amount"))
    # Where no amount was expected, a false one cannot be detected: the platform's answer counts.
    unknown = testbed.place(30, sent_fields=("custom_parm",))
    eventually(lambda: set(_ITEM_FAULTS) <= _spoilt(testbed).keys(), "items spoilt by every fault")
    testbed.rest(2 * testbed.scale.window)
    testbed.trouble()
    testbed.injected(sum(_spoilt(testbed).values()))
    # The others settle; items that were not believed are polled again, and now answered truly.
    testbed.wait_until_settled(known + unknown)
    _check_events(testbed)
    _check_amounts(testbed, set(known))
    testbed.observed(", ".join(f"{name} {count}" for name, count in sorted(_spoilt(testbed).items())))


def _spoilt(testbed: Testbed) -> Counter[str]:
    """How many items were spoilt, by the fault."""
    return Counter(name for arrival in testbed.arrivals() for _, name in arrival["spoiled"])


def _check_events(testbed: Testbed) -> None:
    """Each item that could not be believed settled nothing, and is in an event of its order."""
    statement = (
        "SELECT o.request_id FROM order_events e JOIN recharge_orders o ON o.id = e.order_id"
        " WHERE e.kind = 'not_believed'"
    )
    disbelieved = Counter(name for (name,) in testbed.rows(statement))
    answered = [one.arrival for one in exchanges(testbed) if one.outcome == "answered"]
    spoilt = Counter(name for arrival in answered for name, what in arrival["spoiled"] if what in _UNBELIEVABLE)
    assert disbelieved == spoilt, f"not believed: {disbelieved - spoilt} too many, {spoilt - disbelieved} too few"


def _check_amounts(testbed: Testbed, known: set[str]) -> None:
    """A false amount is kept as it was answered, and needs attention wherever it can be detected."""
    rows = testbed.rows("SELECT request_id, state, ori_amount, attention FROM recharge_orders")
    for name, state, amount, attention in rows:
        if amount is not None and Decimal(str(amount)) == _FALSE_AMOUNT:
            # Nothing is charged for a failed order.
            is_seen = name in known or state == "failed"
            assert attention is not None or not is_seen, f"order {name}, {state}: {amount} has no attention"


@fault(21, "an id for which the platform refuses the whole batch", scale=_ONE_BATCH, seconds=150)
def fault_21_one_id_makes_the_platform_refuse_the_batch(testbed: Testbed) -> None:
    names = testbed.place(100, enqueue=False)
    poison = testbed.rng.choice(names)
    testbed.trouble(poison_ids=[poison], poison_effect="refuse")
    testbed.worker()
    testbed.enqueue(names)
    testbed.wait_for_rows(names)
    # Ticks begin once all are there: the first batch holds all of them.
    testbed.beat()
    eventually(lambda: _sizes_refused(testbed), "a batch refused")
    # Orders that come meanwhile are polled in between the suspects.
    testbed.wait_until_settled(testbed.place(5))
    # Refused in turn: all, all as suspects, 50, 25, 13, 7, 4, 2 and 1. Where each refused half is polled first,
    # the back-off grows to 1 + 2 + 4 + 8 + 3 * 15 windows, before the seven others are answered.
    others = [name for name in names if name != poison]
    testbed.wait_until_settled(others, seconds=testbed.bound(queries=16, backoff_windows=60))
    assert testbed.states()[poison] in ("pending", "unresolved"), "the order was settled by refusals"
    sizes = _sizes_refused(testbed)
    assert sizes[0] == len(names), f"the first batch that was refused held {sizes[0]}"
    testbed.injected(len(sizes))
    testbed.observed(f"refused were batches of {', '.join(map(str, sizes))}")
    if testbed.rng.random() < 0.5:
        _wait_until_given_up(testbed, poison)
    testbed.trouble()
    # The order that was always refused is polled like any other that was polled a while ago.
    testbed.heal(bound=testbed.bound(queries=2, backoff_windows=15))


def _sizes_refused(testbed: Testbed) -> list[int]:
    return [len(arrival["ids"]) for arrival in testbed.arrivals() if arrival["detail"] == "refuse"]


def _wait_until_given_up(testbed: Testbed, poison: str) -> None:
    """Refused alone three times, with answers to others in between, an order is polled no more."""

    def is_left() -> bool:
        testbed.wait_until_settled(testbed.place(2))
        return testbed.states()[poison] == "unresolved"

    eventually(is_left, "the order that is always refused left to a person", seconds=90)
    [(attention,)] = testbed.rows(f"SELECT attention FROM recharge_orders WHERE request_id = '{poison}'")
    assert attention == "rejected_by_platform", f"left to a person for {attention}"
    testbed.observed("refused alone three times, the order was left to a person")
