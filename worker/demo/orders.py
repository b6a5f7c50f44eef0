"""Draw the demo's orders at random, and at the end compare them with the platform's truth. Pure.

The summary of the comparison also counts the queries by their use. Another function puts the summary into words.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from pathlib import Path
from random import Random
from typing import Annotated, Any

from typer import Option

from worker.domain.records.orders import Attention, OrderState
from worker.simulator.orders import NewOrder, Outcome

# The most orders of a demo. A query can poll 100 orders, so the queries within the demo's time would not suffice for
# more orders than this.
MOST_ORDERS = 2000
_WINDOW_HELP = "Seconds; the platform's limit is one query in each. In real life 60."
_SERVE_HELP = "Show the console from the start, and keep it, the worker and the platform running until Ctrl-C."
_JSON_HELP = "The summary as one JSON object; all else on standard error."

_LOST_SHARE = 0.4
_SLOW_SHARE = 0.3
_FAILED_SHARE = 0.05
_STUCK_SHARE = 0.005
_FEWEST_STUCK = 3
# Prices of data packages, in yuan.
_AMOUNTS = ("2.94", "4.90", "6.86", "9.80", "14.70", "19.60", "29.40", "49.00")
_WRONG_AMOUNT = "98.00"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The options of the command."""

    orders: Annotated[int, Option(help="How many orders.", min=50, max=MOST_ORDERS)] = 1000
    window: Annotated[float, Option(help=_WINDOW_HELP, min=0.5, max=2.5)] = 2.0
    serve: Annotated[bool, Option("--serve", help=_SERVE_HELP)] = False
    as_json: Annotated[bool, Option("--json", help=_JSON_HELP)] = False


class Fate(StrEnum):
    """The fate of an order at the platform."""

    CALLBACK = "callback"
    """The order settles, and its callback arrives."""
    CALLBACK_LOST = "callback lost"
    """The order settles, but its callback is lost. Only a query can find its result."""
    WRONG_AMOUNT = "wrong amount"
    """The order settles, its callback is lost, and the platform charges more than expected."""
    STUCK = "stuck"
    """The order never settles."""
    UNKNOWN = "unknown"
    """The platform does not know the order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedOrder:
    """An order of the demo."""

    fate: Fate
    placing: NewOrder
    """The order as it is placed at the platform."""
    submission: dict[str, str]
    """The order as the billing system enqueues it."""


def make_plan(request: Request) -> Sequence[PlannedOrder]:
    """Draw the orders at random, but so that they are the same in each demo with the same options."""
    rng = Random(1)
    # Put the orders that take longest first, so that they are enqueued first.
    special = [Fate.UNKNOWN, Fate.WRONG_AMOUNT]
    special += [Fate.STUCK] * max(_FEWEST_STUCK, round(request.orders * _STUCK_SHARE))
    lost = round(request.orders * _LOST_SHARE)
    others = [Fate.CALLBACK_LOST] * lost + [Fate.CALLBACK] * (request.orders - lost - len(special))
    rng.shuffle(others)
    return [_draw(number, fate, request.window, rng) for number, fate in enumerate([*special, *others], start=1)]


def _draw(number: int, fate: Fate, window: float, rng: Random) -> PlannedOrder:
    # Draw all values for every order, in a fixed sequence. So the values do not depend on the orders' fates.
    request_id, mobile, amount = f"demo-{number:04d}", f"13{rng.randrange(10**9):09d}", rng.choice(_AMOUNTS)
    fails = rng.random() < _FAILED_SHARE and fate in (Fate.CALLBACK, Fate.CALLBACK_LOST)
    quick, slow, is_slow = rng.uniform(0.1, 1.2), rng.uniform(3, 8), rng.random() < _SLOW_SHARE
    placing = NewOrder(
        request_id=request_id,
        mobile=mobile,
        amount=_WRONG_AMOUNT if fate is Fate.WRONG_AMOUNT else amount,
        outcome=Outcome.STUCK if fate is Fate.STUCK else Outcome.FAILED if fails else Outcome.RECHARGED,
        settle_after=window * (slow if is_slow and fate is Fate.CALLBACK_LOST else quick),
        callback_lost=fate is not Fate.CALLBACK,
        unknown=fate is Fate.UNKNOWN,
    )
    submission = {"request_id": request_id, "mobile": mobile, "expected_amount": amount}
    return PlannedOrder(fate=fate, placing=placing, submission=submission)


_PENDING = (OrderState.PENDING, None)
_GIVEN_UP = (OrderState.UNRESOLVED, Attention.UNKNOWN_TO_PLATFORM)
_SHOWN = 20
_CASE = "  {request_id}  {state}, {attention}: {remark}\n"
Row = Mapping[str, Any]

_CLOSING = """\
Summary, after {seconds:.0f} s{time_up}

Each of the {orders:,} orders, compared with the platform's truth
  {agreed:5d}  settled, and the platform agrees: {states[succeeded]} succeeded, {states[failed]} failed
         ({settled_by[callback]} by a callback, {settled_by[query]} by a query)
  {both_pending:5d}  still pending, and the platform is still recharging them, too
  {given_up:5d}  unknown to the platform: unresolved, for a person to decide
{too_short}\
  {not_yet_settled:5d}  settled at the platform, but not yet here (must be 0)
  {wrong:5d}  wrong (must be 0)
{names}
{cases}\
Queries: {queries[used]} used; the least possible is {queries[least]}
  {queries[lost_and_settled]} orders could be settled by a query only, 100 at most in each: {queries[least]}.
  {queries[first]} queries polled orders for the first time. The other {queries[again]} polled orders again that
  the platform was still recharging or had left out; and, as queries were left over,
  the stuck ones each time. {queries[alone]} of them polled one order alone.

The limit, as the platform saw it
  smallest spacing of two queries: {spacing}; the window: {window_seconds:g} s
  violations: {broken}"""


class Finding(StrEnum):
    """The result of comparing our order with the platform's truth."""

    AGREED = "agreed"
    """Our order has the platform's result and amount. It has a warning if the amount is not the expected one."""
    BOTH_PENDING = "both_pending"
    """The platform is still recharging the order, and ours is still pending."""
    GIVEN_UP = "given_up"
    """The platform does not know the order, and ours is unresolved: a person has to decide."""
    NOT_YET_GIVEN_UP = "not_yet_given_up"
    """The platform does not know the order, but ours is still pending."""
    NOT_YET_SETTLED = "not_yet_settled"
    """The order has settled at the platform, but ours is still pending."""
    WRONG = "wrong"
    """Our order is missing, or it contradicts the truth in a way that no other member describes."""


_REMARKS = {
    Finding.AGREED: "expected {expected_amount:.2f}, the platform charged {ori_amount:.2f}",
    Finding.GIVEN_UP: "{query_count} answered queries left it out, the last ones polled it alone",
    Finding.WRONG: "nothing in the platform's truth explains this",
}


def compare(truth: Row, order: Row | None) -> Finding:
    """Compare our row of an order with the platform's truth about the order. The truth was read after the row."""
    if order is None:
        return Finding.WRONG
    here = (order["state"], order["attention"])
    if truth["unknown"]:
        return {_PENDING: Finding.NOT_YET_GIVEN_UP, _GIVEN_UP: Finding.GIVEN_UP}.get(here, Finding.WRONG)
    if here == _PENDING:
        return Finding.NOT_YET_SETTLED if truth["settled"] else Finding.BOTH_PENDING
    amount, is_success = Decimal(truth["amount"]), truth["outcome"] == "1"
    warning = Attention.AMOUNT_MISMATCH if is_success and amount != order["expected_amount"] else None
    expected = (OrderState.SUCCEEDED if is_success else OrderState.FAILED, warning)
    agrees = truth["settled"] and here == expected and order["ori_amount"] == amount
    return Finding.AGREED if agrees else Finding.WRONG


def summarise(truths: Sequence[Row], orders: Sequence[Row], record: Row) -> dict[str, Any]:
    """Compare the truth about each order with our row of the order, and count the queries in the platform's record.

    Return what `--json` prints, except the duration of the demo and whether the time was up.
    """
    rows = {order["request_id"]: order for order in orders}
    found = {truth["request_id"]: compare(truth, rows.get(truth["request_id"])) for truth in truths}
    counts = Counter(found.values())
    wrong = [name for name, finding in found.items() if finding in (Finding.WRONG, Finding.NOT_YET_SETTLED)]
    polled = [arrival["ids"] for arrival in record["arrivals"]]
    again = [ids for number, ids in enumerate(polled) if set(chain(*polled[:number])).issuperset(ids)]
    lost = sum(truth["settled"] and truth["callback"] == "lost" for truth in truths)
    return {
        "good": not wrong and not record["violations"],
        "orders": len(truths),
        **{finding: counts[finding] for finding in Finding},
        "states": Counter(order["state"] for order in orders),
        "settled_by": Counter(order["settled_by"] for order in orders if order["settled_by"]),
        "wrong_orders": wrong,
        "attention": [_case(order, found[order["request_id"]]) for order in orders if order["attention"]],
        "queries": {
            "used": len(polled),
            "first": len(polled) - len(again),
            "again": len(again),
            "alone": sum(len(ids) == 1 for ids in again),
            "lost_and_settled": lost,
            "least": math.ceil(lost / 100),
        },
        "window_seconds": record["window_seconds"],
        "smallest_spacing_seconds": next(iter(record["smallest_spacing"].values()), None),
        "violations": [violation["kind"] for violation in record["violations"]],
    }


def _case(order: Row, finding: Finding) -> dict[str, str]:
    shown = {name: order[name] for name in ("request_id", "state", "attention")}
    return {**shown, "remark": _REMARKS[finding].format(**order)}


def in_words(summary: Row) -> str:
    """A summary in words, so that people can check each number."""
    late, wrong, spacing = (summary[key] for key in ("not_yet_given_up", "wrong_orders", "smallest_spacing_seconds"))
    cases = "".join(_CASE.format(**case) for case in summary["attention"][:_SHOWN])
    return _CLOSING.format(
        **summary,
        time_up=" (the time was up)" if summary["timed_out"] else "",
        too_short=f"  {late:5d}  unknown to the platform: still pending, as time was too short\n" if late else "",
        names=f"         {', '.join(wrong[:_SHOWN])}\n" if wrong else "",
        cases=f"For a person to look at\n{cases}\n" if cases else "",
        spacing="none" if spacing is None else f"{spacing:.3f} s",
        broken=len(summary["violations"]),
    )


def verdict(summary: Row, folder: Path) -> str:
    """The last line of the demo's output: it says that all is well, or what to do."""
    if summary["good"]:
        return "Result: all is well. No order is wrong, and the platform's limit was kept."
    if not summary["wrong"] and not summary["violations"]:
        return (
            f"Result: not finished. {summary['not_yet_settled']} orders were not settled in time, none is wrong."
            " Is this machine busy? Run the demo again, with fewer --orders."
        )
    return (
        "Result: something is wrong, and should not be. Please look at the orders above with"
        f" `reconciler order`, and report it with the folder {folder}."
    )
